//! Hand-made traces with known answers, and everything that can be missing from one.

use super::*;
use crate::metrics::{Basis, HardEnd, METRICS, Metric, metric};
use crate::testing::trace_row;
use smalti_data::random::{Stage, Stream};
use smalti_data::tables::TraceRow;
use smalti_data::tables::trace::{seed_dir, write_epoch};
use std::fs;
use tempfile::TempDir;

const RIGHT: [f32; 3] = [0.7, 0.2, 0.1];
const WRONG: [f32; 3] = [0.1, 0.7, 0.2];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(trace: &Path, seed: u64, epoch: u32, rows: &[TraceRow]) {
    write_epoch(&seed_dir(trace, seed), epoch, rows).expect("written");
}

/// Writes train rows of one seed for samples with these histories (`1` right, `0` wrong, one digit per epoch), and an eval row of
/// the right or wrong kind by the first digit in the last epoch.
fn write_histories(trace: &Path, seed: u64, histories: &[(u32, &str)]) {
    let epochs = histories.iter().map(|(_, h)| h.len()).max().expect("some history");
    let p = |digit: u8| if digit == b'1' { RIGHT } else { WRONG };
    for epoch in 0..epochs {
        let mut rows = Vec::new();
        for (sample, history) in histories {
            let digits = history.as_bytes();
            let before = epoch.checked_sub(1).map(|e| digits[e] == b'1');
            rows.push(trace_row(*sample, Pass::Train, p(digits[epoch]), before));
            if epoch + 1 == epochs {
                rows.push(trace_row(*sample, Pass::Eval, p(digits[0]), None));
            }
        }
        write(trace, seed, epoch as u32, &rows);
    }
}

/// Scores of one metric by sample.
fn score(trace: &Path, seeds: &[u64], name: &str) -> Vec<(u32, f32)> {
    let mut scored = scores(trace, seeds, &[&metric(name, None).expect("known")]).expect("scored");
    scored.remove(0).rows
}

/// A user's metric.
fn mine(spec: &str) -> Metric {
    metric(spec, Some(HardEnd::High)).expect("a metric")
}

/// The metrics of the trace.
fn of_trace() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(|m| matches!(m.basis, Basis::Trace { .. }))
}

fn failure(trace: &Path, seeds: &[u64], name: &str) -> String {
    scores(trace, seeds, &[&metric(name, None).expect("known")]).expect_err("this trace is broken").to_string()
}

#[test]
fn every_metric_of_the_list_gives_its_reference_number() {
    let dir = folder();
    for seed in [0, 1] {
        write_histories(dir.path(), seed, &[(5, "010110"), (6, "000000"), (7, "111111"), (9, "101001")]);
    }
    // Worked out by hand for samples 5, 6, 7 and 9; right is p = (.7, .2, .1), wrong is (.1, .7, .2), the label is 0.
    let reference = |name: &str| -> Option<[f32; 4]> {
        match name {
            // √(.09 + .04 + .01), and √(.81 + .49 + .04)
            "el2n" => Some([1.157_583_7, 1.157_583_7, 0.374_165_74, 0.374_165_74]),
            // The mean of both, and each alone, over the train rows
            "el2n-train" => Some([0.765_874_7, 1.157_583_7, 0.374_165_74, 0.765_874_7]),
            // The trace's column is el2n here
            "grand" => Some([1.157_583_7, 1.157_583_7, 0.374_165_74, 0.374_165_74]),
            // .7 − .2 = .5, and .1 − .7 = −.6
            "aum-prob" => Some([-0.05, -0.6, 0.5, -0.05]),
            // −.7 ln .7 − .2 ln .2 − .1 ln .1, the same numbers either way
            "entropy" => Some([0.801_818_55; 4]),
            "confidence" => Some([0.4, 0.1, 0.7, 0.4]),
            // Three of .7 and three of .1: .3 around .4
            "variability" => Some([0.3, 0.0, 0.0, 0.3]),
            // Windows of three: one right or two right in each, a deviation of .6 √2 / 3
            "cad" => Some([0.282_842_7, 0.0, 0.0, 0.282_842_7]),
            // −ln .7, and −ln .1
            "loss" => Some([std::f32::consts::LN_10, std::f32::consts::LN_10, 0.356_674_94, 0.356_674_94]),
            // (3 ln(.7/.2) + 3 ln(.1/.7)) / 6 = −ln 2 / 2; ln(1/7); ln 3.5
            "aum" => Some([-0.346_573_6, -1.945_910_1, 1.252_763, -0.346_573_6]),
            // 0,1,0,1,1,0 forgets twice; never learned counts as six epochs; 1,0,1,0,0,1 forgets twice
            "forgetting" => Some([2.0, 6.0, 0.0, 2.0]),
            _ => None,
        }
    };
    for m in of_trace() {
        let expected = reference(&m.name).unwrap_or_else(|| panic!("{} has no reference number", m.name));
        let found = score(dir.path(), &[0, 1], &m.name);
        assert_eq!(found.iter().map(|(sample, _)| *sample).collect::<Vec<_>>(), [5, 6, 7, 9], "{}", m.name);
        for ((sample, score), expected) in found.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-6, "{} of sample {sample}: {score} and not {expected}", m.name);
        }
    }
}

