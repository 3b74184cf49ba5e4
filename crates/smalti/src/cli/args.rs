//! Flags, as clap reads them. What they mean is decided by the requests that they become.

use crate::teachers::{SoftSource, TeacherFile};
use clap::{Args, ValueEnum};
use smalti_data::decode::{Detail, Orientation, Profile};
use smalti_data::source::SourceOptions;
use smalti_data::write::OutputFormat;
use smalti_learn::engine::Precision;
use smalti_select::{HardEnd, OnSmallClass};
use std::path::PathBuf;

/// What a person may have to say about a source.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct Columns {
    /// Column that holds the images in Parquet, or their ending in tar files (jpg), where it cannot be found
    #[arg(long, value_name = "NAME")]
    pub image_column: Option<String>,
    /// Column that holds the labels, where it cannot be found
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// File that fixes names and order of the classes: one a line, or JSON from name to number
    #[arg(long, value_name = "FILE")]
    pub class_map: Option<PathBuf>,
    /// Turn images by their EXIF tag, as Hugging Face does, or leave them as stored, as torchvision does [default: stored]
    #[arg(long, value_enum, value_name = "HOW")]
    pub orientation: Option<OrientationName>,
    /// Decode JPEGs in full, or at 1/2, 1/4 or 1/8 where that still covers the size wanted [default: exact]
    #[arg(long, value_enum, value_name = "HOW")]
    pub decode: Option<DetailName>,
}

impl Columns {
    /// As the source wants them.
    pub fn options(&self) -> SourceOptions {
        SourceOptions {
            image_column: self.image_column.clone(),
            label_column: self.label_column.clone(),
            class_map: self.class_map.clone(),
            profile: Profile {
                orientation: self.orientation.map(Orientation::from).unwrap_or_default(),
                detail: self.decode.map(Detail::from).unwrap_or_default(),
            },
        }
    }
}

/// Where and how to compute.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub struct Machine {
    /// Number format of convolutions: auto takes bf16 where the processor multiplies it
    #[arg(long, value_enum, default_value = "auto")]
    pub precision: PrecisionName,
    /// Threads; 0 takes all cores
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
}

/// `smalti inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Image folder, Parquet or tar file, or folder of such files
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    #[command(flatten)]
    pub columns: Columns,
}

/// `smalti compress`.
#[derive(Debug, Args)]
pub struct Compress {
    /// Image folder, Parquet or tar file, or folder of such files
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    #[command(flatten)]
    pub columns: Columns,

    /// Images to write per class
    #[arg(long, value_name = "N", help_heading = "Budget")]
    pub ipc: Option<u32>,
    /// Tiles per side of a written image; n x n whole images share one. 1 is a plain subset [default: the preset's]
    #[arg(long, value_name = "G", help_heading = "Budget")]
    pub grid: Option<u32>,
    /// Side of the written images in pixels [default: that of a typical source image, at most 224]
    #[arg(long, value_name = "PX", help_heading = "Budget")]
    pub size: Option<u32>,
    /// What to do about a class with too few images [default: refuse]
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Budget")]
    pub on_small_class: Option<SmallClassName>,

    /// A published combination of metric, rule and grid; `smalti methods` lists them [default: pca]
    #[arg(long, value_name = "NAME", help_heading = "Method")]
    pub preset: Option<String>,
    /// What the images are scored by: a name, or your own as 'NAME=SQL' over the columns of the trace [default: the preset's]
    #[arg(long, value_name = "M", help_heading = "Method")]
    pub metric: Option<String>,
    /// Which images are kept: NAME, NAME-global for one pool of all classes, NAME:NUMBER [default: the preset's]
    #[arg(long, value_name = "R", help_heading = "Method")]
    pub rule: Option<String>,
    /// Use these scores (Parquet: sample, score, and metric where there are several) and train no proxy
    #[arg(long, value_name = "FILE", help_heading = "Method")]
    pub scores: Option<PathBuf>,
    /// Which end of the metric is hard, where it is none of ours
    #[arg(long, value_enum, value_name = "END", help_heading = "Method")]
    pub hard_end: Option<HardEndName>,
    /// Use this selection (Parquet: sample, and kept, rank_in_class where there; or text: one path, content hash or row a line) and
    /// choose nothing
    #[arg(long, value_name = "FILE", conflicts_with = "scores", help_heading = "Method")]
    pub selection: Option<PathBuf>,
    /// Part of the training images to keep out for measuring choices
    #[arg(long, value_name = "F", help_heading = "Method")]
    pub holdout: Option<f64>,
    /// Key of every random choice [default: 0]
    #[arg(long, value_name = "S", help_heading = "Method")]
    pub seed: Option<u64>,

