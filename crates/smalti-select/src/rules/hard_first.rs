//! Hardest first: what EL2N, forgetting and their successors propose for mild pruning.
//!
//! Idea: easy samples repeat one another, so drop those and keep the ones near the decision boundary.
//! Formula: sort each class by descending hardness, ties in the given order.
//! Citation: Paul et al. 2021 (arXiv 2107.07075), there over all classes at once; here within each class. Cost: one sort.
//! Fails at high pruning rates, where it is far worse than random, and with wrong labels, which are the hardest of all.

use super::{Class, Needs, Rule, SORT};

pub(super) const RULE: Rule = Rule {
    name: "hard-first",
    about: "Keep the hardest samples of each class",
    paper: "Paul, Ganguli, Dziugaite 2021 (arXiv 2107.07075)",
    needs: Needs::Scores,
    parameter: None,
    cost: SORT,
    fails: "few images per class (far below random there), and wrong labels",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let mut order: Vec<u32> = (0..class.len).collect();
    // Stable, so equal samples stay in the order in which ties break; hence not easy-first reversed.
    order.sort_by(|&a, &b| class.hardness[b as usize].total_cmp(&class.hardness[a as usize]));
    order
}
