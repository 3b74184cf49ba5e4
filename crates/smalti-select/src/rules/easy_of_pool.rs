//! The easiest of a random pool: what pruning over a part of the set costs.
//!
//! Idea: look at a few hundred samples per class instead of all. Formula: draw a pool of X samples of the class (at least as many as are kept),
//! keep its easiest. Citation: RDED (arXiv 2312.03526) pre-samples 300 images per class; arXiv 2502.06434 says that pruning must see all, which
//! this rule is there to test. Cost: one sort. Fails by what it leaves out.

use super::{Class, Needs, Parameter, Rule, SORT};
use smalti_data::random::{Stage, Stream};

pub(super) const RULE: Rule = Rule {
    name: "easy-of-pool",
    about: "Keep the easiest samples of a random pool of each class, to see what pruning over all of it is worth",
    paper: "the pre-sampling of RDED (arXiv 2312.03526), questioned by arXiv 2502.06434",
    needs: Needs::Scores,
    parameter: Some(Parameter { about: "samples in the pool of a class", default: 300.0, range: (1.0, 1e9) }),
    cost: SORT,
    fails: "pools that hold few easy samples; one as small as the budget is a random draw",
    rank,
};

/// The draw's own number, apart from those of other rules.
const DRAW: u32 = 1000;

fn rank(class: &Class) -> Vec<u32> {
    let mut drawn: Vec<u32> = (0..class.len).collect();
    Stream::new(class.seed, Stage::Select, DRAW, u64::from(class.class_id)).shuffle(&mut drawn);
    let size = (class.parameter as u32).max(class.keep).min(class.len) as usize;
    let mut in_pool = vec![false; class.len as usize];
    drawn[..size].iter().for_each(|&position| in_pool[position as usize] = true);
    let order = class.easiest_first();
    let pool = order.iter().copied().filter(|&position| in_pool[position as usize]).collect();
    class.and_then(pool, order)
}
