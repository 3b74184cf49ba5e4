//! The distillation methods: how pixels are moved or crops are picked, with the published settings.

use super::crops::CropSpec;
use crate::error::unknown;
use anyhow::Result;
use smalti_learn::recover::{After, Curriculum, Generalised, Jitter, Look, Nudge, RecoverSpec};

/// One method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// Name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// How images come about.
    pub way: Way,
}

/// How images come about.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a handful of static rows")]
pub enum Way {
    /// Pixels are moved.
    Recover(Recovery),
    /// Crops of training images are picked. Published settings for images of about 224, of 64 and of 32 px.
    Crops([CropSpec; 3]),
}

/// How pixels are moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    /// Which images are moved together.
    pub batching: Batching,
    /// What they are made to match.
    pub matches: Matches,
    /// What they are at first.
    pub start: Start,
    /// Published settings for images of about 224, of 64 and of 32 px.
    pub settings: [RecoverSpec; 3],
    /// Most images that are moved together, for the same sizes.
    pub blocks: [u32; 3],
}

/// Which images are moved together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// Every one of another class, at most 100.
    DistinctClasses,
    /// All of one class.
    OneClass,
    /// Class after class, as many as fit.
    ClassByClass,
}

/// Whose statistics are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matches {
    /// Those of all training images: the running statistics.
    Everything,
    /// Those of the class, measured in one pass over the training images.
    TheClass,
}

/// Where pixels start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Standard normal noise.
    Noise,
    /// Training images of the class.
    RealImages,
}

impl Distillation {
    /// Whether it asks several teachers in turn.
    pub fn takes_several(&self) -> bool {
        matches!(self.way, Way::Recover(way) if way.settings[0].generalised.is_some())
    }

    /// Whether it moves pixels, and so needs statistics to match.
    pub fn moves_pixels(&self) -> bool {
        matches!(self.way, Way::Recover(_))
    }
}

const PLAIN: Curriculum = Curriculum::Fixed { least: 0.08 };
const SHRINKING: Curriculum = Curriculum::Cosine { least: 0.08, until: 1.0 };

/// SRe2L's for ImageNet; the others differ from it.
const LARGE: RecoverSpec = RecoverSpec {
    iterations: 4000,
    learning_rate: 0.25,
    statistics: 0.01,
    first_layer: 10.0,
    variance: 1.0,
    look: Look { crop: PLAIN, jitter: Jitter::Forward { most: 32 } },
    nudge: None,
    generalised: None,
};

/// SRe2L's for Tiny-ImageNet.
const TINY: RecoverSpec = RecoverSpec {
    learning_rate: 0.1,
    statistics: 1.0,
    look: Look { crop: PLAIN, jitter: Jitter::Centred { most: 4 } },
    ..LARGE
};

/// SRe2L's for CIFAR-100.
const SMALL: RecoverSpec = RecoverSpec {
    iterations: 1000,
    look: Look { crop: Curriculum::None, jitter: Jitter::Forward { most: 4 } },
    ..LARGE
};

/// Of the published codes for Tiny-ImageNet SRe2L's and LPLD's roll both ways, and the others forward alone.
const TINY_FORWARD: RecoverSpec =
    RecoverSpec { look: Look { crop: PLAIN, jitter: Jitter::Forward { most: 4 } }, ..TINY };

const fn shrinking(spec: RecoverSpec) -> RecoverSpec {
    RecoverSpec { look: Look { crop: SHRINKING, jitter: spec.look.jitter }, ..spec }
}

const fn nudged(spec: RecoverSpec, iterations: u32, steps: u32, variance: f64) -> RecoverSpec {
    RecoverSpec {
        iterations,
        variance,
        statistics: 0.01,
        nudge: Some(Nudge { steps, radius: 0.015, after: After::PutBack }),
        ..spec
    }
}

/// G-VBSM's.
const fn generalised(learning_rate: f64, crop: Curriculum, more: Generalised) -> RecoverSpec {
    RecoverSpec { learning_rate, look: Look { crop, jitter: LARGE.look.jitter }, generalised: Some(more), ..LARGE }
}

const GENERALISED: Generalised =
    Generalised { cell: 16, memory: 0.4, skip: 0.0, density: 1.0, temperature: 4.0, measured: 256 };
const GENERALISED_SMALL: Generalised = Generalised { cell: 4, memory: 0.8, skip: 0.4, measured: 64, ..GENERALISED };

const SRE2L: Recovery = Recovery {
    batching: Batching::DistinctClasses,
    matches: Matches::Everything,
    start: Start::Noise,
    settings: [LARGE, TINY, SMALL],
    blocks: [100; 3],
};

