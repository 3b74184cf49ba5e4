//! `smalti bench`.

use super::{Done, Form, args, print, print_json};
use crate::bench::lab::Machine;
use crate::bench::plan::Plan;
use crate::bench::recipe::BenchRecipe;
use crate::bench::{self, cells, results};
use crate::report::table::terminal;
use crate::report::words::thousands;
use crate::students::SetFacts;
use crate::ui::Ui;
use anyhow::Result;
use std::path::{Path, PathBuf};

pub(super) const EXAMPLE: &str = "\
Example:
  smalti bench recipes/imagenette-ipc10.toml --out results/today
  smalti bench recipes/imagenette-ipc10.toml --dry-run";

pub(super) fn run(args: &args::Bench, form: Form, ui: &Ui) -> Result<Done> {
    let recipe = BenchRecipe::read(&args.recipe)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("bench-{}", recipe.name)));
    let from = args.recipe.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if args.dry_run {
        return print(&plan_text(&recipe.settle(from)?, &out)?).map(|()| Done::All);
    }
    // Everything is checked before the folder appears.
    recipe.clone().settle(from)?;
    std::fs::create_dir_all(&out).map_err(smalti_data::Error::io("create the folder", &out))?;
    let plan = recipe.moved(from, &out).settle(&out)?;
    let machine = Machine { precision: args.machine.precision.into(), threads: args.machine.threads };
    let cells = bench::run(&plan, &out, machine, ui)?;
    match form {
        Form::Json => print_json(&cells)?,
        Form::Text => print(&terminal(&results::table(&plan, &cells), &plan.baseline))?,
    }
    ui.say("report", out.join("report.html").display().to_string());
    Ok(Done::All)
}

/// The cells and their steps.
fn plan_text(plan: &Plan, out: &Path) -> Result<String> {
    let (mut text, mut seen, mut todo) = (String::new(), 0, 0);
    for job in cells::jobs(plan) {
        let finished = job.finished(out)?.is_some();
        // The number of classes is not known before the source is read; the length in images seen does not depend on it.
        let images = job.training.images_seen(SetFacts { images: job.ipc as usize, classes: 1, grid: 1, size: 0 });
        todo += u64::from(!finished);
        seen += if finished { 0 } else { images };
        let state = if finished { "finished" } else { "to do" };
        text.push_str(&format!(
            "{} seed {}: {}, {}, {state}\n",
            job.title(),
            job.seed,
            job.training.student,
            job.training.protocol
        ));
    }
    let choices = if plan.crops.len() > 1 { plan.crops.len() as u64 * plan.crop_seeds } else { 0 };
    let choosing = choices * cells::groups(plan).count() as u64;
    text.push_str(&format!(
        "{todo} cells to do ({} training images, or that many per class where the length is in epochs), and at most {choosing} students on \
         the hold-out\n",
        thousands(seen)
    ));
    Ok(text)
}
