//! What a student learns from: the labels of the set, a teacher that looks at every batch, or what a teacher said before.

use crate::augment::{Flip, View};
use crate::batch::{Item, Normalise, label_tensor};
use crate::distort::Distort;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::growth::Growth;
use crate::mix::Mixed;
use crate::schedule::{Order, Planned, Schedule};
use crate::sight::Sight;
use crate::teacher::Teacher;
use crate::train::{TrainSpec, check};
use half::f16;
use smalti_data::random::{Stage, Stream};
use smalti_data::store::ImageStore;
use smalti_data::tables::soft_labels::{
    LabelHeader, LabelMix, LabelRow, LabelledStep, SoftLabels, epoch_path, write_epoch,
};
use std::path::Path;
use tch::Tensor;

/// How far a student is from a teacher.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum SoftLoss {
    /// Kullback-Leibler divergence of softmax(teacher / T) from softmax(student / T), summed over classes, mean over the batch.
    Kl {
        /// T.
        temperature: f64,
        /// What the sum is multiplied with: 1 or T².
        factor: f64,
    },
    /// Mean squared distance of the logits, plus `cross_entropy` times the cross-entropy with the images' own labels (arXiv 2311.17950).
    Mse {
        /// Weight of the hard labels.
        cross_entropy: f64,
    },
}

/// Which labels a protocol teaches.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelKind {
    /// One class per image.
    Hard,
    /// A teacher's logits for every view.
    Soft(SoftLoss),
}

impl LabelKind {
    /// In words.
    pub fn describe(self) -> String {
        match self {
            LabelKind::Hard => "cross-entropy with hard labels".to_owned(),
            LabelKind::Soft(SoftLoss::Kl { temperature, factor }) => {
                let times = if factor == 1.0 { "not multiplied by T²".to_owned() } else { format!("times {factor}") };
                format!("KL divergence from the teacher at T = {temperature}, {times}")
            }
            LabelKind::Soft(SoftLoss::Mse { cross_entropy }) => {
                format!("squared distance from the teacher's logits + {cross_entropy} x cross-entropy with hard labels")
            }
        }
    }
}

/// Where labels come from.
pub enum Labels<'a> {
    /// The store.
    Hard,
    /// A teacher that sees every batch as the student does.
    Online {
        /// The teacher.
        teacher: &'a Teacher,
        /// The distance.
        loss: SoftLoss,
    },
    /// What a teacher said before; order, views and mixing are those that it saw.
    Stored {
        /// Its words.
        replay: Replay,
        /// The distance.
        loss: SoftLoss,
    },
}

/// A step before its images are made.
pub(crate) struct Seen {
    pub sight: Sight,
    /// The teacher's logits, where they were stored.
    pub stored: Option<Tensor>,
}

impl Labels<'_> {
    /// What a step sees, and what was said of it before.
    pub(crate) fn sight(
        &mut self,
        store: &ImageStore,
        step: &Planned,
        order: &mut Order,
        spec: &TrainSpec,
    ) -> Result<Seen> {
        match self {
            Labels::Hard | Labels::Online { .. } => {
                let side = spec.growth.side(store.size(), step.done);
                let sight = Sight::draw(store, order.items(step), (&spec.views, side), spec.mix, step.number)?;
                Ok(Seen { sight, stored: None })
            }
            Labels::Stored { replay, .. } => replay.step(step.number),
        }
    }

    /// The loss of a student's logits [B, C] for the images [B, 3, S, S] of a step, which are under the constants `shown`.
    pub(crate) fn loss(
        &self,
        logits: &Tensor,
        (images, shown): (&Tensor, &Normalise),
        seen: &Seen,
        hard: &[u32],
    ) -> Tensor {
        match self {
            Labels::Hard => cross_entropy(logits, hard, seen.sight.mixed.as_ref()),
            Labels::Online { teacher, loss } => loss.of(logits, &teacher.says(images, shown), hard),
            Labels::Stored { loss, .. } => {
                let said = seen.stored.as_ref().expect("a replayed step brings its labels");
                loss.of(logits, &said.to_device(logits.device()), hard)
            }
        }
    }
}

