//! k-center, greedily: each next sample is the one farthest from all that are kept.
//!
//! Idea: leave no sample far from a kept one.
//! Formula: start from a seeded sample; add argmax over x of min over kept s of ‖h(x) − h(s)‖, the first of equal ones.
//! Citation: Sener, Savarese 2018 (arXiv 1708.00489). Cost: K passes over the class, one number per sample.
//! Fails at few images per class: the farthest samples are the outliers.

use super::{Class, Needs, Rule};
use smalti_data::random::{Stage, Stream};

pub(super) const RULE: Rule = Rule {
    name: "k-center",
    about: "Keep samples that leave no other far away, each next one the farthest",
    paper: "Sener, Savarese: Active Learning for CNNs: A Core-Set Approach, ICLR 2018 (arXiv 1708.00489)",
    needs: Needs::Features,
    parameter: None,
    cost: "time K·n·d, memory n·d",
    fails: "few images per class: the farthest samples are outliers and wrong labels",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let mut kept = Vec::with_capacity(class.keep as usize);
    let mut nearest = vec![f64::INFINITY; class.len as usize];
    let mut next = Stream::new(class.seed, Stage::Select, 0, u64::from(class.class_id)).below(class.len.max(1));
    while kept.len() < class.keep.min(class.len) as usize {
        kept.push(next);
        let distances = class.points.distances_from(next);
        nearest.iter_mut().zip(distances).for_each(|(least, distance)| *least = least.min(distance));
        // A kept sample is never the farthest, copies of it come last.
        nearest[next as usize] = -1.0;
        let farther =
            |best: u32, other: u32| if nearest[other as usize] > nearest[best as usize] { other } else { best };
        next = (0..class.len).reduce(farther).unwrap_or_default();
    }
    class.and_then(kept, 0..class.len)
}
