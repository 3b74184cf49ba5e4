//! Coverage-centric selection: cut the hardest off, then draw evenly from strata of the score.
//!
//! Idea: at high pruning rates a subset must cover all difficulties but for the hardest, which are mostly wrong labels.
//! Formula: drop the hardest floor(β · n); cut the range of the others' scores into 50 strata of one width, with the published top of
//! max + 10⁻⁴ · (max − min) so that the largest belongs to one; visit strata by size, the smallest first, giving each
//! min(size, floor(budget left / strata left)); in each stratum draw without replacement.
//! Citation: Zheng et al. 2023 (arXiv 2210.15809). Published: over all classes at once, always cut by AUM; here the cut is by the metric
//! itself, so `aum-prob` is the published rule. Cost: one sort.
//! Fails when β fits the rate badly: the published values end at 90 % pruned.

use super::{Class, Needs, Parameter, Rule, SORT};
use smalti_data::random::{Stage, Stream};

pub(super) const RULE: Rule = Rule {
    name: "ccs",
    about: "Cut the hardest samples off, then draw evenly from 50 strata of the score",
    paper: "Zheng et al.: Coverage-centric Coreset Selection, ICLR 2023 (arXiv 2210.15809), global there (`ccs-global`)",
    needs: Needs::Scores,
    parameter: Some(Parameter { about: "β, the part of the samples to cut off", default: 0.3, range: (0.0, 0.99) }),
    cost: SORT,
    fails: "β of another rate: none is published beyond 90 % pruned, where 0.3 is a start",
    rank,
};

const STRATA: usize = 50;

fn rank(class: &Class) -> Vec<u32> {
    let order = class.easiest_first();
    let left = (class.len - class.part(class.parameter)).max(class.keep.min(class.len));
    let (survivors, cut) = order.split_at(left as usize);
    let strata = strata(class, survivors);
    let sizes: Vec<usize> = strata.iter().map(Vec::len).collect();
    let mut kept = Vec::with_capacity(class.keep as usize);
    for (at, (mut stratum, take)) in strata.into_iter().zip(allocate(&sizes, class.keep as usize)).enumerate() {
        // The order of the source must not matter, so draw from the order in which ties break.
        stratum.sort_unstable();
        Stream::new(class.seed, Stage::Select, at as u32 + 1, u64::from(class.class_id)).shuffle(&mut stratum);
        kept.extend(stratum.into_iter().take(take));
    }
    let place = |position: &u32| class.hardness[*position as usize];
    kept.sort_by(|a, b| place(a).total_cmp(&place(b)).then(a.cmp(b)));
    class.and_then(kept, survivors.iter().chain(cut).copied())
}

/// The survivors by stratum of their score.
fn strata(class: &Class, survivors: &[u32]) -> Vec<Vec<u32>> {
    let score = |position: u32| f64::from(class.hard.hardness(class.hardness[position as usize]));
    let scores = survivors.iter().map(|&position| score(position));
    let finite = scores.filter(|score| score.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(s), h.max(s)));
    let width = ((high - low) * (1.0 + 1e-4)) / STRATA as f64;
    let mut strata = vec![Vec::new(); STRATA];
    for &position in survivors {
        // Equal scores are one stratum; infinite ones are at the ends.
        let at = match score(position) {
            f64::INFINITY => STRATA - 1,
            score if width > 0.0 => ((score - low) / width) as usize,
            _ => 0,
        };
        strata[at.min(STRATA - 1)].push(position);
    }
    strata
}

/// How many to take from strata of these sizes.
fn allocate(sizes: &[usize], budget: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&at| sizes[at]);
    let mut take = vec![0; sizes.len()];
    let mut left = budget;
    for (visited, at) in order.into_iter().enumerate() {
        take[at] = sizes[at].min(left / (sizes.len() - visited));
        left -= take[at];
    }
    take
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_scores_are_at_the_ends_and_leave_the_rest_apart() {
        let hardness = [0.0, f32::INFINITY, 0.5, f32::NEG_INFINITY, 1.0];
        let points = crate::points::Points::new(1, std::iter::empty());
        let hard = crate::metrics::HardEnd::High;
        let class =
            Class { class_id: 0, len: 5, keep: 2, hardness: &hardness, hard, points: &points, parameter: 0.0, seed: 0 };
        let found = strata(&class, &[0, 1, 2, 3, 4]);
        assert_eq!((&*found[0], &*found[STRATA / 2 - 1], &*found[STRATA - 1]), (&[0, 3][..], &[2][..], &[1, 4][..]));
        let equal = strata(&Class { hardness: &[f32::INFINITY; 5], ..class }, &[0, 1, 2, 3, 4]);
        assert_eq!(equal[STRATA - 1].len(), 5);
    }

    #[test]
    fn the_remainder_flows_to_the_largest_strata() {
        assert_eq!(allocate(&[1, 5, 0, 10], 8), [1, 3, 0, 4]);
        assert_eq!(allocate(&[3, 3, 3], 100), [3, 3, 3]);
        assert_eq!(allocate(&[9, 1, 2], 4), [2, 1, 1]);
        assert_eq!(allocate(&[9, 9], 0), [0, 0]);
    }
}
