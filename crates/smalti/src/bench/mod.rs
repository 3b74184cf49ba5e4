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
mod crop;
mod evidence;
pub mod forecast;
mod inputs;
pub mod lab;
pub mod making;
pub mod page;
mod pins;
pub mod plan;
pub mod reading;
pub mod recipe;
pub mod results;
pub mod runner;
mod teacher;

use crate::error::failure;
use crate::report;
use crate::ui::Ui;
use anyhow::{Context, Result};
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
    check_output(out)?;
    {
        let _alone = alone(out)?;
        keep_recipe(&plan.recipe, out)?;
    }
    let mut lab = lab::Torch::open(plan, out, machine, ui)?;
    lab.check_networks()?;
    lab.complete_scores()?;
    let outcome = runner::run(plan, &mut lab, out, ui)?;
    let _alone = alone(out)?;
    // As `report` would: with what other recipes have left here.
    let (all, cells) = reopen(out)?;
    write_results(&all, &cells, out)?;
    outcome.all_or_error()
}

/// What is derived from the cells.
const DERIVED: [&str; 7] =
    ["results.csv", "results.json", "results.parquet", "table.md", "table.tex", "report.html", "plots"];

/// That nothing of somebody else is overwritten in `out`. Scores, sets and cells may lie there before the first run: they are carried from machine to
/// machine.
///
/// # Errors
/// When a table or page lies there without the recipe of a bench.
pub fn check_output(out: &Path) -> Result<()> {
    let found = DERIVED.iter().map(|name| out.join(name)).find(|path| path.exists());
    // The recipe is looked for last: another process that starts here now writes it first.
    match found.filter(|_| !recipe_path(out).exists()) {
        Some(path) => Err(failure(
            format!("`{}` was not written by a bench: no recipe.toml lies beside it", path.display()),
            "give --out a new folder, or move that away; a bench would overwrite it",
        )),
        None => Ok(()),
    }
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
    let mut recipe = BenchRecipe::read(&path)?;
    // Earlier versions took the first budget for a set that states none.
    recipe.row = recipe.row.into_iter().map(|row| row.at_budget(&recipe.ipc)).collect();
    let plan = recipe.settle(out).with_context(|| format!("in the recipe `{}`", path.display()))?;
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
        let has_left = |row: &&RowRecipe| recipe.row.iter().all(|own| own.name() != row.name());
        for row in before.row.iter().filter(has_left).filter(|row| has_left_something(row, out)) {
            kept.seeds = kept.seeds.max(row.seeds.unwrap_or(before.seeds));
            kept.row.push(row.clone().at_budget(&before.ipc));
        }
        // The report still shows every cell of the students and protocols that the recipe has.
        let is_left = |ipc: &&u32| !recipe.ipc.contains(ipc) && has_cells_at(**ipc, out);
        kept.ipc.extend(before.ipc.iter().filter(is_left));
        if kept.row.len() > recipe.row.len() {
            goes_together(&kept, out)?;
        }
        // It may be in a person's own words, with comments.
        if kept == before {
            return Ok(());
        }
    }
    Ok(files::write_bytes(&path, kept.to_toml().as_bytes())?)
}

/// That the rows of a recipe and those that earlier recipes left are one recipe, which the report reads.
fn goes_together(kept: &BenchRecipe, out: &Path) -> Result<()> {
    let settled = kept.clone().settle(out).map(drop);
    settled.map_err(|error| {
        failure(
            format!("rows that have left cells in `{}` do not go with those of the recipe: {error}", out.display()),
            "give the bench another --out, or the new rows and metrics other names",
        )
    })
}

/// Whether a folder holds anything that a row made.
fn has_left_something(row: &RowRecipe, out: &Path) -> bool {
    let start = format!("{}-ipc", row.name().unwrap_or_default());
    let folders = ["cells", "holdout", "selections", "work/sets"].map(|name| out.join(name));
    let mut files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    files.any(|file| file.file_name().to_string_lossy().starts_with(&start))
}

