//! The page of a bench: its cells, and pictures from its working folder where that is there.

use super::cells::Cell;
use super::plan::{ALL, Plan, Row};
use super::results;
use crate::report::words::gain as gain_words;
use crate::report::{ClassBar, Clear, Curve, Gain, Page, TableRow};
use crate::students::Training;
use crate::ui::count;
use anyhow::Result;
use std::collections::HashSet;
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
        if best.ipc == ALL {
            out.push(format!("{}{:.1} % top-1.", setting_words(best), best.top1.mean));
            continue;
        }
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
        let ipc = if row.budgets.contains(&ALL) { ALL } else { ipc };
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

/// Settings that name a training.
const NAMES: [&str; 2] = ["protocol", "student"];

fn protocol(plan: &Plan) -> Vec<(String, String)> {
    let trainings = &plan.rows[0].trainings;
    let all: Vec<Vec<(String, String)>> = trainings.iter().map(Training::describe).collect();
    // What all students share is said once.
    let shared = |at: usize| all.iter().all(|settings| settings[at] == all[0][at]);
    let mut list: Vec<_> = (0..all[0].len()).filter(|&at| shared(at)).map(|at| all[0][at].clone()).collect();
    for name in NAMES {
        let mut values: Vec<&str> =
            all.iter().flatten().filter(|(key, _)| key == name).map(|(_, v)| v.as_str()).collect();
        let mut known = HashSet::new();
        values.retain(|value| known.insert(*value));
        if values.len() > 1 {
            list.push((format!("{name}s"), values.join(", ")));
        }
    }
    for (training, settings) in trainings.iter().zip(&all) {
        let setting = format!("{}, {}", training.student, training.protocol);
        let own = settings.iter().enumerate().filter(|(at, (name, _))| !shared(*at) && !NAMES.contains(&name.as_str()));
        list.extend(own.map(|(_, (name, value))| (format!("{setting}: {name}"), value.clone())));
    }
    list.extend(own_settings(plan));
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

/// What students of other rows do otherwise than those of the first, but for their augmentation: the table has a column of it.
fn own_settings(plan: &Plan) -> Vec<(String, String)> {
    let described = |row: &Row| row.trainings.iter().map(Training::describe).collect::<Vec<_>>();
    let first = plan.rows.first().map(described).unwrap_or_default();
    let mut list = Vec::new();
    for row in &plan.rows {
        let mut said = HashSet::from(["augmentation".to_owned()]);
        for (own, usual) in described(row).into_iter().zip(&first) {
            let differs = own.into_iter().zip(usual).filter(|((_, value), (_, usual))| value != usual);
            for ((name, value), _) in differs {
                if said.insert(name.clone()) {
                    list.push((format!("{}: {name}", row.name), value));
                }
            }
        }
    }
    list
}

fn provenance(plan: &Plan, cells: &[Cell]) -> Vec<(String, String)> {
    let mut list = Vec::new();
    if plan.rows.iter().any(|row| row.metric().is_some()) {
        let p = &plan.proxy;
        let text = format!(
            "{} of {} under `{}` at {} px, {} epochs each, per seed",
            count(u64::from(p.seeds), "proxy run"),
            p.network,
            p.protocol,
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
    let mut unclear: Vec<&str> = table
        .iter()
        .filter(|row| row.gain.as_ref().is_some_and(|gain| gain.clear == Clear::NoClearDifference))
        .map(|row| row.method.as_str())
        .collect();
    let several = table.windows(2).any(|pair| !pair[0].same_setting(&pair[1]));
    let somewhere = if several { " in some setting" } else { "" };
    let mut known = HashSet::new();
    unclear.retain(|method| known.insert(*method));
    if !unclear.is_empty() {
        let rows = match unclear.len() > READABLE {
            true => format!("{} of {} methods", unclear.len(), plan.rows.len()),
            false => unclear.join(", "),
        };
        out.push(format!(
            "The gain over {} of {rows} is within the spread over seeds{somewhere}; more `seeds` would tell.",
            plan.baseline
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::recipe::BenchRecipe;
    use crate::recipe::parse;

    #[test]
    fn rows_that_are_trained_otherwise_are_named() {
        let text = r#"
name = "small"
source = "images"
size = 32
ipc = [2]
seeds = 2
protocols = ["small", "small-sgd"]
training = { student = "convnet-3" }
row = [
    { preset = "random" },
    { preset = "full", images-seen = 60000 },
    { preset = "pca", augment = "standard", mix = "cutmix" },
]
"#;
        let plan = parse::<BenchRecipe>(text).and_then(|recipe| recipe.settle(Path::new("."))).expect("a plan");
        let said = own_settings(&plan);
        let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["full: schedule", "pca: mixing"]);
        assert!(said[0].1.starts_with("60,000 images seen, "), "{}", said[0].1);
        assert!(said.iter().all(|pair| protocol(&plan).contains(pair)));
    }
}
