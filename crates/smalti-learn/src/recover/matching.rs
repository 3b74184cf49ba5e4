//! What is matched: the mean and variance that layers expect of their inputs.

use super::generalised::Averages;
use super::views::View;
use super::{Curriculum, Generalised, Jitter, Look, RecoverSpec};
use crate::batch::{Normalise, plain_batch};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::inference::at_once;
use crate::nets::{Hearing, Layer, Moments, Network, Seen};
use smalti_data::random::{Stage, Stream};
use smalti_data::store::ImageStore;
use tch::{Kind, Tensor};

/// What each layer is to see.
#[derive(Debug)]
pub struct Targets {
    /// Of each channel for every batch norm in definition order: `[C]`, or `[batches, C]` where each batch has its own.
    norms: Vec<Moments>,
    /// Of channels `[C]` and of cells `[cells]`, for every convolution in definition order; none where they do not count.
    convolutions: Vec<(Moments, Moments)>,
}

impl Targets {
    /// The running statistics of a network: those of all its training images.
    pub fn running(network: &Network) -> Targets {
        Targets { norms: network.norms(), convolutions: Vec::new() }
    }

    /// The same, and those of every convolution: one pass over `store` in an order of its own under running statistics, each image with a crop and flip as
    /// recover draws them at first. Moments are taken over [`Generalised::measured`] images at once and averaged, sums being 64-bit.
    ///
    /// # Errors
    /// As [`crate::inference::for_each_batch`].
    pub fn with_convolutions(
        network: &Network,
        store: &ImageStore,
        (crop, generalised): (Curriculum, &Generalised),
        normalise: &Normalise,
        (seed, engine): (u64, &Engine),
        progress: &dyn Fn(u64),
    ) -> Result<Targets> {
        network.check_fits(store, "statistics of convolutions")?;
        let mut order: Vec<u32> = (0..store.len() as u32).collect();
        Stream::new(seed, Stage::Measure, 0, 0).shuffle(&mut order);
        let mut sums: Vec<[Tensor; 4]> = Vec::new();
        for indices in order.chunks(generalised.measured.max(1) as usize) {
            let shown = views((store, indices), crop, normalise, (seed, engine))?;
            let hearing = Hearing::Convolutions { cell: i64::from(generalised.cell), skipped: vec![] };
            let (_, seen) = tch::no_grad(|| network.forward_heard(&shown, hearing));
            let part = indices.len() as f64 / order.len() as f64;
            add_convolutions(&mut sums, seen, part);
            progress(indices.len() as u64);
        }
        let plain = |sum: Tensor| sum.to_kind(Kind::Float);
        let of = |[mean, variance, cell_mean, cell_variance]: [Tensor; 4]| {
            let channels = Moments { mean: plain(mean), variance: plain(variance) };
            (channels, Moments { mean: plain(cell_mean), variance: plain(cell_variance) })
        };
        Ok(Targets { norms: network.norms(), convolutions: sums.into_iter().map(of).collect() })
    }

    /// What a layer is to see: of its channels and, if it is a convolution, of its cells.
    fn of_layer(&self, layer: Layer) -> (&Moments, Option<&Moments>) {
        match layer {
            Layer::Norm(number) => (&self.norms[number], None),
            Layer::Convolution(number) => {
                let (channels, cells) = &self.convolutions[number];
                (channels, Some(cells))
            }
        }
    }

    /// That they are those of the layers of `network` that count.
    ///
    /// # Errors
    /// [`Error::Input`] for a network without batch norms or with other layers, or statistics of another number of batches.
    pub(super) fn check(&self, network: &Network, spec: &RecoverSpec, (stage, batches): (&str, usize)) -> Result<()> {
        check_norms(network, stage)?;
        let own = network.norms();
        let alike = |(a, b): (&Moments, &Moments)| {
            let (own, expected) = (a.mean.size(), b.mean.size());
            expected == own || expected == [batches as i64, own[0]]
        };
        let fits = own.len() == self.norms.len() && own.iter().zip(&self.norms).all(alike);
        let convolutions = if spec.generalised.is_some() { network.convolutions() } else { 0 };
        if !fits || self.convolutions.len() != convolutions {
            return Err(Error::input(
                format!("{stage}: the statistics belong to another network than {}", network.name),
                "take them from the teacher itself",
            ));
        }
        Ok(())
    }
}

