//! `smalti bench`.

use super::{Done, Form, args, print, print_json};
use crate::bench::forecast::{Assumed, Forecast, Forecasts, forecast};
use crate::bench::making::Making;
use crate::bench::plan::{ALL, Plan};
use crate::bench::recipe::BenchRecipe;
use crate::bench::{self, results};
use crate::error::{failure, usage};
use crate::report::table::terminal;
use crate::report::words::{bytes, seconds, thousands};
use crate::run::check_beside;
use crate::ui::{Ui, count};
use anyhow::{Context, Result};
use clap::ValueEnum;
use smalti_learn::engine::{Engine, Machine, device_name, threads_of};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(super) const EXAMPLE: &str = "\
Example:
  smalti bench recipes/imagenette-ipc10.toml --out results/today --jobs 2
  smalti bench recipes/imagenette-ipc10.toml --dry-run";

pub(super) fn run(args: &args::Bench, form: Form, ui: &Ui) -> Result<Done> {
    if args.helper {
        end_with_the_first()?;
    }
    let recipe = BenchRecipe::read(&args.recipe)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("bench-{}", recipe.name)));
    let from = args.recipe.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if args.dry_run {
        let engine = Engine::start(args.machine.settle())?;
        let plan = recipe.settle(from)?;
        let forecasts = forecast(&plan, &out, &engine, ui)?;
        match form {
            Form::Json => print_json(&forecasts)?,
            Form::Text => print(&forecast_text(&plan, &forecasts))?,
        }
        return Ok(Done::All);
    }
    // Everything is checked before the folder appears.
    bench::check_output(&out)?;
    let threads = share(args.jobs, args.machine.threads)?;
    let plan = recipe.clone().settle(from)?;
    [&plan.source, &plan.test].into_iter().try_for_each(|images| check_images(images, &out))?;
    std::fs::create_dir_all(&out).map_err(smalti_data::Error::io("create the folder", &out))?;
    let plan = recipe.moved(from, &out).settle(&out)?;
    let helpers = Helpers::start(args, &out, threads)?;
    let cells = bench::run(&plan, &out, Machine { threads, ..args.machine.settle() }, ui)?;
    helpers.finish();
    match form {
        Form::Json => print_json(&cells)?,
        Form::Text => print(&terminal(&results::table(&plan, &cells), &plan.baseline))?,
    }
    ui.say("report", out.join("report.html").display().to_string());
    Ok(Done::All)
}

/// That images are where the recipe says, and the output is not among them. Without them a folder of finished cells still makes its tables.
fn check_images(images: &Path, out: &Path) -> Result<()> {
    match images.exists() || out.join("recipe.toml").exists() {
        true => check_beside(images, out),
        false => Err(failure(
            format!("there is no `{}`, where the recipe expects images", images.display()),
            "put them there, or give your own as `source` and `test` in the recipe: paths start at its folder",
        )),
    }
}

/// Threads of each of several processes; 0 are all cores.
fn share(jobs: usize, threads: usize) -> Result<usize> {
    match (jobs, threads_of(threads)) {
        (0, _) => Err(usage("no process is to work", "give --jobs 1, or leave it out")),
        (1, _) => Ok(threads),
        (jobs, all) if jobs > all => Err(usage(
            format!("{jobs} processes are more than the {all} threads that they share"),
            format!("give --jobs {all} or fewer"),
        )),
        (jobs, all) => Ok(all / jobs),
    }
}

/// The other processes of `--jobs`: the same command, which takes cells that no other has. What they leave unfinished or failed, the first one takes up.
struct Helpers(Vec<Child>);

impl Helpers {
    fn start(args: &args::Bench, out: &Path, threads: usize) -> Result<Helpers> {
        let precision =
            args.machine.precision.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        let program = std::env::current_exe().context("which program is this? Do without --jobs")?;
        let mut helpers = Helpers(Vec::new());
        for _ in 1..args.jobs {
            let mut command = Command::new(&program);
            command.arg("bench").arg(&args.recipe).arg("--out").arg(out).args(["--quiet", "--helper"]);
            command.args(["--threads", &threads.to_string(), "--precision", &precision]);
            command.args(["--device", &device_name(args.machine.device)]);
            let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            helpers.0.push(child.context("a second process cannot be started; do without --jobs")?);
        }
        Ok(helpers)
    }

    fn finish(mut self) {
        // To wait closes the input, at whose end a helper ends.
        let _open: Vec<_> = self.0.iter_mut().map(|child| child.stdin.take()).collect();
        self.0.iter_mut().for_each(|child| drop(child.wait()));
    }
}