/// Cross-entropy with one label per image; of a mixed image both labels count, by what is seen of each.
fn cross_entropy(logits: &Tensor, hard: &[u32], mixed: Option<&Mixed>) -> Tensor {
    let log = logits.log_softmax(-1, logits.kind());
    let of = |labels: &[u32]| log.nll_loss(&label_tensor(labels, logits.device()));
    match mixed {
        None => of(hard),
        Some(Mixed { partner, own, .. }) => {
            let others: Vec<u32> = partner.iter().map(|&place| hard[place as usize]).collect();
            of(hard) * *own + of(&others) * (1.0 - own)
        }
    }
}

impl SoftLoss {
    /// Of a student's logits against a teacher's, both [B, C].
    pub fn of(self, student: &Tensor, teacher: &Tensor, hard: &[u32]) -> Tensor {
        match self {
            SoftLoss::Kl { temperature, factor } => {
                let log = |logits: &Tensor| (logits / temperature).log_softmax(-1, logits.kind());
                let (student, teacher) = (log(student), log(teacher));
                let images = student.size()[0] as f64;
                (teacher.exp() * (teacher - student)).sum(None) * (factor / images)
            }
            SoftLoss::Mse { cross_entropy: weight } => {
                student.mse_loss(teacher, tch::Reduction::Mean) + cross_entropy(student, hard, None) * weight
            }
        }
    }
}

/// Stored labels as a training reads them.
pub struct Replay {
    labels: Box<SoftLabels>,
    /// Steps of the training in one pass over the images.
    per_epoch: u64,
    /// Which stored steps an epoch draws, where fewer are stored than are taken.
    drawn: Option<(u64, Vec<u64>)>,
    seed: u64,
}

impl Replay {
    /// Labels for training on `store` as `spec` says. All of them are replayed in order where there are enough; of fewer each epoch
    /// draws with replacement, as LPLD does (arXiv 2410.15919).
    ///
    /// # Errors
    /// [`Error::Input`] when they were made for another size or number of images, or another batch.
    pub fn new(labels: SoftLabels, store: &ImageStore, classes: usize, spec: &TrainSpec) -> Result<Replay> {
        let header = &labels.header;
        let made_for = (header.images as usize, header.size, header.classes.len(), header.batch);
        let wanted = (store.len(), store.size(), classes, spec.batch);
        if made_for != wanted {
            let say = |(images, size, classes, batch): (usize, u32, usize, u32)| {
                format!("{images} images of {size} px in {classes} classes, {batch} a step")
            };
            return Err(Error::input(
                format!("{}: the soft labels were made for {}, not for {}", spec.stage, say(made_for), say(wanted)),
                "train on the set they were made for, with its --size and --batch, or make them again with `smalti relabel`",
            ));
        }
        labels.check()?;
        let schedule = spec.schedule(store.len() as u32);
        let per_epoch = schedule.steps_of_epoch();
        let drawn = (labels.steps() < schedule.steps).then_some((u64::MAX, Vec::new()));
        Ok(Replay { labels: Box::new(labels), per_epoch, drawn, seed: spec.seed })
    }

    /// Bytes of the labels.
    ///
    /// # Errors
    /// When a file is gone.
    pub fn bytes(&self) -> Result<u64> {
        Ok(self.labels.bytes()?)
    }

    fn step(&mut self, number: u64) -> Result<Seen> {
        let pool = self.labels.steps();
        let stored = match &mut self.drawn {
            None => number,
            Some((known, steps)) => {
                let (epoch, place) = (number / self.per_epoch, number % self.per_epoch);
                if *known != epoch {
                    let mut stream = Stream::new(self.seed, Stage::Labels, epoch as u32, 0);
                    *steps = (0..self.per_epoch).map(|_| u64::from(stream.below(pool as u32))).collect();
                    *known = epoch;
                }
                steps[place as usize]
            }
        };
        let mut found = self.labels.step(stored)?;
        // The short last step of an epoch gives way to the one before it, so that drawn steps are full.
        let full = self.labels.header.batch.min(self.labels.header.images);
        if self.drawn.is_some() && stored > 0 && (found.rows.len() as u32) < full {
            found = self.labels.step(stored - 1)?;
        }
        Ok(seen_of(&found, &self.labels.header))
    }
}

