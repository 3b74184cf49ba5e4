//! The page of a bench: its cells, and pictures from its working folder where that is there.

use super::cells::Cell;
use super::plan::{ALL, Plan, Row};
use super::results;
use crate::report::words::gain as gain_words;
use crate::report::{ClassBar, Clear, Curve, Gain, Page, TableRow};
use crate::ui::count;
use anyhow::Result;
use std::path::Path;

mod pictures;

/// Puts the page together.
///
/// # Errors
/// When a table of the working folder is damaged. A folder that is not there only leaves pictures out, and the page says so.
pub fn build(plan: &Plan, cells: &[Cell], out: &Path) -> Result<Page> {
    let table = results::table(plan, cells);
    let ipc = plan.recipe.ipc[0];
    let mut page = Page {
        title: plan.recipe.name.clone(),
        subtitle: subtitle(plan, cells),
        findings: findings(&table, plan),
        baseline: plan.baseline.clone(),
        curves: plan.rows.iter().filter_map(|row| curve(cells, row, ipc)).collect(),
        protocol: protocol(plan),
        provenance: provenance(plan, cells),
        commands: vec![format!(
            "smalti bench recipe.toml --out {}",
            out.file_name().unwrap_or_default().to_string_lossy()
        )],
        warnings: warnings(plan, &table),
        table,
        ..Page::default()
    };
    match pictures::open(plan, out)? {
        Some(pictures) => {
            page.classes = class_bars(plan, cells, ipc, pictures.classes());
            page.histograms = pictures.histograms()?;
            page.galleries = pictures.galleries()?;
            (page.choices, page.choices_note) = pictures.choices()?;
        }
        None => page
            .warnings
            .push("The images and the working tables are not on this machine, so the page has no pictures.".to_owned()),
    }
    Ok(page)
}

fn subtitle(plan: &Plan, cells: &[Cell]) -> String {
    let budgets: Vec<String> = plan.recipe.ipc.iter().map(u32::to_string).collect();
    let what = format!("{} images per class, {}", budgets.join(", "), count(plan.recipe.seeds, "seed"));
    let measured =
        cells.first().map_or(String::new(), |c| format!(", measured on {}", count(c.test_images, "test image")));
    let about = if plan.recipe.about.is_empty() { String::new() } else { format!("{} ", plan.recipe.about) };
    format!("{about}Compressed to {what}{measured}.")
}

/// A sentence with more rows than this is not read.
const READABLE: usize = 7;

/// Results in words, setting by setting: the best row, then what every other row gains over the baseline.
fn findings(table: &[TableRow], plan: &Plan) -> Vec<String> {
    let mut out = Vec::new();
    let settings: Vec<&[TableRow]> = table.chunk_by(TableRow::same_setting).collect();
    for rows in &settings {
        let Some(best) = rows.iter().max_by(|a, b| a.top1.mean.total_cmp(&b.top1.mean)) else { continue };
        let at = if settings.len() > 1 { setting_words(best) } else { String::new() };
        let gain = best.gain.as_ref().map_or("no other row beats it".to_owned(), |gain| over(gain, &plan.baseline));
        out.push(format!("{at}{} is best with {:.1} % top-1: {gain}.", best.method, best.top1.mean));
        let mut others: Vec<_> = rows
            .iter()
            .filter(|row| row.method != best.method)
            .filter_map(|row| Some((row, row.gain.as_ref()?)))
            .collect();
        let all = others.len();
        if all > READABLE {
            others.sort_by(|(_, a), (_, b)| b.mean.total_cmp(&a.mean));
            others.truncate(READABLE);
        }
        let list: Vec<String> = others.iter().map(|(row, gain)| format!("{} {}", row.method, short(gain))).collect();
        let rest = if all > READABLE { format!("; {} more are in the table", all - READABLE) } else { String::new() };
        if !list.is_empty() {
            out.push(format!("{at}Over {}: {}{rest}.", plan.baseline, list.join("; ")));
        }
    }
    out
}

/// `convnet-3/128-bn, small, 10 images per class: `.
fn setting_words(row: &TableRow) -> String {
    let budget = match row.ipc {
        ALL => "all images".to_owned(),
        ipc => format!("{} per class", count(ipc.into(), "image")),
    };
    format!("{}, {}, {budget}: ", row.student, row.protocol)
}

