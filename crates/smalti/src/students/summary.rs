//! Students of several seeds, put together.

use super::{Training, program};
use crate::report::stats::mean_sd;
use crate::sources::{TestSet, TrainSet};
use serde::Serialize;
use smalti_learn::engine::Engine;
use smalti_learn::student::StudentResult;

/// Students of several seeds on one set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Mean top-1 of the last step, in percent.
    pub top1_percent: f64,
    /// Sample standard deviation over seeds; none for one seed.
    pub top1_sd: Option<f64>,
    /// Mean top-5, in percent.
    pub top5_percent: f64,
    /// Sample standard deviation over seeds.
    pub top5_sd: Option<f64>,
    /// Settings.
    pub training: Training,
    /// Images in the training set.
    pub train_images: u64,
    /// Images measured on.
    pub test_images: u64,
    /// Images of both that do not decode and were left out.
    pub skipped_images: u64,
    /// Encoded bytes of the training images.
    pub image_bytes: u64,
    /// Bytes of their labels.
    pub label_bytes: u64,
    /// `bf16` or `f32`.
    pub precision: String,
    /// Threads used.
    pub threads: usize,
    /// Version and commit of the program.
    pub program: String,
    /// Every student.
    pub runs: Vec<StudentResult>,
}

/// Puts finished students together.
pub fn summarise(
    training: &Training,
    (train, test): (&TrainSet, &TestSet),
    sizes: (usize, usize),
    engine: &Engine,
    runs: Vec<StudentResult>,
) -> Summary {
    let top1 = mean_sd(&runs.iter().map(|r| r.top1_percent).collect::<Vec<_>>());
    let top5 = mean_sd(&runs.iter().map(|r| r.top5_percent).collect::<Vec<_>>());
    Summary {
        top1_percent: top1.mean,
        top1_sd: top1.sd,
        top5_percent: top5.mean,
        top5_sd: top5.sd,
        training: training.clone(),
        train_images: sizes.0 as u64,
        test_images: sizes.1 as u64,
        skipped_images: (train.skipped() + test.skipped()) as u64,
        image_bytes: train.image_bytes,
        label_bytes: train.label_bytes,
        precision: engine.precision_name().to_owned(),
        threads: engine.threads,
        program: program(),
        runs,
    }
}
