//! Distillation: images that no camera took, made from a trained network (and, for some methods, from training images).
//!
//! ```text
//! OUT.run/distilled/train/CLASS/IMAGE.png   finished pictures, without loss
//! OUT.run/blocks/block=N.json               the mark that a block is finished, with its seconds
//! OUT/                                      the set, as `compress` writes it
//! ```

mod blocks;
pub mod list;

use crate::error::usage;
use crate::pipeline::Overwrite;
use crate::run::Run;
use crate::sources::Scanned;
use crate::stages;
use crate::teachers::TeacherFile;
use crate::ui::Ui;
use anyhow::Result;
use blocks::{Mover, blocks, staging};
use list::Distillation;
use serde::Serialize;
use smalti_data::manifest::Manifest;
use smalti_data::mosaic::{Layout, Plan, PlannedImage};
use smalti_data::scan;
use smalti_data::source::{Source, SourceOptions};
use smalti_data::tables::{Samples, Split};
use smalti_data::write::{OutputFormat, SetSpec, source_hash};
use smalti_learn::batch::IMAGENET;
use smalti_learn::engine::{Engine, Precision};
use smalti_learn::recover::{RecoverSpec, Rounding};
use std::collections::BTreeMap;
use std::path::Path;

/// What `smalti distill` is asked.
pub struct Request<'a> {
    /// The method.
    pub method: &'static Distillation,
    /// The labelled set.
    pub source: &'a Path,
    /// How it is read.
    pub options: SourceOptions,
    /// Whose statistics are matched.
    pub teacher: TeacherFile,
    /// Images per class.
    pub ipc: u32,
    /// Side of the images in pixels; the teacher's where none is given.
    pub size: Option<u32>,
    /// Instead of the published number.
    pub iterations: Option<u32>,
    /// Most images of a block.
    pub block: u32,
    /// Key of noise and views.
    pub seed: u64,
    /// How pixels become bytes.
    pub rounding: Rounding,
    /// What is written.
    pub format: OutputFormat,
    /// The folder.
    pub out: &'a Path,
    /// Whether a finished set of ours may be replaced.
    pub overwrite: Overwrite,
    /// Number format.
    pub precision: Precision,
    /// Threads; 0 for all cores.
    pub threads: usize,
}

/// Complete settings; a run that was cut off is only finished under the same.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Settings {
    distill: String,
    ipc: u32,
    size: u32,
    block: u32,
    seed: u64,
    rounding: Rounding,
    teacher: String,
    precision: String,
    recover: RecoverSpec,
}

/// What `distill` made.
#[derive(Debug, Serialize)]
pub struct Distilled {
    /// The set as written.
    pub manifest: Manifest,
    /// Seconds of moving pixels, in this and earlier runs.
    pub recover_seconds: f64,
}

/// Makes a set.
///
/// # Errors
/// When the teacher does not know the classes or has no statistics to match, the output exists, or pixels diverge; finished blocks stay, and the same
/// call goes on with the next.
pub fn distill(request: &Request, ui: &Ui) -> Result<Distilled> {
    if request.ipc == 0 || request.iterations == Some(0) || request.block == 0 {
        return Err(usage("nothing is to be made", "give --ipc, --iterations and --block above 0"));
    }
    let method = request.method;
    let run = Run::begin(request.out, request.overwrite)?;
    let scanned = Scanned::open(request.source, &request.options, ui)?;
    let engine = Engine::start(request.precision, request.threads)?;
    let teacher = request.teacher.network(scanned.source.classes(), request.size, &engine, ui)?;
    let size = teacher.network.shape.size;
    let mut spec = method.settings_for(size);
    spec.iterations = request.iterations.unwrap_or(spec.iterations);
    let settings = Settings {
        distill: method.name.to_owned(),
        ipc: request.ipc,
        size,
        block: request.block,
        seed: request.seed,
        rounding: request.rounding,
        teacher: teacher.name.clone(),
        precision: engine.precision_name().to_owned(),
        recover: spec,
    };
    let text = toml::to_string(&settings).expect("settings are tables of numbers and strings");
    run.keep_settings(&text)?;
    let mover = Mover {
        method,
        spec,
        network: &teacher.network,
        columns: &teacher.columns,
        normalise: teacher.constants.unwrap_or(IMAGENET),
        rounding: request.rounding,
        seed: request.seed,
        engine,
    };
    let classes = scanned.source.classes().len() as u32;
    let all = blocks(method.batching, classes, request.ipc, request.block);
    let recover_seconds = mover.finish(&all, &scanned, &run, ui)?;
    let manifest = write(request, &settings, &text, &scanned, &run, ui)?;
    Ok(Distilled { manifest, recover_seconds })
}

/// Writes the pictures of the working folder as a set.
fn write(
    request: &Request,
    settings: &Settings,
    text: &str,
    scanned: &Scanned,
    run: &Run,
    ui: &Ui,
) -> Result<Manifest> {
    let pictures = Source::open(&staging(run), &SourceOptions::default())?;
    // Folders are class numbers; the names are those of the source.
    let found = Samples { classes: scanned.samples.classes.clone(), ..scan::scan(&pictures, &|_| ())? };
    let mut images: Vec<PlannedImage> = Vec::new();
    for sample in found.usable(Split::Train) {
        let index = images.iter().rev().take_while(|image| image.class_id == sample.class_id).count() as u32;
        images.push(PlannedImage { class_id: sample.class_id, index, samples: vec![sample.sample] });
    }
    let samples = &scanned.samples;
    let spec = SetSpec {
        name: format!("{}-ipc{}", settings.distill, settings.ipc),
        classes: samples.classes.clone(),
        ipc: settings.ipc,
        layout: Layout::new(1, settings.size)?,
        seed: settings.seed,
        format: request.format,
        method: BTreeMap::from([
            ("distill".to_owned(), settings.distill.clone()),
            ("teacher".to_owned(), settings.teacher.clone()),
        ]),
        skipped: stages::skipped(samples),
        source_kind: scanned.source.kind().to_owned(),
        source_images: samples.rows.len() as u64,
        source_hash: source_hash(samples),
        recipe_toml: text.to_owned(),
        licence: None,
        notes: Some(format!("The images are synthetic: {} ({}).", request.method.about, request.method.paper)),
    };
    let manifest = stages::write_as(&pictures, &found, &Plan { images }, &spec, run, ui)?;
    // The pictures are in the set now.
    std::fs::remove_dir_all(staging(run)).map_err(smalti_data::Error::io("remove the folder", &staging(run)))?;
    Ok(manifest)
}
