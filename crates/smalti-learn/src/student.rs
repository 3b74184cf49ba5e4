//! Students: networks trained on a small set and measured on the test images. The last epoch counts.

use crate::batch::Normalise;
use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::inference::for_each_batch;
use crate::labels::Labels;
use crate::measure::label_ranks;
use crate::nets::{Network, Shape};
use crate::schedule::Length;
use crate::train::{History, Observer, Step, TrainSpec, train};
use smalti_data::random::{Stage, Stream};
use smalti_data::store::ImageStore;
use std::time::Instant;

/// One finished student.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StudentResult {
    /// Key of weights, order and views.
    pub seed: u64,
    /// Percent of test images whose label has the largest logit.
    pub top1_percent: f64,
    /// The best of all measurements of this student, the last included: it was chosen on the test images and is no result. None where only
    /// the last was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_top1_percent: Option<f64>,
    /// Percent whose label is among the five largest.
    pub top5_percent: f64,
    /// Whether each test image was right after the last step, in the order of the store.
    #[serde(skip)]
    pub right: Vec<bool>,
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
    /// Whether each image was right, in the order of the store.
    pub right: Vec<bool>,
    /// Percent, top-1, by class.
    pub class_top1_percent: Vec<Option<f64>>,
}

/// One student to be trained and measured.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// Network name.
    pub network: &'a str,
    /// Number of classes.
    pub classes: usize,
    /// Images to train on.
    pub train: &'a ImageStore,
    /// Images to measure on.
    pub test: &'a ImageStore,
    /// How it is trained.
    pub spec: &'a TrainSpec,
    /// When it is measured besides after the last step.
    pub checks: Option<Checks>,
}

/// Measurements while a student is trained, of which some protocols report the best.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checks {
    /// After every so many epochs.
    pub every: Every,
    /// From this part of the epochs on.
    pub from: f64,
}

/// How often a student is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Every {
    /// A number of epochs.
    Epochs(u32),
    /// A hundredth of all epochs, rounded down.
    Hundredth,
}

impl Every {
    fn epochs(self, all: u32) -> u32 {
        match self {
            Every::Epochs(epochs) => epochs.max(1),
            Every::Hundredth => (all / 100).max(1),
        }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Every::Epochs(epochs) => format!("{epochs} epochs"),
            Every::Hundredth => "hundredth of the epochs".to_owned(),
        }
    }
}

impl Checks {
    /// Whether a student is measured after an epoch, counted from 0.
    fn due(self, epoch: u32, length: Length) -> bool {
        let Some(epochs) = length.epochs() else { return false };
        let done = epoch + 1;
        done.is_multiple_of(self.every.epochs(epochs))
            && f64::from(done) > self.from * f64::from(epochs)
            && done < epochs
    }
}

/// The seed of a student's initial weights. A network of the same name and seed that learned hard labels may be the teacher, and a student that starts where
/// its teacher did finds it too easily: with the loss on logits even from noise (see ARCHITECTURE.md).
fn first_weights(seed: u64, labels: &Labels) -> u64 {
    match labels {
        Labels::Hard => seed,
        Labels::Online { .. } | Labels::Stored { .. } => Stream::new(seed, Stage::SoftStudent, 0, 0).next_u64(),
    }
}

/// Trains a fresh network with `labels` and measures it on the test images after the last step.
///
/// # Errors
/// [`Error::Input`] when the two sets do not fit each other or the network, what the loop returned, or libtorch's refusal with the
/// stage's name.
pub fn run(
    task: &Task,
    labels: &mut Labels,
    engine: &Engine,
    progress: &dyn Fn(u64),
) -> Result<(StudentResult, Network)> {
    let Task { classes, train: train_set, test: test_set, spec, .. } = *task;
    guard(&spec.stage, || {
        let shape = Shape { classes, size: train_set.size() };
        let network = Network::new(task.network, shape, first_weights(spec.seed, labels), engine)?;
        // Before the training, which may take hours.
        check_test_set(&network, test_set)?;
        let mut watch = Watch { task, engine, progress, best: None };
        let history = train(&network, train_set, labels, spec, engine, &mut watch)?;
        let start = Instant::now();
        let accuracy = measure(&network, test_set, &spec.normalise, engine)?;
        let result = StudentResult {
            seed: spec.seed,
            top1_percent: accuracy.top1_percent,
            best_top1_percent: watch.best.map(|best| best.max(accuracy.top1_percent)),
            top5_percent: accuracy.top5_percent,
            right: accuracy.right,
            class_top1_percent: accuracy.class_top1_percent,
            images_per_second: history.images_seen as f64 / history.seconds.max(1e-9),
            eval_seconds: start.elapsed().as_secs_f64(),
            history,
        };
        Ok((result, network))
    })
}

