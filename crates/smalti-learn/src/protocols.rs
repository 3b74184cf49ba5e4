//! Protocols: how a student is trained, in full. The command line, the documents and every table read this list.

mod by_set;

pub use by_set::{Batch, Constants, Crop, Duration, ManyClasses};

use crate::augment::Augment;
use crate::distort::Distort;
use crate::growth::Growth;
use crate::labels::{LabelKind, SoftLoss};
use crate::mix::Mix;
use crate::optim::OptimiserSpec;
use crate::schedule::{Length, Rate};
use crate::student::{Checks, Every};
use crate::train::StatisticsUpdate;
use smalti_data::crop::CropRange;
use smalti_data::store::Fit;

/// A named way to train a student.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Protocol {
    /// Name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Update rule with its peak learning rate.
    pub optimiser: OptimiserSpec,
    /// Peak learning rates of networks whose names begin so; the first that fits.
    pub peaks: &'static [(&'static str, f64)],
    /// How the learning rate moves.
    pub rate: Rate,
    /// Images per step.
    pub batch: Batch,
    /// What more than 100 classes change.
    pub many_classes: Option<ManyClasses>,
    /// How long.
    pub length: Duration,
    /// What a step sees.
    pub augment: Augment,
    /// RandomResizedCrop's range.
    pub crop: Crop,
    /// The side of a view.
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
    pub statistics: StatisticsUpdate,
    /// When it is measured besides after the last step.
    pub checks: Option<Checks>,
}

const ADAMW: OptimiserSpec = OptimiserSpec::AdamW { learning_rate: 1e-3, weight_decay: 0.01 };
const WHOLE_RANGE: Crop = Crop::Fixed(CropRange { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) });
const CUTMIX: Mix = Mix::CutMix { alpha: 1.0 };
const KL_20: LabelKind = LabelKind::Soft(SoftLoss::Kl { temperature: 20.0, factor: 1.0 });

/// The benchmark's, from which the others differ.
const HARD: Protocol = Protocol {
    name: "hard",
    about: "the benchmark's hard-label protocol: 300 epochs, batch 128, validation by resize and centre crop",
    paper: "arXiv 2502.06434",
    optimiser: ADAMW,
    peaks: &[],
    rate: Rate::Cosine,
    batch: Batch::Fixed(128),
    many_classes: None,
    length: Duration::Fixed(Length::Epochs(300)),
    augment: Augment::Constrained,
    crop: WHOLE_RANGE,
    growth: Growth::None,
    distort: Distort::None,
    mix: Mix::None,
    constants: Constants::ImageNet,
    labels: LabelKind::Hard,
    fit: Fit::Centre,
    statistics: StatisticsUpdate::Once,
    checks: None,
};

/// For small sets.
const SMALL: Protocol = Protocol {
    name: "small",
    about: "the benchmark's optimiser scaled to small sets: 30,000 images seen in batches of 50, test images whole",
    paper: "this project; every row of a table sees the same number of images",
    batch: Batch::Fixed(50),
    length: Duration::Fixed(Length::ImagesSeen(30_000)),
    fit: Fit::Whole,
    ..HARD
};

/// For whole sets.
const FAST: Protocol = Protocol {
    name: "fast",
    about: "whole sets in few epochs, by what the speed records of CIFAR-10 do: Muon, a learning rate that falls with every step, both sides of each image in \
            turn; --student airbench is their network",
    paper: "arXiv 2404.00498; the length of steps is this project's",
    optimiser: OptimiserSpec::Muon { learning_rate: 0.01, momentum: 0.9, weight_decay: 0.01 },
    rate: Rate::Linear,
    batch: Batch::Fixed(128),
    length: Duration::Fixed(Length::SmoothEpochs(8)),
    augment: Augment::None,
    distort: Distort::Alternating,
    constants: Constants::BySet,
    fit: Fit::Whole,
    ..HARD
};

