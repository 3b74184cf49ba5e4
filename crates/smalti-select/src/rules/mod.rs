//! Pruning rules: in which order the samples of one class are kept.
//!
//! Every rule is class-balanced: it sees one class at a time, and each class keeps the same number of its best ranks. The
//! command line, `smalti methods`, recipes and the tests all read [`RULES`]; a new rule is one file and one row.

mod easy_first;
mod hard_first;
mod random;

use crate::error::Result;
use crate::names;

/// What a rule decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// One score per candidate.
    Scores,
    /// The candidates alone.
    Nothing,
}

/// The samples of one class as a rule sees them.
#[derive(Debug, Clone, Copy)]
pub struct Class<'a> {
    /// Class index.
    pub class_id: u32,
    /// Number of samples, known by their positions 0..len in the order in which ties break.
    pub len: u32,
    /// How hard each sample is, larger is harder, never NaN; empty where the rule needs no scores.
    pub hardness: &'a [f32],
    /// The run's seed.
    pub seed: u64,
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
    /// When it misleads.
    pub fails: &'static str,
    /// The positions of a class's samples, best first, each exactly once.
    pub(crate) rank: fn(&Class) -> Vec<u32>,
}

/// All rules.
pub const RULES: &[Rule] = &[easy_first::RULE, hard_first::RULE, random::RULE];

/// The rule with this name.
///
/// # Errors
/// [`crate::Error::Input`] for an unknown name; the hint offers the near one and lists all.
pub fn rule(name: &str) -> Result<&'static Rule> {
    RULES.iter().find(|r| r.name == name).ok_or_else(|| names::unknown("rule", name, RULES.iter().map(|r| r.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_row_of_the_list_is_whole_and_its_name_is_its_own() {
        for (i, r) in RULES.iter().enumerate() {
            let words = [r.name, r.about, r.paper, r.fails];
            assert!(words.iter().all(|w| !w.trim().is_empty()), "{} has an empty field", r.name);
            assert!(r.paper.contains("arXiv"), "{} names no paper", r.name);
            assert_eq!(RULES.iter().position(|other| other.name == r.name), Some(i), "{} stands twice", r.name);
            assert_eq!(rule(r.name).expect("it is in the list").name, r.name);
        }
        let error = rule("easy").expect_err("not a rule");
        assert!(error.hint().expect("a hint").contains("`easy-first`"), "{error}");
    }

    /// Positions in the order that the rule gives to these hardnesses.
    fn order(name: &str, hardness: &[f32]) -> Vec<u32> {
        let class = Class { class_id: 1, len: hardness.len() as u32, hardness, seed: 5 };
        (rule(name).expect("known").rank)(&class)
    }

    #[test]
    fn reference_orders_by_hand() {
        // Every rule of the list has its row here.
        let expected = |name: &str| match name {
            "easy-first" => Some(vec![2, 0, 3, 1]),
            "hard-first" => Some(vec![1, 0, 3, 2]),
            // The keyed shuffle of 0..4 for seed 5 and class 1: a change of the stream must not go unseen.
            "random" => Some(vec![0, 3, 2, 1]),
            _ => None,
        };
        for r in RULES {
            let expected = expected(r.name).unwrap_or_else(|| panic!("{} has no reference order", r.name));
            assert_eq!(order(r.name, &[0.5, 0.75, -1.0, 0.5]), expected, "{}", r.name);
        }
    }

    proptest! {
        #[test]
        fn every_rule_ranks_each_sample_once(hardness in proptest::collection::vec(-4i8..4, 0..40)) {
            let hardness: Vec<f32> = hardness.into_iter().map(f32::from).collect();
            for r in RULES {
                let mut ranked = order(r.name, &hardness);
                ranked.sort_unstable();
                prop_assert_eq!(ranked, (0..hardness.len() as u32).collect::<Vec<_>>(), "{}", r.name);
            }
        }
    }
}
