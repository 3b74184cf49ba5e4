//! The bench: rows of methods, several seeds, one student each, under one protocol; a file per finished cell.
//!
//! ```text
//! OUT/recipe.toml           the recipe as it was run
//! OUT/scores/seed=S/*.parquet what the proxies of seed S said, by metric
//! OUT/selections/*.parquet  what rules kept that compare features; with both a new machine needs no proxy
//! OUT/holdout/*.json        accuracy on the hold-out, by which each row's crop range is chosen
//! OUT/cells/*.json          one finished student on the test images; *.failed.txt why there is none
//! OUT/inputs.json           what else the cells were made from: teacher, sets made elsewhere, own metrics
//! OUT/teacher.json          what the teacher is worth, where it was trained here; backbone-N.json the same of those that take turns with it
//! OUT/results.csv, results.parquet, results.json, table.md, table.tex, plots/*.svg, report.html    derived from the cells
//! OUT/work                  sets, traces, samples: large, can be made again
//! ```

pub mod cells;
mod checks;
mod evidence;
pub mod forecast;
pub mod lab;
pub mod making;
pub mod page;
mod pins;
pub mod plan;
pub mod recipe;
pub mod results;
pub mod runner;
mod teacher;

use crate::error::failure;
use crate::report;
use crate::ui::Ui;
use anyhow::Result;
use cells::Cell;
use plan::Plan;
use recipe::{BenchRecipe, RowRecipe};
use smalti_data::files::{self, RunLock};
use smalti_learn::engine::Machine;
use std::path::{Path, PathBuf};

/// Runs a recipe into `out`, then writes tables and page. Several processes may work in one folder: each takes cells that no other has.
///
/// # Errors
/// When `out` belongs to another recipe; after all others are done, when a cell failed: its cause lies beside the cells.
pub fn run(plan: &Plan, out: &Path, machine: Machine, ui: &Ui) -> Result<Vec<Cell>> {
    {
        let _alone = alone(out)?;
        keep_recipe(&plan.recipe, out)?;
    }
    let mut lab = lab::Torch::open(plan, out, machine, ui)?;
    lab.check_networks()?;
    lab.complete_scores()?;
    let outcome = runner::run(plan, &mut lab, out, ui)?;
    let _alone = alone(out)?;
    write_results(plan, &outcome.cells, out)?;
    outcome.all_or_error()
}

/// Waits until no other process writes what is derived from the cells.
///
/// # Errors
/// When the lock cannot be taken.
pub fn alone(out: &Path) -> Result<RunLock> {
    Ok(RunLock::wait(&out.join("work/locks/results"), &|| ())?)
}

/// Everything that is derived from the cells.
///
/// # Errors
/// When a file cannot be written.
pub fn write_results(plan: &Plan, cells: &[Cell], out: &Path) -> Result<()> {
    let rows = results::table(plan, cells);
    files::write_bytes(&out.join("table.md"), report::table::terminal(&rows, &plan.baseline).as_bytes())?;
    let caption = format!("{} {}", plan.recipe.name, plan.recipe.about);
    files::write_bytes(&out.join("table.tex"), report::latex::latex(&rows, &plan.baseline, &caption).as_bytes())?;
    files::write_bytes(&out.join("results.json"), &serde_json::to_vec_pretty(&rows)?)?;
    files::write_bytes(&out.join("results.csv"), results::csv(cells).as_bytes())?;
    results::write_parquet(&out.join("results.parquet"), cells)?;
    let page = page::build(plan, cells, out)?;
    for (name, svg) in report::figures(&page) {
        files::write_bytes(&out.join("plots").join(name), svg.as_bytes())?;
    }
    files::write_bytes(&out.join("report.html"), report::render(&page)?.as_bytes())?;
    Ok(())
}

/// The plan of a folder that a bench worked in.
///
/// # Errors
/// When it is none.
pub fn reopen(out: &Path) -> Result<(Plan, Vec<Cell>)> {
    let path = recipe_path(out);
    if !path.exists() {
        return Err(failure(
            format!("`{}` is not the folder of a bench: it has no recipe.toml", out.display()),
            "give the --out of a bench or demo",
        ));
    }
    let plan = BenchRecipe::read(&path)?.settle(out)?;
    let cells = cells::read_all(&plan, out)?;
    Ok((plan, cells))
}

fn recipe_path(out: &Path) -> PathBuf {
    out.join("recipe.toml")
}

/// Saves the recipe, or compares it with the one that was run here. Only more or fewer rows, budgets or seeds are no contradiction; rows that have left
/// something here stay in the file, so that their names cannot come to mean something else.
fn keep_recipe(recipe: &BenchRecipe, out: &Path) -> Result<()> {
    let path = recipe_path(out);
    let mut kept = recipe.clone();
    if path.exists() {
        let before = BenchRecipe::read(&path)?;
        if let Some(row) = before.contradiction(recipe) {
            return Err(failure(
                format!("`{}` holds cells of a row `{row}` with other settings", out.display()),
                "give the row another name, or the bench another --out",
            ));
        }
        if !before.admits(recipe) {
            return Err(failure(
                format!("`{}` holds cells of a recipe with other settings", out.display()),
                "give another --out; rows, ipc, seeds and metrics may be added to the recipe, the rest must stay",
            ));
        }
        let is_new = |row: &RowRecipe| recipe.row.iter().all(|own| own.name() != row.name());
        kept.row.extend(before.row.into_iter().filter(|row| is_new(row) && has_left_something(row, out)));
    }
    Ok(files::write_bytes(&path, kept.to_toml().as_bytes())?)
}

/// Whether a folder holds anything that a row made.
fn has_left_something(row: &RowRecipe, out: &Path) -> bool {
    let start = format!("{}-ipc", row.name().unwrap_or_default());
    let folders = ["cells", "holdout", "selections", "work/sets"].map(|name| out.join(name));
    let mut files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    files.any(|file| file.file_name().to_string_lossy().starts_with(&start))
}
