//! Facility location: the samples to which all others are close.
//!
//! Idea: choose representatives, so that every sample of the class has a kept one near it.
//! Formula: greedily add the sample that lowers Σ over x of min over kept s of ‖h(x) − h(s)‖ the most, the first of equal ones: the greedy
//! maximiser of facility location, within 1 − 1/e of the best. Lazily (Minoux 1978): a gain never grows, so old gains bound new ones.
//! Citation: as a coreset in DeepCore (arXiv 2204.08499) and CRAIG (arXiv 1906.01827). Cost: two passes over all pairs of the class, blockwise;
//! then a few passes per kept sample. Fails where most of a class is hard: it covers that too.

use super::{Class, Needs, Rule};

pub(super) const RULE: Rule = Rule {
    name: "facility-location",
    about: "Keep representatives: samples to which all others of the class are close",
    paper: "lazy greedy of Minoux 1978; as a coreset in CRAIG (arXiv 1906.01827) and DeepCore (arXiv 2204.08499)",
    needs: Needs::Features,
    parameter: None,
    cost: "time 2·n²·d and a few n·d per kept sample, memory n·d in 64 bits",
    fails: "classes most of whose images are hard: it covers those too",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let kept = class.points.representatives(&vec![1.0; class.len as usize], class.keep);
    class.and_then(kept, 0..class.len)
}
