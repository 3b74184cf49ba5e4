//! Pruning rules: in which order samples are kept.
//!
//! A rule sees one class at a time, and each class keeps the same number of its best ranks. Rules of scores alone also have a global form
//! (`NAME-global`), which sees all samples as one class, as most papers publish them; it starves classes at small budgets. The command
//! line, `smalti methods`, recipes and the tests all read [`RULES`]; a new rule is one file and one row.

mod ccs;
mod choice;
mod easy_first;
mod easy_of_pool;
mod facility_location;
mod facility_location_easy;
mod facility_location_weighted;
mod hard_first;
mod herding;
mod k_center;
mod moderate;
mod random;
mod window;

pub use choice::{Balance, Choice, rule};

use crate::metrics::HardEnd;
use crate::points::Points;
use rayon::prelude::*;

/// What a rule decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// One score per candidate.
    Scores,
    /// The proxies' features.
    Features,
    /// Both.
    ScoresAndFeatures,
    /// The candidates alone.
    Nothing,
}

impl Needs {
    /// Whether it needs a metric.
    pub fn scores(self) -> bool {
        matches!(self, Needs::Scores | Needs::ScoresAndFeatures)
    }

    /// Whether it needs features.
    pub fn features(self) -> bool {
        matches!(self, Needs::Features | Needs::ScoresAndFeatures)
    }
}

/// The samples of one class as a rule sees them.
#[derive(Debug, Clone, Copy)]
pub struct Class<'a> {
    /// Class index; 0 for all samples in a global form.
    pub class_id: u32,
    /// Number of samples, known by their positions 0..len in the order in which ties break.
    pub len: u32,
    /// Number of samples that will be kept: the best ranks.
    pub keep: u32,
    /// How hard each sample is, larger is harder, never NaN; empty where the rule needs no scores.
    pub hardness: &'a [f32],
    /// Which end of the score is hard: `hard.hardness(hardness)` is the score.
    pub hard: HardEnd,
    /// Features of the samples; none where the rule needs none.
    pub points: &'a Points,
    /// The rule's parameter, in its range.
    pub parameter: f64,
    /// The run's seed.
    pub seed: u64,
}

impl Class<'_> {
    /// Positions, easiest first; equal samples stay in the order in which ties break.
    fn easiest_first(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len).collect();
        order.par_sort_by(|&a, &b| self.hardness[a as usize].total_cmp(&self.hardness[b as usize]));
        order
    }

    /// These positions first, then all others in the order of `rest`.
    fn and_then(&self, mut first: Vec<u32>, rest: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut seen = vec![false; self.len as usize];
        first.iter().for_each(|&position| seen[position as usize] = true);
        first.extend(rest.into_iter().filter(|&position| !std::mem::replace(&mut seen[position as usize], true)));
        first
    }

    /// A part of the class, rounded down, as the published code cuts.
    fn part(&self, part: f64) -> u32 {
        (part * f64::from(self.len)) as u32
    }
}

/// A number that a rule takes, written after its name: `window:0.2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// What it is.
    pub about: &'static str,
    /// Where none is given.
    pub default: f64,
    /// Smallest and largest.
    pub range: (f64, f64),
}

/// One pruning rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Name on the command line.
    pub name: &'static str,
    /// The idea in one sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// What it decides by.
    pub needs: Needs,
    /// Its number, where it takes one.
    pub parameter: Option<Parameter>,
    /// Time and memory for a class of n samples of which K are kept, with d numbers in a sample's features.
    pub cost: &'static str,
    /// When it misleads.
    pub fails: &'static str,
    /// The positions of a class's samples, best first, each exactly once; the first `keep` are kept.
    pub(crate) rank: fn(&Class) -> Vec<u32>,
}

/// All rules.
pub const RULES: &[Rule] = &[
    easy_first::RULE,
    easy_of_pool::RULE,
    hard_first::RULE,
    window::RULE,
    moderate::RULE,
    ccs::RULE,
    herding::RULE,
    k_center::RULE,
    facility_location::RULE,
    facility_location_easy::RULE,
    facility_location_weighted::RULE,
    random::RULE,
];

const SORT: &str = "time n log n, memory 4 bytes a sample";

#[cfg(test)]
mod tests;
