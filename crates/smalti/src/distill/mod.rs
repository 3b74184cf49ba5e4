//! Distillation: images that no camera took, made from a trained network (and, for some methods, from training images).
//!
//! ```text
//! OUT.run/distilled/train/CLASS/IMAGE.png   finished pictures, without loss
//! OUT.run/blocks/block=N.json               the mark that a block is finished, with its seconds
//! OUT/                                      the set, as `compress` writes it
//! ```

mod blocks;
mod counts;
mod crops;
pub mod effort;
pub mod list;
mod staging;
mod tuning;

use crate::cache;
use crate::pipeline::Overwrite;
use crate::run::{Run, check_apart, check_output, working_folder};
use crate::sources::{Scanned, train_rows};
use crate::stages;
use crate::teachers::{Opened, TeacherFile, names, open_all};
use crate::ui::Ui;
use anyhow::Result;
use blocks::Mover;
pub use crops::CropSpec;
use crops::Picker;
use list::Distillation;
use serde::Serialize;
use smalti_data::decode::Profile;
use smalti_data::manifest::Manifest;
use smalti_data::mosaic::{Layout, Plan, PlannedImage, group};
use smalti_data::scan;
use smalti_data::source::{Source, SourceOptions};
use smalti_data::tables::Samples;
use smalti_data::write::{OutputFormat, SetSpec, source_hash};
use smalti_learn::engine::{Engine, Machine};
use smalti_learn::recover::check_norms;
use staging::Staging;
use std::collections::BTreeMap;
use std::path::Path;
use tuning::Tuned;
pub use tuning::{Follows, Tuning};

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The method.
    pub method: &'static Distillation,
    /// What is not as published.
    pub tuning: Tuning,
    /// Images per class.
    pub ipc: u32,
    /// Side of the images in pixels; the teacher's where none is given.
    pub size: Option<u32>,
    /// Key of noise, views and crops.
    pub seed: u64,
    /// What is written.
    pub format: OutputFormat,
}

/// What `smalti distill` is asked.
pub struct Request<'a> {
    /// What is made.
    pub order: Order,
    /// The labelled set.
    pub source: &'a Path,
    /// How it is read.
    pub options: SourceOptions,
    /// Whose statistics are matched; those that take turns.
    pub teachers: Vec<TeacherFile>,
    /// The folder.
    pub out: &'a Path,
    /// Whether a finished set of ours may be replaced.
    pub overwrite: Overwrite,
    /// Where and how to compute.
    pub machine: Machine,
}

/// Complete settings; a run that was cut off is only finished under the same.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Settings {
    distill: String,
    ipc: u32,
    size: u32,
    seed: u64,
    teacher: String,
    /// Hash of the training images with their classes and how they are decoded: blocks of two sources are never one set.
    source: String,
    precision: String,
    /// The GPU, where one computes.
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu: Option<String>,
    #[serde(flatten)]
    tuned: Tuned,
}

/// What `distill` made.
#[derive(Debug, Serialize)]
pub struct Distilled {
    /// The set as written.
    pub manifest: Manifest,
    /// Seconds of moving pixels or picking crops, in this and earlier runs.
    pub seconds: f64,
}

/// Makes a set.
///
/// # Errors
/// When the teacher does not know the classes or has no statistics to match, the output exists, or pixels diverge; finished blocks stay, and the same
/// call goes on with the next.
pub fn distill(request: &Request, ui: &Ui) -> Result<Distilled> {
    let order = &request.order;
    order.method.check(&order.tuning, order.ipc)?;
    order.method.check_teachers(request.teachers.len())?;
    check_output(request.out, request.overwrite)?;
    let source = Source::open(request.source, &request.options)?;
    check_apart(&source, request.out)?;
    let scanned = Scanned::of(source, ui)?;
    let engine = Engine::start(request.machine)?;
    let ready = Ready::of(order, &scanned, &request.teachers, engine, ui)?;
    // A set that `--force` replaces goes when nothing but the work is left to fail.
    let run = Run::begin(request.out, request.overwrite)?;
    run.make_room(None)?;
    ready.make(order, &scanned, &run, ui)
}

/// That every class of `scanned` has the training images that the method needs for images of `size` px.
///
/// # Errors
/// Naming the class, or for tiles that do not fill an image.
pub fn check_counts(order: &Order, size: u32, scanned: &Scanned) -> Result<()> {
    counts::check(order.method.name, &order.method.tuned(&order.tuning, size)?, order.ipc, &scanned.samples)
}

/// Makes a set of the training images of `scanned`, in the folder that `run` has taken.
///
/// # Errors
/// As [`distill`].
pub fn make(
    order: &Order,
    scanned: &Scanned,
    teachers: &[TeacherFile],
    engine: Engine,
    run: &Run,
    ui: &Ui,
) -> Result<Distilled> {
    Ready::of(order, scanned, teachers, engine, ui)?.make(order, scanned, run, ui)
}

/// All that is asked, with every check behind it that needs no work.
struct Ready {
    settings: Settings,
    teachers: Vec<Opened>,
    engine: Engine,
}