fn over(gain: &Gain, baseline: &str) -> String {
    let verdict = match gain.clear {
        Clear::Better | Clear::Worse => "the 95 % interval excludes zero",
        Clear::NoClearDifference => "no clear difference, the 95 % interval covers zero",
        Clear::Unknown => "one seed has no interval",
    };
    format!("{} points over {baseline} ({verdict})", gain_words(gain))
}

fn short(gain: &Gain) -> String {
    let mark = if gain.clear == Clear::NoClearDifference { " (no clear difference)" } else { "" };
    format!("{}{mark}", gain_words(gain))
}

/// Mean training loss over seeds; points of all seeds lie at the same numbers of images.
fn curve(cells: &[Cell], row: &Row, ipc: u32) -> Option<Curve> {
    let of_row = results::cells_of(cells, &row.name, &row.trainings[0], ipc);
    let shortest = of_row.iter().map(|c| c.history.curve.len()).min()?;
    let point = |i: usize| {
        let mean = of_row.iter().map(|c| c.history.curve[i].1).sum::<f64>() / of_row.len() as f64;
        (of_row[0].history.curve[i].0 as f64, mean)
    };
    Some(Curve { method: row.name.clone(), points: (0..shortest).map(point).collect() })
}

fn class_bars(plan: &Plan, cells: &[Cell], ipc: u32, classes: &[String]) -> Vec<ClassBar> {
    let value = |row: &Row, class: usize| {
        let of_row = results::cells_of(cells, &row.name, &row.trainings[0], ipc);
        let known: Vec<f64> =
            of_row.iter().filter_map(|c| c.class_top1_percent.get(class).copied().flatten()).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let bar = |(at, class): (usize, &String)| ClassBar {
        class: class.clone(),
        values: plan.rows.iter().map(|row| (row.name.clone(), value(row, at))).collect(),
    };
    classes.iter().enumerate().map(bar).collect()
}

fn protocol(plan: &Plan) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let several = plan.rows[0].trainings.len() > 1;
    for training in &plan.rows[0].trainings {
        let setting = if several { format!("{}, {}: ", training.student, training.protocol) } else { String::new() };
        list.extend(training.describe().into_iter().map(|(name, value)| (format!("{setting}{name}"), value)));
    }
    if plan.crops.len() > 1 {
        let ranges: Vec<String> = plan.crops.iter().map(f64::to_string).collect();
        let chosen = format!(
            "smallest area among {}, by the mean of {} on the hold-out ({} % of the training images, in no set)",
            ranges.join(", "),
            count(plan.crop_seeds, "student"),
            plan.recipe.holdout * 100.0
        );
        list.push(("crop range of each row".to_owned(), chosen));
    }
    list
}

fn provenance(plan: &Plan, cells: &[Cell]) -> Vec<(String, String)> {
    let mut list = Vec::new();
    if plan.rows.iter().any(|row| row.metric().is_some()) {
        let p = &plan.proxy;
        let text = format!(
            "{} of {} at {} px, {} epochs each, per seed",
            count(u64::from(p.seeds), "proxy run"),
            p.network,
            p.size,
            p.epochs
        );
        list.push(("scores".to_owned(), text));
    }
    list.push((
        "seeds".to_owned(),
        format!("0 to {}; seed i changes proxies, draw and student together", plan.recipe.seeds - 1),
    ));
    let mut distinct = |name: &str, of: fn(&Cell) -> &str| {
        let mut values: Vec<&str> = cells.iter().map(of).collect();
        values.sort_unstable();
        values.dedup();
        if !values.is_empty() {
            list.push((name.to_owned(), values.join("; ")));
        }
    };
    distinct("program", |c| &c.program);
    distinct("machine", |c| &c.machine);
    list
}

fn warnings(plan: &Plan, table: &[TableRow]) -> Vec<String> {
    let mut out = Vec::new();
    if plan.recipe.seeds < 3 {
        out.push("Fewer than three seeds: no spread here can be trusted. Set `seeds = 3` or more.".to_owned());
    }
    let unclear: Vec<&str> = table
        .iter()
        .filter(|row| row.gain.as_ref().is_some_and(|gain| gain.clear == Clear::NoClearDifference))
        .map(|row| row.method.as_str())
        .collect();
    if !unclear.is_empty() {
        let rows = match unclear.len() > READABLE {
            true => format!("{} of {} rows", unclear.len(), table.len()),
            false => unclear.join(", "),
        };
        out.push(format!(
            "The gain over {} of {rows} is within the spread over seeds; more `seeds` would tell.",
            plan.baseline
        ));
    }
    out
}