/// Of SRe2L's networks at 32 px.
const SQUEEZE_SMALL: Protocol = Protocol {
    name: "squeeze-small",
    about: "the network whose statistics distillation matches, as SRe2L trains it at 32 px: 200 epochs of SGD; --student resnet18-small is its network",
    paper: "arXiv 2306.13092, its CIFAR-100 code; pixel constants are ImageNet's here",
    optimiser: OptimiserSpec::Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 5e-4 },
    batch: Batch::Fixed(128),
    length: Duration::Fixed(Length::Epochs(200)),
    augment: Augment::None,
    distort: Distort::Padded,
    fit: Fit::Whole,
    ..HARD
};

/// Steps over views of 0.69 of the full area in the mean; those of the last quarter, which leave the running statistics, are full.
const GROWING: Growth = Growth::From { part: 0.5, until: 0.75 };

/// RDED's evaluation.
const RDED: Protocol = Protocol {
    name: "rded",
    about: "RDED's evaluation: tiles are rearranged, crops of 1 / grid on, learning rate to half of its peak; the best of the last epochs was reported",
    paper: "arXiv 2312.03526",
    peaks: &[("mobilenet_v2", 2.5e-3), ("efficientnet_b0", 2e-3), ("swin_", 1e-4)],
    rate: Rate::HalfCosine,
    batch: Batch::Rded,
    augment: Augment::Shuffled,
    crop: Crop::OneOfGrid,
    mix: CUTMIX,
    labels: KL_20,
    checks: Some(Checks { every: Every::Epochs(10), from: 0.8 }),
    ..HARD
};