#[test]
fn the_never_learned_is_harder_than_the_always_known_by_every_metric_that_looks_at_the_label() {
    let dir = folder();
    write_histories(dir.path(), 0, &[(0, "1111"), (1, "0000")]);
    for m in of_trace().filter(|m| !["entropy", "variability", "cad"].contains(&&*m.name)) {
        let found = score(dir.path(), &[0], &m.name);
        let hardness: Vec<f32> = found.iter().map(|(_, score)| m.hard.hardness(*score)).collect();
        assert!(hardness[0] < hardness[1], "{}: {hardness:?}", m.name);
    }
}

#[test]
fn several_metrics_come_sorted_by_name_and_sample_and_passes_do_not_mix() {
    let dir = folder();
    write_histories(dir.path(), 3, &[(2, "01"), (1, "10")]);
    let metrics: Vec<&Metric> = of_trace().filter(|m| &*m.name != "cad").collect();
    let scored = scores(dir.path(), &[3], &metrics).expect("scored");
    let mut names: Vec<&str> = metrics.iter().map(|m| &*m.name).collect();
    names.sort_unstable();
    assert_eq!(scored.iter().map(|s| s.metric.as_str()).collect::<Vec<_>>(), names);
    assert!(scored.iter().all(|s| s.rows.iter().map(|row| row.0).eq([1, 2])));
    // El2n sees the eval rows alone, one per sample.
    let el2n = &scored.iter().find(|s| s.metric == "el2n").expect("scored").rows;
    assert!((el2n[0].1 - 0.374_165_74).abs() < 1e-6 && (el2n[1].1 - 1.157_583_7).abs() < 1e-6);
}

/// Twelve epochs, so that the order of names is not that of numbers, and losses over twelve orders of magnitude, so that a sum
/// in another order is another number. Every fortieth sample, so that they are queried in several parts.
fn write_wild(trace: &Path, seeds: &[u64], samples: u32) {
    for &seed in seeds {
        for epoch in 0..12 {
            let mut stream = Stream::new(seed, Stage::Demo, epoch, 0);
            let rows: Vec<TraceRow> = (0..samples)
                .map(|sample| TraceRow {
                    loss: wild_loss(&mut stream),
                    ..trace_row(40 * sample, Pass::Eval, RIGHT, None)
                })
                .collect();
            write(trace, seed, epoch, &rows);
        }
    }
}

fn wild_loss(stream: &mut Stream) -> f32 {
    10f64.powf(stream.between(-6.0, 6.0)) as f32
}

