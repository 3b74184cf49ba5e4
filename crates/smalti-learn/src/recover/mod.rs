//! Recover: pixels that are moved until a trained network sees its classes and its own statistics in them.
//!
//! SRe2L (arXiv 2306.13092) and what grew out of it: CDA (arXiv 2311.18838) changes the crops over time, LPLD (arXiv 2410.15919) matches the statistics
//! of one class, DWA (arXiv 2409.17612) moves the network's weights before each batch, G-VBSM (arXiv 2311.17950) asks several networks in turn and matches
//! what convolutions see as well.

mod adam;
mod generalised;
mod matching;
mod nudge;
mod views;

pub use generalised::Generalised;
pub use matching::{ClassStatistics, Targets, check_norms};
pub use nudge::{After, Nudge, Weights};
pub use views::{Curriculum, Jitter, Look};

use crate::batch::Normalise;
use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::nets::{Hearing, Network};
use crate::schedule::Rate;
use adam::Adam;
use generalised::Averages;
use matching::distance;
use smalti_data::Rgb;
use smalti_data::random::{Stage, Stream};
use tch::{Kind, Tensor};
use views::View;

/// How pixels are moved.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecoverSpec {
    /// Steps of Adam per batch of images.
    pub iterations: u32,
    /// Its peak learning rate, in normalised pixels; half a cosine to 0, step by step.
    pub learning_rate: f64,
    /// Weight of the statistics beside the cross-entropy.
    pub statistics: f64,
    /// Weight of the first norm among the norms, or of the first convolution where convolutions count.
    pub first_layer: f64,
    /// Weight of variances beside means.
    pub variance: f64,
    /// How the images are looked at.
    pub look: Look,
    /// How the network is moved before each batch.
    pub nudge: Option<Nudge>,
    /// What G-VBSM adds.
    pub generalised: Option<Generalised>,
}

/// A network that looks at the images.
pub struct Backbone<'a> {
    /// The network.
    pub network: &'a Network,
    /// What its layers are to see of each batch.
    pub targets: &'a Targets,
    /// Its logit of each class.
    pub columns: &'a [i64],
    /// The constants of the pixels that it was trained with.
    pub constants: Normalise,
}

/// A batch of images to be made.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// One class per image.
    pub labels: &'a [u32],
    /// Where the pixels start, [B, 3, S, S] normalised; noise where none is given.
    pub start: Option<&'a Tensor>,
    /// Number of this batch, which has draws of its own.
    pub number: u32,
}

/// Batches of one size that are moved side by side: each has views, statistics and a loss of its own, as if it were alone, and a small batch costs its
/// share of a large one.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// Name used in errors: `sre2l block 3`.
    pub stage: &'a str,
    /// Key of noise, views and what is left out.
    pub seed: u64,
    /// At least one; one alone where [`RecoverSpec::side_by_side`] says so.
    pub batches: &'a [Batch<'a>],
}

impl RecoverSpec {
    /// Whether batches can be moved side by side: not where the network is moved for one, nor where averages are kept of one.
    pub fn side_by_side(&self) -> bool {
        self.nudge.is_none() && self.generalised.is_none()
    }
}

impl Pass<'_> {
    /// Images of each batch.
    fn each(&self) -> usize {
        self.batches[0].labels.len()
    }

    /// # Errors
    /// [`Error::Input`] for batches that cannot be moved together.
    fn check(&self, spec: &RecoverSpec) -> Result<()> {
        let alike = |batch: &Batch| batch.labels.len() == self.each();
        let enough = self.batches.len() == 1 || self.batches.len() > 1 && spec.side_by_side();
        if enough && self.batches.iter().all(alike) {
            return Ok(());
        }
        Err(Error::input(
            format!("{}: its {} batches cannot be moved side by side", self.stage, self.batches.len()),
            "give batches of one size, and one alone where the network moves or averages are kept",
        ))
    }

    /// The pixels as each batch looks at its own in an iteration.
    fn view(&self, pixels: &Tensor, spec: &RecoverSpec, iteration: u32) -> Tensor {
        let size = pixels.size()[2] as u32;
        let of = |(own, batch): (&Tensor, &Batch)| {
            let stream = batch.stream(Stage::Recover, self.seed, iteration);
            View::draw(&spec.look, size, part(iteration, spec), stream).of(own)
        };
        // Split at once: the gradient of a part on its own would be as large as all pixels.
        let parts = pixels.split(self.each() as i64, 0);
        Tensor::cat(&parts.iter().zip(self.batches).map(of).collect::<Vec<_>>(), 0)
    }

    /// Where the pixels of all batches start.
    fn start(&self, size: u32, engine: &Engine) -> Tensor {
        let of = |batch: &Batch| match batch.start {
            Some(start) => start.to_device(engine.device).to_kind(Kind::Float),
            None => batch.noise(self.seed, size, engine),
        };
        Tensor::cat(&self.batches.iter().map(of).collect::<Vec<_>>(), 0)
    }
}

