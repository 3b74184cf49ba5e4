//! Students: complete training settings, and training one.

mod summary;
mod words;

pub use summary::{Summary, summarise};

use crate::error::{of_call, unknown, usage};
use crate::ui::{Ui, count};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use smalti_data::crop::CropRange;
use smalti_data::store::{Fit, ImageStore};
use smalti_learn::augment::{AUGMENTS, Augment};
use smalti_learn::batch::Views;
use smalti_learn::distort::{DISTORTS, Distort};
use smalti_learn::engine::Engine;
use smalti_learn::growth::Growth;
use smalti_learn::labels::{LabelKind, Labels};
use smalti_learn::mix::{MIXES, Mix};
use smalti_learn::nets::{Network, full_name};
use smalti_learn::optim::OptimiserSpec;
use smalti_learn::protocols::{Batch, Constants, Crop, Duration, ManyClasses, PROTOCOLS, Protocol};
use smalti_learn::schedule::{Length, Rate};
use smalti_learn::student::{self, Checks, StudentResult, Task};
use smalti_learn::train::{StatisticsUpdate, TrainSpec, step_count};

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
    /// What happens to a view after crop and flip.
    pub distort: Option<String>,
    /// Whether the images of a step are mixed.
    pub mix: Option<String>,
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
    /// How the learning rate moves.
    pub rate: Rate,
    /// Images per step.
    pub batch: Batch,
    /// What more than 100 classes change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub many_classes: Option<ManyClasses>,
    /// How long.
    pub length: Duration,
    /// What a step sees.
    pub augment: Augment,
    /// Range of the crops.
    pub crop: Crop,
    /// The side of a view.
    #[serde(default, skip_serializing_if = "Growth::is_none")]
    pub growth: Growth,
    /// What happens to a view then.
    pub distort: Distort,
    /// Whether the images of a step are mixed.
    pub mix: Mix,
    /// Mean and standard deviation of the pixels.
    pub constants: Constants,
    /// What is learnt from.
    pub labels: LabelKind,
    /// How test images are fitted.
    pub fit: Fit,
    /// How often a step moves the running statistics.
    #[serde(default, skip_serializing_if = "StatisticsUpdate::is_plain")]
    pub statistics: StatisticsUpdate,
    /// When students are measured besides after the last step.
    pub checks: Option<Checks>,
}

/// What a set decides about its training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetFacts {
    /// Stored images.
    pub images: usize,
    /// Classes.
    pub classes: usize,
    /// Tiles of a side of each image.
    pub grid: u32,
    /// Side of the images in pixels.
    pub size: u32,
}

/// Refuses a smallest crop where there is none: it would do nothing, unnoticed.
///
/// # Errors
/// For augmentations without crops; `other` names what has them.
pub(crate) fn can_crop(augment: Augment, other: &str) -> Result<()> {
    if augment.crops() {
        return Ok(());
    }
    Err(usage(
        format!("a smallest crop was given, and the augmentation `{}` crops nothing", augment.name()),
        format!("leave it out, or choose what crops, such as {other}"),
    ))
}

/// Network unless told otherwise: the benchmark's.
const STUDENT: &str = "resnet18";

/// The longest training and the largest step that are taken for meant.
const MOST_BATCH: u32 = 65_536;
const MOST_SEEN: u64 = 1_000_000_000_000;
const MOST_EPOCHS: u32 = 1_000_000;

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
            (Some(seen), None) => Duration::Fixed(Length::ImagesSeen(seen)),
            (None, Some(epochs)) => Duration::Fixed(match protocol.length {
                Duration::Fixed(Length::SmoothEpochs(_)) => Length::SmoothEpochs(epochs),
                _ => Length::Epochs(epochs),
            }),
            (None, None) => protocol.length,
        };
        let batch = self.batch.map_or(protocol.batch, Batch::Fixed);
        let nothing = |length: Length| length.epochs() == Some(0) || length == Length::ImagesSeen(0);
        if batch == Batch::Fixed(0) || matches!(length, Duration::Fixed(length) if nothing(length)) {
            return Err(usage("a student of no step learns nothing", "give --images-seen and --batch above 0"));
        }
        if self.batch.is_some_and(|batch| batch > MOST_BATCH) {
            return Err(usage("a step of so many images fits no memory", format!("give --batch up to {MOST_BATCH}")));
        }
        // Products with numbers of images stay countable.
        if self.images_seen.is_some_and(|seen| seen > MOST_SEEN) || self.epochs.is_some_and(|n| n > MOST_EPOCHS) {
            return Err(usage(
                "no training ends that long",
                format!("give --images-seen up to {MOST_SEEN}, or --epochs up to {MOST_EPOCHS}"),
            ));
        }
        if self.crop_min.is_some() {
            can_crop(augment, "--augment constrained")?;
        }
        let crop = self.crop_min.map_or(protocol.crop, |min| crops_from(protocol.crop, min));
        crop.of(1).check().map_err(of_call)?;
        let mix = match self.mix.as_deref() {
            None => protocol.mix,
            Some(name) => Mix::parse(name).ok_or_else(|| unknown("mixing", name, MIXES.iter().map(|m| m.name)))?,
        };
        let distort = match self.distort.as_deref() {
            None => protocol.distort,
            Some(name) => {
                Distort::parse(name).ok_or_else(|| unknown("distortion", name, DISTORTS.iter().map(|d| d.name)))?
            }
        };
        let student = full_name(self.student.as_deref().unwrap_or(STUDENT));
        let optimiser = match self.learning_rate {
            Some(rate) => {
                check_rate(rate, "give --learning-rate 0.001, say")?;
                protocol.optimiser.with_learning_rate(rate)
            }
            None => protocol.optimiser_for(&student),
        };
        Ok(Training {
            student,
            protocol: protocol.name.to_owned(),
            optimiser,
            rate: protocol.rate,
            batch,
            // What is given stands for that number alone.
            many_classes: protocol.many_classes.map(|many| ManyClasses {
                optimiser: self.learning_rate.map_or(many.optimiser, |rate| many.optimiser.with_learning_rate(rate)),
                batch: self.batch.unwrap_or(many.batch),
            }),
            length,
            augment,
            crop,
            growth: protocol.growth,
            distort,
            mix,
            constants: protocol.constants,
            labels: protocol.labels,
            fit: protocol.fit,
            statistics: protocol.statistics,
            // Checks are counted in epochs.
            checks: protocol.checks.filter(|_| !matches!(length, Duration::Fixed(Length::ImagesSeen(_)))),
        })
    }
}

