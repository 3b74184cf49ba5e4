//! Scores and selections at the size of ImageNet and beyond, on generated tables. `benches/scale.py` runs it beside numpy.
//!
//! ```text
//! scale trace DIR SAMPLES EPOCHS SEEDS    writes a trace
//! scale scores DIR SEEDS                  every metric of the trace; prints each one's mean, weighted by place
//! scale select SAMPLES CLASSES KEEP RULE  one rule over generated scores; prints the sum of the samples kept
//! scale features DIR SAMPLES WIDTH        writes features of one class
//! scale cover DIR SAMPLES KEEP RULE       one rule that compares features; prints the sum of the samples kept
//! ```

use smalti_data::random::{Stage, Stream};
use smalti_data::tables::features::{path_in, write_features};
use smalti_data::tables::trace::{seed_dir, write_epoch};
use smalti_data::tables::{Features, Pass, Sample, Samples, Split, Status, TraceRow};
use smalti_select::{
    Basis, Budget, Candidates, ClassFeatures, Evidence, HardEnd, METRICS, OnSmallClass, Scores, rule, select,
};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| -> Result<u32, Box<dyn Error>> { Ok(arguments.get(at).ok_or("too few")?.parse()?) };
    match arguments.first().map(String::as_str) {
        Some("trace") => write_trace(Path::new(&arguments[1]), number(2)?, number(3)?, number(4)?),
        Some("scores") => compute_scores(Path::new(&arguments[1]), number(2)?),
        Some("select") => compute_selection(number(1)?, number(2)?, number(3)?, &arguments[4]),
        Some("features") => write_class(Path::new(&arguments[1]), number(2)?, number(3)?),
        Some("cover") => compute_cover(Path::new(&arguments[1]), number(2)?, number(3)?, &arguments[4]),
        _ => Err("trace, scores, select, features or cover".into()),
    }
}

/// Rows that look like a training: every number moves, half of the samples flip now and then.
fn write_trace(dir: &Path, samples: u32, epochs: u32, seeds: u32) -> Result<(), Box<dyn Error>> {
    for seed in 0..seeds {
        let mut before = vec![None; samples as usize];
        for epoch in 0..epochs {
            let mut stream = Stream::new(u64::from(seed), Stage::Demo, epoch, 0);
            let mut row = |sample: u32, pass: Pass| {
                let p = stream.uniform() as f32;
                let q = stream.uniform() as f32;
                let right = p > 0.4;
                TraceRow {
                    sample,
                    pass,
                    correct: right,
                    was_correct: None,
                    loss: -p.max(1e-6).ln(),
                    el2n: 1.4 * (1.0 - p),
                    margin_logit: 8.0 * (p - q),
                    margin_prob: p - q,
                    p_true: p,
                    entropy: 2.0 * q,
                    grad_last: 20.0 * q,
                }
            };
            let mut rows: Vec<TraceRow> = (0..samples).map(|sample| row(sample, Pass::Train)).collect();
            for row in &mut rows {
                row.was_correct = before[row.sample as usize].replace(row.correct);
            }
            if epoch + 1 == epochs {
                rows.extend((0..samples).map(|sample| row(sample, Pass::Eval)));
            }
            write_epoch(&seed_dir(dir, u64::from(seed)), epoch, &rows)?;
        }
    }
    Ok(())
}

fn compute_scores(dir: &Path, seeds: u32) -> Result<(), Box<dyn Error>> {
    let seeds: Vec<u64> = (0..u64::from(seeds)).collect();
    let metrics: Vec<_> = METRICS.iter().filter(|m| matches!(m.basis, Basis::Trace { .. })).collect();
    let start = Instant::now();
    let scored = smalti_select::scores(dir, &seeds, &metrics)?;
    println!("seconds {:.3}", start.elapsed().as_secs_f64());
    for scored in scored {
        // Weighted by place, so that no two samples can have changed theirs.
        let count = scored.rows.len() as f64;
        let sum: f64 = scored.rows.iter().map(|row| f64::from(row.1) * (1.0 + f64::from(row.0) / count)).sum();
        println!("{} {:.9}", scored.metric, sum / count);
    }
    Ok(())
}