/// Ends this process when its standard input ends: when the one that started it has ended in any way, by a signal too. Every file is renamed when it is whole.
fn end_with_the_first() -> Result<()> {
    let wait = || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        // Nothing is torn down below threads that still compute.
        signal_hook::low_level::exit(1)
    };
    std::thread::Builder::new().spawn(wait).context("no thread can be started; do without --jobs")?;
    Ok(())
}

/// A run that fails takes its helpers along: every file is renamed when it is whole.
impl Drop for Helpers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Cells, steps, bytes and time.
fn forecast_text(plan: &Plan, found: &Forecasts) -> String {
    let heads = [
        "student",
        "protocol",
        "IPC",
        "cells",
        "to do",
        "steps each",
        "images each",
        "labels each",
        "images/s",
        "time",
    ];
    let row = |f: &Forecast| {
        vec![
            f.student.clone(),
            f.protocol.clone(),
            if f.ipc == ALL { "all".to_owned() } else { f.ipc.to_string() },
            f.cells.to_string(),
            f.to_do.to_string(),
            thousands(f.steps),
            thousands(f.images_seen),
            bytes(f.label_bytes),
            format!("{:.0}", f.images_per_second),
            seconds(f.seconds()),
        ]
    };
    let rows: Vec<Vec<String>> = found.students.iter().map(row).collect();
    let mut text = markdown_table(&heads, &rows);
    let mut total: f64 = found.students.iter().map(Forecast::seconds).sum();
    for making in &found.makings {
        total += making.seconds();
        text.push_str(&making_text(making));
    }
    if let Some((proxies, seen, rate)) = found.proxies {
        let time = (proxies * seen) as f64 / rate;
        total += time;
        text.push_str(&format!(
            "\nand at most {} of {} images each, at {rate:.0} images/s: {}\n",
            count(proxies, "proxy run"),
            thousands(seen),
            seconds(time)
        ));
    }
    let choices: u64 = found.students.iter().map(|f| f.choices).sum();
    if choices > 0 {
        let time: f64 = found.students.iter().map(Forecast::choice_seconds).sum();
        total += time;
        let students = count(choices, "student");
        text.push_str(&format!("\nand {students} on the hold-out, to choose crop ranges: {}\n", seconds(time)));
    }
    text.push_str(&format!(
        "in all about {} on this machine ({}), by a short warm-up on noise\n",
        seconds(total),
        found.machine
    ));
    if let Some(assumed) = &plan.recipe.assume {
        text.push_str(&assumed_text(assumed, &plan.recipe.ipc, &found.students));
    }
    text
}

fn making_text(making: &Making) -> String {
    format!(
        "\nand {}: {} images at {:.0} a second: {}\n",
        making.what,
        thousands(making.images),
        making.images_per_second,
        seconds(making.seconds())
    )
}

/// Hours and bytes by what the recipe says of a source and a GPU elsewhere.
fn assumed_text(assumed: &Assumed, budgets: &[u32], students: &[Forecast]) -> String {
    let mut text = String::new();
    if let Some(rate) = assumed.gpu_images_per_second {
        let seen: u64 = students.iter().map(|f| (f.to_do + f.choices) * f.images_seen).sum();
        text.push_str(&format!(
            "{:.1} GPU hours at {} images/s, which the recipe assumes\n",
            seen as f64 / rate / 3600.0,
            thousands(rate as u64)
        ));
    }
    for &ipc in budgets {
        let images = u64::from(ipc) * assumed.classes as u64;
        let stored = bytes(images * assumed.image_bytes);
        text.push_str(&format!("IPC {ipc}: {} images, {stored}\n", thousands(images)));
    }
    text
}

/// A table whose columns are aligned to the right.
fn markdown_table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width =
        |at: usize| rows.iter().map(|row| row[at].chars().count()).chain([heads[at].len(), 3]).max().unwrap_or(3);
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let pad = |at: usize, cell: &str| format!("{cell:>width$}", width = width(at));
    let mut text = line(heads.iter().enumerate().map(|(at, head)| pad(at, head)).collect());
    text.push_str(&line((0..heads.len()).map(|at| format!("{}:", "-".repeat(width(at) - 1))).collect()));
    for row in rows {
        text.push_str(&line(row.iter().enumerate().map(|(at, cell)| pad(at, cell)).collect()));
    }
    text
}
