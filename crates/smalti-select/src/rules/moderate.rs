//! Moderate coreset: the samples with scores next to the median.
//!
//! Idea: what is neither close to the class centre nor far from it represents the class.
//! Formula: sort by score; keep the K in the middle. From the centre outwards, so that a smaller budget keeps a part of a larger one.
//! Citation: Xia et al. 2023 (OpenReview 7D5EECbOaf9), on the distance to the class median (the metric `moderate`), over all classes at
//! once; the authors' function returns what to drop, and rounds ranks so that the count can be off by one. Cost: one sort.
//! Fails at very small budgets, where the middle of a class is already hard.

use super::{Class, Needs, Rule, SORT};

pub(super) const RULE: Rule = Rule {
    name: "moderate",
    about: "Keep the samples whose scores are next to the median of their class; for the metric `moderate`",
    paper: "Xia et al.: Moderate Coreset, ICLR 2023 (OpenReview 7D5EECbOaf9)",
    needs: Needs::Scores,
    parameter: None,
    cost: SORT,
    fails: "very small budgets, where the middle of a class is already hard",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let order = class.easiest_first();
    let from_centre = |rank: usize| (2 * rank + 1).abs_diff(class.len as usize);
    let mut ranks: Vec<usize> = (0..order.len()).collect();
    ranks.sort_by_key(|&rank| from_centre(rank));
    ranks.into_iter().map(|rank| order[rank]).collect()
}