/// That a learning rate is one.
///
/// # Errors
/// For what is no number above 0, with `hint`.
pub fn check_rate(rate: f64, hint: &str) -> Result<()> {
    match rate > 0.0 && rate.is_finite() {
        true => Ok(()),
        false => Err(usage(format!("a learning rate of {rate} cannot train"), hint)),
    }
}

/// The range from another smallest area on.
pub fn crops_from(crop: Crop, min: f64) -> Crop {
    Crop::Fixed(CropRange { scale: (min, 1.0), ..crop.of(1) })
}

impl Training {
    /// What the loop needs for one seed on a set; `name` is used in errors.
    pub fn spec(&self, name: &str, seed: u64, set: SetFacts) -> TrainSpec {
        TrainSpec {
            stage: format!("student {} on {name} seed {seed}", self.student),
            optimiser: self.many(set).map_or(self.optimiser, |many| many.optimiser),
            rate: self.rate,
            batch: self.batch_of(set),
            length: self.length.of(set.images, set.classes),
            views: Views { augment: self.augment, range: self.crop.of(set.grid), distort: self.distort, seed },
            growth: self.growth,
            mix: self.mix,
            normalise: self.constants.of(set.classes, set.size),
            statistics: self.statistics,
            seed,
        }
    }

    fn many(&self, set: SetFacts) -> Option<ManyClasses> {
        self.many_classes.filter(|_| set.classes > 100)
    }

    /// Images per step on a set.
    pub fn batch_of(&self, set: SetFacts) -> u32 {
        self.many(set).map_or_else(|| self.batch.of(set.images, set.classes), |many| many.batch)
    }

    /// Images that a student sees on a set.
    pub fn images_seen(&self, set: SetFacts) -> u64 {
        let batch = u64::from(self.batch_of(set));
        match self.length.of(set.images, set.classes) {
            Length::Epochs(epochs) | Length::SmoothEpochs(epochs) => u64::from(epochs) * set.images as u64,
            Length::ImagesSeen(seen) => (seen / batch).max(1) * batch,
        }
    }
}

/// `0.1.0 (commit 0123456789ab)`.
pub fn program() -> String {
    format!("{} (commit {})", env!("CARGO_PKG_VERSION"), env!("SMALTI_COMMIT"))
}

/// Processor, GPU where one computes, threads and number format.
pub fn machine(engine: &Engine) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split(':').nth(1));
    let processor = model.map_or("unknown processor", str::trim);
    let gpu = engine.gpu().map_or_else(String::new, |gpu| format!(", {gpu}"));
    format!("{processor}{gpu}, {} threads, {}", engine.threads, engine.precision_name())
}

