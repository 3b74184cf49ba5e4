//! Numbers per sample from logits: the columns of the trace, and top-k accuracy.

use smalti_data::tables::{Pass, TraceRow};
use tch::{Kind, Tensor};

/// Trace rows for a batch. `logits` [B, C] and `features` [B, F] are fp32, `labels` class indices, `samples` source rows, each of
/// length B. `was_correct` is left empty.
pub fn trace_rows(logits: &Tensor, features: &Tensor, labels: &[u32], samples: &[u32], pass: Pass) -> Vec<TraceRow> {
    let classes = logits.size()[1] as usize;
    let norms = to_vec(&features.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Float));
    let logits = to_vec(logits);
    logits
        .chunks_exact(classes)
        .zip(norms)
        .zip(labels.iter().zip(samples))
        .map(|((row, norm), (&label, &sample))| trace_row(row, norm, label as usize, sample, pass))
        .collect()
}

/// One row: `logits` of one sample, `feature_norm` = ‖h‖². Sums run in f64, so that constant logits give exact answers.
fn trace_row(logits: &[f32], feature_norm: f32, label: usize, sample: u32, pass: Pass) -> TraceRow {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&z| f64::from(z - top).exp()).sum();
    let log_total = total.ln();
    let log_p = |z: f32| f64::from(z - top) - log_total;
    let (mut squared, mut entropy) = (0.0, 0.0);
    let (mut other_logit, mut other_p) = (f32::NEG_INFINITY, 0.0f64);
    for (class, &z) in logits.iter().enumerate() {
        let log = log_p(z);
        let p = log.exp();
        entropy -= if p > 0.0 { p * log } else { 0.0 };
        if class == label {
            squared += (p - 1.0) * (p - 1.0);
        } else {
            squared += p * p;
            other_logit = other_logit.max(z);
            other_p = other_p.max(p);
        }
    }
    let el2n = squared.sqrt();
    let p_true = log_p(logits[label]).exp();
    TraceRow {
        sample,
        pass,
        correct: logits[label] > other_logit,
        was_correct: None,
        loss: -log_p(logits[label]) as f32,
        el2n: el2n as f32,
        margin_logit: logits[label] - other_logit,
        margin_prob: (p_true - other_p) as f32,
        p_true: p_true as f32,
        entropy: entropy as f32,
        grad_last: (el2n * (1.0 + f64::from(feature_norm)).sqrt()) as f32,
    }
}

/// The place of the label among the logits of each row, 0 = first; a tie counts against the label.
pub fn label_ranks(logits: &Tensor, labels: &[u32]) -> Vec<usize> {
    let classes = logits.size()[1] as usize;
    let logits = to_vec(logits);
    logits
        .chunks_exact(classes)
        .zip(labels)
        .map(|(row, &label)| {
            let own = row[label as usize];
            // A label that is not a number is last: `>=` would be false for every comparison with it.
            if own.is_nan() { usize::MAX } else { row.iter().filter(|&&z| z >= own).count() - 1 }
        })
        .collect()
}

fn to_vec(tensor: &Tensor) -> Vec<f32> {
    let mut out = vec![0.0; tensor.numel()];
    tensor.contiguous().copy_data(&mut out, tensor.numel());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes, logits (ln 1, ln 2, ln 5): p = (1/8, 2/8, 5/8), label 1.
    #[test]
    fn a_row_computed_by_hand() {
        let logits = Tensor::from_slice(&[1f32.ln(), 2f32.ln(), 5f32.ln()]).reshape([1, 3]);
        let features = Tensor::from_slice(&[3f32, 4.0]).reshape([1, 2]);
        let row = trace_rows(&logits, &features, &[1], &[7], Pass::Eval)[0];
        let close = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-6, "{a} {b}");
        assert_eq!((row.sample, row.correct, row.pass), (7, false, Pass::Eval));
        close(row.loss, -(0.25f64.ln()));
        let el2n = (1.0f64 / 64.0 + 0.5625 + 25.0 / 64.0).sqrt();
        close(row.el2n, el2n);
        close(row.margin_logit, 2f64.ln() - 5f64.ln());
        close(row.margin_prob, 0.25 - 0.625);
        close(row.p_true, 0.25);
        close(row.entropy, -(0.125 * 0.125f64.ln() + 0.25 * 0.25f64.ln() + 0.625 * 0.625f64.ln()));
        close(row.grad_last, el2n * 26f64.sqrt());
    }

    #[test]
    fn huge_logits_stay_finite_and_ties_count_as_wrong() {
        let logits = Tensor::from_slice(&[1e4f32, -1e4, 0.0, 2.0, 2.0, 0.0]).reshape([2, 3]);
        let features = Tensor::zeros([2, 1], (Kind::Float, tch::Device::Cpu));
        let rows = trace_rows(&logits, &features, &[1, 0], &[0, 1], Pass::Train);
        assert_eq!(rows[0].loss, 2e4);
        assert!((rows[0].el2n - 2f32.sqrt()).abs() < 1e-6);
        assert!(!rows[1].correct);
        assert_eq!(label_ranks(&logits, &[1, 0]), [2, 1]);
    }
}
