//! Facility location in which easy samples count more.
//!
//! Idea: cover the class, but easy images above all.
//! Formula: facility location with the weight 1 − r / n for the sample of rank r by ascending hardness (equal ones share the mean of
//! their ranks), so that what is covered first is easy.
//! Citation: this project; the CAD-weighted facility location of an unpublished reproduction of arXiv 2604.18811 is the same with another
//! weight. Cost: as facility location. Fails where hardness says little.

use super::{Class, Needs, Rule};

pub(super) const RULE: Rule = Rule {
    name: "facility-location-weighted",
    about: "Keep representatives, with easy samples counting more among what is covered",
    paper: "this project; weights on the covering of arXiv 2204.08499, after arXiv 2604.18811",
    needs: Needs::ScoresAndFeatures,
    parameter: None,
    cost: "as facility-location",
    fails: "scores that say little: it is then plain facility location",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let order = class.easiest_first();
    let mut weights = vec![0.0; class.len as usize];
    let mut before = 0;
    // Equal samples share their mean rank, so equal weights.
    for equal in order.chunk_by(|&a, &b| class.hardness[a as usize] == class.hardness[b as usize]) {
        let rank = before as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&position| weights[position as usize] = 1.0 - rank / f64::from(class.len));
        before += equal.len();
    }
    let kept = class.points.representatives(&weights, class.keep);
    class.and_then(kept, order)
}
