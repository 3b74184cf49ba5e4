//! What a recipe will take before its students: teachers to be trained, and sets to be distilled.

use super::cells::{self, Job};
use super::forecast::rate;
use super::plan::{Distilling, Origin, Plan, Row};
use super::teacher::PlannedTeacher;
use crate::distill::effort;
use crate::students::SetFacts;
use crate::ui::{Ui, count};
use anyhow::Result;
use serde::Serialize;
use smalti_learn::engine::Engine;
use smalti_learn::nets::Shape;
use std::collections::BTreeSet;
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

/// Those that unfinished cells of `out` need and that are not finished.
///
/// # Errors
/// When a cell or checkpoint cannot be read or a network cannot be built.
pub(super) fn makings(
    plan: &Plan,
    out: &Path,
    (classes, images): (usize, usize),
    engine: &Engine,
    ui: &Ui,
) -> Result<Vec<Making>> {
    let mut left = Vec::new();
    for job in cells::jobs(plan) {
        if job.finished(out)?.is_none() {
            left.push(job);
        }
    }
    let size = plan.recipe.size;
    let asked = left.iter().map(|job| job.teachers(plan, out)).max().unwrap_or(0);
    let mut found = Vec::new();
    for (name, planned) in plan.teachers().take(asked) {
        let PlannedTeacher::Trained(training) = planned else { continue };
        if !out.join(format!("work/{name}.safetensors")).exists() {
            ui.say("warm-up", format!("{} under {} on noise", training.student, training.protocol));
            found.push(Making {
                what: format!("the {name} {}", training.student),
                images: training.images_seen(SetFacts { images, classes, grid: 1, size }),
                images_per_second: rate(training, size, classes, engine)?,
            });
        }
    }
    for row in &plan.rows {
        let Origin::Distilled(distilling) = &row.origin else { continue };
        let missing = missing_sets(row, distilling, &left, out);
        found.extend(sets(plan, distilling, &missing, Shape { classes, size }, engine, ui)?);
    }
    Ok(found)
}

/// Budgets of the sets of a row that cells in `left` need and that are not there.
fn missing_sets(row: &Row, distilling: &Distilling, left: &[Job], out: &Path) -> Vec<u32> {
    let of = |job: &Job| (job.ipc, job.seed % distilling.sets);
    let misses = |job: &&Job| job.row == row && !distilling.has_set(job, out);
    let missing: BTreeSet<(u32, u64)> = left.iter().filter(misses).map(of).collect();
    missing.into_iter().map(|(ipc, _)| ipc).collect()
}

/// Sets of these budgets together; none where no pixel is moved.
fn sets(
    plan: &Plan,
    distilling: &Distilling,
    budgets: &[u32],
    shape: Shape,
    engine: &Engine,
    ui: &Ui,
) -> Result<Option<Making>> {
    let &Distilling { method, tuning, .. } = distilling;
    let steps = |&ipc: &u32| effort::image_steps(method, &tuning, (ipc, shape.classes), shape.size);
    let steps = budgets.iter().map(steps).collect::<Result<Option<Vec<u64>>>>()?;
    let Some(steps) = steps.filter(|steps| !steps.is_empty()) else { return Ok(None) };
    ui.say("warm-up", format!("{} on noise", method.name));
    let asked = plan.teachers().take(distilling.teachers(plan));
    let networks = asked.map(|(_, planned)| planned.network()).collect::<Result<Vec<String>>>()?;
    // The largest budget is most of the work.
    let most = budgets.iter().copied().max().unwrap_or(1);
    let rate = effort::rate(method, (&tuning, most), &networks, shape, engine)?;
    let what = format!("{} by {}", count(steps.len() as u64, "set"), method.name);
    Ok(rate.map(|images_per_second| Making { what, images: steps.iter().sum(), images_per_second }))
}