/// Whether a folder holds cells of a budget.
fn has_cells_at(ipc: u32, out: &Path) -> bool {
    let part = format!("-ipc{ipc}-");
    let mut files = out.join("cells").read_dir().into_iter().flatten().flatten();
    files.any(|file| file.file_name().to_string_lossy().contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::runner::tests::{Pretend, SILENT, plan};
    use crate::recipe::parse;

    #[test]
    fn a_smaller_recipe_leaves_a_folder_that_shows_every_cell() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let whole = plan();
        keep_recipe(&whole.recipe, dir.path()).expect("the first");
        let cells = runner::run(&whole, &mut Pretend::default(), dir.path(), &SILENT).expect("done").cells;
        let fewer = BenchRecipe { seeds: 1, ipc: vec![7], row: whole.recipe.row[..1].to_vec(), ..whole.recipe.clone() };
        keep_recipe(&fewer, dir.path()).expect("fewer rows and seeds and another budget are no contradiction");
        let (plan, found) = reopen(dir.path()).expect("it opens");
        assert_eq!((found.len(), plan.recipe.seeds), (4, 2));
        assert_eq!(found, cells);
    }

    #[test]
    fn a_row_that_has_left_keeps_the_budget_of_its_set() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let of = |ipc: &str, row: &str| {
            let text = format!(
                "name = \"a\"\nsource = \"images\"\nsize = 32\nipc = {ipc}\nseeds = 1\n[[row]]\npreset = \"random\"\n{row}"
            );
            parse::<BenchRecipe>(&text).expect("a recipe")
        };
        keep_recipe(&of("[2]", "[[row]]\nname = \"b\"\nset = \"b\""), dir.path()).expect("the first");
        files::write_bytes(&dir.path().join("holdout/b-ipc2-x.json"), b"{}").expect("written");
        keep_recipe(&of("[1, 2]", ""), dir.path()).expect("a row less");
        let (plan, _) = reopen(dir.path()).expect("it opens");
        assert_eq!((plan.rows[1].name.as_str(), plan.rows[1].budgets.as_slice()), ("b", &[2][..]));

        // An earlier version wrote rows without a budget beside several.
        let older = of("[1, 2]", "[[row]]\nname = \"b\"\nset = \"b\"").to_toml();
        std::fs::write(recipe_path(dir.path()), older).expect("written");
        assert_eq!(reopen(dir.path()).expect("it opens").0.rows[1].budgets, [1]);
    }

    #[test]
    fn a_recipe_that_says_the_same_stays_as_it_is_written() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (recipe, path) = (plan().recipe, recipe_path(dir.path()));
        let text = format!("# mine\n{}", recipe.to_toml());
        std::fs::write(&path, &text).expect("written");
        keep_recipe(&recipe, dir.path()).expect("the same");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
    }

    #[test]
    fn tables_of_somebody_else_are_not_overwritten() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ours = ["scores/seed=0/el2n.parquet", "work/locks/results/lock", "inputs.json", "README.md", "B3SUMS"];
        for name in ours {
            files::write_bytes(&dir.path().join(name), b"").expect("written");
        }
        check_output(dir.path()).expect("what may be carried here");
        check_output(&dir.path().join("new")).expect("nothing there");
        for name in DERIVED {
            let path = dir.path().join(name);
            std::fs::write(&path, "mine").expect("written");
            let error = check_output(dir.path()).expect_err(name).to_string();
            assert!(error.starts_with(&format!("`{}` was not written by a bench", path.display())), "{error}");
            std::fs::remove_file(&path).expect("removed");
        }
        std::fs::write(dir.path().join("table.md"), "ours").expect("written");
        keep_recipe(&plan().recipe, dir.path()).expect("the first");
        check_output(dir.path()).expect("a bench was here");
    }
}
