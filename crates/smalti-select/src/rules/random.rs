//! Random: the baseline that every gain is measured against.
//!
//! Idea: no idea. Formula: a shuffle of each class, keyed by (seed, class), of the candidates in the order in which ties
//! break; so neither the order of the rows nor another class changes the draw, and a smaller budget keeps a part of a larger one.
//! Citation: class-balanced `uniform` of DeepCore (arXiv 2204.08499). Cost: none.
//! Fails nowhere by much: at a few images per class it beats most published scores.

use super::{Class, Needs, Rule};
use smalti_data::random::{Stage, Stream};

pub(super) const RULE: Rule = Rule {
    name: "random",
    about: "Keep samples of each class drawn by the seed",
    paper: "DeepCore's class-balanced uniform draw (arXiv 2204.08499)",
    needs: Needs::Nothing,
    parameter: None,
    cost: "none",
    fails: "small budgets, where the draw itself adds spread: use several seeds",
    rank,
};

fn rank(class: &Class) -> Vec<u32> {
    let mut order: Vec<u32> = (0..class.len).collect();
    Stream::new(class.seed, Stage::Select, 0, u64::from(class.class_id)).shuffle(&mut order);
    order
}
