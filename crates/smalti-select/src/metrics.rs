//! Metrics: one number per sample, as one SQL expression over the training trace.
//!
//! The command line, `smalti methods`, recipes and the tests all read [`METRICS`]. A metric that is an aggregate of the
//! trace's columns (`smalti_data::tables::trace`, and `epoch` from the file's name) is one row here and one row in the table of
//! reference numbers in the tests. The expression is evaluated per (sample, seed) over the rows of one pass; [`crate::query`]
//! then takes the mean over seeds.

use crate::error::Result;
use crate::names;
use smalti_data::tables::Pass;

/// Which end of a score is the hard one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardEnd {
    /// A larger score is a harder sample.
    High,
    /// A smaller score is a harder sample.
    Low,
}

impl HardEnd {
    /// The score turned so that larger is harder. Zero has one sign, so that it ties with itself.
    pub fn hardness(self, score: f32) -> f32 {
        let turned = match self {
            HardEnd::High => score,
            HardEnd::Low => -score,
        };
        turned + 0.0
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Name on the command line and in `scores.parquet`.
    pub name: &'static str,
    /// One SQL expression that aggregates the rows of one sample in one seed to a number.
    pub sql: &'static str,
    /// The rows it reads.
    pub pass: Pass,
    /// Which end is hard.
    pub hard: HardEnd,
    /// The idea in one sentence.
    pub about: &'static str,
    /// The formula, with z logits, p = softmax(z), y the label, t the epoch.
    pub formula: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// What it costs beyond training the proxies.
    pub cost: &'static str,
    /// When it misleads.
    pub fails: &'static str,
}

/// All metrics.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "el2n",
        sql: "avg(el2n)",
        pass: Pass::Eval,
        hard: HardEnd::High,
        about: "How far the predicted probabilities are from the label early in training",
        formula: "mean over eval epochs and seeds of ‖p − onehot(y)‖₂, in [0, √2]",
        paper: "Paul, Ganguli, Dziugaite: Deep Learning on a Data Diet, NeurIPS 2021 (arXiv 2107.07075)",
        cost: "one forward pass over the training set per eval epoch and seed",
        fails: "late in training, when nearly everything is fitted; its hard end gathers wrong labels",
    },
    Metric {
        name: "aum",
        sql: "avg(margin_logit)",
        pass: Pass::Train,
        hard: HardEnd::Low,
        about: "By how much the label's logit beats the best other one, over the whole training",
        formula: "mean over all epochs and seeds of z_y − max over k ≠ y of z_k (the authors' code leaves out the first epoch)",
        paper: "Pleiss et al.: Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS 2020 (arXiv 2001.10528)",
        cost: "nothing: the gradient's own outputs",
        fails: "logits have no common scale between networks; CCS and its followers call a sum of probability margins AUM",
    },
    Metric {
        name: "forgetting",
        sql: "case when bool_or(correct) then sum(case when was_correct and not correct then 1 else 0 end) else count(*) end",
        pass: Pass::Train,
        hard: HardEnd::High,
        about: "How often a sample that was right is wrong at its next presentation",
        formula: "mean over seeds of the number of t with right(t − 1) and not right(t); never learned counts as the number of epochs, \
                  the original's rule (CCS and DeepCore count 0)",
        paper: "Toneva et al.: An Empirical Study of Example Forgetting, ICLR 2019 (arXiv 1812.05159)",
        cost: "nothing: the gradient's own outputs",
        fails: "short trainings and easy sets, where most counts are 0 and ties decide",
    },
    Metric {
        name: "loss",
        sql: "avg(loss)",
        pass: Pass::Eval,
        hard: HardEnd::High,
        about: "The cross-entropy of the label; wrong labels keep a large one early in training",
        formula: "mean over eval epochs and seeds of −ln p_y, in nats",
        paper: "Han et al.: Co-teaching, NeurIPS 2018 (arXiv 1804.06872), for small loss as the sign of a clean sample",
        cost: "one forward pass over the training set per eval epoch and seed",
        fails: "unbounded: one confident mistake in one epoch outweighs all other epochs",
    },
];

/// The metric with this name.
///
/// # Errors
/// [`crate::Error::Input`] for an unknown name; the hint offers the near one and lists all.
pub fn metric(name: &str) -> Result<&'static Metric> {
    METRICS
        .iter()
        .find(|m| m.name == name)
        .ok_or_else(|| names::unknown("metric", name, METRICS.iter().map(|m| m.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_list_is_whole_and_its_name_is_its_own() {
        for (i, m) in METRICS.iter().enumerate() {
            let words = [m.name, m.sql, m.about, m.formula, m.paper, m.cost, m.fails];
            assert!(words.iter().all(|w| !w.trim().is_empty()), "{} has an empty field", m.name);
            assert!(m.paper.contains("arXiv"), "{} names no paper", m.name);
            assert!(m.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", m.name);
            assert_eq!(METRICS.iter().position(|other| other.name == m.name), Some(i), "{} stands twice", m.name);
            assert_eq!(metric(m.name).expect("it is in the list"), m);
        }
    }

    #[test]
    fn the_hard_end_turns_the_score_and_zero_has_one_sign() {
        assert_eq!(HardEnd::High.hardness(0.5), 0.5);
        assert_eq!(HardEnd::Low.hardness(0.5), -0.5);
        for end in [HardEnd::High, HardEnd::Low] {
            assert_eq!(end.hardness(0.0).to_bits(), end.hardness(-0.0).to_bits());
        }
    }

    #[test]
    fn an_unknown_metric_names_the_near_one() {
        let error = metric("eln2").expect_err("not a metric");
        assert!(error.hint().expect("a hint").starts_with("did you mean `el2n`?"), "{error}");
    }
}
