//! Cells: one method, budget, student and seed. A finished cell is a file; a rerun reads it and does nothing.

use super::plan::{ALL, Plan, Row};
use crate::error::failure;
use crate::report::tensorboard::Scalar;
use crate::students::Training;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use smalti_data::files;
use smalti_learn::train::History;
use std::path::{Path, PathBuf};

/// One student to be trained and measured.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The method.
    pub row: &'a Row,
    /// How the student is trained.
    pub training: &'a Training,
    /// Images per class.
    pub ipc: u32,
    /// Seed of proxies, draw and student.
    pub seed: u64,
    /// Smallest area of a crop.
    pub crop_min: f64,
    /// On which images it is measured.
    pub exam: Exam,
}

/// The images that measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exam {
    /// The hold-out, for choices.
    Holdout,
    /// The test images, for results.
    Test,
}

/// One finished student.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the row.
    pub method: String,
    /// Images per class.
    pub ipc: u32,
    /// Network, with width and norm.
    pub student: String,
    /// Name of the protocol.
    pub protocol: String,
    /// What a step saw.
    pub augment: String,
    /// Smallest area of a crop.
    pub crop_min: f64,
    /// Seed.
    pub seed: u64,
    /// The images that measured.
    pub exam: Exam,
    /// Percent, after the last step.
    pub top1_percent: f64,
    /// The best of several measurements on the test images, where the protocol takes some: chosen on what it is measured on, so no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_top1_percent: Option<f64>,
    /// Percent, after the last step.
    pub top5_percent: f64,
    /// Percent on the hold-out, after the last step: what choices between rows may look at. None without a hold-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_top1_percent: Option<f64>,
    /// Percent by class, none for a class without test images.
    pub class_top1_percent: Vec<Option<f64>>,
    /// Which test images were right after the last step, in their order: hexadecimal digits of four images each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub right: String,
    /// Who said soft labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// Who looked at the images of a distilled set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distilled_by: Option<String>,
    /// Images measured on.
    pub test_images: u64,
    /// Images trained on.
    pub train_images: u64,
    /// Encoded bytes of the training images.
    pub image_bytes: u64,
    /// Bytes of their labels.
    pub label_bytes: u64,
    /// Training images per second, loader included.
    pub images_per_second: f64,
    /// Seconds per stage.
    pub seconds: Seconds,
    /// What the loop measured.
    pub history: History,
    /// Version and commit of the program.
    pub program: String,
    /// Processor, GPU where one computed, threads and number format.
    pub machine: String,
}

/// Seconds per stage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Seconds {
    /// Training of the proxies behind the scores; 0 where the rule needs none.
    pub proxy: f64,
    /// Prune, combine, write.
    pub compress: f64,
    /// Training of the student.
    pub train: f64,
    /// Evaluation.
    pub eval: f64,
}

/// All results, row by row, budget by budget, seed by seed.
pub fn jobs(plan: &Plan) -> impl Iterator<Item = Job<'_>> {
    let of_seed = |row, training, ipc, seed| Job { row, training, ipc, seed, crop_min: 0.0, exam: Exam::Test };
    groups(plan).flat_map(move |(row, training, ipc)| (0..row.seeds).map(move |seed| of_seed(row, training, ipc, seed)))
}

/// A row, training and budget: its cells differ in the seed alone.
pub type Group<'a> = (&'a Row, &'a Training, u32);

/// Every group, row by row, budget by budget.
pub fn groups(plan: &Plan) -> impl Iterator<Item = Group<'_>> {
    plan.rows.iter().flat_map(|row| {
        let of_training = move |training| row.budgets.iter().map(move |&ipc| (row, training, ipc));
        row.trainings.iter().flat_map(of_training)
    })
}

fn file_name(method: &str, ipc: u32, (student, protocol): (&str, &str), seed: u64) -> String {
    let student = student.replace('/', "_");
    format!("{method}-ipc{}-{student}-{protocol}-seed{seed}", budget_name(ipc))
}

/// The name of a set in file names.
pub(super) fn set_name(row: &str, ipc: u32, seed: u64) -> String {
    format!("{row}-ipc{}-seed{seed}", budget_name(ipc))
}