fn seen_of(step: &LabelledStep, header: &LabelHeader) -> Seen {
    let flip = |flipped| if flipped { Flip::Yes } else { Flip::No };
    let items = step.rows.iter().map(|row| Item { index: row.image, epoch: row.epoch }).collect();
    let views = step
        .rows
        .iter()
        .map(|row| View { arrangement: row.arrangement, region: row.region, flipped: flip(row.flipped) })
        .collect();
    let mixed = step.mixed.map(|mixed| Mixed {
        partner: step.rows.iter().map(|row| row.partner).collect(),
        region: mixed.region,
        own: mixed.own,
    });
    let logits: Vec<f32> = step.logits.iter().map(|logit| logit.to_f32()).collect();
    let logits = Tensor::from_slice(&logits).reshape([-1, header.classes.len() as i64]);
    // Views that are distorted or grow are never stored.
    let sight = Sight { items, views, distort: (Distort::None, 0, 0), mixed, side: header.size };
    Seen { sight, stored: Some(logits) }
}

/// Writes what `teacher` says of the first `keep` steps of a training on `store`, a file per epoch; finished files of an earlier run stay.
/// `progress` is called with the number of images of each step.
///
/// # Errors
/// [`Error::Input`] for a logit that is no number or that 16 bits cannot hold, when the folder holds other or more labels, and for views that
/// are distorted or grow; what the store and the writing returned.
pub fn record(
    teacher: &Teacher,
    store: &ImageStore,
    spec: &TrainSpec,
    (dir, header, keep): (&Path, &LabelHeader, u64),
    engine: &Engine,
    progress: &dyn Fn(u64),
) -> Result<SoftLabels> {
    let what = match (spec.views.distort, spec.growth) {
        (Distort::None, Growth::None) => None,
        (Distort::None, _) => Some("views that grow".to_owned()),
        (distort, _) => Some(format!("views with `{}`", distort.name())),
    };
    if let Some(what) = what {
        return Err(Error::input(
            format!("{}: {what} cannot be stored", spec.stage),
            "choose a protocol without it, or a teacher that sees every batch",
        ));
    }
    check(store, spec)?;
    let header = &as_begun(dir, header);
    let images = store.len() as u32;
    let schedule = spec.schedule(images);
    let mut order = Order::new(spec.seed, images);
    let mut number = 0;
    let keep = keep.min(schedule.steps);
    for epoch in 0.. {
        let end = end_of_epoch(&schedule, images, epoch, number).min(keep);
        if number >= keep {
            break;
        }
        // The last epoch of a run that kept fewer labels is short, and is made again.
        if known_steps(dir, epoch, header)?.is_none_or(|steps| steps < end - number) && number < end {
            let mut failed = None;
            let steps = (number..end).map_while(|number| {
                let said = say(teacher, store, spec, &schedule.step(number), &mut order, engine);
                match said {
                    Ok(step) => {
                        progress(step.rows.len() as u64);
                        Some(Ok(step))
                    }
                    Err(error) => {
                        failed = Some(error);
                        // The writer must not finish a file that lacks a step.
                        Some(Err(smalti_data::Error::input("labels were not finished", "see the cause")))
                    }
                }
            });
            let written = write_epoch(dir, (epoch, number), header, steps);
            if let Some(error) = failed {
                return Err(error);
            }
            written?;
        }
        number = end;
    }
    let labels = SoftLabels::open(dir)?;
    match labels.steps() > keep {
        true => Err(Error::input(
            format!("`{}` holds labels of {} steps, more than the {keep} to be kept", dir.display(), labels.steps()),
            "give another folder, or keep as many",
        )),
        false => Ok(labels),
    }
}

/// The header of labels that an earlier version began, which does not say how images were decoded: all files of a folder have one header.
fn as_begun(dir: &Path, header: &LabelHeader) -> LabelHeader {
    let older = LabelHeader { decoding: None, ..header.clone() };
    match SoftLabels::open(dir) {
        Ok(known) if known.header == older => older,
        _ => header.clone(),
    }
}

/// How many steps the finished file of an epoch holds.
fn known_steps(dir: &Path, epoch: u32, header: &LabelHeader) -> Result<Option<u64>> {
    if !epoch_path(dir, epoch).exists() {
        return Ok(None);
    }
    let known = SoftLabels::open(dir)?;
    if known.header != *header {
        return Err(Error::input(
            format!("`{}` holds labels of something else", dir.display()),
            "give another folder, or remove this one",
        ));
    }
    Ok(Some(known.steps_of(dir, epoch)))
}

