//! `trace/seed=S/epoch=E.parquet`: what a proxy said of every sample, epoch by epoch. Scores are queries over it.

use super::{batch, schema, write_table};
use crate::error::Result;
use arrow::array::{BooleanArray, Float32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which outputs a row was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// The gradient's own forward pass: train mode, augmented, weights moving; every epoch, free.
    Train,
    /// A pass of its own after the epoch: eval mode, no augmentation; only epochs asked for.
    Eval,
}

impl Pass {
    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Train => "train",
            Pass::Eval => "eval",
        }
    }
}

/// One sample in one pass of one epoch. With p = softmax(logits) and y the one-hot label:
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceRow {
    /// Row of the source.
    pub sample: u32,
    /// Which outputs.
    pub pass: Pass,
    /// Whether the label has the largest logit.
    pub correct: bool,
    /// Whether it had, at the same pass of the epoch recorded before; none in the first.
    pub was_correct: Option<bool>,
    /// Cross-entropy in nats.
    pub loss: f32,
    /// ‖p − y‖₂, in [0, √2].
    pub el2n: f32,
    /// Label's logit minus the largest other logit.
    pub margin_logit: f32,
    /// Label's probability minus the largest other probability, in [−1, 1].
    pub margin_prob: f32,
    /// Label's probability.
    pub p_true: f32,
    /// Entropy of p in nats.
    pub entropy: f32,
    /// Norm of the last layer's gradient, ‖p − y‖₂ · √(1 + ‖h‖²) with h the penultimate features.
    pub grad_last: f32,
}

/// Name and meaning of each column that a metric may read.
pub const COLUMNS: [(&str, &str); 12] = [
    ("sample", "row of the source; every metric is one number per sample"),
    (
        "pass",
        "`train`: the gradient's own outputs, every epoch; `eval`: a pass without augmentation, after the epochs asked for",
    ),
    ("epoch", "from 0"),
    ("correct", "whether the label has the largest logit"),
    ("was_correct", "whether it had at the same pass before; null at the first"),
    ("loss", "cross-entropy in nats"),
    ("el2n", "‖p − onehot(y)‖₂, in [0, √2]"),
    ("margin_logit", "the label's logit minus the largest other"),
    ("margin_prob", "the label's probability minus the largest other, in [−1, 1]"),
    ("p_true", "the label's probability"),
    ("entropy", "−Σ p ln p in nats"),
    ("grad_last", "norm of the last layer's gradient, ‖p − onehot(y)‖₂ · √(1 + ‖h‖²)"),
];

/// The columns of a trace file; `seed` and `epoch` come from the path.
pub fn trace_schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Float32, false);
    schema(vec![
        Field::new("sample", DataType::UInt32, false),
        Field::new("pass", DataType::Utf8, false),
        Field::new("correct", DataType::Boolean, false),
        Field::new("was_correct", DataType::Boolean, true),
        number("loss"),
        number("el2n"),
        number("margin_logit"),
        number("margin_prob"),
        number("p_true"),
        number("entropy"),
        number("grad_last"),
    ])
}

/// The folder of one proxy seed under the trace folder.
pub fn seed_dir(trace: &Path, seed: u64) -> PathBuf {
    trace.join(format!("seed={seed}"))
}

/// Writes one epoch of one seed, rows sorted by (pass, sample).
///
/// # Errors
/// [`crate::Error::Io`] and [`crate::Error::Table`] with the path.
pub fn write_epoch(seed_dir: &Path, epoch: u32, rows: &[TraceRow]) -> Result<()> {
    let mut rows: Vec<&TraceRow> = rows.iter().collect();
    rows.sort_by_key(|r| (r.pass.name(), r.sample));
    let number = |of: fn(&TraceRow) -> f32| Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| of(r))));
    let table = batch(
        trace_schema(),
        vec![
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.sample))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.pass.name()))),
            Arc::new(rows.iter().map(|r| Some(r.correct)).collect::<BooleanArray>()),
            Arc::new(rows.iter().map(|r| r.was_correct).collect::<BooleanArray>()),
            number(|r| r.loss),
            number(|r| r.el2n),
            number(|r| r.margin_logit),
            number(|r| r.margin_prob),
            number(|r| r.p_true),
            number(|r| r.entropy),
            number(|r| r.grad_last),
        ],
    );
    write_table(&seed_dir.join(format!("epoch={epoch}.parquet")), &table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_described() {
        let schema = trace_schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let described: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).filter(|name| *name != "epoch").collect();
        assert_eq!(described, names);
    }
}
