//! What a report is made from. Percentages are 0 to 100, times are seconds, sizes are bytes.

use super::bootstrap::Interval;
use super::ranking::Ranking;
use serde::Serialize;

/// Everything on the page. An empty list leaves its section out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Page {
    /// Short name: `imagenette-ipc10`.
    pub title: String,
    /// One line: `9,469 images, 10 classes, compressed to 10 images per class`.
    pub subtitle: String,
    /// Results, one sentence each, the most important first.
    pub findings: Vec<String>,
    /// One row per method and setting, in the order to show.
    pub table: Vec<TableRow>,
    /// Name of the method that gains are measured against.
    pub baseline: String,
    /// Training loss, one curve per method.
    pub curves: Vec<Curve>,
    /// Scores of all samples, one histogram per metric.
    pub histograms: Vec<Histogram>,
    /// Images as they are stored, one gallery per method.
    pub galleries: Vec<Gallery>,
    /// Which method chose, and what the words under the images mean, as sentences; may be empty.
    pub choices_note: String,
    /// What was kept and what was dropped, per class.
    pub choices: Vec<ClassStrip>,
    /// Top-1 by class.
    pub classes: Vec<ClassBar>,
    /// How students were trained: name and value.
    pub protocol: Vec<(String, String)>,
    /// Where the numbers come from: commit, machine, versions, seeds.
    pub provenance: Vec<(String, String)>,
    /// Command lines that repeat the run.
    pub commands: Vec<String>,
    /// What a reader should know before believing the page.
    pub warnings: Vec<String>,
}

/// One method under one setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableRow {
    /// Name of the method.
    pub method: String,
    /// What it does, in a few words.
    pub about: String,
    /// Stored images per class.
    pub ipc: u32,
    /// Network that is trained.
    pub student: String,
    /// Name of the training protocol.
    pub protocol: String,
    /// Name of the augmentation.
    pub augment: String,
    /// Crop range, as text.
    pub crop: String,
    /// Images that a student was trained on, repeats counted; mean over seeds.
    pub images_seen: u64,
    /// Number of seeds.
    pub n: u32,
    /// Top-1 accuracy in percent.
    pub top1: MeanSd,
    /// The best of several measurements on the test images, in percent, where a protocol takes some: chosen on what it is measured on, so no
    /// result.
    pub best_top1: Option<MeanSd>,
    /// Top-5 accuracy in percent.
    pub top5: MeanSd,
    /// Top-1 over the baseline of the same setting; none for the baseline itself.
    pub gain: Option<Gain>,
    /// The same difference when seeds and test images are drawn anew; none where the images are not on record.
    pub gain_over_images: Option<Interval>,
    /// DD-Ranking's scores, where the full data was trained on.
    pub ranking: Option<Ranking>,
    /// Size of the stored images.
    pub image_bytes: u64,
    /// Size of the stored labels.
    pub label_bytes: u64,
    /// Training of one student, mean over seeds.
    pub train_seconds: f64,
    /// Everything spent on scores before the student, mean over seeds; 0 where no score is needed.
    pub score_seconds: f64,
}

/// A mean over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeanSd {
    /// The mean; not a number if there are no values.
    pub mean: f64,
    /// Standard deviation with n - 1 in the denominator; none for fewer than two values.
    pub sd: Option<f64>,
    /// The values themselves.
    pub values: Vec<f64>,
}

/// A difference in percentage points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    /// Mean of the differences of pairs with the same seed.
    pub mean: f64,
    /// Half the width of the 95 % paired t-interval; none for a single pair.
    pub half_width: Option<f64>,
    /// What the interval says.
    pub clear: Clear,
}

/// What a paired interval says about a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clear {
    /// The interval lies above zero.
    Better,
    /// The interval lies below zero.
    Worse,
    /// The interval covers zero.
    NoClearDifference,
    /// One pair has no interval.
    Unknown,
}

/// A line of training loss.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// Name of the method, as in the table.
    pub method: String,
    /// Images seen and mean loss.
    pub points: Vec<(f64, f64)>,
}

/// Scores of all samples of a training set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// `EL2N, easiest kept`.
    pub title: String,
    /// `EL2N score, mean of 3 proxies`.
    pub x_label: String,
    /// Which end of the axis is easy.
    pub easy_end: EasyEnd,
    /// Neighbouring bins, from low to high.
    pub bins: Vec<Bin>,
}

/// Where a score is easy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EasyEnd {
    /// Low scores are easy.
    Low,
    /// High scores are easy.
    High,
}

/// One bar of a histogram.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Samples in the selection.
    pub kept: u32,
    /// All others.
    pub dropped: u32,
}

/// Stored images of one method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gallery {
    /// Name of the method.
    pub method: String,
    /// One line about what is to be seen.
    pub note: String,
    /// Images, those of a class side by side.
    pub images: Vec<Picture>,
}

/// An encoded image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Picture {
    /// Name of its class.
    pub class: String,
    /// A word under the image, such as a score; may be empty.
    pub caption: String,
    /// `image/png`, `image/jpeg`, `image/webp` or `image/gif`.
    pub mime: String,
    /// The encoded file. Left out of JSON.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// Examples of a choice in one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassStrip {
    /// Name of the class.
    pub class: String,
    /// Kept samples, easiest first.
    pub kept: Vec<Picture>,
    /// Dropped samples, hardest first.
    pub dropped: Vec<Picture>,
}

/// Top-1 of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassBar {
    /// Name of the class.
    pub class: String,
    /// Method and percent, mean over seeds.
    pub values: Vec<(String, Option<f64>)>,
}

impl TableRow {
    /// Images and labels together.
    pub fn total_bytes(&self) -> u64 {
        self.image_bytes.saturating_add(self.label_bytes)
    }

    /// Whether two rows may be compared: all but the method (and what the method brings) agrees.
    pub fn same_setting(&self, other: &TableRow) -> bool {
        self.ipc == other.ipc && self.student == other.student && self.protocol == other.protocol
    }
}