/// Trains one student and measures it after the last step.
///
/// # Errors
/// When the network is not known, training diverges, or libtorch refuses.
pub fn train_one(
    name: &str,
    training: &Training,
    (train, test, classes): (&ImageStore, &ImageStore, usize),
    labels: &mut Labels,
    seed: u64,
    engine: &Engine,
    ui: &Ui,
) -> Result<(StudentResult, Network)> {
    let set = SetFacts::of(train, classes);
    let bar = ui.progress("train", &format!("{name} seed {seed}"), training.images_seen(set), "images");
    let spec = training.spec(name, seed, set);
    let task = Task { network: &training.student, classes, train, test, spec: &spec, checks: training.checks };
    let outcome = student::run(&task, labels, engine, &|n| bar.add(n))?;
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

impl SetFacts {
    /// Of decoded images.
    pub fn of(store: &ImageStore, classes: usize) -> SetFacts {
        SetFacts { images: store.len(), classes, grid: store.tiles().len().isqrt() as u32, size: store.size() }
    }
}

/// Says so when the protocol takes too few steps on a small set.
pub fn warn_of_few_steps(training: &Training, set: SetFacts, ui: &Ui) {
    let images = set.images;
    let steps = step_count(images, &training.spec("", 0, set));
    if steps < FEW_STEPS && matches!(training.length, Duration::Fixed(length) if length.epochs().is_some()) {
        ui.warn(format!(
            "protocol `{}` takes only {} on {}; --images-seen 30000 --batch 50, as protocol `small` has them, suits a set of this size",
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

    fn set(images: usize) -> SetFacts {
        SetFacts { images, classes: 10, grid: 1, size: 32 }
    }

    #[test]
    fn minimax_has_other_numbers_beyond_100_classes() {
        let recipe = TrainingRecipe { protocol: Some("minimax".into()), ..TrainingRecipe::default() };
        let training = recipe.settle().expect("complete");
        let of = |classes| {
            let spec = training.spec("a", 0, SetFacts { classes, ..set(10 * classes) });
            (spec.optimiser.learning_rate(), spec.batch)
        };
        assert_eq!((of(100), of(101)), ((0.01, 64), (0.1, 128)));
        let own = TrainingRecipe { learning_rate: Some(0.05), ..recipe.clone() }.settle().expect("complete");
        let many = |training: &Training| training.spec("a", 0, SetFacts { classes: 101, ..set(1010) });
        assert_eq!((many(&own).optimiser.learning_rate(), many(&own).batch), (0.05, 128));
        let own = TrainingRecipe { batch: Some(256), learning_rate: None, ..recipe }.settle().expect("complete");
        assert_eq!((many(&own).batch, many(&own).optimiser), (256, many(&training).optimiser), "the rest stays");
    }

    #[test]
    fn the_default_is_the_benchmarks_protocol() {
        let training = TrainingRecipe::default().settle().expect("complete");
        assert_eq!(
            (training.student.as_str(), training.batch, training.length),
            ("resnet18", Batch::Fixed(128), Duration::Fixed(Length::Epochs(300)))
        );
        assert_eq!(
            (training.crop.of(1).scale, training.augment, training.fit),
            ((0.08, 1.0), Augment::Constrained, Fit::Centre)
        );
        // 10,000 images: 79 steps an epoch, as in the paper's notes.
        assert_eq!(step_count(10_000, &training.spec("x", 0, set(10_000))), 23_700);
    }

    #[test]
    fn given_settings_replace_the_protocols() {
        let recipe = TrainingRecipe {
            protocol: Some("small".into()),
            student: Some("convnet-3".into()),
            images_seen: Some(1015),
            crop_min: Some(0.5),
            learning_rate: Some(0.01),
            augment: Some("standard".into()),
            ..TrainingRecipe::default()
        };
        let training = recipe.settle().expect("complete");
        assert_eq!((training.student.as_str(), training.images_seen(set(7))), ("convnet-3/128-bn", 1000));
        assert_eq!(
            (training.crop.of(1).scale.0, training.optimiser.learning_rate(), training.augment),
            (0.5, 0.01, Augment::Standard)
        );
    }

    #[test]
    fn impossible_settings_are_refused() {
        let base = TrainingRecipe::default;
        for recipe in [
            TrainingRecipe { protocol: Some("hrad".into()), ..base() },
            TrainingRecipe { augment: Some("constraint".into()), ..base() },
            TrainingRecipe { mix: Some("cutmax".into()), ..base() },
            TrainingRecipe { images_seen: Some(1), epochs: Some(1), ..base() },
            TrainingRecipe { images_seen: Some(0), ..base() },
            TrainingRecipe { images_seen: Some(u64::MAX), ..base() },
            TrainingRecipe { epochs: Some(u32::MAX), ..base() },
            TrainingRecipe { batch: Some(0), ..base() },
            TrainingRecipe { batch: Some(u32::MAX), ..base() },
            TrainingRecipe { crop_min: Some(1.5), ..base() },
            TrainingRecipe { crop_min: Some(0.5), augment: Some("none".into()), ..base() },
            TrainingRecipe { crop_min: Some(0.5), protocol: Some("fast".into()), ..base() },
            TrainingRecipe { learning_rate: Some(-1.0), ..base() },
        ] {
            let error = recipe.settle().expect_err("refused");
            assert!(hint_of(&error).is_some(), "{error}");
        }
    }
}
