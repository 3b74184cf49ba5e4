//! Every metric and rule against numpy's numbers for the same logits and features (`golden/make_methods.py`), through the files that a run
//! leaves: trace, features, scores, selection.

use serde_json::Value;
use smalti_data::random::{Stage, Stream};
use smalti_data::tables::features::{path_in, write_features};
use smalti_data::tables::trace::{seed_dir, write_epoch};
use smalti_data::tables::{Features, Pass, Sample, Samples, Scored, Split, Status, TraceRow};
use smalti_learn::measure::trace_rows;
use smalti_select::{
    Basis, Budget, Candidates, ClassFeatures, Evidence, HardEnd, METRICS, Metric, OnSmallClass, RULES, Scores, metric,
    rule, select,
};
use std::collections::HashMap;
use std::path::Path;

struct Golden {
    value: Value,
    labels: Vec<u32>,
}

impl Golden {
    fn read() -> Golden {
        let value: Value = serde_json::from_str(include_str!("golden/methods.json")).expect("JSON");
        let labels = list(&value["labels"], |label| label.as_u64().expect("a label") as u32);
        Golden { value, labels }
    }

    fn keep(&self) -> usize {
        self.value["keep"].as_u64().expect("a number") as usize
    }

    /// Writes what the proxies would have written, by the code that writes it.
    fn write_trace(&self, trace: &Path) {
        let evals = list(&self.value["eval_epochs"], |epoch| epoch.as_u64().expect("a number") as usize);
        let samples: Vec<u32> = (0..self.labels.len() as u32).collect();
        for (seed, run) in (0..).zip(self.value["runs"].as_array().expect("runs")) {
            let features = matrix(&run["features"]);
            let dir = seed_dir(trace, seed);
            let mut before: HashMap<(Pass, u32), bool> = HashMap::new();
            for (epoch, logits) in run["train"].as_array().expect("epochs").iter().enumerate() {
                let rows = |logits: &Value, pass| {
                    trace_rows(&tensor(&matrix(logits)), &tensor(&features), &self.labels, &samples, pass)
                };
                let mut all: Vec<TraceRow> = rows(logits, Pass::Train);
                if let Some(at) = evals.iter().position(|&eval| eval == epoch) {
                    all.extend(rows(&run["eval"][at], Pass::Eval));
                }
                all.iter_mut().for_each(|row| row.was_correct = before.insert((row.pass, row.sample), row.correct));
                write_epoch(&dir, epoch as u32, &all).expect("written");
            }
            let features = Features {
                samples: samples.clone(),
                labels: self.labels.clone(),
                width: features[0].len(),
                values: features.concat(),
            };
            write_features(&path_in(&dir), &features).expect("written");
        }
    }

    /// A source with these labels.
    fn samples(&self) -> Samples {
        let row = |(sample, &class_id): (u32, &u32)| Sample {
            sample,
            // Ties have an order of their own, which is neither that of rows nor that of features.
            content_hash: u128::from(sample.wrapping_mul(0x9E37_79B9)).into(),
            class_id,
            split: Split::Train,
            width: 8,
            height: 8,
            bytes: 1,
            status: Status::Ok,
        };
        Samples {
            classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            rows: (0..).zip(&self.labels).map(row).collect(),
            paths: self.labels.iter().map(|label| label.to_string()).collect(),
            ..Samples::default()
        }
    }
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().expect("a list").iter().map(item).collect()
}

fn rows(value: &Value) -> Vec<u32> {
    list(value, |row| row.as_u64().expect("a row") as u32)
}

fn matrix(value: &Value) -> Vec<Vec<f32>> {
    list(value, |row| list(row, |number| number.as_f64().expect("a number") as f32))
}

fn tensor(rows: &[Vec<f32>]) -> tch::Tensor {
    tch::Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1])
}

#[test]
fn every_metric_equals_its_definition() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let golden = Golden::read();
    golden.write_trace(dir.path());
    let metrics: Vec<&Metric> = METRICS.iter().collect();
    let all = smalti_select::scores(dir.path(), &[0, 1], &metrics).expect("scored");
    assert_eq!(all.len(), METRICS.len());
    for scored in all {
        let expected = list(&golden.value["metrics"][&scored.metric], |number| number.as_f64().expect("a number"));
        assert_eq!(scored.rows.len(), expected.len());
        for (&(sample, score), expected) in scored.rows.iter().zip(&expected) {
            let close = (f64::from(score) - expected).abs() <= 2e-6 * expected.abs().max(1.0);
            assert!(close, "{} of sample {sample}: {score} and not {expected}", scored.metric);
        }
    }
    assert_eq!(golden.value["metrics"].as_object().expect("by name").len(), METRICS.len());
}

