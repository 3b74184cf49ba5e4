//! `smalti demo`.

use super::{Done, Form, args, print, print_json};
use crate::bench::recipe::BenchRecipe;
use crate::bench::{self, results};
use crate::demo::images::{self, DemoSpec};
use crate::error::failure;
use crate::recipe::parse;
use crate::report::table::terminal;
use crate::ui::{Ui, count};
use anyhow::Result;
use serde_json::json;
use smalti_data::files;
use std::path::Path;

pub(super) const EXAMPLE: &str = "\
Example:
  smalti demo
  smalti demo --out somewhere-else";

/// What is compared; the images are painted, so it needs nothing but the program.
const RECIPE: &str = include_str!("../../../../recipes/demo.toml");

pub(super) fn run(args: &args::Demo, form: Form, ui: &Ui) -> Result<Done> {
    paint(&args.out, ui)?;
    let plan = parse::<BenchRecipe>(RECIPE)?.settle(&args.out)?;
    let cells = bench::run(&plan, &args.out, args.machine.settle(), ui)?;
    match form {
        Form::Json => print_json(&cells)?,
        Form::Text => {
            print(&terminal(&results::table(&plan, &cells), &plan.baseline))?;
            print(&format!("\nopen {} in a browser\n", args.out.join("report.html").display()))?;
        }
    }
    Ok(Done::All)
}

/// Paints the images, unless the same ones are there. `images.json`, written last, says which.
fn paint(out: &Path, ui: &Ui) -> Result<()> {
    let spec = DemoSpec::default();
    let (folder, mark) = (out.join("images"), out.join("images.json"));
    let DemoSpec { classes, train_per_class, test_per_class, size, seed } = spec;
    let wanted = serde_json::to_vec_pretty(&json!({
        "classes": classes, "train_per_class": train_per_class, "test_per_class": test_per_class, "size": size, "seed": seed,
        "program": env!("CARGO_PKG_VERSION"),
    }))?;
    if mark.exists() {
        return match files::read(&mark)? == wanted {
            true => Ok(()),
            false => Err(failure(
                format!("`{}` holds other images than this version paints", out.display()),
                "give another --out",
            )),
        };
    }
    if out.exists() && std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) && !folder.exists() {
        return Err(failure(format!("`{}` exists and is not a demo", out.display()), "give another --out"));
    }
    let total = u64::from(classes) * u64::from(train_per_class + test_per_class);
    let bar = ui.progress("paint", "", total, "images");
    let facts = images::write(&folder, &spec, &|n| bar.add(n))?;
    bar.done();
    files::write_bytes(&mark, &wanted)?;
    ui.say(
        "paint",
        format!(
            "{} in {}, {} and {} among them",
            count(u64::from(facts.images), "image"),
            count(u64::from(classes), "class"),
            count(facts.wrong_labels.len() as u64, "wrong label"),
            count(facts.near_duplicates.len() as u64, "near-duplicate")
        ),
    );
    Ok(())
}