/// Accuracy of `network` on `store` under running statistics, with the constants that it was trained with.
///
/// # Errors
/// [`Error::Input`] when `store` is empty or not what the network was built for; when a spooled image cannot be read back.
pub fn evaluate(network: &Network, store: &ImageStore, normalise: &Normalise, engine: &Engine) -> Result<Accuracy> {
    guard(TEST, || {
        check_test_set(network, store)?;
        measure(network, store, normalise, engine)
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
    let (mut right, mut top5) = (Vec::with_capacity(store.len()), 0usize);
    let mut classes = vec![(0usize, 0usize); network.shape.classes];
    for_each_batch(network, store, normalise, engine, TEST, |indices, output| {
        let labels: Vec<u32> = indices.iter().map(|&i| store.label(i)).collect();
        if output.logits.isfinite().all().int64_value(&[]) == 0 {
            let what = format!("the network {} says of {TEST} what is no number", network.name);
            return Err(Error::input(what, "its training diverged: lower --learning-rate"));
        }
        for (rank, &label) in label_ranks(&output.logits, &labels).into_iter().zip(&labels) {
            right.push(rank == 0);
            top5 += usize::from(rank < 5);
            let class = &mut classes[label as usize];
            *class = (class.0 + usize::from(rank == 0), class.1 + 1);
        }
        Ok(())
    })?;
    let percent = |right: usize, of: usize| 100.0 * right as f64 / of as f64;
    Ok(Accuracy {
        top1_percent: percent(right.iter().filter(|&&right| right).count(), store.len()),
        right,
        top5_percent: percent(top5, store.len()),
        class_top1_percent: classes.iter().map(|&(right, of)| (of > 0).then(|| percent(right, of))).collect(),
    })
}

struct Watch<'a> {
    task: &'a Task<'a>,
    engine: &'a Engine,
    progress: &'a dyn Fn(u64),
    best: Option<f64>,
}

impl Observer for Watch<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        (self.progress)(step.items.len() as u64);
        Ok(())
    }

    fn epoch_end(&mut self, epoch: u32, network: &Network) -> Result<()> {
        let Task { test, spec, checks, .. } = *self.task;
        if checks.is_some_and(|checks| checks.due(epoch, spec.length)) {
            let top1 = measure(network, test, &spec.normalise, self.engine)?.top1_percent;
            self.best = Some(self.best.map_or(top1, |best| best.max(top1)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Precision;
    use crate::labels::SoftLoss;
    use crate::teacher::Teacher;

    #[test]
    fn a_student_does_not_start_where_a_teacher_of_its_seed_did() {
        let engine = Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere");
        let network = Network::new("convnet-1/4", Shape { classes: 2, size: 8 }, 3, &engine).expect("in the list");
        let teacher = Teacher::new(network, vec![0, 1]);
        let soft = || Labels::Online { teacher: &teacher, loss: SoftLoss::Kl { temperature: 1.0, factor: 1.0 } };
        assert_eq!(first_weights(3, &Labels::Hard), 3);
        assert_ne!(first_weights(3, &soft()), 3);
        assert_eq!(first_weights(3, &soft()), first_weights(3, &soft()));
        assert_ne!(first_weights(3, &soft()), first_weights(4, &soft()));
    }
}
