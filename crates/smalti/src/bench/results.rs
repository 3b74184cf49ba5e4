//! From cells to tables.

use super::cells::Cell;
use super::plan::{ALL, Origin, Plan, Row};
use crate::report::TableRow;
use crate::report::bootstrap::{Interval, Right, interval};
use crate::report::ranking::ranking;
use crate::report::stats::{mean_sd, paired_gain};
use crate::students::Training;
use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use smalti_data::tables::write_table;
use smalti_learn::augment::Augment;
use smalti_learn::labels::LabelKind;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// The cells of one method, training and budget.
pub fn cells_of<'a>(cells: &'a [Cell], method: &str, training: &Training, ipc: u32) -> Vec<&'a Cell> {
    let same = |cell: &&Cell| {
        (cell.method.as_str(), cell.ipc) == (method, ipc)
            && (cell.student.as_str(), cell.protocol.as_str())
                == (training.student.as_str(), training.protocol.as_str())
    };
    cells.iter().filter(same).collect()
}

/// One row per method that has a finished cell, setting by setting: protocols, then students, then budgets.
pub fn table(plan: &Plan, cells: &[Cell]) -> Vec<TableRow> {
    table_over(plan, cells, &plan.baseline)
}

/// The same, with gains over another row than the random one.
pub fn table_over(plan: &Plan, cells: &[Cell], over: &str) -> Vec<TableRow> {
    let mut out = Vec::new();
    for setting in 0..plan.rows[0].trainings.len() {
        for ipc in plan.budgets() {
            let of = |row: &Row| cells_of(cells, &row.name, &row.trainings[setting], ipc);
            let baseline = plan.rows.iter().find(|row| row.name == over).map(of).unwrap_or_default();
            let full = plan.rows.iter().find(|row| row.origin == Origin::Full);
            for row in &plan.rows {
                let cells = of(row);
                if let Some(first) = cells.first() {
                    out.push(table_row(row, first, &cells, &baseline));
                }
            }
            if let Some(full) = full {
                rank(&mut out, plan, cells, full, ipc);
            }
        }
    }
    out
}

fn table_row(row: &Row, first: &Cell, cells: &[&Cell], baseline: &[&Cell]) -> TableRow {
    let mean = |value: fn(&Cell) -> f64| cells.iter().map(|c| value(c)).sum::<f64>() / cells.len() as f64;
    let spread = |value: fn(&Cell) -> f64| mean_sd(&cells.iter().map(|c| value(c)).collect::<Vec<_>>());
    let pairs = |cells: &[&Cell]| cells.iter().map(|c| (c.seed, c.top1_percent)).collect::<Vec<_>>();
    let best: Vec<f64> = cells.iter().filter_map(|cell| cell.best_top1_percent).collect();
    let is_baseline = baseline.first().is_some_and(|base| base.method == row.name);
    TableRow {
        method: row.name.clone(),
        about: row.about.clone(),
        ipc: first.ipc,
        student: first.student.clone(),
        protocol: first.protocol.clone(),
        augment: first.augment.clone(),
        crop: match Augment::parse(&first.augment).is_none_or(Augment::crops) {
            true => format!("{} to 1", first.crop_min),
            false => "none".to_owned(),
        },
        images_seen: mean(|c| c.history.images_seen as f64).round() as u64,
        n: cells.len() as u32,
        top1: spread(|c| c.top1_percent),
        best_top1: (best.len() == cells.len()).then(|| mean_sd(&best)),
        top5: spread(|c| c.top5_percent),
        gain: if is_baseline { None } else { paired_gain(&pairs(cells), &pairs(baseline)) },
        gain_over_images: if is_baseline { None } else { over_images(cells, baseline) },
        ranking: None,
        image_bytes: mean(|c| c.image_bytes as f64).round() as u64,
        label_bytes: mean(|c| c.label_bytes as f64).round() as u64,
        train_seconds: mean(|c| c.seconds.train),
        score_seconds: mean(|c| c.seconds.proxy),
    }
}