/// All protocols.
pub const PROTOCOLS: &[Protocol] = &[
    HARD,
    Protocol {
        name: "soft",
        about: "the benchmark's soft-label protocol: the same with CutMix and a teacher that sees every batch",
        mix: CUTMIX,
        labels: KL_20,
        ..HARD
    },
    SMALL,
    Protocol {
        name: "small-sgd",
        about: "`small` with the benchmark's SGD setting",
        paper: "arXiv 2502.06434 (its code's option for pruning)",
        optimiser: OptimiserSpec::Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4 },
        ..SMALL
    },
    Protocol {
        name: "small-muon",
        about: "`small` with Muon, at AdamW's learning rate",
        paper: "Jordan et al., Muon (2024); step length of arXiv 2502.16982",
        optimiser: OptimiserSpec::Muon { learning_rate: 1e-3, momentum: 0.95, weight_decay: 0.01 },
        ..SMALL
    },
    Protocol {
        name: "proxy",
        about: "the scoring networks: 10 epochs of AdamW, crops from a quarter of the area on",
        paper: "this project",
        length: Duration::Fixed(Length::Epochs(10)),
        augment: Augment::Standard,
        crop: Crop::Fixed(CropRange { scale: (0.25, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }),
        fit: Fit::Whole,
        ..HARD
    },
    FAST,
    Protocol {
        name: "fast-adamw",
        about: "`fast` with AdamW in place of Muon: what Muon is worth",
        optimiser: ADAMW,
        ..FAST
    },
    Protocol {
        name: "fast-growing",
        about: "`fast` with views that grow from half of the side to all of it over three quarters of the steps; for networks that pool over all places",
        paper: "progressive resizing: fast.ai for DAWNBench (2018), arXiv 2104.00298",
        growth: GROWING,
        ..FAST
    },
    Protocol {
        name: "small-soft",
        about: "`small` with CutMix and a teacher that sees every batch",
        mix: CUTMIX,
        labels: KL_20,
        ..SMALL
    },
    RDED,
    Protocol {
        name: "rded-compat",
        about: "`rded` as its code runs: a second forward pass per step, for a number it prints, moves the running statistics once more",
        statistics: StatisticsUpdate::Twice,
        ..RDED
    },
    Protocol {
        name: "rded-hard",
        about: "`rded` with hard labels and no teacher, as comparisons of distilled sets without relabelling have it (often for 1,000 epochs at 32 px)",
        labels: LabelKind::Hard,
        ..RDED
    },
    Protocol {
        name: "gvbsm",
        about: "G-VBSM's evaluation on ImageNet: squared distance from the teachers' logits and a tenth of the hard labels, which CutMix leaves alone",
        paper: "arXiv 2311.17950",
        batch: Batch::Fixed(1024),
        mix: CUTMIX,
        labels: LabelKind::Soft(SoftLoss::Mse { cross_entropy: 0.1 }),
        ..HARD
    },
    Protocol {
        name: "squeeze",
        about: "the network whose statistics distillation matches, as SRe2L trains it at 64 px: 50 epochs of SGD with warm-up; its authors saw worse images after longer",
        paper: "arXiv 2306.13092, its Tiny-ImageNet code; pixel constants are ImageNet's here",
        optimiser: OptimiserSpec::Sgd { learning_rate: 0.2, momentum: 0.9, weight_decay: 1e-4 },
        rate: Rate::WarmCosine { start: 0.01, until: 0.1 },
        batch: Batch::Fixed(256),
        length: Duration::Fixed(Length::Epochs(50)),
        augment: Augment::Standard,
        fit: Fit::Whole,
        ..HARD
    },
    SQUEEZE_SMALL,
    Protocol {
        name: "squeeze-small-growing",
        about: "`squeeze-small` with views that grow from half of the side to all of it over three quarters of the steps: for teachers where there is no GPU",
        paper: "arXiv 2306.13092, and progressive resizing (fast.ai for DAWNBench, 2018)",
        growth: GROWING,
        ..SQUEEZE_SMALL
    },
    Protocol {
        name: "squeeze-gvbsm",
        about: "each of the networks that G-VBSM asks in turn, as it trains them at 32 and 64 px: 50 epochs of SGD at one learning rate, no weight decay",
        paper: "arXiv 2311.17950, its CIFAR and Tiny-ImageNet code; pixel constants are ImageNet's here",
        optimiser: OptimiserSpec::Sgd { learning_rate: 0.05, momentum: 0.9, weight_decay: 0.0 },
        rate: Rate::Constant,
        batch: Batch::Fixed(64),
        length: Duration::Fixed(Length::Epochs(50)),
        augment: Augment::None,
        distort: Distort::Padded,
        fit: Fit::Whole,
        ..HARD
    },
    Protocol {
        name: "tiny-soft",
        about: "soft labels at 64 px as SRe2L, LPLD and DWA train on Tiny-ImageNet: SGD with warm-up, KL times T², no mixing",
        paper: "arXiv 2306.13092, its Tiny-ImageNet code; LPLD and DWA take batch 64, DWA 200 epochs, and LPLD decays kernels and matrices alone",
        optimiser: OptimiserSpec::Sgd { learning_rate: 0.2, momentum: 0.9, weight_decay: 1e-4 },
        rate: Rate::WarmCosine { start: 0.01, until: 0.05 },
        batch: Batch::Fixed(256),
        length: Duration::Fixed(Length::Epochs(100)),
        constants: Constants::TinyImageNet,
        labels: LabelKind::Soft(SoftLoss::Kl { temperature: 20.0, factor: 400.0 }),
        fit: Fit::Whole,
        ..HARD
    },
    Protocol {
        name: "minimax",
        about: "hard labels on ImageNet subsets as Minimax diffusion and IDC evaluate: long, SGD, CutMix in every step, colours; the best of 100 checks was \
                reported",
        paper: "arXiv 2311.15529, 2205.14959",
        optimiser: OptimiserSpec::Sgd { learning_rate: 0.01, momentum: 0.9, weight_decay: 5e-4 },
        rate: Rate::Steps { at: (2.0 / 3.0, 5.0 / 6.0), factor: 0.2 },
        batch: Batch::Fixed(64),
        many_classes: Some(ManyClasses {
            optimiser: OptimiserSpec::Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4 },
            batch: 128,
        }),
        length: Duration::Minimax,
        crop: Crop::Fixed(CropRange { scale: (0.5, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }),
        distort: Distort::Jitter,
        mix: CUTMIX,
        fit: Fit::Cover,
        checks: Some(Checks { every: Every::Hundredth, from: 0.0 }),
        ..HARD
    },
    Protocol {
        name: "cim",
        about: "hard labels as CIM evaluates sets without relabelling: one tile or the whole image, DSA, a learning rate in steps; 1,000 epochs at 32 and 64 px \
                (--epochs 1000)",
        paper: "arXiv 2607.00916; cross-entropy, where its text does not name the loss",
        rate: Rate::Steps { at: (2.0 / 3.0, 5.0 / 6.0), factor: 0.2 },
        batch: Batch::Rded,
        augment: Augment::Factor,
        distort: Distort::Dsa,
        ..HARD
    },
    Protocol {
        name: "dc-bench",
        about: "hard labels on small images as DC-Bench evaluates: 1,001 epochs, SGD, DSA, no crop",
        paper: "arXiv 2207.09639",
        optimiser: OptimiserSpec::Sgd { learning_rate: 0.01, momentum: 0.9, weight_decay: 5e-4 },
        rate: Rate::Anew { at: 502.0 / 1001.0, factor: 0.1 },
        batch: Batch::Fixed(256),
        length: Duration::Fixed(Length::Epochs(1001)),
        augment: Augment::None,
        distort: Distort::Dsa,
        constants: Constants::BySet,
        fit: Fit::Whole,
        ..HARD
    },
];

