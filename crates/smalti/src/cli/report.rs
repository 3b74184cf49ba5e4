//! `smalti report`.

use super::{Done, Form, args, print, print_json};
use crate::bench::cells::Cell;
use crate::bench::plan::Plan;
use crate::bench::{self, page, results};
use crate::error::unknown;
use crate::report::render;
use crate::report::table::terminal;
use crate::report::tensorboard::events;
use crate::ui::Ui;
use anyhow::Result;
use serde_json::json;

pub(super) const EXAMPLE: &str = "\
Example: the page of a bench that is still running, as far as it is
  smalti report results/today";

pub(super) fn run(args: &args::Report, form: Form, ui: &Ui) -> Result<Done> {
    let (plan, cells) = bench::reopen(&args.run)?;
    if let Some(over) = &args.over {
        return print_over(over, &plan, &cells, form);
    }
    // A page elsewhere changes nothing here, which may be a folder that cannot be written.
    let _alone = args.out.is_none().then(|| bench::alone(&args.run)).transpose()?;
    let path = args.out.clone().unwrap_or_else(|| args.run.join("report.html"));
    match &args.out {
        None => bench::write_results(&plan, &cells, &args.run)?,
        Some(path) => {
            smalti_data::files::write_bytes(path, render(&page::build(&plan, &cells, &args.run)?)?.as_bytes())?
        }
    }
    if let Some(folder) = &args.tensorboard {
        for cell in &cells {
            let file = folder.join(cell.name()).join("events.out.tfevents.smalti");
            smalti_data::files::write_bytes(&file, &events(0.0, &cell.scalars()))?;
        }
    }
    ui.say("report", format!("{} cells", cells.len()));
    match form {
        Form::Json => print_json(&json!({"report": path, "cells": cells.len()}))?,
        Form::Text => print(&format!("{}\n", path.display()))?,
    }
    Ok(Done::All)
}

/// The table with gains over a row of any name.
fn print_over(over: &str, plan: &Plan, cells: &[Cell], form: Form) -> Result<Done> {
    let mut names = plan.rows.iter().map(|row| row.name.as_str());
    if !names.clone().any(|name| name == over) {
        return Err(unknown("row", over, names.by_ref()));
    }
    let rows = results::table_over(plan, cells, over);
    match form {
        Form::Json => print_json(&rows)?,
        Form::Text => print(&terminal(&rows, over))?,
    }
    Ok(Done::All)
}