#[test]
fn the_same_bytes_come_out_for_any_number_of_threads_and_any_order_of_seeds() {
    let dir = folder();
    let (seeds, samples) = ([2, 10, 11], 9000);
    write_wild(dir.path(), &seeds, samples);
    let loss = &metric("loss", None).expect("known");
    let one = scores_on(1, dir.path(), &seeds, &[loss]).expect("scored");

    // The sum in the order of the epochs, then of the seeds, as plain code.
    let mut expected = vec![0f64; samples as usize];
    for seed in seeds {
        let mut sums = vec![0f64; samples as usize];
        for epoch in 0..12 {
            let mut stream = Stream::new(seed, Stage::Demo, epoch, 0);
            sums.iter_mut().for_each(|sum| *sum += f64::from(wild_loss(&mut stream)));
        }
        expected.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum / 12.0);
    }
    let expected: Vec<u32> = expected.into_iter().map(|total| ((total / 3.0) as f32).to_bits()).collect();
    assert!(one[0].rows.iter().map(|row| row.0).eq((0..samples).map(|sample| 40 * sample)));
    assert_eq!(one[0].rows.iter().map(|row| row.1.to_bits()).collect::<Vec<_>>(), expected);
    for (threads, seeds) in [(2, [2, 10, 11]), (4, [11, 2, 10])] {
        assert!(scores_on(threads, dir.path(), &seeds, &[loss]).expect("scored") == one, "{threads} threads");
    }
}

#[test]
fn an_expression_can_name_the_epoch_and_each_seed_is_averaged_before_the_mean() {
    let dir = folder();
    for (seed, losses) in [(0, [1.0, 2.0, 4.0]), (1, [10.0, 20.0, 40.0])] {
        for (epoch, loss) in (0..).zip(losses) {
            write(dir.path(), seed, epoch, &[TraceRow { loss, ..trace_row(0, Pass::Eval, RIGHT, None) }]);
        }
    }
    let late = mine("late@eval=avg(loss) filter (where epoch > 0)");
    let rows = scores(dir.path(), &[0, 1], &[&late]).expect("scored");
    assert_eq!(rows[0].rows, [(0, 16.5)]);
    // Only the seeds asked for are read; the same seed twice is one seed.
    assert_eq!(scores(dir.path(), &[1, 1], &[&late]).expect("scored")[0].rows, [(0, 30.0)]);
}

#[test]
fn folders_with_odd_names_and_leftovers_of_killed_runs_do_no_harm() {
    let dir = folder();
    let trace = dir.path().join("träce 50% of #1?/a:b");
    write_histories(&trace, 4, &[(0, "11")]);
    fs::create_dir(trace.join("seed=5.partial")).expect("created");
    fs::write(trace.join("seed=4/epoch=2.parquet.partial"), "half").expect("written");
    assert_eq!(score(&trace, &[4], "forgetting"), [(0, 0.0)]);
}

#[test]
fn missing_seeds_and_epochs_are_named() {
    let dir = folder();
    let trace = dir.path();
    write_histories(trace, 1, &[(0, "1111")]);
    write_histories(trace, 2, &[(0, "11")]);
    let error = scores(trace, &[1, 7, 8], &[&METRICS[0]]).expect_err("two seeds are missing");
    assert!(error.to_string().contains("lacks the seeds 7, 8"), "{error}");
    assert!(error.hint().expect("a hint").contains("it holds the seeds 1, 2"));
    assert!(failure(&trace.join("none"), &[1], "el2n").contains("lacks the seeds 1"));
    let error = failure(trace, &[1, 2], "el2n");
    assert!(error.contains("seed 2") && error.contains("lacks the epochs 2, 3"), "{error}");
    fs::remove_file(seed_dir(trace, 1).join("epoch=1.parquet")).expect("removed");
    let error = failure(trace, &[1], "aum");
    assert!(error.contains("seed 1") && error.ends_with("lacks the epochs 1"), "{error}");
    fs::create_dir(seed_dir(trace, 3)).expect("created");
    assert!(failure(trace, &[3], "aum").contains("has no epoch"));
    assert!(failure(trace, &[], "aum").contains("at least one proxy seed"));
    // A stray name must not make a list of four thousand million epochs.
    fs::copy(seed_dir(trace, 2).join("epoch=0.parquet"), seed_dir(trace, 2).join("epoch=4294967295.parquet"))
        .expect("copied");
    assert!(failure(trace, &[2], "aum").contains("lacks the epochs 2, 3, 4, 5, 6 and 1 more"));
}