impl Batch<'_> {
    /// One draw for the whole batch in each iteration.
    fn stream(&self, stage: Stage, seed: u64, iteration: u32) -> Stream {
        Stream::new(seed, stage, iteration + 1, u64::from(self.number))
    }

    /// Standard normal numbers, keyed by (seed, batch, image).
    fn noise(&self, seed: u64, size: u32, engine: &Engine) -> Tensor {
        let each = 3 * size as usize * size as usize;
        let mut values = Vec::with_capacity(each * self.labels.len());
        for image in 0..self.labels.len() as u64 {
            let mut stream = Stream::new(seed, Stage::Recover, 0, u64::from(self.number) << 32 | image);
            values.extend((0..each).map(|_| stream.normal() as f32));
        }
        let size = i64::from(size);
        Tensor::from_slice(&values).reshape([-1, 3, size, size]).to_device(engine.device)
    }
}

/// Moves batches of images, and returns them in their order under the constants of the first backbone, [images, 3, S, S]. Each step asks one backbone, in turn.
/// `progress` is called with the number of images of each step. The networks are the same afterwards, unless [`After::Stay`] is asked and nothing fails.
///
/// # Errors
/// [`Error::Input`] without a backbone, for one without batch norms or with other layers than its targets, for batches that cannot be moved side by side, and
/// when the loss stops being a number; libtorch's refusal with the stage's name.
pub fn recover(
    backbones: &[Backbone],
    pass: &Pass,
    spec: &RecoverSpec,
    engine: &Engine,
    progress: &dyn Fn(u64),
) -> Result<Tensor> {
    let first = backbones
        .first()
        .ok_or_else(|| Error::input(format!("{}: nobody looks at the images", pass.stage), "give a teacher"))?;
    pass.check(spec)?;
    for backbone in backbones {
        backbone.targets.check(backbone.network, spec, (pass.stage, pass.batches.len()))?;
    }
    guard(pass.stage, || {
        let mut pixels = pass.start(first.network.shape.size, engine).set_requires_grad(true);
        let mut adam = Adam::new(&pixels);
        let bounds = Bounds::of(&first.constants, engine);
        let mut judges: Vec<Judge> =
            backbones.iter().map(|backbone| Judge::new(backbone, pass, spec, engine)).collect();
        let moved = spec
            .nudge
            .as_ref()
            .map(|nudge| nudge.apply(first.network, &pass.view(&pixels.detach(), spec, 0), &judges[0].labels));
        let resting: Vec<_> = backbones.iter().map(|backbone| backbone.network.at_rest()).collect();
        for iteration in 0..spec.iterations {
            let turn = u64::from(pass.batches[0].number) * u64::from(spec.iterations) + u64::from(iteration);
            let judge = &mut judges[(turn % backbones.len() as u64) as usize];
            let loss = judge.loss(&pass.view(&pixels, spec, iteration), &first.constants, pass, iteration);
            let value = loss.double_value(&[]);
            if !value.is_finite() {
                return Err(no_number(pass.stage, &format!("the loss is {value}"), iteration, engine));
            }
            let gradient = Tensor::run_backward(&[&loss], &[&pixels], false, false).remove(0);
            let rate = spec.learning_rate * Rate::Cosine.at(iteration.into(), spec.iterations.into());
            tch::no_grad(|| {
                adam.step(&mut pixels, &gradient, rate);
                bounds.clamp(&mut pixels);
            });
            // A sum is no number when one of its parts is none. The last step has no loss after it that would tell.
            if !pixels.detach().sum(Kind::Float).double_value(&[]).is_finite() {
                return Err(no_number(pass.stage, "pixels are no numbers", iteration, engine));
            }
            progress(pixels.size()[0] as u64);
        }
        drop(resting);
        if let (Some(moved), Some(Nudge { after: After::Stay, .. })) = (moved, spec.nudge) {
            moved.stay();
        }
        Ok(pixels.detach())
    })
}