/// That a network has statistics to match; `stage` names who asks.
///
/// # Errors
/// [`Error::Input`] for a network without batch norms.
pub fn check_norms(network: &Network, stage: &str) -> Result<()> {
    if network.norms().is_empty() {
        return Err(Error::input(
            format!("{stage}: {} has no batch norm whose statistics could be matched", network.name),
            "take a teacher with batch norms: resnet18, mobilenet_v2, convnet-3",
        ));
    }
    Ok(())
}

/// Stored images, each with a crop and flip of its own as recover draws them at first: [images, 3, S, S].
fn views(
    (store, indices): (&ImageStore, &[u32]),
    crop: Curriculum,
    normalise: &Normalise,
    (seed, engine): (u64, &Engine),
) -> Result<Tensor> {
    let look = Look { crop, jitter: Jitter::Forward { most: 0 } };
    let (mean, std) = normalise.tensors(engine.device);
    // The published code pads real images before it normalises them: with black, where synthetic ones get zeros.
    let black = -mean / std;
    let images = plain_batch(store, indices, normalise, engine)? - &black;
    let view = |(at, &index): (i64, &u32)| {
        let stream = Stream::new(seed, Stage::Measure, 1, index.into());
        View::draw(&look, store.size(), 0.0, stream).of(&images.narrow(0, at, 1))
    };
    Ok(Tensor::cat(&(0..).zip(indices).map(view).collect::<Vec<_>>(), 0) + &black)
}

/// Adds a part of what convolutions saw to the sums of their moments, in definition order.
fn add_convolutions(sums: &mut Vec<[Tensor; 4]>, seen: Vec<Seen>, part: f64) {
    for Seen { layer, channels, cells } in seen {
        let (Layer::Convolution(number), Some(cells)) = (layer, cells) else { continue };
        let found = [channels.mean, channels.variance, cells.mean, cells.variance];
        let found = found.map(|moment| moment.to_kind(Kind::Double) * part);
        // A network may use its layers in another order than that of definition.
        while sums.len() <= number {
            sums.push([(); 4].map(|()| Tensor::zeros([1], (Kind::Double, found[0].device()))));
        }
        for (sum, found) in sums[number].iter_mut().zip(found) {
            *sum = &*sum + found;
        }
    }
}

/// Σ w (v · ‖variance − expected‖ + ‖mean − expected‖) over the layers and batches, for convolutions over channels and over cells, plain Euclidean norms; w is the
/// weight of the first layer, which is a convolution where these count, then 1. Where there are averages these are compared.
pub(super) fn distance(
    seen: &[Seen],
    targets: &Targets,
    spec: &RecoverSpec,
    mut averages: Option<&mut Averages>,
) -> Tensor {
    let first = if spec.generalised.is_some() { Layer::Convolution(0) } else { Layer::Norm(0) };
    let mut terms = Vec::new();
    for seen in seen {
        let (channels, cells) = targets.of_layer(seen.layer);
        let weight = if seen.layer == first { spec.first_layer } else { 1.0 };
        let mut off = |number: usize, found: &Tensor, expected: &Tensor| match &mut averages {
            Some(averages) => length(&(averages.with((seen.layer, number), found) - expected)),
            None => length(&(found - expected)),
        };
        let pairs = [(Some(&seen.channels), Some(channels)), (seen.cells.as_ref(), cells)];
        for (number, pair) in pairs.into_iter().enumerate() {
            if let (Some(found), Some(expected)) = pair {
                let variance = off(2 * number, &found.variance, &expected.variance);
                let mean = off(2 * number + 1, &found.mean, &expected.mean);
                terms.push((variance * spec.variance + mean) * weight);
            }
        }
    }
    Tensor::stack(&terms, 0).sum(Kind::Float)
}

/// Of each row, added up.
fn length(rows: &Tensor) -> Tensor {
    rows.norm_scalaropt_dim(2, [-1], false).sum(Kind::Float)
}

