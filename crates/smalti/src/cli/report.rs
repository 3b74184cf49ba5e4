//! `smalti report`.

use super::{Done, Form, args, print, print_json};
use crate::bench::{self, page};
use crate::report::render;
use crate::report::tensorboard::events;
use crate::ui::Ui;
use anyhow::Result;
use serde_json::json;

pub(super) const EXAMPLE: &str = "\
Example: the page of a bench that is still running, as far as it is
  smalti report results/today";

pub(super) fn run(args: &args::Report, form: Form, ui: &Ui) -> Result<Done> {
    let (plan, cells) = bench::reopen(&args.run)?;
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