fn no_number(stage: &str, what: &str, iteration: u32, engine: &Engine) -> Error {
    let teacher = "train the teacher again: its weights or statistics are no numbers";
    let hint = match engine.kind {
        Kind::Float => teacher.to_owned(),
        _ => format!("start over with --precision f32 and --force, or in another --out; if it stays, {teacher}"),
    };
    Error::input(format!("{stage}: {what} at step {iteration}"), hint)
}

/// A backbone with what it remembers of a pass.
struct Judge<'a> {
    backbone: &'a Backbone<'a>,
    spec: &'a RecoverSpec,
    /// Of all batches, one after another.
    labels: Tensor,
    averages: Option<Averages>,
}

impl<'a> Judge<'a> {
    fn new(backbone: &'a Backbone, pass: &Pass, spec: &'a RecoverSpec, engine: &Engine) -> Judge<'a> {
        let labels = pass.batches.iter().flat_map(|batch| batch.labels);
        let own: Vec<i64> = labels.map(|&label| backbone.columns[label as usize]).collect();
        let averages = spec.generalised.map(|generalised| Averages::new(generalised.memory));
        Judge { backbone, spec, labels: Tensor::from_slice(&own).to_device(engine.device), averages }
    }

    /// The losses of all batches, added up: of a view of the pixels, [images, 3, S, S] under the constants `shown`.
    fn loss(&mut self, view: &Tensor, shown: &Normalise, pass: &Pass, iteration: u32) -> Tensor {
        let (Backbone { network, targets, constants, .. }, spec) = (self.backbone, self.spec);
        let images = if constants == shown { view.shallow_clone() } else { constants.instead_of(shown, view) };
        let hearing = match &spec.generalised {
            Some(generalised) => generalised.hearing(network, pass, iteration),
            None => Hearing::Norms { at_once: pass.each() as i64 },
        };
        let (output, seen) = network.forward_heard(&images, hearing);
        let mean = output.logits.log_softmax(-1, Kind::Float).nll_loss(&self.labels);
        let cross_entropy = mean * pass.batches.len() as f64;
        let matched = cross_entropy + distance(&seen, targets, spec, self.averages.as_mut()) * spec.statistics;
        match &spec.generalised {
            Some(generalised) => matched + generalised.density(view, pass.batches[0].labels),
            None => matched,
        }
    }
}

fn part(iteration: u32, spec: &RecoverSpec) -> f64 {
    f64::from(iteration) / f64::from(spec.iterations.max(1))
}

/// Black and white of each channel, normalised.
struct Bounds {
    low: Tensor,
    high: Tensor,
}

impl Bounds {
    fn of(normalise: &Normalise, engine: &Engine) -> Bounds {
        let of = |pixel: f32| {
            let values = [0, 1, 2].map(|c| (pixel - normalise.mean[c]) / normalise.std[c]);
            Tensor::from_slice(&values).reshape([1, 3, 1, 1]).to_device(engine.device)
        };
        Bounds { low: of(0.0), high: of(1.0) }
    }

    fn clamp(&self, pixels: &mut Tensor) {
        let inside = pixels.maximum(&self.low).minimum(&self.high);
        pixels.copy_(&inside);
    }
}

/// How numbers between 0 and 255 become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// To the nearest.
    Nearest,
    /// Down, as the published code does.
    Truncated,
}

/// Normalised images [B, 3, S, S] as pictures.
pub fn pictures(images: &Tensor, normalise: &Normalise, rounding: Rounding) -> Vec<Rgb> {
    let (mean, std) = normalise.tensors(tch::Device::Cpu);
    let plain = images.to_device(tch::Device::Cpu) * std + mean;
    let scaled = plain.clamp(0.0, 1.0) * 255.0;
    let whole = if rounding == Rounding::Nearest { scaled.round() } else { scaled.floor() };
    let bytes = whole.to_kind(Kind::Uint8).permute([0, 2, 3, 1]).contiguous();
    let (count, side) = (bytes.size()[0] as usize, bytes.size()[1] as u32);
    let each = 3 * side as usize * side as usize;
    let mut data = vec![0u8; count * each];
    bytes.copy_data(&mut data, count * each);
    data.chunks_exact(each).map(|picture| Rgb { width: side, height: side, data: picture.to_vec() }).collect()
}

#[cfg(test)]
mod tests;
