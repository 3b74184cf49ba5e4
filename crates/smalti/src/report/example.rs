//! A small made-up report for tests. None of its numbers was measured.

use super::bootstrap::Interval;
use super::data::*;
use super::ranking::ranking;
use super::stats;

/// Accuracies per seed, from which rows are computed as a caller would.
const RUNS: [(&str, &str, [f64; 3]); 5] = [
    ("random", "images drawn at random", [33.1, 35.0, 34.2]),
    ("el2n-easy", "lowest EL2N first", [36.2, 38.4, 37.0]),
    ("el2n-hard", "highest EL2N first", [18.3, 17.1, 19.9]),
    ("random-mosaic", "2 x 2 whole images, drawn at random", [43.0, 45.1, 44.6]),
    ("pca", "2 x 2 whole images, lowest EL2N first", [33.5, 39.2, 36.1]),
];

/// Five methods, three seeds, one budget.
pub fn page() -> Page {
    Page {
        title: "imagenette-ipc10".into(),
        subtitle: "9,469 images, 10 classes, compressed to 10 images per class".into(),
        findings: vec![
            "The random mosaic is 10.1 points over random.".into(),
            "PCA is not clearly over random.".into(),
        ],
        table: (0..RUNS.len()).map(|at| row(at, 10)).collect(),
        baseline: "random".into(),
        curves: RUNS.iter().enumerate().map(|(at, (method, ..))| curve(method, at)).collect(),
        histograms: vec![histogram("EL2N, easiest kept", |at| at == 0), histogram("EL2N, hardest kept", |at| at == 19)],
        galleries: RUNS.iter().map(|(method, ..)| gallery(method)).collect(),
        choices_note: "The choice is that of pca; under each image its EL2N.".into(),
        choices: ["tench", "church"].map(strip).to_vec(),
        classes: ["tench", "church"].map(class_bar).to_vec(),
        protocol: vec![("images seen".into(), "30,000".into())],
        provenance: vec![("commit".into(), "0123abc".into())],
        commands: vec!["smalti bench recipes/imagenette-ipc10.toml".into()],
        warnings: vec!["The gain of pca is smaller than its interval; raise --seeds before using it.".into()],
    }
}

/// Five methods at three budgets.
pub fn budgets() -> Page {
    Page { table: [1, 10, 50].iter().flat_map(|&ipc| (0..RUNS.len()).map(move |at| row(at, ipc))).collect(), ..page() }
}

/// Five methods with every column that a table can have.
pub fn everything() -> Page {
    let full = |(at, row): (usize, TableRow)| TableRow {
        best_top1: Some(stats::mean_sd(&row.top1.values.iter().map(|value| value + 1.0).collect::<Vec<_>>())),
        gain_over_images: (at > 0).then_some(Interval { low: -1.25, high: 3.5 }),
        ranking: Some(ranking(80.0, 30.0 + at as f64, row.top1.mean, 36.1)),
        ..row
    };
    let table = page().table.into_iter().enumerate().map(full).collect();
    Page { table, ..page() }
}

/// The row with its first seed only.
pub fn one_seed(row: TableRow) -> TableRow {
    let gain = row.gain.map(|gain| Gain { half_width: None, clear: Clear::Unknown, ..gain });
    TableRow {
        n: 1,
        top1: stats::mean_sd(&row.top1.values[..1]),
        top5: stats::mean_sd(&row.top5.values[..1]),
        gain,
        ..row
    }
}

fn row(at: usize, ipc: u32) -> TableRow {
    let seeded = |values: &[f64; 3]| -> Vec<(u64, f64)> {
        (0..).zip(values.iter().map(|value| value + f64::from(ipc) / 5.0)).collect()
    };
    let (method, about, values) = RUNS[at];
    let values = seeded(&values);
    let top1: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let top5: Vec<f64> = top1.iter().map(|value| 50.0 + value / 2.0).collect();
    let mosaic = about.contains("2 x 2");
    TableRow {
        method: method.into(),
        about: about.into(),
        ipc,
        student: "convnet-4".into(),
        protocol: "small".into(),
        augment: if mosaic { "constrained" } else { "standard" }.into(),
        crop: if mosaic { "0.5 to 1" } else { "0.2 to 1" }.into(),
        images_seen: 30_000,
        n: 3,
        top1: stats::mean_sd(&top1),
        best_top1: None,
        top5: stats::mean_sd(&top5),
        gain: (at > 0).then(|| stats::paired_gain(&values, &seeded(&RUNS[0].2))).flatten(),
        gain_over_images: None,
        ranking: None,
        image_bytes: u64::from(ipc) * 41_000,
        label_bytes: u64::from(ipc) * 10,
        train_seconds: 100.0,
        score_seconds: if about.contains("EL2N") { 725.0 } else { 0.0 },
    }
}

fn curve(method: &str, at: usize) -> Curve {
    let loss = |step: i32| (2.3 - 0.1 * at as f64) * (-f64::from(step) / 12.0).exp() + 0.05;
    Curve { method: method.into(), points: (0..=60).map(|step| (f64::from(step) * 500.0, loss(step))).collect() }
}

fn histogram(title: &str, kept: impl Fn(u32) -> bool) -> Histogram {
    let bin = |at: u32| {
        let count = 900 / (at + 1);
        let (kept, dropped) = if kept(at) { (count, 0) } else { (0, count) };
        Bin { low: f64::from(at) * 0.07, high: f64::from(at + 1) * 0.07, kept, dropped }
    };
    Histogram {
        title: title.into(),
        x_label: "EL2N score".into(),
        easy_end: EasyEnd::Low,
        bins: (0..20).map(bin).collect(),
    }
}

/// A picture of one transparent pixel, said to be of some size.
fn picture(class: &str, caption: &str, size: u32) -> Picture {
    let bytes =
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
            .to_vec();
    Picture { class: class.into(), caption: caption.into(), mime: "image/gif".into(), bytes, size: (size, size) }
}

fn gallery(method: &str) -> Gallery {
    let images = ["tench", "church"].iter().flat_map(|class| (0..3).map(|_| picture(class, "", 96)));
    Gallery { method: method.into(), note: "whole images at 96 px".into(), images: images.collect() }
}

fn strip(class: &str) -> ClassStrip {
    let pictures = |score: &str| (0..4).map(|_| picture(class, score, 48)).collect();
    ClassStrip { class: class.into(), kept: pictures("0.02"), dropped: pictures("1.31") }
}

fn class_bar(class: &str) -> ClassBar {
    let values =
        RUNS.iter().enumerate().map(|(at, (method, _, values))| (method.to_string(), (at != 2).then_some(values[0])));
    ClassBar { class: class.into(), values: values.collect() }
}