    #[command(flatten)]
    pub proxy: Proxy,

    /// Folder to write
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: PathBuf,
    /// Image folder, Parquet files, both, or tar files [default: folder]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<FormatName>,
    /// Licence of the source images as the Hugging Face Hub spells it, for the card
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub licence: Option<String>,
    /// Replace a finished set, or start a run with other settings over
    #[arg(long, help_heading = "Output")]
    pub force: bool,

    /// Settings in TOML; flags win over them
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub recipe: Option<PathBuf>,
    #[command(flatten)]
    pub machine: Machine,
}

/// The scoring networks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Proxies (the networks that score)")]
pub struct Proxy {
    /// Network [default: convnet-4/64, or convnet-3/64 below 64 px]
    #[arg(long, value_name = "NAME")]
    pub proxy: Option<String>,
    /// Passes over the training images [default: 10]
    #[arg(long, value_name = "N")]
    pub proxy_epochs: Option<u32>,
    /// Networks whose scores are averaged [default: 2]
    #[arg(long, value_name = "N")]
    pub proxy_seeds: Option<u32>,
    /// Epochs, counted from 0, after which every image is looked at without augmentation [default: the last]
    #[arg(long, value_name = "E,..", value_delimiter = ',')]
    pub eval_epochs: Option<Vec<u32>>,
    /// Side of the images that they see, in pixels [default: that of the written ones, at most 64]
    #[arg(long, value_name = "PX")]
    pub proxy_size: Option<u32>,
}

/// `smalti verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// A compressed set
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

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
    /// Side of the images in pixels [default: as stored, at most 224]
    #[arg(long, value_name = "PX", help_heading = "Data")]
    pub size: Option<u32>,

    /// Network; `smalti methods` lists them [default: resnet18]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    pub student: Option<String>,
    /// Named settings; `smalti methods` prints them in full [default: hard]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    pub protocol: Option<String>,
    /// What a step sees: constrained (inside one tile), standard (anywhere), shuffled (tiles rearranged), none [default: the protocol's]
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
    /// Peak learning rate [default: the protocol's]
    #[arg(long, value_name = "RATE", help_heading = "Training")]
    pub learning_rate: Option<f64>,
    /// Smallest area of a crop, as a part of its tile or image [default: the protocol's]
    #[arg(long, value_name = "PART", help_heading = "Training")]
    pub crop_min: Option<f64>,
    /// What happens to a view after crop and flip: none, jitter, dsa, cutout [default: the protocol's]
    #[arg(long, value_name = "HOW", help_heading = "Training")]
    pub distort: Option<String>,
    /// How the images of a step are mixed: none, cutmix, mixup [default: the protocol's]
    #[arg(long, value_name = "HOW", help_heading = "Training")]
    pub mix: Option<String>,
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

impl Train {
    /// Where soft labels come from.
    pub fn soft_source(&self) -> SoftSource {
        match (&self.teacher.teacher, &self.labels) {
            (Some(_), _) => SoftSource::Teacher(self.teacher.file()),
            (None, Some(dir)) => SoftSource::Stored(dir.clone()),
            (None, None) => SoftSource::None,
        }
    }
}

/// The network that soft labels come from.
#[derive(Debug, Args)]
pub struct Teacher {
    /// A network's weights (safetensors), as `smalti train --save` writes them
    #[arg(long, value_name = "FILE", help_heading = "Soft labels")]
    pub teacher: Option<PathBuf>,
    /// Its network, where the file does not say it
    #[arg(long, value_name = "NAME", help_heading = "Soft labels")]
    pub teacher_network: Option<String>,
    /// Its classes in the order of its logits, one a line, where the file does not say them
    #[arg(long, value_name = "FILE", help_heading = "Soft labels")]
    pub teacher_classes: Option<PathBuf>,
}

