//! A window of difficulty: skip the easiest part of the class, keep what follows.
//!
//! Idea: the very easiest images repeat one another and the hardest are exceptions, so slide a window between them.
//! Formula: in ascending hardness keep ranks [o, o + K) with o = floor(offset · n), moved down where the class ends before.
//! Citation: the offset of the authors' code for arXiv 2107.07075 (there over all classes at once); arXiv 2604.18811 picks the window on the
//! test set, which nobody should. Cost: one sort. Fails when the offset is tuned on the test set.

use super::{Class, Needs, Parameter, Rule, SORT};

pub(super) const RULE: Rule = Rule {
    name: "window",
    about: "Skip the easiest part of each class and keep the samples that follow",
    paper: "Paul, Ganguli, Dziugaite 2021 (arXiv 2107.07075), the offset of their code",
    needs: Needs::Scores,
    parameter: Some(Parameter { about: "the part of the class to skip", default: 0.1, range: (0.0, 1.0) }),
    cost: SORT,
    fails: "an offset that was chosen on the test images",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let order = class.easiest_first();
    let start = class.part(class.parameter).min(class.len - class.keep.min(class.len));
    let (skipped, from) = order.split_at(start as usize);
    // What follows the window comes next, then what was skipped, nearest first.
    from.iter().chain(skipped.iter().rev()).copied().collect()
}