impl Ready {
    fn of(order: &Order, scanned: &Scanned, teachers: &[TeacherFile], engine: Engine, ui: &Ui) -> Result<Ready> {
        let classes = scanned.source.classes();
        let teachers = open_all(teachers, classes, order.size, &engine, ui)?;
        if order.method.moves_pixels() {
            teachers.iter().try_for_each(|teacher| check_norms(&teacher.network, order.method.name))?;
        }
        if let (true, [only]) = (order.method.takes_several(), &teachers[..]) {
            let name = order.method.name;
            ui.warn(format!("{name} asks several networks in turn, and is given {} alone: add --teacher", only.name));
        }
        let size = teachers[0].network.shape.size;
        check_counts(order, size, scanned)?;
        let settings = Settings {
            distill: order.method.name.to_owned(),
            ipc: order.ipc,
            size,
            seed: order.seed,
            teacher: names(teachers.iter().map(|teacher| &teacher.name)),
            source: images_of(scanned),
            precision: engine.precision_name().to_owned(),
            gpu: engine.gpu(),
            tuned: order.method.tuned(&order.tuning, size)?,
        };
        settings.layout()?;
        Ok(Ready { settings, teachers, engine })
    }

    fn make(&self, order: &Order, scanned: &Scanned, run: &Run, ui: &Ui) -> Result<Distilled> {
        let Ready { settings, teachers, engine } = self;
        run.keep_settings(&settings.to_toml())?;
        pictures(settings, (teachers, *engine), scanned, run, ui)?;
        let manifest = write(order, settings, scanned, run, ui)?;
        Ok(Distilled { manifest, seconds: staging::seconds(&run.dir)? })
    }
}

/// The seconds that making the finished set in `out` took.
///
/// # Errors
/// When the marks of its blocks are damaged.
pub fn cost(out: &Path) -> Result<f64> {
    staging::seconds(&working_folder(out))
}

/// Makes the pictures of the working folder.
fn pictures(
    settings: &Settings,
    (teachers, engine): (&[Opened], Engine),
    scanned: &Scanned,
    run: &Run,
    ui: &Ui,
) -> Result<()> {
    let seed = settings.seed;
    match &settings.tuned {
        Tuned::Recover { way, block, rounding, recover } => {
            let classes = scanned.source.classes().len() as u32;
            let blocks = blocks::blocks(way.batching, classes, settings.ipc, *block);
            let (method, spec, rounding) = (&settings.distill, *recover, *rounding);
            let mover = Mover { method, way: *way, spec, teachers, rounding, seed, engine };
            mover.finish(&blocks, scanned, run, ui)
        }
        Tuned::Crops { crops } => {
            let picker = Picker { spec: *crops, teacher: &teachers[0], seed, engine };
            picker.finish(settings.ipc, scanned, &Staging::of(run), ui)
        }
    }
}

/// The hash of the training images with their classes, and how they are decoded where that was chosen.
fn images_of(scanned: &Scanned) -> String {
    let (images, classes) = (cache::train_hash(&scanned.samples), scanned.source.classes());
    match scanned.source.profile() {
        profile if profile == Profile::default() => cache::key(&(images, classes)),
        profile => cache::key(&(images, classes, profile.name())),
    }
}

impl Settings {
    fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are tables of numbers and strings")
    }

    fn layout(&self) -> Result<Layout> {
        let grid = match self.tuned {
            Tuned::Recover { .. } => 1,
            Tuned::Crops { crops } => crops.grid,
        };
        Ok(Layout::new(grid, self.size)?)
    }
}

/// Writes the pictures of the working folder as a set.
fn write(order: &Order, settings: &Settings, scanned: &Scanned, run: &Run, ui: &Ui) -> Result<Manifest> {
    let staging = Staging::of(run);
    // The pictures are as they are; the set says how their source was decoded.
    let options = SourceOptions { profile: scanned.source.profile(), ..SourceOptions::default() };
    let pictures = Source::open(staging.root(), &options)?;
    // Folders are class numbers; the names are those of the source.
    let found = Samples { classes: scanned.samples.classes.clone(), ..scan::scan(&pictures, &|_| ())? };
    let (samples, layout) = (&scanned.samples, settings.layout()?);
    let spec = SetSpec {
        created_by: "smalti distill",
        name: format!("{}-ipc{}", settings.distill, settings.ipc),
        classes: samples.classes.clone(),
        ipc: settings.ipc,
        layout,
        seed: settings.seed,
        format: order.format,
        method: BTreeMap::from([
            ("distill".to_owned(), settings.distill.clone()),
            ("teacher".to_owned(), settings.teacher.clone()),
        ]),
        skipped: stages::skipped(samples),
        source_kind: scanned.source.kind().to_owned(),
        source_images: samples.rows.len() as u64,
        source_hash: source_hash(samples),
        recipe_toml: settings.to_toml(),
        licence: None,
        notes: Some(settings.tuned.notes(order.method)),
    };
    let manifest = stages::write_as(&pictures, &found, &plan(&found, settings.ipc, &layout), &spec, run, ui)?;
    // The pictures are in the set now.
    std::fs::remove_dir_all(staging.root()).map_err(smalti_data::Error::io("remove the folder", staging.root()))?;
    Ok(manifest)
}

/// Which pictures share an image: those of each class in their order, best first.
fn plan(found: &Samples, ipc: u32, layout: &Layout) -> Plan {
    let ranked = train_rows(found);
    let images = |(class_id, ranked): (u32, Vec<u32>)| {
        let groups = (0..).zip(group(&ranked, ipc, layout));
        groups.map(move |(index, samples)| PlannedImage { class_id, index, samples }).collect::<Vec<_>>()
    };
    Plan { images: (0..).zip(ranked).flat_map(images).collect() }
}
