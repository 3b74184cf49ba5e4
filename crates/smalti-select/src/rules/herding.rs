//! Herding: the samples whose running mean follows the class mean.
//!
//! Idea: a small set with the mean of the class stands for the class.
//! Formula: with μ the mean of the features h and S the sum of those kept, add the sample that minimises ‖(k + 1)μ − S − h‖.
//! Citation: Welling 2009; as a coreset in DeepCore (arXiv 2204.08499), whose code takes the largest distance instead of the smallest.
//! Cost: K passes over the class. Fails where the mean hides clusters.

use super::{Class, Needs, Rule};

pub(super) const RULE: Rule = Rule {
    name: "herding",
    about: "Keep samples whose mean in feature space follows the mean of the class",
    paper: "Welling 2009 (iCaRL's use: arXiv 1611.07725); as a coreset in DeepCore (arXiv 2204.08499)",
    needs: Needs::Features,
    parameter: None,
    cost: "time K·n·d, memory n·d",
    fails: "classes of several clusters: their mean is matched by images near it",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let points = class.points;
    let mean = points.mean();
    let mut target = mean.clone();
    let mut kept: Vec<u32> = Vec::with_capacity(class.keep as usize);
    let mut taken = vec![false; class.len as usize];
    while kept.len() < class.keep.min(class.len) as usize {
        // ‖target − h‖ with target = (k + 1)μ − S.
        let Some(best) = points.nearest(&target, |position| !taken[position as usize]) else { break };
        taken[best as usize] = true;
        for ((slot, m), h) in target.iter_mut().zip(&mean).zip(points.row(best)) {
            *slot += m - h;
        }
        kept.push(best);
    }
    class.and_then(kept, 0..class.len)
}
