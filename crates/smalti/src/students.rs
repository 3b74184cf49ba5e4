//! Students: complete training settings, several seeds, and their summary.

use crate::error::{unknown, usage};
use crate::report::stats::mean_sd;
use crate::sources::TrainSet;
use crate::ui::{Ui, count};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use smalti_data::crop::CropRange;
use smalti_data::store::{Fit, ImageStore};
use smalti_learn::augment::{AUGMENTS, Augment};
use smalti_learn::batch::{IMAGENET, Views};
use smalti_learn::engine::Engine;
use smalti_learn::nets::{Network, full_name};
use smalti_learn::optim::OptimiserSpec;
use smalti_learn::protocols::{PROTOCOLS, Protocol};
use smalti_learn::student::{self, StudentResult};
use smalti_learn::train::{Length, TrainSpec, step_count};

/// Training settings as far as they were given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainingRecipe {
    /// Network name.
    pub student: Option<String>,
    /// A row of [`PROTOCOLS`]: where the rest comes from when it is not given.
    pub protocol: Option<String>,
    /// What a step sees of a stored image.
    pub augment: Option<String>,
    /// Total number of images to train on, repeats counted.
    pub images_seen: Option<u64>,
    /// Passes over the set, instead of `images-seen`.
    pub epochs: Option<u32>,
    /// Images per step.
    pub batch: Option<u32>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// Smallest area of a crop, as a part of its tile or image.
    pub crop_min: Option<f64>,
}

/// Complete training settings; they stand beside every number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Training {
    /// Network, with width and norm.
    pub student: String,
    /// Name of the protocol that the settings started from.
    pub protocol: String,
    /// Update rule.
    pub optimiser: OptimiserSpec,
    /// Images per step.
    pub batch: u32,
    /// How long.
    pub length: Length,
    /// What a step sees.
    pub augment: Augment,
    /// Range of the crops.
    pub crop: CropRange,
    /// How test images are fitted.
    pub fit: Fit,
}

/// Network unless told otherwise: the benchmark's.
const STUDENT: &str = "resnet18";

/// Fewer steps than this and a student has hardly begun to learn.
const FEW_STEPS: u64 = 1000;

impl TrainingRecipe {
    /// Completes the settings.
    ///
    /// # Errors
    /// For names that are in no list and numbers out of range.
    pub fn settle(&self) -> Result<Training> {
        let name = self.protocol.as_deref().unwrap_or(PROTOCOLS[0].name);
        let protocol =
            Protocol::named(name).ok_or_else(|| unknown("protocol", name, PROTOCOLS.iter().map(|p| p.name)))?;
        let augment = match self.augment.as_deref() {
            None => protocol.augment,
            Some(name) => {
                Augment::parse(name).ok_or_else(|| unknown("augmentation", name, AUGMENTS.iter().map(|a| a.name)))?
            }
        };
        let length = match (self.images_seen, self.epochs) {
            (Some(_), Some(_)) => {
                return Err(usage("both images seen and epochs are given", "give --images-seen or --epochs, not both"));
            }
            (Some(seen), None) => Length::ImagesSeen(seen),
            (None, Some(epochs)) => Length::Epochs(epochs),
            (None, None) => protocol.length,
        };
        let batch = self.batch.unwrap_or(protocol.batch);
        if batch == 0 || matches!(length, Length::ImagesSeen(0) | Length::Epochs(0)) {
            return Err(usage("a student of no step learns nothing", "give --images-seen and --batch above 0"));
        }
        let crop = match self.crop_min {
            Some(min) => CropRange { scale: (min, 1.0), ..protocol.crop },
            None => protocol.crop,
        };
        crop.check()?;
        let optimiser = match self.learning_rate {
            Some(rate) if rate > 0.0 && rate.is_finite() => protocol.optimiser.with_learning_rate(rate),
            Some(rate) => {
                return Err(usage(
                    format!("a learning rate of {rate} cannot train"),
                    "give --learning-rate 0.001, say",
                ));
            }
            None => protocol.optimiser,
        };
        let student = full_name(self.student.as_deref().unwrap_or(STUDENT));
        Ok(Training {
            student,
            protocol: protocol.name.to_owned(),
            optimiser,
            batch,
            length,
            augment,
            crop,
            fit: protocol.fit,
        })
    }
}

impl Training {
    /// What the loop needs for one seed; `name` is used in errors.
    pub fn spec(&self, name: &str, seed: u64) -> TrainSpec {
        TrainSpec {
            stage: format!("student {} on {name} seed {seed}", self.student),
            optimiser: self.optimiser,
            batch: self.batch,
            length: self.length,
            views: Views { augment: self.augment, range: self.crop, seed },
            normalise: IMAGENET,
            seed,
        }
    }

    /// Images that a student sees on a set of so many.
    pub fn images_seen(&self, images: usize) -> u64 {
        match self.length {
            Length::Epochs(epochs) => u64::from(epochs) * images as u64,
            Length::ImagesSeen(seen) => seen / u64::from(self.batch) * u64::from(self.batch),
        }
    }