impl Cell {
    /// Its name in file names.
    pub fn name(&self) -> String {
        file_name(&self.method, self.ipc, (&self.student, &self.protocol), self.seed)
    }

    /// Its numbers by images seen, for TensorBoard.
    pub fn scalars(&self) -> Vec<Scalar> {
        let scalar = |tag: &str, step: u64, value: f64| Scalar { tag: tag.to_owned(), step, value: value as f32 };
        let losses = self.history.curve.iter().map(|&(seen, loss)| scalar("loss/train", seen, loss));
        let held = self.holdout_top1_percent.map(|percent| ("accuracy/holdout top-1", percent));
        let measured = [("accuracy/test top-1", self.top1_percent), ("accuracy/test top-5", self.top5_percent)];
        let last = measured.into_iter().chain(held);
        losses.chain(last.map(|(tag, percent)| scalar(tag, self.history.images_seen, percent))).collect()
    }
}

impl Job<'_> {
    /// Its name in file names.
    pub fn name(&self) -> String {
        let Job { row, training, .. } = self;
        file_name(&row.name, self.ipc, (&training.student, &training.protocol), self.seed)
    }

    /// Its name for people.
    pub fn title(&self) -> String {
        let exam = if self.exam == Exam::Holdout { " hold-out" } else { "" };
        format!("{} ipc {}{exam}", self.row.name, budget_name(self.ipc))
    }

    /// Where the error of a cell that failed is kept.
    pub fn failure(&self, out: &Path) -> PathBuf {
        out.join("cells").join(format!("{}.failed.txt", self.name()))
    }

    /// The file of the finished cell.
    pub fn path(&self, out: &Path) -> PathBuf {
        let name = self.name();
        match self.exam {
            Exam::Test => out.join("cells").join(format!("{name}.json")),
            Exam::Holdout => out.join("holdout").join(format!("{name}-crop{}.json", self.crop_min)),
        }
    }

    /// The finished cell, if there is one.
    ///
    /// # Errors
    /// When its file is damaged.
    pub fn finished(&self, out: &Path) -> Result<Option<Cell>> {
        let path = self.path(out);
        if path.exists() {
            let cell = read(&path)?;
            if !self.is_of(&cell) {
                let (file, own) = (path.display(), &self.training);
                return Err(failure(
                    format!(
                        "`{file}` is a cell of {} under {}, not of {} under {}",
                        cell.student, cell.protocol, own.student, own.protocol
                    ),
                    "their names in files are the same; give one of them another --out",
                ));
            }
            return Ok(Some(cell));
        }
        // Before there were several protocols in a folder, names held none.
        let older = path.to_string_lossy().replace(&format!("-{}-seed", self.training.protocol), "-seed");
        if !Path::new(&older).exists() {
            return Ok(None);
        }
        Ok(Some(read(Path::new(&older))?).filter(|cell| self.is_of(cell)))
    }

    /// Whether a cell is of this network, protocol and seed. Names of files do not tell: `a-b` and `c` make the same as `a` and `b-c`.
    fn is_of(&self, cell: &Cell) -> bool {
        let Job { row, training, ipc, seed, .. } = *self;
        let own = (row.name.as_str(), ipc, training.student.as_str(), training.protocol.as_str(), seed);
        own == (cell.method.as_str(), cell.ipc, cell.student.as_str(), cell.protocol.as_str(), cell.seed)
    }
}

/// A budget in file names: its number, or `all`.
pub fn budget_name(ipc: u32) -> String {
    if ipc == ALL { "all".to_owned() } else { ipc.to_string() }
}

fn read(path: &Path) -> Result<Cell> {
    serde_json::from_slice(&files::read(path)?)
        .with_context(|| format!("the cell `{}` is damaged; remove it and run again", path.display()))
}

/// Writes a finished cell.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, cell: &Cell) -> Result<()> {
    let mut text = serde_json::to_string_pretty(cell)?;
    text.push('\n');
    Ok(files::write_bytes(path, text.as_bytes())?)
}

/// Every finished result of a plan, in its order.
///
/// # Errors
/// When a file is damaged.
pub fn read_all(plan: &Plan, out: &Path) -> Result<Vec<Cell>> {
    let mut found = Vec::new();
    for job in jobs(plan) {
        found.extend(job.finished(out)?);
    }
    Ok(found)
}
