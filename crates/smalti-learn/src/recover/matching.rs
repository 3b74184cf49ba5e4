//! What is matched: the mean and variance that each batch norm expects of its input.

use super::RecoverSpec;
use crate::batch::{Normalise, plain_batch};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::inference::at_once;
use crate::nets::{Network, Over, Seen};
use smalti_data::store::ImageStore;
use tch::{Kind, Tensor};

/// Mean and variance `[C]` of every batch norm, in definition order.
#[derive(Debug)]
pub struct Targets {
    norms: Vec<(Tensor, Tensor)>,
}

impl Targets {
    /// The running statistics of a network: those of all its training images.
    pub fn running(network: &Network) -> Targets {
        Targets { norms: network.norms() }
    }

    /// That they belong to the norms of `network`.
    ///
    /// # Errors
    /// [`Error::Input`] for a network without batch norms, or with others.
    pub(super) fn check(&self, network: &Network, stage: &str) -> Result<()> {
        let own = network.norms();
        if own.is_empty() {
            return Err(Error::input(
                format!("{stage}: {} has no batch norm whose statistics could be matched", network.name),
                "take a teacher with batch norms: resnet18, mobilenet_v2, convnet-3",
            ));
        }
        let fits = own.len() == self.norms.len() && own.iter().zip(&self.norms).all(|(a, b)| a.0.size() == b.0.size());
        if !fits {
            return Err(Error::input(
                format!("{stage}: the statistics belong to another network than {}", network.name),
                "take them from the teacher itself",
            ));
        }
        Ok(())
    }
}

/// Σ w (v · ‖variance − expected‖ + ‖mean − expected‖) over the norms, plain Euclidean norms over channels; w is the weight of the first norm, then 1.
pub(super) fn distance(seen: &[Seen], targets: &Targets, spec: &RecoverSpec) -> Tensor {
    let term = |seen: &Seen| {
        let (mean, variance) = &targets.norms[seen.norm];
        let of = |found: &Tensor, expected: &Tensor| (found - expected).norm();
        let weight = if seen.norm == 0 { spec.first_norm } else { 1.0 };
        (of(&seen.variance, variance) * spec.variance + of(&seen.mean, mean)) * weight
    };
    let terms: Vec<Tensor> = seen.iter().map(term).collect();
    Tensor::stack(&terms, 0).sum(Kind::Float)
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
    /// One pass over `store` under running statistics, unaugmented; sums are 64-bit.
    ///
    /// # Errors
    /// As [`crate::inference::for_each_batch`].
    pub fn measure(
        network: &Network,
        store: &ImageStore,
        normalise: &Normalise,
        engine: &Engine,
        progress: &dyn Fn(u64),
    ) -> Result<ClassStatistics> {
        network.check_fits(store, "class statistics")?;
        let classes = network.shape.classes as i64;
        let options = (Kind::Double, engine.device);
        let zeros = |channels: i64| Tensor::zeros([classes, channels], options);
        let mut sums: Vec<(Tensor, Tensor)> =
            network.norms().iter().map(|(mean, _)| (zeros(mean.size()[0]), zeros(mean.size()[0]))).collect();
        let mut images = vec![0u64; classes as usize];
        let all: Vec<u32> = (0..store.len() as u32).collect();
        for indices in all.chunks(at_once(store.size())) {
            let labels: Vec<u32> = indices.iter().map(|&i| store.label(i)).collect();
            labels.iter().for_each(|&label| images[label as usize] += 1);
            let rows = crate::batch::label_tensor(&labels, engine.device);
            let shown = plain_batch(store, indices, normalise, engine)?;
            let (_, seen) = tch::no_grad(|| network.forward_heard(&shown, Over::Image));
            for Seen { norm, mean, variance } in seen {
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

    /// Those of one class.
    ///
    /// # Errors
    /// [`Error::Input`] for a class without images.
    pub fn targets(&self, class: u32) -> Result<Targets> {
        match self.images.get(class as usize) {
            Some(0) | None => Err(Error::input(
                format!("class {class} has no image whose statistics could be matched"),
                "give every class an image, or leave the class out",
            )),
            Some(_) => {
                let row = |table: &Tensor| table.get(i64::from(class));
                Ok(Targets { norms: self.norms.iter().map(|(mean, variance)| (row(mean), row(variance))).collect() })
            }
        }
    }
}

#[cfg(test)]
impl Targets {
    pub(super) fn of(norms: Vec<(Tensor, Tensor)>) -> Targets {
        Targets { norms }
    }
}