/// The bootstrap over seeds and test images, where every cell says which images it got right.
fn over_images(cells: &[&Cell], baseline: &[&Cell]) -> Option<Interval> {
    let right = |cell: &Cell| Right::from_hex(&cell.right, cell.test_images as usize);
    let pair = |cell: &&Cell| {
        let base = baseline.iter().find(|base| base.seed == cell.seed)?;
        Some((right(cell)?, right(base)?))
    };
    let pairs: Vec<_> = cells.iter().filter_map(pair).collect();
    (pairs.len() == cells.len()).then(|| interval(&pairs)).flatten()
}

/// DD-Ranking's scores of the rows of a budget. They need the full data and the set with hard labels, and the set and the random one under the
/// row's own protocol, all with one student.
fn rank(rows: &mut [TableRow], plan: &Plan, cells: &[Cell], full: &Row, ipc: u32) {
    let mean = |found: Vec<&Cell>| {
        (!found.is_empty()).then(|| found.iter().map(|c| c.top1_percent).sum::<f64>() / found.len() as f64)
    };
    let of = |method: &str, student: &str, protocol: &str, ipc: u32| {
        let same = |c: &&Cell| c.method == method && c.student == student && c.protocol == protocol && c.ipc == ipc;
        mean(cells.iter().filter(same).collect())
    };
    for row in rows.iter_mut().filter(|row| row.ipc == ipc && row.method != full.name) {
        let hard = full.trainings.iter().find(|t| t.labels == LabelKind::Hard && t.student == row.student);
        let Some(hard) = hard.map(|training| training.protocol.as_str()) else { continue };
        let scores = (|| {
            Some(ranking(
                of(&full.name, &row.student, hard, ALL)?,
                of(&row.method, &row.student, hard, ipc)?,
                row.top1.mean,
                of(&plan.baseline, &row.student, &row.protocol, ipc)?,
            ))
        })();
        row.ranking = scores;
    }
}

/// One line per cell.
pub fn csv(cells: &[Cell]) -> String {
    let mut out = String::from(
        "method,ipc,student,protocol,augment,crop_min,seed,top1_percent,best_top1_percent,top5_percent,holdout_top1_percent,test_images,train_images,image_bytes,label_bytes,\
         steps,images_seen,images_per_second,proxy_seconds,compress_seconds,train_seconds,eval_seconds,program,machine\n",
    );
    for c in cells {
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{:.4},{},{:.4},{},{},{},{},{},{},{},{:.1},{:.1},{:.2},{:.1},{:.2},{},\"{}\"",
            c.method,
            c.ipc,
            c.student,
            c.protocol,
            c.augment,
            c.crop_min,
            c.seed,
            c.top1_percent,
            c.best_top1_percent.map_or(String::new(), |percent| format!("{percent:.4}")),
            c.top5_percent,
            c.holdout_top1_percent.map_or(String::new(), |percent| format!("{percent:.4}")),
            c.test_images,
            c.train_images,
            c.image_bytes,
            c.label_bytes,
            c.history.steps,
            c.history.images_seen,
            c.images_per_second,
            c.seconds.proxy,
            c.seconds.compress,
            c.seconds.train,
            c.seconds.eval,
            c.program,
            c.machine.replace('"', "'")
        );
    }
    out
}

