//! What a recipe will take: cells, steps, bytes, and the time that a short warm-up on this machine foretells.

use super::cells;
use super::crop;
use super::making::{Making, makings};
use super::plan::{ALL, Plan, Row};
use crate::students::{SetFacts, Training, TrainingRecipe};
use crate::ui::Ui;
use crate::warm_up::steps_per_second;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use smalti_data::Rgb;
use smalti_data::manifest::LABEL_BYTES;
use smalti_data::mosaic::Layout;
use smalti_data::random::{Stage, Stream};
use smalti_data::source::Source;
use smalti_data::store::ImageStore;
use smalti_data::tables::Split;
use smalti_learn::engine::Engine;
use smalti_learn::growth::Growth;
use smalti_learn::labels::{LabelKind, Labels};
use smalti_learn::nets::{Network, Shape};
use smalti_learn::schedule::Length;
use smalti_learn::student::{self, Task};
use smalti_learn::teacher::Teacher;
use smalti_learn::train::step_count;
use std::path::Path;

/// What a recipe says of a source that is not on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Assumed {
    /// Classes.
    pub classes: usize,
    /// Training images.
    pub images: usize,
    /// Encoded bytes of a stored image.
    pub image_bytes: u64,
    /// Images per second that one GPU trains the student on, for hours on such a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_images_per_second: Option<f64>,
}

/// Cells that differ in row and seed alone.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// Network.
    pub student: String,
    /// Protocol.
    pub protocol: String,
    /// Images per class; 0 for all images.
    pub ipc: u32,
    /// Cells.
    pub cells: u64,
    /// Those that are not finished.
    pub to_do: u64,
    /// Students on the hold-out that will choose crop ranges for them.
    pub choices: u64,
    /// Steps of one cell.
    pub steps: u64,
    /// Images that one cell sees.
    pub images_seen: u64,
    /// Bytes of the labels of one cell: of soft ones, those that a teacher's 16-bit logits would take.
    pub label_bytes: u64,
    /// Training images per second of a short warm-up on this machine.
    pub images_per_second: f64,
}

impl Forecast {
    /// Seconds that the unfinished cells will train.
    pub fn seconds(&self) -> f64 {
        self.to_do as f64 * self.images_seen as f64 / self.images_per_second
    }

    /// Seconds that the students on the hold-out will train.
    pub fn choice_seconds(&self) -> f64 {
        self.choices as f64 * self.images_seen as f64 / self.images_per_second
    }
}

/// All of them, and what comes before them.
#[derive(Debug, Clone, Serialize)]
pub struct Forecasts {
    /// Students.
    pub students: Vec<Forecast>,
    /// Teachers and distilled sets that are to be made.
    pub makings: Vec<Making>,
    /// Proxies to train at most, images that one sees, and images per second.
    pub proxies: Option<(u64, u64, f64)>,
    /// Number format and threads of the warm-up.
    pub machine: String,
}

/// Looks at the source's listing, or at what the recipe assumes, and trains a few steps of every student on noise.
///
/// # Errors
/// When the source cannot be listed and nothing is assumed, or a network cannot be built.
pub fn forecast(plan: &Plan, out: &Path, engine: &Engine, ui: &Ui) -> Result<Forecasts> {
    let (classes, images) = counts(plan)?;
    let mut students: Vec<Forecast> = Vec::new();
    for group in cells::groups(plan) {
        let (row, training, ipc) = group;
        let seeds = cells::jobs(plan).filter(|job| job.row == row && job.training == training && job.ipc == ipc);
        let finished: Vec<bool> = seeds.map(|job| Ok(job.finished(out)?.is_some())).collect::<Result<_>>()?;
        let (cells, to_do) = (finished.len() as u64, finished.iter().filter(|&&done| !done).count() as u64);
        let choices = crop::to_do(plan, group, out)?;
        let facts = facts(plan, row, ipc, (classes, images));
        let seen = training.images_seen(facts);
        let same = |known: &&mut Forecast| {
            (known.student.as_str(), known.protocol.as_str()) == (training.student.as_str(), training.protocol.as_str())
                && (known.ipc, known.images_seen) == (ipc, seen)
        };
        if let Some(known) = students.iter_mut().find(same) {
            (known.cells, known.to_do, known.choices) =
                (known.cells + cells, known.to_do + to_do, known.choices + choices);
            continue;
        }
        let spec = training.spec("warm-up", 0, facts);
        let label_bytes = match training.labels {
            LabelKind::Hard => facts.images as u64 * LABEL_BYTES,
            LabelKind::Soft(_) => seen.saturating_mul(2 * classes as u64),
        };
        ui.say("warm-up", format!("{} under {} on noise", training.student, training.protocol));
        students.push(Forecast {
            student: training.student.clone(),
            protocol: training.protocol.clone(),
            ipc,
            cells,
            to_do,
            choices,
            steps: step_count(facts.images, &spec),
            images_seen: seen,
            label_bytes,
            images_per_second: rate(training, plan.recipe.size, classes, engine)?,
        });
    }
    let gpu = engine.gpu().map_or_else(String::new, |gpu| format!("{gpu}, "));
    let machine = format!("{gpu}{}, {} threads", engine.precision_name(), engine.threads);
    let makings = makings(plan, out, (classes, images), engine, ui)?;
    Ok(Forecasts { students, makings, proxies: proxies(plan, (classes, images), engine, ui)?, machine })
}

