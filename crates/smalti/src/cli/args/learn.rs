//! Flags of the commands that train, teach and observe.

use super::{Columns, FormatName, Machine, SplitName};
use crate::error::usage;
use crate::students::TrainingRecipe;
use crate::teachers::{SoftSource, TeacherFile};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// `smalti train`.
#[derive(Debug, Args)]
pub struct Train {
    /// A compressed set, or any labelled set
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Labelled images to measure on; its test part where it has one, else all of it
    #[arg(long, value_name = "SRC", help_heading = "Data")]
    pub test: PathBuf,
    /// Measure on the test part, or on what `compress --holdout` kept out of SRC
    #[arg(long, value_enum, default_value = "test", help_heading = "Data")]
    pub split: SplitName,
    #[command(flatten)]
    pub columns: Columns,
    /// Side of the images in pixels [default: that of a compressed set; of others that of a typical image, at most 224]
    #[arg(long, value_name = "PX", help_heading = "Data")]
    pub size: Option<u32>,

    /// Network; `smalti methods` lists them [default: resnet18]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    pub student: Option<String>,
    /// Named settings; `smalti methods` prints them in full [default: hard]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    pub protocol: Option<String>,
    #[command(flatten)]
    pub steps: Steps,
    /// Peak learning rate [default: the protocol's]
    #[arg(long, value_name = "RATE", help_heading = "Training")]
    pub learning_rate: Option<f64>,
    #[command(flatten)]
    pub teacher: Teacher,
    /// Learn from labels that `smalti relabel` stored
    #[arg(long, value_name = "DIR", conflicts_with = "teacher", help_heading = "Soft labels")]
    pub labels: Option<PathBuf>,
    /// Students to train; mean and spread are over them
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Training")]
    pub seeds: u64,
    /// Seed of the first student
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Training")]
    pub seed: u64,
    /// Save the last student's weights (safetensors, torchvision's names)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub machine: Machine,
}

/// What steps see, and how many there are; none where the protocol says it.
#[derive(Debug, Args)]
pub struct Steps {
    /// What a step sees: constrained (inside one tile), standard (anywhere), shuffled (tiles rearranged), factor (one whole tile), none [default: the
    /// protocol's]
    #[arg(long, value_name = "HOW", help_heading = "Training")]
    pub augment: Option<String>,
    /// Images to train on in all, repeats counted [default: the protocol's]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub images_seen: Option<u64>,
    /// Passes over the set, instead of --images-seen
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: Option<u32>,
    /// Images per step [default: the protocol's]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub batch: Option<u32>,
    /// Smallest area of a crop, as a part of its tile or image [default: the protocol's]
    #[arg(long, value_name = "PART", help_heading = "Training")]
    pub crop_min: Option<f64>,
    /// What happens to a view after crop and flip: none, jitter, dsa, cutout, padded, alternating, mirrored [default: the protocol's]
    #[arg(long, value_name = "HOW", help_heading = "Training")]
    pub distort: Option<String>,
    /// How the images of a step are mixed: none, cutmix, mixup [default: the protocol's]
    #[arg(long, value_name = "HOW", help_heading = "Training")]
    pub mix: Option<String>,
}

impl Steps {
    /// As a recipe under a protocol.
    pub fn recipe(&self, protocol: Option<&String>) -> TrainingRecipe {
        TrainingRecipe {
            protocol: protocol.cloned(),
            augment: self.augment.clone(),
            images_seen: self.images_seen,
            epochs: self.epochs,
            batch: self.batch,
            crop_min: self.crop_min,
            distort: self.distort.clone(),
            mix: self.mix.clone(),
            ..TrainingRecipe::default()
        }
    }
}

impl Train {
    /// Where soft labels come from.
    ///
    /// # Errors
    /// As [`Teacher::files`].
    pub fn soft_source(&self) -> Result<SoftSource> {
        Ok(match (&self.teacher.teacher[..], &self.labels) {
            ([_, ..], _) => SoftSource::Teacher(self.teacher.files()?),
            ([], Some(dir)) => SoftSource::Stored(dir.clone()),
            ([], None) => SoftSource::None,
        })
    }
}

/// The networks that soft labels come from.
#[derive(Debug, Args)]
pub struct Teacher {
    /// A network's weights (safetensors), as `smalti train --save` writes them; may be given again: several speak as one, and `distill gvbsm` asks them in turn
    #[arg(long, value_name = "FILE", help_heading = "Soft labels")]
    pub teacher: Vec<PathBuf>,
    /// Its network, where the file does not say it; one for all teachers, or one for each
    #[arg(long, value_name = "NAME", requires = "teacher", help_heading = "Soft labels")]
    pub teacher_network: Vec<String>,
    /// Its classes in the order of its logits, one a line, where the file does not say them; one for all teachers, or one for each
    #[arg(long, value_name = "FILE", requires = "teacher", help_heading = "Soft labels")]
    pub teacher_classes: Vec<PathBuf>,
}

