//! Metrics: one number per sample, mostly one SQL expression over the training trace.
//!
//! The command line, `smalti methods`, recipes and the tests all read [`METRICS`]. A metric that is an aggregate of the
//! trace's columns (`smalti_data::tables::trace`, and `epoch` from the file's name) is one row of the list and one row in the table of
//! reference numbers in the tests. The expression is evaluated per (sample, seed) over the rows of one pass; [`crate::query`]
//! then takes the mean over seeds. A user adds one without code: `NAME=SQL`, see [`metric`].

mod list;
mod user;

pub use list::METRICS;
pub use user::metric;

use smalti_data::tables::Pass;
use std::borrow::Cow;

/// Which end of a score is the hard one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HardEnd {
    /// A larger score is a harder sample.
    High,
    /// A smaller score is a harder sample.
    Low,
}

impl HardEnd {
    /// The score turned so that larger is harder; turned twice it is itself. Zero has one sign, so that it ties with itself.
    pub fn hardness(self, score: f32) -> f32 {
        let turned = match self {
            HardEnd::High => score,
            HardEnd::Low => -score,
        };
        turned + 0.0
    }
}

/// What a metric is computed from.
#[derive(Debug, Clone, PartialEq)]
pub enum Basis {
    /// One SQL expression that aggregates the rows of one sample, seed and pass to a number.
    Trace {
        /// The rows it reads.
        pass: Pass,
        /// The expression.
        sql: Cow<'static, str>,
    },
    /// The distance of a sample's penultimate features to the centre of its class, by the finished proxy in eval mode.
    Features(Centre),
}

/// The centre of a class in feature space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Centre {
    /// The mean.
    Mean,
    /// The median of each coordinate.
    Median,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Name on the command line and in `scores.parquet`.
    pub name: Cow<'static, str>,
    /// What it is computed from.
    pub basis: Basis,
    /// Which end is hard.
    pub hard: HardEnd,
    /// The idea in one sentence.
    pub about: &'static str,
    /// The formula, with z logits, p = softmax(z), y the label, h the penultimate features, t the epoch.
    pub formula: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// What it costs beyond training the proxies.
    pub cost: &'static str,
    /// When it misleads.
    pub fails: &'static str,
    /// Fewest epochs that it can be computed from.
    pub epochs: u32,
}

impl Metric {
    /// `train`, `eval` or `features`: which outputs of the proxies it reads.
    pub fn reads(&self) -> &'static str {
        match &self.basis {
            Basis::Trace { pass, .. } => pass.name(),
            Basis::Features(_) => "features",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_list_is_whole_and_its_name_is_its_own() {
        for (i, m) in METRICS.iter().enumerate() {
            let words = [&m.name, m.about, m.formula, m.paper, m.cost, m.fails];
            assert!(words.iter().all(|w| !w.trim().is_empty()), "{} has an empty field", m.name);
            assert!(m.paper.contains("arXiv") || m.paper.contains("OpenReview"), "{} names no paper", m.name);
            assert!(m.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", m.name);
            assert_eq!(METRICS.iter().position(|other| other.name == m.name), Some(i), "{} stands twice", m.name);
            assert_eq!(&metric(&m.name, None).expect("it is in the list"), m);
        }
    }

    #[test]
    fn the_hard_end_turns_the_score_and_zero_has_one_sign() {
        assert_eq!(HardEnd::High.hardness(0.5), 0.5);
        assert_eq!(HardEnd::Low.hardness(0.5), -0.5);
        for end in [HardEnd::High, HardEnd::Low] {
            assert_eq!(end.hardness(0.0).to_bits(), end.hardness(-0.0).to_bits());
            assert_eq!(end.hardness(end.hardness(0.25)), 0.25);
        }
    }
}
