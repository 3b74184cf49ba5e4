//! Every rule of the list against an order worked out by hand, and each as a permutation.

use super::*;
use proptest::prelude::*;

#[test]
fn every_row_of_the_list_is_whole_and_its_name_is_its_own() {
    for (i, r) in RULES.iter().enumerate() {
        let words = [r.name, r.about, r.paper, r.fails, r.cost];
        assert!(words.iter().all(|w| !w.trim().is_empty()), "{} has an empty field", r.name);
        assert!(r.paper.contains("arXiv") || r.paper.contains("OpenReview"), "{} names no paper", r.name);
        assert_eq!(RULES.iter().position(|other| other.name == r.name), Some(i), "{} stands twice", r.name);
        assert_eq!(rule(r.name).expect("it is in the list").rule.name, r.name);
        if let Some(Parameter { default, range: (low, high), .. }) = r.parameter {
            assert!((low..=high).contains(&default), "{}", r.name);
        }
    }
}

/// Positions in the order that the rule gives to samples of these hardnesses, at these places on a line.
fn order(spec: &str, hardness: &[f32], line: &[f32], keep: u32) -> Vec<u32> {
    let Choice { rule, parameter, .. } = rule(spec).expect("known");
    let points = Points::new(1, line.iter().copied());
    let len = line.len() as u32;
    let class = Class { class_id: 1, len, keep, hardness, hard: HardEnd::High, points: &points, parameter, seed: 5 };
    (rule.rank)(&class)
}

#[test]
fn reference_orders_by_hand() {
    // Every rule of the list has its row here.
    let expected = |name: &str| match name {
        "easy-first" => Some(("easy-first", [2, 0, 3, 1])),
        "hard-first" => Some(("hard-first", [1, 0, 3, 2])),
        // The pool is the whole class; smaller ones are tested below.
        "easy-of-pool" => Some(("easy-of-pool:4", [2, 0, 3, 1])),
        // One of four is skipped.
        "window" => Some(("window:0.25", [0, 3, 1, 2])),
        // From the two in the middle outwards.
        "moderate" => Some(("moderate", [0, 3, 2, 1])),
        // 1 is cut; 2 is alone in its stratum, and one of 0 and 3 is drawn from theirs.
        "ccs" => Some(("ccs:0.25", [2, 3, 0, 1])),
        // The mean is 3.25, so 2; then 2 · 3.25 − 2 = 4.5, so 1.
        "herding" => Some(("herding", [3, 1, 0, 2])),
        // The seed starts with sample 1 at 1; sample 2 at 10 is the farthest.
        "k-center" => Some(("k-center", [1, 2, 0, 3])),
        // Sums of distances are 13, 11, 27, 11; then 10 gains 9.
        "facility-location" => Some(("facility-location", [1, 2, 0, 3])),
        // Among 0 and 10 alone.
        "facility-location-easy" => Some(("facility-location-easy:0.5", [0, 2, 3, 1])),
        // Weights .625, .25, 1, .625, the two equal ones sharing: sums 11.5, 10.25, 13.5, 9.5; then 10 gains 8.
        "facility-location-weighted" => Some(("facility-location-weighted", [3, 2, 0, 1])),
        // The keyed shuffle of 0..4 for seed 5 and class 1: a change of the stream must not go unseen.
        "random" => Some(("random", [0, 3, 2, 1])),
        _ => None,
    };
    for r in RULES {
        let (spec, expected) = expected(r.name).unwrap_or_else(|| panic!("{} has no reference order", r.name));
        assert_eq!(order(spec, &[0.5, 0.75, -1.0, 0.5], &[0.0, 1.0, 10.0, 2.0], 2), expected, "{spec}");
    }
}

#[test]
fn a_pool_as_small_as_the_budget_is_a_random_draw_sorted_by_hardness() {
    let hardness: Vec<f32> = (0..40).map(|x| x as f32).collect();
    let kept = |pool: u32| order(&format!("easy-of-pool:{pool}"), &hardness, &hardness, 5)[..5].to_vec();
    assert_eq!(kept(40), [0, 1, 2, 3, 4]);
    let drawn = kept(1);
    assert!(drawn.is_sorted() && drawn != kept(40), "{drawn:?}");
    assert!(kept(20).iter().sum::<u32>() < drawn.iter().sum::<u32>(), "a larger pool holds easier samples");
}

#[test]
fn constant_scores_weigh_nothing() {
    let line = [0.0, 1.0, 10.0, 2.0, 7.0];
    let weighted = order("facility-location-weighted", &[0.5; 5], &line, 3);
    assert_eq!(weighted, order("facility-location", &[], &line, 3));
}

proptest! {
    #[test]
    fn every_rule_ranks_each_sample_once(samples in proptest::collection::vec((-4i8..4, -4i8..4), 0..40), keep in 0u32..50) {
        let (hardness, line): (Vec<f32>, Vec<f32>) = samples.into_iter().map(|(h, x)| (f32::from(h), f32::from(x))).unzip();
        for r in RULES {
            let mut ranked = order(r.name, &hardness, &line, keep.min(line.len() as u32));
            ranked.sort_unstable();
            prop_assert_eq!(ranked, (0..line.len() as u32).collect::<Vec<_>>(), "{}", r.name);
        }
    }
}
