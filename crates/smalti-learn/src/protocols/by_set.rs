//! What of a protocol depends on the set: batch, length, constants, crops.

use crate::batch::{IMAGENET, Normalise};
use crate::optim::OptimiserSpec;
use crate::schedule::Length;
use smalti_data::crop::CropRange;

/// Images per step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batch {
    /// The same for every set.
    Fixed(u32),
    /// 10, 50 or 100 for sets of up to 1, up to 10 and more images per class, twice that for 100 or 1,000 classes, always 100 for 200; never more than
    /// there are images. The published code knows 1, 10 and 50 images per class alone.
    Rded,
}

impl Batch {
    /// For a set of so many images in so many classes.
    pub fn of(self, images: usize, classes: usize) -> u32 {
        let whole = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match self {
            Batch::Fixed(batch) => batch,
            Batch::Rded => {
                let plain = match images / classes.max(1) {
                    0..=1 => 10,
                    2..=10 => 50,
                    _ => 100,
                };
                let batch = match classes {
                    100 | 1000 => 2 * plain,
                    200 => 100,
                    _ => plain,
                };
                batch.min(whole(images)).max(1)
            }
        }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Batch::Fixed(batch) => batch.to_string(),
            Batch::Rded => "10, 50 or 100 for up to 1, up to 10 and more images per class; twice that for 100 or 1,000 classes, 100 for 200".into(),
        }
    }
}

/// Another update rule and batch for sets of more than 100 classes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManyClasses {
    /// Update rule with its peak learning rate.
    pub optimiser: OptimiserSpec,
    /// Images per step.
    pub batch: u32,
}

/// How long a set is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duration {
    /// The same for every set.
    Fixed(Length),
    /// Epochs by images per class: 3,000 for one, 2,000 up to 10, 1,500 up to 50, 1,000 up to 200, 500 up to 500, then 300; for 100 classes two
    /// thirds of it, in whole hundreds.
    Minimax,
}

impl Duration {
    /// For a set of so many images in so many classes.
    pub fn of(self, images: usize, classes: usize) -> Length {
        match self {
            Duration::Fixed(length) => length,
            Duration::Minimax => {
                let epochs = match images / classes.max(1) {
                    0..=1 => 3000,
                    2..=10 => 2000,
                    11..=50 => 1500,
                    51..=200 => 1000,
                    201..=500 => 500,
                    _ => 300,
                };
                Length::Epochs(if classes == 100 { 2 * epochs / 3 / 100 * 100 } else { epochs })
            }
        }
    }
}

/// Mean and standard deviation of the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constants {
    /// ImageNet's for every set.
    ImageNet,
    /// Tiny-ImageNet's for every set.
    TinyImageNet,
    /// CIFAR-10's and CIFAR-100's for sets of 10 and of 100 classes at 32 px, else ImageNet's.
    BySet,
}

impl Constants {
    /// For a set of so many classes at `size` px.
    pub fn of(self, classes: usize, size: u32) -> Normalise {
        match (self, classes, size) {
            (Constants::TinyImageNet, ..) => {
                Normalise { mean: [0.4802, 0.4481, 0.3975], std: [0.2302, 0.2265, 0.2262] }
            }
            (Constants::BySet, 10, 32) => Normalise { mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.2010] },
            (Constants::BySet, 100, 32) => Normalise { mean: [0.5071, 0.4866, 0.4409], std: [0.2673, 0.2564, 0.2762] },
            _ => IMAGENET,
        }
    }
}

/// The range of RandomResizedCrop.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// The same for every set.
    Fixed(CropRange),
    /// From 1 / grid of the area on: sets of plain images are not cropped at all.
    OneOfGrid,
}

impl Crop {
    /// For a set whose images hold grid x grid tiles.
    pub fn of(self, grid: u32) -> CropRange {
        match self {
            Crop::Fixed(range) => range,
            Crop::OneOfGrid => CropRange { scale: (1.0 / f64::from(grid.max(1)), 1.0), ..CropRange::default() },
        }
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Crop::Fixed(CropRange { scale: (low, high), .. }) => format!("crops of {low} to {high} of the area"),
            Crop::OneOfGrid => "crops of 1 / grid to 1 of the area".to_owned(),
        }
    }
}
