//! What the tests of several modules share.

use crate::budget::{Budget, OnSmallClass};
use smalti_data::tables::{Pass, Sample, Samples, Split, Status, TraceRow};

/// `class-0`, `class-1` and so on.
pub fn classes(count: u32) -> Vec<String> {
    (0..count).map(|c| format!("class-{c}")).collect()
}

/// One usable training image for each label, whose hash has nothing to do with its number.
pub fn samples(labels: &[u32]) -> Samples {
    let row = |(sample, &class_id): (u32, &u32)| Sample {
        sample,
        class_id,
        content_hash: (u128::from(sample.wrapping_mul(0x9E37_79B9)) << 64).into(),
        split: Split::Train,
        width: 8,
        height: 8,
        bytes: 99,
        status: Status::Ok,
    };
    Samples {
        classes: classes(labels.iter().max().map_or(0, |most| most + 1)),
        rows: (0..).zip(labels).map(row).collect(),
        paths: (0..).zip(labels).map(|(s, class): (u32, _)| format!("class-{class}/{s:05}.png")).collect(),
        ..Samples::default()
    }
}

/// Plain images, `per_class` of them.
pub fn budget(per_class: u32, on_small_class: OnSmallClass) -> Budget {
    Budget { per_class, multiple: 1, on_small_class }
}

/// A trace row of three classes with label 0: every column follows from the probabilities `p` and logits ln p.
pub fn trace_row(sample: u32, pass: Pass, p: [f32; 3], was_correct: Option<bool>) -> TraceRow {
    let other = p[1].max(p[2]);
    let el2n = ((p[0] - 1.0).powi(2) + p[1].powi(2) + p[2].powi(2)).sqrt();
    TraceRow {
        sample,
        pass,
        correct: p[0] > other,
        was_correct,
        loss: -p[0].ln(),
        el2n,
        margin_logit: p[0].ln() - other.ln(),
        margin_prob: p[0] - other,
        p_true: p[0],
        entropy: p.iter().map(|x| -x * x.ln()).sum(),
        grad_last: el2n,
    }
}