/// The step after the last that begins in an epoch.
fn end_of_epoch(schedule: &Schedule, images: u32, epoch: u32, from: u64) -> u64 {
    let beyond = (u64::from(epoch) + 1) * u64::from(images);
    (from..schedule.steps).find(|&number| schedule.step(number).first >= beyond).unwrap_or(schedule.steps)
}

fn say(
    teacher: &Teacher,
    store: &ImageStore,
    spec: &TrainSpec,
    step: &Planned,
    order: &mut Order,
    engine: &Engine,
) -> Result<LabelledStep> {
    let sight = Sight::draw(store, order.items(step), (&spec.views, store.size()), spec.mix, step.number)?;
    let images = sight.images(store, &spec.normalise, engine)?;
    let said = teacher.says(&images, &spec.normalise).contiguous().to_device(tch::Device::Cpu);
    let mut logits = vec![0f32; said.numel()];
    said.copy_data(&mut logits, said.numel());
    if let Some(logit) = logits.iter().find(|logit| !f16::from_f32(**logit).is_finite()) {
        let what = format!(
            "the teacher says {logit} of an image in step {} of {}, and labels are stored in 16 bits",
            step.number, spec.stage
        );
        return Err(Error::input(what, "train the teacher again with a lower --learning-rate, or name another"));
    }
    let partner = |place: usize| sight.mixed.as_ref().map_or(place as u32, |mixed| mixed.partner[place]);
    let row = |(place, (item, view)): (usize, (&Item, &View))| LabelRow {
        image: item.index,
        epoch: item.epoch,
        arrangement: view.arrangement,
        region: view.region,
        flipped: view.flipped == Flip::Yes,
        partner: partner(place),
    };
    Ok(LabelledStep {
        number: step.number,
        rows: sight.items.iter().zip(&sight.views).enumerate().map(row).collect(),
        mixed: sight.mixed.as_ref().map(|mixed| LabelMix { region: mixed.region, own: mixed.own }),
        logits: logits.into_iter().map(f16::from_f32).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    /// KL of (0.75, 0.25) from (0.5, 0.5) is 0.75 ln 1.5 + 0.25 ln 0.5.
    #[test]
    fn distances_by_hand() {
        let teacher = Tensor::from_slice(&[3f32.ln(), 0.0, 0.0, 0.0]).reshape([2, 2]);
        let student = Tensor::zeros([2, 2], (Kind::Float, tch::Device::Cpu));
        let kl = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        let of = |loss: SoftLoss| loss.of(&student, &teacher, &[0, 1]).double_value(&[]);
        assert!((of(SoftLoss::Kl { temperature: 1.0, factor: 1.0 }) - kl / 2.0).abs() < 1e-6);
        // At T = 2 the teacher says (√3, 1) / (√3 + 1).
        let p = 3f64.sqrt() / (3f64.sqrt() + 1.0);
        let warm = (p * (2.0 * p).ln() + (1.0 - p) * (2.0 * (1.0 - p)).ln()) / 2.0;
        assert!((of(SoftLoss::Kl { temperature: 2.0, factor: 4.0 }) - 4.0 * warm).abs() < 1e-6);
        let squared = 3f64.ln().powi(2) / 4.0 + 0.1 * 2f64.ln();
        assert!((of(SoftLoss::Mse { cross_entropy: 0.1 }) - squared).abs() < 1e-6);
    }

    #[test]
    fn a_mixed_image_has_both_labels() {
        let logits = Tensor::from_slice(&[3f32.ln(), 0.0, 0.0, 0.0]).reshape([2, 2]);
        let mixed = Mixed { partner: vec![1, 0], region: None, own: 0.25 };
        let found = cross_entropy(&logits, &[0, 1], Some(&mixed)).double_value(&[]);
        // Own labels cost -ln 0.75 and ln 2, the partners' -ln 0.25 and ln 2.
        let own = (-(0.75f64.ln()) + 2f64.ln()) / 2.0;
        let others = (-(0.25f64.ln()) + 2f64.ln()) / 2.0;
        assert!((found - (0.25 * own + 0.75 * others)).abs() < 1e-6, "{found}");
    }
}