/// All methods.
pub const DISTILLATIONS: &[Distillation] = &[
    Distillation {
        name: "sre2l",
        about: "noise is moved until a trained network sees its classes and its batch norms' statistics; one image of each class together",
        paper: "Yin, Xing, Shen: Squeeze, Recover and Relabel, NeurIPS 2023 (arXiv 2306.13092)",
        way: Way::Recover(SRE2L),
    },
    Distillation {
        name: "cda",
        about: "SRe2L with a curriculum: whole images first, then smaller and smaller crops",
        paper: "Yin, Shen: Dataset Distillation via Curriculum Data Synthesis, TMLR 2024 (arXiv 2311.18838); for 32 px SRe2L's other settings",
        way: Way::Recover(Recovery {
            settings: [
                shrinking(LARGE),
                shrinking(RecoverSpec { learning_rate: 0.4, statistics: 0.05, ..TINY_FORWARD }),
                shrinking(SMALL),
            ],
            ..SRE2L
        }),
    },
    Distillation {
        name: "gvbsm",
        about: "SRe2L with several networks in turn (--teacher again and again), averaged statistics, those of convolutions and their cells too, and images of a class \
                kept apart; class after class",
        paper: "Shao et al.: Generalized Large-Scale Data Condensation via Various Backbone and Statistical Matching, CVPR 2024 (arXiv 2311.17950); as its code, \
                averages start at 0, with each block here; its ShuffleNetV2 and WRN-16-2 are not among the networks",
        way: Way::Recover(Recovery {
            batching: Batching::ClassByClass,
            settings: [
                generalised(0.1, PLAIN, GENERALISED),
                generalised(0.05, Curriculum::Padded { by: 8 }, GENERALISED_SMALL),
                generalised(0.05, Curriculum::Padded { by: 4 }, GENERALISED_SMALL),
            ],
            blocks: [80, 100, 100],
            ..SRE2L
        }),
    },
    Distillation {
        name: "lpld",
        about: "SRe2L class by class: the images of a class together, matched to the statistics of that class",
        paper: "Xiao, He: Are Large-scale Soft Labels Necessary, NeurIPS 2024 (arXiv 2410.15919); exact class moments of cropped and flipped images; for 32 px those of 64 px",
        way: Way::Recover(Recovery {
            batching: Batching::OneClass,
            matches: Matches::TheClass,
            settings: [LARGE, RecoverSpec { statistics: 0.05, ..TINY }, RecoverSpec { statistics: 0.05, ..TINY }],
            // All images of a class: that of its largest published budget.
            blocks: [200; 3],
            ..SRE2L
        }),
    },
    Distillation {
        name: "dwa",
        about: "training images are moved, each batch under weights that were first turned away from it; variances count more",
        paper: "Du et al.: Diversity-Driven Synthesis, NeurIPS 2024 (arXiv 2409.17612); weights are put back after each batch, as the paper says; with --compat \
                they drift from class block to class block, as in its code; the gradients that its code leaves in the weights are never kept",
        way: Way::Recover(Recovery {
            start: Start::RealImages,
            settings: [
                nudged(LARGE, 2000, 15, 2.0),
                nudged(TINY_FORWARD, 2000, 12, 11.0),
                nudged(SMALL, 1000, 12, 11.0),
            ],
            blocks: [100, 200, 100],
            ..SRE2L
        }),
    },
    Distillation {
        name: "rded",
        about: "of a few random crops of each training image the one that the teacher finds easiest, and of those the easiest, as tiles",
        paper: "Sun, Shi, Yu, Lin: On the Diversity and Realism of Distilled Dataset, CVPR 2024 (arXiv 2312.03526)",
        way: Way::Crops([
            CropSpec { grid: 2, pool: 300, crops: 5 },
            CropSpec { grid: 1, pool: 300, crops: 5 },
            CropSpec { grid: 1, pool: 300, crops: 5 },
        ]),
    },
];

/// Of settings for about 224, 64 and 32 px those for the size.
pub fn for_size<T: Copy>(settings: &[T; 3], size: u32) -> T {
    match size {
        0..=32 => settings[2],
        33..=64 => settings[1],
        _ => settings[0],
    }
}

/// The method with this name.
///
/// # Errors
/// For an unknown name; the hint lists the known ones.
pub fn distillation(name: &str) -> Result<&'static Distillation> {
    let names = DISTILLATIONS.iter().map(|method| method.name);
    DISTILLATIONS.iter().find(|method| method.name == name).ok_or_else(|| unknown("distillation method", name, names))
}
