//! What a recipe will take before its students: teachers to be trained, and sets to be distilled.

use super::cells::set_name;
use super::forecast::rate;
use super::plan::{Distilling, Origin, Plan, Row};
use super::teacher::PlannedTeacher;
use crate::distill::effort;
use crate::students::SetFacts;
use crate::ui::{Ui, count};
use anyhow::Result;
use serde::Serialize;
use smalti_data::manifest::MANIFEST;
use smalti_learn::checkpoint;
use smalti_learn::engine::Engine;
use smalti_learn::nets::Shape;
use std::path::Path;

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub struct Making {
    /// `the teacher resnet18`, `2 sets by sre2l`.
    pub what: String,
    /// Images seen, or image steps.
    pub images: u64,
    /// Of a short warm-up on this machine.
    pub images_per_second: f64,
}

impl Making {
    /// Seconds that it will take.
    pub fn seconds(&self) -> f64 {
        self.images as f64 / self.images_per_second
    }
}

/// Those that are not finished in `out`.
///
/// # Errors
/// When a checkpoint cannot be read or a network cannot be built.
pub(super) fn makings(
    plan: &Plan,
    out: &Path,
    (classes, images): (usize, usize),
    engine: &Engine,
    ui: &Ui,
) -> Result<Vec<Making>> {
    let mut found = Vec::new();
    let size = plan.recipe.size;
    let mut networks = Vec::new();
    for (name, planned) in named(plan) {
        match planned {
            PlannedTeacher::File(file) => networks.push(match &file.network {
                Some(network) => network.clone(),
                None => checkpoint::describe(&file.path)?.network.unwrap_or_default(),
            }),
            PlannedTeacher::Trained(training) => {
                networks.push(training.student.clone());
                if !out.join(format!("work/{name}.safetensors")).exists() {
                    ui.say("warm-up", format!("{} under {} on noise", training.student, training.protocol));
                    found.push(Making {
                        what: format!("the {name} {}", training.student),
                        images: training.images_seen(SetFacts { images, classes, grid: 1, size }),
                        images_per_second: rate(training, size, classes, engine)?,
                    });
                }
            }
        }
    }
    for row in &plan.rows {
        let Origin::Distilled(distilling) = &row.origin else { continue };
        let asked = if distilling.method.takes_several() { networks.len() } else { 1 };
        let networks: Vec<&str> = networks[..asked].iter().map(String::as_str).collect();
        found.extend(sets(row, distilling, out, &networks, Shape { classes, size }, engine, ui)?);
    }
    Ok(found)
}

/// The teachers by the names of their files.
fn named(plan: &Plan) -> impl Iterator<Item = (String, &PlannedTeacher)> {
    let first = plan.teacher.iter().map(|teacher| ("teacher".to_owned(), teacher));
    first.chain((1..).zip(&plan.backbones).map(|(number, backbone)| (format!("backbone-{number}"), backbone)))
}

fn sets(
    row: &Row,
    &Distilling { method, tuning, sets }: &Distilling,
    out: &Path,
    networks: &[&str],
    shape: Shape,
    engine: &Engine,
    ui: &Ui,
) -> Result<Option<Making>> {
    let (mut missing, mut images) = (0, 0);
    for &ipc in &row.budgets {
        let Some(steps) = effort::image_steps(method, &tuning, (ipc, shape.classes), shape.size)? else {
            return Ok(None);
        };
        for number in 0..sets.min(row.seeds) {
            if !out.join("work/sets").join(set_name(&row.name, ipc, number)).join(MANIFEST).exists() {
                (missing, images) = (missing + 1, images + steps);
            }
        }
    }
    if missing == 0 {
        return Ok(None);
    }
    ui.say("warm-up", format!("{} on noise", method.name));
    let rate = effort::rate(method, &tuning, networks, shape, engine)?;
    let what = format!("{} by {}", count(missing, "set"), method.name);
    Ok(rate.map(|images_per_second| Making { what, images, images_per_second }))
}
