//! The whole program: a labelled image set goes in, N images per class come out.
//!
//! ```text
//! images ──> samples ──> trace ──> scores ──> selection ──> mosaics ──> compressed set
//!  source      scan       proxies    SQL        prune        combine       write
//! ```
//!
//! Every stage leaves its table in `DIR.run`. What takes long (traces, scores, shards of the set) is not made again when it is there, so a run that was cut
//! off goes on with the same command. What comes after, training and measuring, is in [`crate::students`] and [`crate::bench`].

use crate::recipe::{Recipe, Settings};
use crate::run::{Run, check_apart};
use crate::stages::{self, Evidence, Given};
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::manifest::Manifest;
use smalti_data::source::{Source, SourceOptions};
use smalti_data::tables::{Samples, Split};
use smalti_learn::engine::Machine;
use std::path::Path;

/// What `compress` is asked to do.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// A labelled set: an image folder, Parquet files or tar files.
    pub source: &'a Path,
    /// Column names, class order and decoding, where they have to be given.
    pub options: SourceOptions,
    /// The folder to write.
    pub out: &'a Path,
    /// Settings, from flags and files.
    pub recipe: Recipe,
    /// Scores or a selection made elsewhere.
    pub given: Given,
    /// Whether a finished set of ours may be replaced.
    pub overwrite: Overwrite,
    /// Where and how the proxies compute.
    pub machine: Machine,
}

/// Whether a finished set of ours at the place of the output may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// An error.
    Refuse,
    /// `--force`.
    Replace,
}

/// What `compress` did.
pub struct Outcome {
    /// The set as written.
    pub manifest: Manifest,
    /// The source as scanned.
    pub samples: Samples,
    /// Complete settings.
    pub settings: Settings,
}

/// Compresses a labelled set.
///
/// # Errors
/// When the input does not allow what is asked, the output exists, or the machine refuses; nothing half-written is left, and the same
/// call goes on where it stopped.
pub fn compress(request: &Request, ui: &Ui) -> Result<Outcome> {
    request.recipe.check()?;
    let source = Source::open(request.source, &request.options)?;
    check_apart(&source, request.out)?;
    let run = Run::begin(request.out, request.overwrite)?;
    let samples = stages::scan(&source, &request.recipe, &run, ui)?;
    let settings = stages::settle(request, &samples, &run)?;
    let evidence = stages::score(request, &source, &samples, &settings, &run, ui)?;
    let manifest = make_set(&source, &samples, &evidence, &settings, &request.given, &run, ui)?;
    Ok(Outcome { manifest, samples, settings })
}

/// The second half, from evidence to a written set.
///
/// # Errors
/// As [`compress`].
pub fn make_set(
    source: &Source,
    samples: &Samples,
    evidence: &Evidence,
    settings: &Settings,
    given: &Given,
    run: &Run,
    ui: &Ui,
) -> Result<Manifest> {
    let selection = stages::prune(samples, evidence, settings, given, run, ui)?;
    let plan = smalti_select::plan(&selection, samples.classes.len(), &settings.layout());
    stages::write(source, samples, &plan, settings, run, ui)
}

/// Images of the hold-out.
pub fn held_out(samples: &Samples) -> usize {
    samples.usable(Split::Holdout).count()
}
