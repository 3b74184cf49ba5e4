//! Facility location within the easier part of the class.
//!
//! Idea: easy images that cover one another: difficulty and coverage are worth more together than either alone.
//! Formula: facility location among the easiest ceil(q · n) samples of the class (at least as many as are kept), which are also all that is to
//! be covered. Citation: this project; easy and covering as in arXiv 2604.18811's follow-ups. Cost: as facility location of q · n samples.
//! Fails where the easy part of a class is one view of it.

use super::{Class, Needs, Parameter, Rule};

pub(super) const RULE: Rule = Rule {
    name: "facility-location-easy",
    about: "Keep representatives of the easier part of each class",
    paper: "this project; facility location as in arXiv 2204.08499, easy first as in arXiv 2502.06434",
    needs: Needs::ScoresAndFeatures,
    parameter: Some(Parameter { about: "the part of the class that counts as easy", default: 0.5, range: (0.0, 1.0) }),
    cost: "as facility-location, of the easier part",
    fails: "classes whose easy part shows one view of them",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let order = class.easiest_first();
    let count = (class.parameter * f64::from(class.len)).ceil() as u32;
    let count = count.max(class.keep).min(class.len) as usize;
    // In the order in which ties break, so that the first of equal gains is the same as without scores.
    let mut easy = order[..count].to_vec();
    easy.sort_unstable();
    let kept = class.points.subset(&easy).representatives(&vec![1.0; count], class.keep);
    let kept = kept.into_iter().map(|position| easy[position as usize]).collect();
    class.and_then(kept, order)
}