#[test]
fn missing_samples_passes_and_rows_are_named() {
    let train = |sample| trace_row(sample, Pass::Train, RIGHT, None);
    let eval = |sample| trace_row(sample, Pass::Eval, RIGHT, None);
    type Epochs<'a> = &'a [&'a [TraceRow]];
    let cases: &[(Epochs, Epochs, &str, &str)] = &[
        (&[&[train(0), train(1)]], &[&[train(1)]], "aum", "sample 0 has train rows in seed 0 but none in seed 1"),
        (&[&[train(0)]], &[&[train(0), train(2)]], "aum", "sample 2 has train rows in seed 1 but none in seed 0"),
        (&[&[train(0)]], &[&[train(0)]], "el2n", "seed 0 of the trace has no eval rows, which `el2n`"),
        (
            &[&[eval(0)], &[train(0)]],
            &[&[train(0)], &[eval(0)]],
            "el2n",
            "epoch 0 has eval rows in seed 0 but none in seed 1",
        ),
        (
            &[&[train(0), train(1)], &[train(1)]],
            &[&[], &[]],
            "aum",
            "sample 0 has 1 train rows in seed 0, which records",
        ),
        (&[&[train(0), train(0)]], &[&[]], "aum", "sample 0 has 2 train rows in seed 0"),
    ];
    for (first, second, name, words) in cases {
        let dir = folder();
        for (seed, epochs) in [(0, first), (1, second)] {
            for (epoch, rows) in (0..).zip(*epochs) {
                write(dir.path(), seed, epoch, rows);
            }
        }
        let error = failure(dir.path(), &[0, 1], name);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_score_that_is_no_number_names_metric_sample_and_seed() {
    for broken in [f32::NAN, f32::INFINITY] {
        let dir = folder();
        write(dir.path(), 0, 0, &[trace_row(3, Pass::Eval, RIGHT, None)]);
        write(dir.path(), 1, 0, &[TraceRow { loss: broken, ..trace_row(3, Pass::Eval, RIGHT, None) }]);
        let error = failure(dir.path(), &[0, 1], "loss");
        assert_eq!(error, "the metric `loss` is not a number for sample 3 (seed 1)");
        // Other metrics of the same rows are fine.
        assert_eq!(score(dir.path(), &[0, 1], "el2n").len(), 1);
    }
    let dir = folder();
    write(dir.path(), 0, 0, &[trace_row(3, Pass::Eval, RIGHT, None)]);
    let none = mine("none@eval=avg(loss) filter (where epoch > 0)");
    let error = scores(dir.path(), &[0], &[&none]).expect_err("an average of nothing");
    assert!(error.to_string().contains("`none` is not a number for sample 3"), "{error}");
}

#[test]
fn a_wrong_expression_names_its_metric_and_nothing_but_queries_runs() {
    let dir = folder();
    write_histories(dir.path(), 0, &[(0, "1")]);
    let fine = &metric("loss", None).expect("known");
    for (sql, words) in [
        ("loss", "no aggregate"),
        ("avg(loss", "cannot compute"),
        ("max(case when loss > 'a' then 1 end)", "cannot compute"),
        ("bool_or(correct)", "not a number"),
        ("avg(loss)) as double) from trace; drop table trace; --", "cannot compute"),
        ("avg(loss); drop table trace", "cannot compute"),
        ("avg(loss) + epoch", "the column `epoch` outside of an aggregate"),
        ("avg(loss) over ()", "a window"),
        ("avg(loss) + random()", "another number each time"),
        ("(select max(loss) from trace)", "cannot compute"),
        ("first_value(loss order by epoch)", "an order inside an aggregate"),
        ("windowed_deviation(loss, epoch, 1, 1)", "at least 2 epochs"),
    ] {
        let mine = mine(&format!("mine={sql}"));
        let error = scores(dir.path(), &[0], &[fine, &mine]).expect_err(sql).to_string();
        assert!(error.contains(words) && error.contains("`mine"), "{sql}: {error}");
        // Lengths of windows are only seen with rows.
        if !sql.starts_with("windowed") {
            assert_eq!(check_metric(&mine, 9).expect_err(sql).to_string(), error, "the same before any proxy trains");
        }
    }
    let error = scores(dir.path(), &[0], &[&mine("mine=avg(lost)")]).expect_err("no such column");
    assert!(error.to_string().contains("reads a column `lost`"), "{error}");
    assert!(error.hint().expect("the columns").contains("`loss`, `el2n`, `margin_logit`"), "{:?}", error.hint());
    for metric in METRICS {
        check_metric(metric, metric.epochs).expect("the list is fine");
        assert!(
            check_metric(metric, metric.epochs - 1)
                .expect_err("too few")
                .hint()
                .expect("a hint")
                .contains("--proxy-epochs")
        );
    }
    let both = "mine=sum(loss) / count(*) + case when max(epoch) > 0 then 1 else 0 end";
    let found = &scores(dir.path(), &[0], &[&mine(both)]).expect("several aggregates in one expression")[0].rows;
    assert!((found[0].1 - 0.356_674_94).abs() < 1e-6, "{found:?}");
    let error = scores(dir.path(), &[0], &[fine, fine]).expect_err("twice");
    assert!(error.to_string().contains("`loss` is named twice"), "{error}");
}

#[test]
fn damaged_and_foreign_files_are_named_with_their_path() {
    let dir = folder();
    write_histories(dir.path(), 0, &[(0, "11")]);
    let path = seed_dir(dir.path(), 0).join("epoch=1.parquet");
    let whole = fs::read(&path).expect("read");
    for bytes in [&whole[..whole.len() / 2], b"", b"PAR1"] {
        fs::write(&path, bytes).expect("written");
        let error = failure(dir.path(), &[0], "el2n");
        assert!(error.starts_with("cannot read the table") && error.contains("epoch=1.parquet"), "{error}");
    }
    smalti_data::tables::scores::write_scores(&path, Vec::new()).expect("another table");
    let error = failure(dir.path(), &[0], "el2n");
    assert!(error.contains("epoch=1.parquet") && error.contains("no column `pass`"), "{error}");
    // Damage inside a page is met by the engine only: an error, not a panic.
    let mut torn = whole.clone();
    for byte in &mut torn[4..whole.len() / 3] {
        *byte ^= 0x5A;
    }
    fs::write(&path, torn).expect("written");
    let error = failure(dir.path(), &[0], "el2n");
    assert!(error.contains("epoch=1.parquet"), "{error}");
}

#[test]
fn distances_to_a_class_centre_are_averaged_over_the_proxies() {
    let dir = folder();
    let features = |values: [f32; 5]| smalti_data::tables::Features {
        samples: vec![4, 1, 2, 7, 9],
        labels: vec![0, 0, 0, 1, 0],
        width: 1,
        values: values.to_vec(),
    };
    for (seed, values) in [(0, [0.0, 1.0, 2.0, 5.0, 9.0]), (1, [0.0, 0.0, 0.0, 8.0, 4.0])] {
        let path = smalti_data::tables::features::path_in(&seed_dir(dir.path(), seed));
        smalti_data::tables::features::write_features(&path, &features(values)).expect("written");
    }
    // Seed 0: mean 3, median 1.5; seed 1: mean 1, median 0; sample 7 is alone in its class.
    assert_eq!(score(dir.path(), &[0, 1], "prototype"), [(1, 1.5), (2, 1.0), (4, 2.0), (7, 0.0), (9, 4.5)]);
    assert_eq!(score(dir.path(), &[0, 1], "moderate"), [(1, 0.25), (2, 0.25), (4, 0.75), (7, 0.0), (9, 5.75)]);
    let error = failure(dir.path(), &[0, 3], "prototype");
    assert!(error.contains("has no features of the seeds 3"), "{error}");
}