impl Protocol {
    /// The protocol with this name.
    pub fn named(name: &str) -> Option<&'static Protocol> {
        PROTOCOLS.iter().find(|p| p.name == name)
    }

    /// The optimiser with the peak learning rate for a network.
    pub fn optimiser_for(&self, network: &str) -> OptimiserSpec {
        let peak = self.peaks.iter().find(|(prefix, _)| network.starts_with(prefix));
        peak.map_or(self.optimiser, |&(_, peak)| self.optimiser.with_learning_rate(peak))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rdeds_numbers_are_those_of_its_code() {
        let batches = [
            (10, 10, 10),
            (100, 10, 50),
            (500, 10, 100),
            (1000, 100, 100),
            (50_000, 1000, 200),
            (2000, 200, 100),
            (5, 10, 5),
        ];
        for (images, classes, batch) in batches {
            assert_eq!(Batch::Rded.of(images, classes), batch, "{images} images in {classes} classes");
        }
        assert_eq!((Crop::OneOfGrid.of(2).scale, Crop::OneOfGrid.of(1).scale), ((0.5, 1.0), (1.0, 1.0)));
        let rded = Protocol::named("rded").expect("in the list");
        assert_eq!(rded.optimiser_for("mobilenet_v2").learning_rate(), 2.5e-3);
        assert_eq!(rded.optimiser_for("resnet18").learning_rate(), 1e-3);
        let hard = Protocol::named("rded-hard").expect("in the list");
        assert_eq!(Protocol { labels: rded.labels, name: rded.name, about: rded.about, ..*hard }, *rded);
        assert_eq!(hard.labels, LabelKind::Hard);
    }

    #[test]
    fn minimax_trains_by_the_size_of_the_set() {
        let epochs =
            [(10, 10, 3000), (100, 10, 2000), (200, 10, 1500), (1000, 10, 1000), (1000, 100, 1300), (100, 100, 2000)];
        for (images, classes, epochs) in epochs {
            assert_eq!(Duration::Minimax.of(images, classes), Length::Epochs(epochs), "{images} in {classes}");
        }
        let rate = Protocol::named("minimax").expect("in the list").rate;
        let falls = |epochs: u64| {
            (1..epochs).filter(|&done| rate.at(done, epochs) < rate.at(done - 1, epochs)).collect::<Vec<_>>()
        };
        // MultiStepLR with 2E // 3 and 5E // 6.
        assert_eq!((falls(2000), falls(1500), falls(1300)), (vec![1333, 1666], vec![1000, 1250], vec![866, 1083]));
    }
}