/// Classes and training images.
fn counts(plan: &Plan) -> Result<(usize, usize)> {
    if let (Some(assumed), false) = (&plan.recipe.assume, plan.source.exists()) {
        return Ok((assumed.classes, assumed.images));
    }
    let source = Source::open(&plan.source, &plan.reading)?;
    let rows = u32::try_from(source.len()).unwrap_or(u32::MAX);
    let images = (0..rows).filter(|&row| source.split(row) == Split::Train).count();
    Ok((source.classes().len(), (images as f64 * (1.0 - plan.recipe.holdout)) as usize))
}

fn facts(plan: &Plan, row: &Row, ipc: u32, (classes, images): (usize, usize)) -> SetFacts {
    let images = if ipc == ALL { images } else { ipc as usize * classes };
    SetFacts { images, classes, grid: row.grid(plan.recipe.size), size: plan.recipe.size }
}

fn proxies(
    plan: &Plan,
    (classes, images): (usize, usize),
    engine: &Engine,
    ui: &Ui,
) -> Result<Option<(u64, u64, f64)>> {
    let needed =
        |row: &Row| row.making().is_some_and(|making| making.choice.rule.needs != smalti_select::Needs::Nothing);
    // Metrics that are asked for besides are computed for every seed.
    if plan.recipe.metrics.is_empty() && !plan.rows.iter().any(needed) {
        return Ok(None);
    }
    let proxy = &plan.proxy;
    let recipe = TrainingRecipe {
        student: Some(proxy.network.clone()),
        protocol: Some(proxy.protocol.clone()),
        epochs: Some(proxy.epochs),
        batch: Some(proxy.batch),
        ..TrainingRecipe::default()
    };
    let training = recipe.settle()?;
    ui.say("warm-up", format!("{} at {} px on noise", proxy.network, proxy.size));
    let rate = rate(&training, proxy.size, classes, engine)?;
    let seen = (images as u64).saturating_mul(u64::from(proxy.epochs));
    Ok(Some((plan.recipe.seeds * u64::from(proxy.seeds), seen, rate)))
}

/// Training images per second of steps on noise.
pub(super) fn rate(training: &Training, size: u32, classes: usize, engine: &Engine) -> Result<f64> {
    let facts = SetFacts { images: usize::MAX >> 8, classes, grid: 1, size };
    let batch = training.batch_of(facts).min(64) as usize;
    let store = noise(batch.max(2), size);
    let facts = SetFacts { images: store.len(), ..facts };
    let test = noise(1, size);
    let run = |steps: u64| -> Result<f64> {
        let mut spec = training.spec("warm-up", 0, facts);
        (spec.batch, spec.length) = (store.len() as u32, Length::ImagesSeen(steps * store.len() as u64));
        spec.growth = Growth::None;
        let teacher = match training.labels {
            LabelKind::Hard => None,
            LabelKind::Soft(loss) => {
                let network = Network::new(&training.student, Shape { classes, size }, 1, engine)?;
                Some((Teacher::new(network, (0..classes as i64).collect()), loss))
            }
        };
        let mut labels = match &teacher {
            Some((teacher, loss)) => Labels::Online { teacher, loss: *loss },
            None => Labels::Hard,
        };
        let task = Task { network: &training.student, classes, train: &store, test: &test, spec: &spec, checks: None };
        let (result, _) = student::run(&task, &mut labels, engine, &|_| ())?;
        Ok(result.history.seconds)
    };
    // The time of a step goes with the pixels that it sees.
    Ok(steps_per_second(1, run)? * store.len() as f64 / training.growth.area(size))
}

fn noise(images: usize, size: u32) -> ImageStore {
    let picture = |number: usize| {
        let mut stream = Stream::new(0, Stage::Demo, 1, number as u64);
        let mut picture = Rgb::filled(size, size, [0; 3]);
        picture.data.iter_mut().for_each(|value| *value = stream.below(256) as u8);
        (picture, 0)
    };
    let pictures: Vec<(Rgb, u32)> = (0..images).map(picture).collect();
    ImageStore::from_images(&pictures, &Layout { grid: 1, size })
}