/// The same as a Parquet table.
///
/// # Errors
/// When it cannot be written.
pub fn write_parquet(path: &Path, cells: &[Cell]) -> Result<()> {
    let text = |of: fn(&Cell) -> &str| Arc::new(StringArray::from_iter_values(cells.iter().map(of))) as ArrayRef;
    let real = |of: fn(&Cell) -> f64| Arc::new(Float64Array::from_iter_values(cells.iter().map(of))) as ArrayRef;
    let whole = |of: fn(&Cell) -> u64| Arc::new(UInt64Array::from_iter_values(cells.iter().map(of))) as ArrayRef;
    let held = Arc::new(cells.iter().map(|c| c.holdout_top1_percent).collect::<Float64Array>()) as ArrayRef;
    let best = Arc::new(cells.iter().map(|c| c.best_top1_percent).collect::<Float64Array>()) as ArrayRef;
    let ipc = Arc::new(UInt32Array::from_iter_values(cells.iter().map(|c| c.ipc))) as ArrayRef;
    let columns = vec![
        ("method", text(|c| &c.method)),
        ("ipc", ipc),
        ("student", text(|c| &c.student)),
        ("protocol", text(|c| &c.protocol)),
        ("augment", text(|c| &c.augment)),
        ("crop_min", real(|c| c.crop_min)),
        ("seed", whole(|c| c.seed)),
        ("top1_percent", real(|c| c.top1_percent)),
        ("best_top1_percent", best),
        ("top5_percent", real(|c| c.top5_percent)),
        ("holdout_top1_percent", held),
        ("steps", whole(|c| c.history.steps)),
        ("images_seen", whole(|c| c.history.images_seen)),
        ("image_bytes", whole(|c| c.image_bytes)),
        ("label_bytes", whole(|c| c.label_bytes)),
        ("proxy_seconds", real(|c| c.seconds.proxy)),
        ("compress_seconds", real(|c| c.seconds.compress)),
        ("train_seconds", real(|c| c.seconds.train)),
        ("eval_seconds", real(|c| c.seconds.eval)),
        ("program", text(|c| &c.program)),
        ("machine", text(|c| &c.machine)),
    ];
    Ok(write_table(path, &RecordBatch::try_from_iter(columns)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::runner::tests::{Pretend, SILENT, plan};
    use crate::bench::{cells, runner, write_results};
    use crate::report::Clear;

    #[test]
    fn the_table_states_gains_over_random_and_every_derived_file_is_there() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cells = runner::run(&plan(), &mut Pretend::default(), dir.path(), &SILENT).expect("done").cells;
        let rows = table(&plan(), &cells);
        assert_eq!((rows[0].method.as_str(), rows[0].gain.clone(), rows[0].top1.mean), ("random", None, 20.0));
        let gain = rows[1].gain.clone().expect("over random");
        assert_eq!((gain.mean, gain.half_width, gain.clear), (5.0, Some(0.0), Clear::Better));
        assert_eq!((rows[1].score_seconds, rows[1].crop.as_str(), rows[1].images_seen), (3.0, "0.5 to 1", 500));
        write_results(&plan(), &cells, dir.path()).expect("written");
        for name in ["table.md", "table.tex", "results.csv", "results.json", "results.parquet", "report.html"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
        let text = std::fs::read_to_string(dir.path().join("results.csv")).expect("there");
        assert_eq!(text.lines().count(), 5);
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<&str>>());
        let (head, line) = (lines.next().expect("a head"), lines.next().expect("a cell"));
        assert_eq!(head.len(), line.len());
        for (name, value) in [
            ("method", "random"),
            ("top1_percent", "20.5000"),
            ("best_top1_percent", ""),
            ("top5_percent", "60.0000"),
            ("holdout_top1_percent", "21.0000"),
            ("test_images", "100"),
            ("train_images", "4"),
            ("image_bytes", "2000"),
            ("label_bytes", "32"),
            ("steps", "10"),
            ("images_seen", "500"),
        ] {
            let at = head.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no {name} in {head:?}"));
            assert_eq!(line[at], value, "{name}");
        }
        let table = smalti_data::tables::read_table(&dir.path().join("results.parquet")).expect("a table");
        let held = table.column_by_name("holdout_top1_percent").and_then(|c| c.as_any().downcast_ref::<Float64Array>());
        assert_eq!(held.map(|column| (column.len(), column.value(0))), Some((4, 21.0)));
        assert_eq!(cells::read_all(&plan(), dir.path()).expect("read"), cells);
    }
}