    /// The settings in words, for tables and pages.
    pub fn describe(&self) -> Vec<(String, String)> {
        let length = match self.length {
            Length::Epochs(epochs) => format!("{epochs} epochs, learning rate changed per epoch"),
            Length::ImagesSeen(seen) => format!("{} seen, learning rate changed per step", count(seen, "image")),
        };
        let optimiser = match self.optimiser {
            OptimiserSpec::AdamW { learning_rate, weight_decay } => {
                format!(
                    "AdamW, learning rate {learning_rate}, weight decay {weight_decay} on weights of more than one dimension"
                )
            }
            OptimiserSpec::Sgd { learning_rate, momentum, weight_decay } => {
                format!("SGD, learning rate {learning_rate}, momentum {momentum}, weight decay {weight_decay}")
            }
        };
        let fit = match self.fit {
            Fit::Whole => "whole test images resized",
            Fit::Centre => "test images resized to 8/7 of the size, then the centre",
        };
        [
            ("protocol", self.protocol.clone()),
            ("student", self.student.clone()),
            ("optimiser", optimiser),
            ("schedule", format!("{length}; half a cosine, no warm-up")),
            ("batch", self.batch.to_string()),
            (
                "augmentation",
                format!("{}, crops of {} to {} of the area", self.augment.name(), self.crop.scale.0, self.crop.scale.1),
            ),
            ("loss", "cross-entropy with hard labels".to_owned()),
            ("measured", format!("{fit}, after the last step")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

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

/// `0.1.0 (commit 0123456789ab)`.
pub fn program() -> String {
    format!("{} (commit {})", env!("CARGO_PKG_VERSION"), env!("SMALTI_COMMIT"))
}

/// Trains one student and measures it after the last step.
///
/// # Errors
/// When the network is not known, training diverges, or libtorch refuses.
pub fn train_one(
    name: &str,
    training: &Training,
    (train, test, classes): (&ImageStore, &ImageStore, usize),
    seed: u64,
    engine: &Engine,
    ui: &Ui,
) -> Result<(StudentResult, Network)> {
    let bar = ui.progress("train", &format!("{name} seed {seed}"), training.images_seen(train.len()), "images");
    let spec = training.spec(name, seed);
    let outcome = student::run(&training.student, classes, train, test, &spec, engine, &|n| bar.add(n))?;
    bar.done();
    let result = &outcome.0;
    ui.say(
        "train",
        format!(
            "{name} seed {seed}: top-1 {:.1} %, top-5 {:.1} %, {} steps, {:.0} images/s",
            result.top1_percent, result.top5_percent, result.history.steps, result.images_per_second
        ),
    );
    Ok(outcome)
}

/// Puts finished students together.
pub fn summarise(
    training: &Training,
    train: &TrainSet,
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
        image_bytes: train.image_bytes,
        label_bytes: train.label_bytes,
        precision: engine.precision_name().to_owned(),
        threads: engine.threads,
        program: program(),
        runs,
    }
}

/// Says so when the protocol takes too few steps on a small set.
pub fn warn_of_few_steps(training: &Training, images: usize, ui: &Ui) {
    let steps = step_count(images, &training.spec("", 0));
    if steps < FEW_STEPS && matches!(training.length, Length::Epochs(_)) {
        ui.warn(format!(
            "protocol `{}` takes only {} on {}; --protocol small, or --images-seen 30000 --batch 50, suits a set of this size",
            training.protocol,
            count(steps, "step"),
            count(images as u64, "image")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;

    #[test]
    fn the_default_is_the_benchmarks_protocol() {
        let training = TrainingRecipe::default().settle().expect("complete");
        assert_eq!(
            (training.student.as_str(), training.batch, training.length),
            ("resnet18", 128, Length::Epochs(300))
        );
        assert_eq!(
            (training.crop.scale, training.augment, training.fit),
            ((0.08, 1.0), Augment::Constrained, Fit::Centre)
        );
        // 10,000 images: 79 steps an epoch, as in the paper's notes.
        assert_eq!(step_count(10_000, &training.spec("x", 0)), 23_700);
    }

    #[test]
    fn given_settings_replace_the_protocols() {
        let recipe = TrainingRecipe {
            protocol: Some("small".into()),
            student: Some("convnet-3".into()),
            images_seen: Some(1015),
            crop_min: Some(0.5),
            learning_rate: Some(0.01),
            augment: Some("none".into()),
            ..TrainingRecipe::default()
        };
        let training = recipe.settle().expect("complete");
        assert_eq!((training.student.as_str(), training.images_seen(7)), ("convnet-3/128-bn", 1000));
        assert_eq!(
            (training.crop.scale.0, training.optimiser.learning_rate(), training.augment),
            (0.5, 0.01, Augment::None)
        );
    }

    #[test]
    fn impossible_settings_are_refused() {
        let base = TrainingRecipe::default;
        for recipe in [
            TrainingRecipe { protocol: Some("hrad".into()), ..base() },
            TrainingRecipe { augment: Some("constraint".into()), ..base() },
            TrainingRecipe { images_seen: Some(1), epochs: Some(1), ..base() },
            TrainingRecipe { images_seen: Some(0), ..base() },
            TrainingRecipe { batch: Some(0), ..base() },
            TrainingRecipe { crop_min: Some(1.5), ..base() },
            TrainingRecipe { learning_rate: Some(-1.0), ..base() },
        ] {
            let error = recipe.settle().expect_err("refused");
            assert!(hint_of(&error).is_some(), "{error}");
        }
    }
}
