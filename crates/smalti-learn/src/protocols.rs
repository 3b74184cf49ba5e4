//! Protocols: how a student is trained, in full. The command line, the documents and every table read this list.

use crate::augment::Augment;
use crate::optim::OptimiserSpec;
use crate::train::Length;
use smalti_data::crop::CropRange;
use smalti_data::store::Fit;

/// A named way to train a student with hard labels and cross-entropy; the learning rate falls along half a cosine, no warm-up.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Protocol {
    /// Name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Update rule.
    pub optimiser: OptimiserSpec,
    /// Images per step.
    pub batch: u32,
    /// How long.
    pub length: Length,
    /// What a step sees.
    pub augment: Augment,
    /// RandomResizedCrop's range.
    pub crop: CropRange,
    /// How test images are fitted.
    pub fit: Fit,
}

/// All protocols.
pub const PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "hard",
        about: "the benchmark's hard-label protocol: 300 epochs, batch 128, validation by resize and centre crop",
        paper: "arXiv 2502.06434",
        optimiser: OptimiserSpec::AdamW { learning_rate: 1e-3, weight_decay: 0.01 },
        batch: 128,
        length: Length::Epochs(300),
        augment: Augment::Constrained,
        crop: CropRange { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) },
        fit: Fit::Centre,
    },
    Protocol {
        name: "small",
        about: "the same optimiser scaled to small sets: 30,000 images seen in batches of 50, test images whole",
        paper: "this project; every row of a table sees the same number of images",
        optimiser: OptimiserSpec::AdamW { learning_rate: 1e-3, weight_decay: 0.01 },
        batch: 50,
        length: Length::ImagesSeen(30_000),
        augment: Augment::Constrained,
        crop: CropRange { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) },
        fit: Fit::Whole,
    },
];

impl Protocol {
    /// The protocol with this name.
    pub fn named(name: &str) -> Option<&'static Protocol> {
        PROTOCOLS.iter().find(|p| p.name == name)
    }
}
