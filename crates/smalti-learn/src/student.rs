//! Students: networks trained on a small set and measured on the test images. The last epoch counts.

use crate::batch::{IMAGENET, Normalise};
use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::inference::for_each_batch;
use crate::measure::label_ranks;
use crate::nets::{Network, Shape};
use crate::train::{History, Observer, Step, TrainSpec, train};
use smalti_data::store::ImageStore;
use std::time::Instant;

/// One finished student.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StudentResult {
    /// Key of weights, order and views.
    pub seed: u64,
    /// Percent of test images whose label has the largest logit.
    pub top1_percent: f64,
    /// Percent whose label is among the five largest.
    pub top5_percent: f64,
    /// Top-1 of each class, none for a class without test images.
    pub class_top1_percent: Vec<Option<f64>>,
    /// Images of training per second of the loop, loader included.
    pub images_per_second: f64,
    /// Seconds of the evaluation.
    pub eval_seconds: f64,
    /// What the loop measured.
    pub history: History,
}

/// Accuracy on a labelled set.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// Percent, top-1.
    pub top1_percent: f64,
    /// Percent, top-5.
    pub top5_percent: f64,
    /// Percent, top-1, by class.
    pub class_top1_percent: Vec<Option<f64>>,
}

/// Trains a fresh `network` on `train_set` as `spec` says and measures it on `test_set`.
///
/// # Errors
/// [`Error::Input`] when the two sets do not fit each other or the network, what the loop returned, or libtorch's refusal with the
/// stage's name.
pub fn run(
    network: &str,
    classes: usize,
    train_set: &ImageStore,
    test_set: &ImageStore,
    spec: &TrainSpec,
    engine: &Engine,
    progress: &dyn Fn(u64),
) -> Result<(StudentResult, Network)> {
    guard(&spec.stage, || {
        let shape = Shape { classes, size: train_set.size() };
        let network = Network::new(network, shape, spec.seed, engine)?;
        // Before the training, which may take hours.
        check_test_set(&network, test_set)?;
        let history = train(&network, train_set, spec, engine, &mut Watch { progress })?;
        let start = Instant::now();
        let accuracy = measure(&network, test_set, &spec.normalise, engine)?;
        let result = StudentResult {
            seed: spec.seed,
            top1_percent: accuracy.top1_percent,
            top5_percent: accuracy.top5_percent,
            class_top1_percent: accuracy.class_top1_percent,
            images_per_second: history.images_seen as f64 / history.seconds.max(1e-9),
            eval_seconds: start.elapsed().as_secs_f64(),
            history,
        };
        Ok((result, network))
    })
}

/// Accuracy of `network` on `store` under running statistics, with ImageNet's constants.
///
/// # Errors
/// [`Error::Input`] when `store` is empty or not what the network was built for; when a spooled image cannot be read back.
pub fn evaluate(network: &Network, store: &ImageStore, engine: &Engine) -> Result<Accuracy> {
    guard(TEST, || {
        check_test_set(network, store)?;
        measure(network, store, &IMAGENET, engine)
    })
}

/// Name of the evaluation in errors.
const TEST: &str = "the test set";

fn check_test_set(network: &Network, store: &ImageStore) -> Result<()> {
    if store.is_empty() {
        return Err(Error::input(format!("{TEST} has no images"), "give it a test set with at least one image"));
    }
    network.check_fits(store, TEST)
}

fn measure(network: &Network, store: &ImageStore, normalise: &Normalise, engine: &Engine) -> Result<Accuracy> {
    let (mut top1, mut top5) = (0usize, 0usize);
    let mut classes = vec![(0usize, 0usize); network.shape.classes];
    for_each_batch(network, store, normalise, engine, TEST, |indices, output| {
        let labels: Vec<u32> = indices.iter().map(|&i| store.label(i)).collect();
        for (rank, &label) in label_ranks(&output.logits, &labels).into_iter().zip(&labels) {
            top1 += usize::from(rank == 0);
            top5 += usize::from(rank < 5);
            let class = &mut classes[label as usize];
            *class = (class.0 + usize::from(rank == 0), class.1 + 1);
        }
        Ok(())
    })?;
    let percent = |right: usize, of: usize| 100.0 * right as f64 / of as f64;
    Ok(Accuracy {
        top1_percent: percent(top1, store.len()),
        top5_percent: percent(top5, store.len()),
        class_top1_percent: classes.iter().map(|&(right, of)| (of > 0).then(|| percent(right, of))).collect(),
    })
}

struct Watch<'a> {
    progress: &'a dyn Fn(u64),
}

impl Observer for Watch<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        (self.progress)(step.items.len() as u64);
        Ok(())
    }

    fn epoch_end(&mut self, _epoch: u32, _network: &Network) -> Result<()> {
        Ok(())
    }
}