impl Teacher {
    /// The checkpoint; of an empty path where none was given.
    pub fn file(&self) -> TeacherFile {
        TeacherFile {
            path: self.teacher.clone().unwrap_or_default(),
            network: self.teacher_network.clone(),
            classes: self.teacher_classes.clone(),
        }
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
    /// Side of the images in pixels [default: as stored, at most 224]
    #[arg(long, value_name = "PX", help_heading = "Data")]
    pub size: Option<u32>,

    /// How students will be trained; `smalti methods` prints it in full
    #[arg(long, value_name = "NAME", default_value = "soft", help_heading = "Training")]
    pub protocol: String,
    /// What a step sees [default: the protocol's]
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
    /// What happens to a view after crop and flip: none, jitter, dsa, cutout [default: the protocol's]
    #[arg(long, value_name = "HOW", help_heading = "Training")]
    pub distort: Option<String>,
    /// How the images of a step are mixed: none, cutmix, mixup [default: the protocol's]
    #[arg(long, value_name = "HOW", help_heading = "Training")]
    pub mix: Option<String>,
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

/// `smalti bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// The recipe, in TOML
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Folder for cells, tables and the page [default: bench-NAME]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Print the cells and their steps, and do nothing
    #[arg(long, help_heading = "Run")]
    pub dry_run: bool,
    #[command(flatten)]
    pub machine: Machine,
}

/// `smalti report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Folder of a bench or of the demo
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The page to write [default: RUN/report.html]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub out: Option<PathBuf>,
}

/// `smalti demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Folder for images, sets and the page
    #[arg(long, value_name = "DIR", default_value = "demo-out", help_heading = "Output")]
    pub out: PathBuf,
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
    /// Side of the images in pixels [default: as stored, at most 224]
    #[arg(long, value_name = "PX", help_heading = "Data")]
    pub size: Option<u32>,
    /// Smallest areas of random crops under which they are observed too, as parts of the image
    #[arg(long, value_name = "PART", value_delimiter = ',', help_heading = "Views")]
    pub crops: Vec<f64>,
    /// Random views of each image
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Views")]
    pub views: u32,
    /// Seed of the views
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Views")]
    pub seed: u64,
    #[command(flatten)]
    pub machine: Machine,
}

/// `smalti cache`.
#[derive(Debug, Args)]
pub struct Cache {
    /// Remove what was used longest ago, until the rest is small enough
    #[arg(long)]
    pub clean: bool,
    /// What may stay: 500M, 5G, 0 for nothing
    #[arg(long, value_name = "SIZE", default_value = "0", requires = "clean")]
    pub keep: String,
}

/// `smalti methods`.
#[derive(Debug, Args)]
pub struct Methods {
    /// Protocols alone, in full
    #[arg(long)]
    pub protocols: bool,
}

macro_rules! names {
    ($(#[$about:meta])* $name:ident => $target:ty { $($(#[$doc:meta])* $variant:ident => $value:expr),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub enum $name { $($(#[$doc])* $variant),+ }
        impl From<$name> for $target {
            fn from(name: $name) -> $target {
                match name { $($name::$variant => $value),+ }
            }
        }
    };
}

names! {
    /// `--format`.
    FormatName => OutputFormat {
        /// train/CLASS/IMAGE
        Folder => OutputFormat::Folder,
        /// data/train-*.parquet
        Parquet => OutputFormat::Parquet,
        /// Both of them
        Both => OutputFormat::Both,
        /// data/train-*.tar
        Webdataset => OutputFormat::WebDataset,
    }
}

names! {
    /// `--orientation`.
    OrientationName => Orientation {
        /// As the pixels are stored
        Stored => Orientation::Stored,
        /// As the EXIF tag says
        Exif => Orientation::Exif,
    }
}

names! {
    /// `--decode`.
    DetailName => Detail {
        /// All of the picture, then resized
        Exact => Detail::Exact,
        /// As little of a JPEG as covers the size wanted, then resized: faster, slightly other pixels
        Scaled => Detail::Scaled,
    }
}

names! {
    /// `--on-small-class`.
    SmallClassName => OnSmallClass {
        /// An error that names the class
        Refuse => OnSmallClass::Refuse,
        /// As many images as the class can fill
        Fewer => OnSmallClass::Fewer,
    }
}

names! {
    /// `--hard-end`.
    HardEndName => HardEnd {
        /// A high score means a hard image
        High => HardEnd::High,
        /// A low score means a hard image
        Low => HardEnd::Low,
    }
}

names! {
    /// `--precision`.
    PrecisionName => Precision {
        /// bf16 where it is native, else f32
        Auto => Precision::Auto,
        /// 32 bits throughout
        F32 => Precision::F32,
        /// bfloat16 in convolutions
        Bf16 => Precision::Bf16,
    }
}

/// `--split`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// The test part, or all images where there is none
    Test,
    /// What `compress --holdout` kept out
    Holdout,
}