/// Exact moments of what every norm sees of the images of each class, for LPLD's class-wise statistics. (Its code averages them exponentially over
/// batches that hold about one image of a class, and so loses most of the variance between images.)
pub struct ClassStatistics {
    /// By norm: mean and variance, [classes, C].
    norms: Vec<(Tensor, Tensor)>,
    /// Images of each class.
    images: Vec<u64>,
}

impl ClassStatistics {
    /// One pass over `store` under running statistics, each image with a crop and flip as recover draws them at first; sums are 64-bit.
    ///
    /// # Errors
    /// As [`crate::inference::for_each_batch`].
    pub fn measure(
        network: &Network,
        store: &ImageStore,
        crop: Curriculum,
        normalise: &Normalise,
        (seed, engine): (u64, &Engine),
        progress: &dyn Fn(u64),
    ) -> Result<ClassStatistics> {
        network.check_fits(store, "class statistics")?;
        let classes = network.shape.classes as i64;
        let options = (Kind::Double, engine.device);
        let zeros = |channels: i64| Tensor::zeros([classes, channels], options);
        let mut sums: Vec<(Tensor, Tensor)> =
            network.norms().iter().map(|norm| (zeros(norm.mean.size()[0]), zeros(norm.mean.size()[0]))).collect();
        let mut images = vec![0u64; classes as usize];
        let all: Vec<u32> = (0..store.len() as u32).collect();
        for indices in all.chunks(at_once(store.size())) {
            let labels: Vec<u32> = indices.iter().map(|&i| store.label(i)).collect();
            labels.iter().for_each(|&label| images[label as usize] += 1);
            let rows = crate::batch::label_tensor(&labels, engine.device);
            let shown = views((store, indices), crop, normalise, (seed, engine))?;
            let (_, seen) = tch::no_grad(|| network.forward_heard(&shown, Hearing::Norms { at_once: 1 }));
            for Seen { layer, channels: Moments { mean, variance }, .. } in seen {
                let Layer::Norm(norm) = layer else { continue };
                let (mean, variance) = (mean.to_kind(Kind::Double), variance.to_kind(Kind::Double));
                let squares = &variance + mean.square();
                let _ = sums[norm].0.index_add_(0, &rows, &mean);
                let _ = sums[norm].1.index_add_(0, &rows, &squares);
            }
            progress(indices.len() as u64);
        }
        let counts: Vec<f64> = images.iter().map(|&n| n.max(1) as f64).collect();
        let counts = Tensor::from_slice(&counts).unsqueeze(1).to_device(engine.device);
        let moments = |(mean, squares): (Tensor, Tensor)| {
            let mean = mean / &counts;
            let variance = (squares / &counts - mean.square()).clamp_min(0.0);
            (mean.to_kind(Kind::Float), variance.to_kind(Kind::Float))
        };
        Ok(ClassStatistics { norms: sums.into_iter().map(moments).collect(), images })
    }

    /// Those of batches that are each of one class.
    ///
    /// # Errors
    /// [`Error::Input`] for a class without images.
    pub fn targets(&self, classes: &[u32]) -> Result<Targets> {
        if let Some(class) = classes.iter().find(|&&class| self.images.get(class as usize).is_none_or(|&n| n == 0)) {
            return Err(Error::input(
                format!("class {class} has no image whose statistics could be matched"),
                "give every class an image, or leave the class out",
            ));
        }
        let own: Vec<i64> = classes.iter().map(|&class| class.into()).collect();
        let rows = |table: &Tensor| table.index_select(0, &Tensor::from_slice(&own).to_device(table.device()));
        let of = |(mean, variance): &(Tensor, Tensor)| Moments { mean: rows(mean), variance: rows(variance) };
        Ok(Targets { norms: self.norms.iter().map(of).collect(), convolutions: Vec::new() })
    }
}

#[cfg(test)]
impl Targets {
    pub(super) fn of(norms: Vec<Moments>, convolutions: Vec<(Moments, Moments)>) -> Targets {
        Targets { norms, convolutions }
    }
}
