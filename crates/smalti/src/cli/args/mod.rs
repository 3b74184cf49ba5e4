//! Flags, as clap reads them. What they mean is decided by the requests that they become.

mod learn;
mod names;

use clap::Args;
pub use learn::{Distill, Observe, Relabel, Train};
pub use names::{DetailName, FormatName, HardEndName, OrientationName, PrecisionName, SmallClassName, SplitName};
use smalti_data::decode::{Detail, Orientation, Profile};
use smalti_data::source::SourceOptions;
use smalti_learn::engine::{self, Device};
use std::path::PathBuf;

/// What a person may have to say about a source.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct Columns {
    /// Column that holds the images in Parquet, or their ending in tar files (jpg), where it cannot be found
    #[arg(long, value_name = "NAME")]
    pub image_column: Option<String>,
    /// Column that holds the labels in Parquet, or their key in the .json of tar files, where it cannot be found
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
    /// Where networks compute: cpu, cuda or cuda:N (written for NVIDIA GPUs, but not yet run on one)
    #[arg(long, default_value = "cpu", value_name = "WHERE", value_parser = device)]
    pub device: Device,
    /// Number format of convolutions: auto takes bf16 where the processor multiplies it, and on a GPU (Ampere or newer)
    #[arg(long, value_enum, default_value = "auto")]
    pub precision: PrecisionName,
    /// Threads; 0 takes all cores
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
}

fn device(name: &str) -> Result<Device, String> {
    engine::device_named(name).map_err(|error| format!("{error}; {}", error.hint().unwrap_or_default()))
}

impl Machine {
    /// As the engine takes it.
    pub fn settle(&self) -> engine::Machine {
        engine::Machine { device: self.device, precision: self.precision.into(), threads: self.threads }
    }
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

    /// Images to write per class; needed, here or in --recipe
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

    /// A published combination of metric, rule and grid; `smalti methods` lists them [default: ccs-mosaic]
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
    /// Part of the training images to keep out for measuring choices, from 0 to below 1 [default: 0]
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
    /// Network [default: convnet-4/64, or convnet-3/64 below 64 px, or airbench/32 for the protocol fast]
    #[arg(long, value_name = "NAME")]
    pub proxy: Option<String>,
    /// How they are trained: a protocol with hard labels [default: proxy, or fast for airbench]
    #[arg(long, value_name = "NAME")]
    pub proxy_protocol: Option<String>,
    /// Passes over the training images [default: the protocol's, 10 of proxy and 8 of fast]
    #[arg(long, value_name = "N")]
    pub proxy_epochs: Option<u32>,
    /// Networks whose scores are averaged [default: 2]
    #[arg(long, value_name = "N")]
    pub proxy_seeds: Option<u32>,
    /// Epochs, counted from 0, after which every image is looked at without augmentation [default: the last]
    #[arg(long, value_name = "E,..", value_delimiter = ',')]
    pub eval_epochs: Option<Vec<u32>>,
    /// Side of the images that they see, in pixels [default: that of the written ones, at most 32]
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
    /// Processes that share the cells, each with its part of the threads and with its own memory
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Run")]
    pub jobs: usize,
    /// Another process of `--jobs`, which ends with the one that started it and holds its standard input open
    #[arg(long, hide = true)]
    pub helper: bool,
    #[command(flatten)]
    pub machine: Machine,
}

/// `smalti report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Folder of a bench or of the demo
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Print the table with gains over this row instead of the random one, and write nothing
    #[arg(long, value_name = "ROW", conflicts_with_all = ["out", "tensorboard"], help_heading = "Output")]
    pub over: Option<String>,
    /// The page to write [default: RUN/report.html]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Folder for TensorBoard's event files, one student each: its training loss by images seen, and its accuracy
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub tensorboard: Option<PathBuf>,
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