/// What each class keeps under a rule, best first; the same for the rows in another order.
fn kept(golden: &Golden, trace: &Path, spec: &str, by: &Scored, hard: HardEnd) -> Vec<Vec<u32>> {
    let samples = golden.samples();
    let mut other: Vec<u32> = (0..golden.labels.len() as u32).collect();
    Stream::new(7, Stage::Demo, 0, 0).shuffle(&mut other);
    let features = ClassFeatures::open(trace, &[0, 1]).expect("opened");
    let scores = Some(Scores { metric: &by.metric, hard, rows: &by.rows });
    let evidence = Evidence { scores, features: Some(&features) };
    let budget = Budget { per_class: golden.keep() as u32, multiple: 1, on_small_class: OnSmallClass::Refuse };
    let choice = rule(spec).expect("known");
    let selection = select(&Candidates::of(&samples), evidence, &choice, &budget, 3).expect("selected");
    let again = select(&Candidates::among(&samples, other), evidence, &choice, &budget, 3).expect("selected");
    assert_eq!(again, selection, "{spec}: the order of the candidates changes nothing");
    (0..3).map(|class_id| selection.kept_of(class_id)).collect()
}

#[test]
fn every_rule_keeps_what_its_definition_keeps() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let golden = Golden::read();
    golden.write_trace(dir.path());
    let names = ["el2n", "aum-prob"].map(|name| metric(name, None).expect("known"));
    let scored = smalti_select::scores(dir.path(), &[0, 1], &[&names[0], &names[1]]).expect("scored");
    let (aum, el2n) = (&scored[0], &scored[1]);
    let expected = golden.value["rules"].as_object().expect("by name");
    for (spec, classes) in expected {
        let found = match spec.starts_with("ccs") {
            true => kept(&golden, dir.path(), spec, aum, HardEnd::Low),
            false => kept(&golden, dir.path(), spec, el2n, HardEnd::High),
        };
        for (mut found, expected) in found.into_iter().zip(classes.as_array().expect("classes")) {
            match spec.as_str() {
                // The draw is ours; how many of which stratum is the definition's.
                "ccs:0.3" => {
                    for stratum in expected.as_array().expect("strata") {
                        let of = rows(&stratum["of"]);
                        let taken = found.iter().filter(|row| of.contains(row)).count() as u64;
                        assert_eq!(Some(taken), stratum["take"].as_u64(), "{of:?}");
                    }
                    assert_eq!(found.len(), golden.keep());
                }
                // From the sample that the seed starts with.
                "k-center" => {
                    let starts = list(expected, rows);
                    assert!(starts.contains(&found), "{found:?}");
                }
                "moderate" => {
                    found.sort_unstable();
                    assert_eq!(found, rows(expected));
                }
                _ => assert_eq!(found, rows(expected), "{spec}"),
            }
        }
    }
    let tested = |name: &str| expected.keys().any(|spec| spec.split(':').next() == Some(name));
    // Draws are no formula; they are tested in smalti-select.
    let drawn = ["random", "easy-of-pool"];
    assert!(RULES.iter().all(|r| tested(r.name) || drawn.contains(&r.name)), "every rule has its reference");
}

#[test]
fn what_a_broken_trace_lacks_is_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let golden = Golden::read();
    golden.write_trace(dir.path());
    let failed = |name: &str| {
        let error = smalti_select::scores(dir.path(), &[0, 1], &[&metric(name, None).expect("known")]).expect_err(name);
        (error.to_string(), error.hint().unwrap_or_default().to_owned())
    };
    std::fs::remove_file(path_in(&seed_dir(dir.path(), 1))).expect("removed");
    for name in METRICS.iter().filter(|m| matches!(m.basis, Basis::Features(_))).map(|m| &*m.name) {
        let (what, hint) = failed(name);
        assert!(what.contains("no features of the seeds 1") && hint.contains("train those proxies"), "{what}: {hint}");
    }
    std::fs::remove_file(seed_dir(dir.path(), 1).join("epoch=3.parquet")).expect("removed");
    let (what, hint) = failed("cad");
    assert!(
        what.contains("seed 1") && what.ends_with("lacks the epochs 3") && hint.contains("train"),
        "{what}: {hint}"
    );
    // Two epochs hold no window of three.
    let short = dir.path().join("short");
    let nothing = |sample| TraceRow { sample, ..trace_row() };
    for epoch in 0..2 {
        write_epoch(&seed_dir(&short, 0), epoch, &[nothing(0), nothing(1)]).expect("written");
    }
    let error = smalti_select::scores(&short, &[0], &[&metric("cad", None).expect("known")]).expect_err("too short");
    assert!(error.hint().expect("a hint").contains("a window needs that many epochs"), "{error}");
}

fn trace_row() -> TraceRow {
    TraceRow {
        sample: 0,
        pass: Pass::Train,
        correct: true,
        was_correct: None,
        loss: 0.5,
        el2n: 0.5,
        margin_logit: 0.5,
        margin_prob: 0.5,
        p_true: 0.5,
        entropy: 0.5,
        grad_last: 0.5,
    }
}