/// Twenty clusters, as penultimate features have.
fn write_class(dir: &Path, samples: u32, width: u32) -> Result<(), Box<dyn Error>> {
    let mut stream = Stream::new(1, Stage::Demo, 0, 0);
    let mut numbers = |count: u32, low: f64, high: f64| -> Vec<f32> {
        (0..count).map(|_| stream.between(low, high) as f32).collect()
    };
    let centres = numbers(20 * width, 0.0, 2.0);
    let mut values = numbers(samples * width, -1.0, 1.0);
    for (at, value) in (0..).zip(&mut values) {
        *value += centres[(at / width % 20 * width + at % width) as usize];
    }
    let features =
        Features { samples: (0..samples).collect(), labels: vec![0; samples as usize], width: width as usize, values };
    Ok(write_features(&path_in(&seed_dir(dir, 0)), &features)?)
}

fn compute_cover(dir: &Path, count: u32, keep: u32, name: &str) -> Result<(), Box<dyn Error>> {
    let samples = source(count, 1, |row| row);
    let scores: Vec<(u32, f32)> = (0..count).map(|row| (row, mixed(row) as f32)).collect();
    let start = Instant::now();
    let features = ClassFeatures::open(dir, &[0])?;
    let budget = Budget { per_class: keep, multiple: 1, on_small_class: OnSmallClass::Refuse };
    let evidence = Evidence {
        scores: Some(Scores { metric: "generated", hard: HardEnd::High, rows: &scores }),
        features: Some(&features),
    };
    let selection = select(&Candidates::of(&samples), evidence, &rule(name)?, &budget, 0)?;
    println!("seconds {:.3}", start.elapsed().as_secs_f64());
    let kept = selection.kept_of(0);
    println!("first {}", kept[0]);
    println!("sum {}", kept.iter().map(|&row| u64::from(row)).sum::<u64>());
    Ok(())
}

/// The same numbers as in benches/peers: a 32-bit mix of the row.
fn mixed(row: u32) -> u32 {
    row.wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(0x9E37_79B9)
}

fn source(count: u32, classes: u32, hash: impl Fn(u32) -> u32) -> Samples {
    let row = |sample: u32| Sample {
        sample,
        content_hash: (u128::from(hash(sample)) << 96 | u128::from(sample)).into(),
        class_id: sample % classes,
        split: Split::Train,
        width: 1,
        height: 1,
        bytes: 1,
        status: Status::Ok,
    };
    Samples {
        classes: (0..classes).map(|class| class.to_string()).collect(),
        rows: (0..count).map(row).collect(),
        ..Samples::default()
    }
}

fn compute_selection(count: u32, classes: u32, keep: u32, name: &str) -> Result<(), Box<dyn Error>> {
    let samples = source(count, classes, mixed);
    // From a coarse grid, so that many tie.
    let scores: Vec<(u32, f32)> = (0..count).map(|row| (row, (mixed(row ^ 0x5555) >> 12) as f32)).collect();
    let start = Instant::now();
    let budget = Budget { per_class: keep, multiple: 1, on_small_class: OnSmallClass::Refuse };
    let evidence =
        Evidence { scores: Some(Scores { metric: "generated", hard: HardEnd::High, rows: &scores }), features: None };
    let selection = select(&Candidates::of(&samples), evidence, &rule(name)?, &budget, 0)?;
    println!("seconds {:.3}", start.elapsed().as_secs_f64());
    let kept = selection.rows.iter().filter(|row| row.verdict.is_kept());
    println!("kept {}", kept.clone().count());
    println!("sum {}", kept.map(|row| u64::from(row.sample)).sum::<u64>());
    Ok(())
}
