//! Easiest first: the "Prune" of PCA.
//!
//! Idea: with a few images per class a student has no room for exceptions, so keep what the proxies found easiest.
//! Formula: sort each class by ascending hardness, ties in the given order.
//! Citation: arXiv 2502.06434, which keeps the easy end of its metric. Cost: one sort.
//! Fails when much can be kept (the easy end is redundant), and where the easiest images of a class look alike.

use super::{Class, Needs, Rule, SORT};

pub(super) const RULE: Rule = Rule {
    name: "easy-first",
    about: "Keep the easiest samples of each class",
    paper: "arXiv 2502.06434 (PCA)",
    needs: Needs::Scores,
    parameter: None,
    cost: SORT,
    fails: "mild pruning, and classes whose easiest images look alike",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    class.easiest_first()
}