impl Teacher {
    /// The checkpoints.
    ///
    /// # Errors
    /// When what they do not say themselves is given for some of them.
    pub fn files(&self) -> Result<Vec<TeacherFile>> {
        let count = self.teacher.len();
        let networks = each("--teacher-network", &self.teacher_network, count)?;
        let classes = each("--teacher-classes", &self.teacher_classes, count)?;
        let file =
            |((path, network), classes): ((&PathBuf, _), _)| TeacherFile { path: path.clone(), network, classes };
        Ok(self.teacher.iter().zip(networks).zip(classes).map(file).collect())
    }
}

/// One of `given` for each of `count` teachers: its own, or the only one there is.
fn each<T: Clone>(flag: &str, given: &[T], count: usize) -> Result<Vec<Option<T>>> {
    match given {
        [] => Ok(vec![None; count]),
        [one] => Ok(vec![Some(one.clone()); count]),
        several if several.len() == count => Ok(several.iter().cloned().map(Some).collect()),
        several => Err(usage(
            format!("{flag} is given {} times for {count} teachers", several.len()),
            "give it once, or once for each --teacher in their order",
        )),
    }
}

/// `smalti relabel`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").arg("teacher").required(true))]
pub struct Relabel {
    /// A compressed set, or any labelled set
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub teacher: Teacher,
    #[command(flatten)]
    pub columns: Columns,
    /// Side of the images in pixels [default: that of a compressed set; of others that of a typical image, at most 224]
    #[arg(long, value_name = "PX", help_heading = "Data")]
    pub size: Option<u32>,

    /// How students will be trained; `smalti methods` prints it in full
    #[arg(long, value_name = "NAME", default_value = "soft", help_heading = "Training")]
    pub protocol: String,
    #[command(flatten)]
    pub steps: Steps,
    /// Part of the labels that is kept; students draw from them [0.025 is LPLD's 40x]
    #[arg(long, value_name = "PART", default_value_t = 1.0, help_heading = "Soft labels")]
    pub keep: f64,
    /// Seed of order, views and mixing
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Soft labels")]
    pub seed: u64,
    /// Folder for the labels
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: PathBuf,
    #[command(flatten)]
    pub machine: Machine,
}

/// `smalti distill`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("model").arg("teacher").required(true))]
pub struct Distill {
    /// sre2l, cda, gvbsm, lpld, dwa or rded; `smalti methods` lists them with their papers
    #[arg(value_name = "METHOD")]
    pub method: String,
    /// Image folder, Parquet or tar file, or folder of such files
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    #[command(flatten)]
    pub columns: Columns,
    #[command(flatten)]
    pub teacher: Teacher,

    /// Images to make per class
    #[arg(long, value_name = "N", help_heading = "Budget")]
    pub ipc: u32,
    /// Side of the images in pixels [default: that of the teacher]
    #[arg(long, value_name = "PX", help_heading = "Budget")]
    pub size: Option<u32>,
    /// Steps of each image [default: the published number for the size]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub iterations: Option<u32>,
    /// Most images that are moved together [default: the published number for method and size, 80 to 200]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub block: Option<u32>,
    /// rded: tiles per side of an image [default: the published number for the size]
    #[arg(long, value_name = "G", help_heading = "Method")]
    pub grid: Option<u32>,
    /// rded: training images of each class whose crops are looked at [default: 300]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub pool: Option<u32>,
    /// rded: crops of each of them [default: 5]
    #[arg(long, value_name = "N", help_heading = "Method")]
    pub crops: Option<u32>,
    /// Key of noise, views and crops
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Method")]
    pub seed: u64,
    /// As the published code does: pixels are truncated instead of rounded, and DWA's weights drift from block to block
    #[arg(long, help_heading = "Method")]
    pub compat: bool,

    /// Folder to write
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: PathBuf,
    /// Image folder, Parquet files, both, or tar files [default: folder]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<FormatName>,
    /// Replace a finished set, or start a run with other settings over
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    #[command(flatten)]
    pub machine: Machine,
}

/// `smalti observe`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("observer").arg("teacher").required(true))]
pub struct Observe {
    /// Compressed or any labelled sets
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,
    #[command(flatten)]
    pub teacher: Teacher,
    #[command(flatten)]
    pub columns: Columns,
    /// Side of the images in pixels [default: that of a compressed set; of others that of a typical image, at most 224]
    #[arg(long, value_name = "PX", help_heading = "Data")]
    pub size: Option<u32>,
    /// Smallest areas of random crops under which they are observed too, as parts of the image: 1,0.25 [default: none]
    #[arg(long, value_name = "PART", value_delimiter = ',', help_heading = "Views")]
    pub crops: Vec<f64>,
    /// Random views of each image
    #[arg(long, value_name = "N", default_value_t = 10, requires = "crops", help_heading = "Views")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub views: u32,
    /// Seed of the views
    #[arg(long, value_name = "S", default_value_t = 0, requires = "crops", help_heading = "Views")]
    pub seed: u64,
    #[command(flatten)]
    pub machine: Machine,
}
