//! Rules under budgets: exact, without repeats, the same for any order of the input.

use super::*;
use crate::budget::OnSmallClass;
use crate::rules::{RULES, rule};
use crate::testing::{budget, samples};
use proptest::prelude::*;
use smalti_data::random::{Stage, Stream};
use smalti_data::tables::{Samples, Status};
use std::collections::{HashMap, HashSet};

const SEED: u64 = 11;

fn el2n(rows: &[(u32, f32)]) -> Evidence<'_> {
    by(HardEnd::High, rows)
}

fn by(hard: HardEnd, rows: &[(u32, f32)]) -> Evidence<'_> {
    Evidence { scores: Some(Scores { metric: "el2n", hard, rows }), features: None }
}

/// The rules that need no features, in their class-balanced form.
fn of_scores() -> impl Iterator<Item = Choice> {
    RULES.iter().filter(|r| !r.needs.features()).map(|r| rule(r.name).expect("known"))
}

/// A set with these class sizes; sample numbers are spread over the classes, and rows between them are unreadable.
fn toy(sizes: &[u32]) -> Samples {
    let (most, stride) = (*sizes.iter().max().expect("a class"), sizes.len() as u32);
    let labels: Vec<u32> = (0..most * stride).map(|row| row % stride).collect();
    let mut samples = samples(&labels);
    for row in &mut samples.rows {
        if row.sample / stride >= sizes[row.class_id as usize] {
            row.status = Status::Bad;
        }
    }
    samples
}

/// Scores from a short range, so that many tie.
fn tied_scores(samples: &Samples, seed: u64) -> Vec<(u32, f32)> {
    let mut stream = Stream::new(seed, Stage::Demo, 0, 0);
    Candidates::of(samples).iter().map(|c| (c.sample, stream.below(6) as f32 / 4.0 - 0.5)).collect()
}

/// Scores without ties.
fn distinct_scores(samples: &Samples, seed: u64) -> Vec<(u32, f32)> {
    let candidates = Candidates::of(samples);
    let mut values: Vec<f32> = (0..candidates.len()).map(|i| i as f32 / 8.0).collect();
    Stream::new(seed, Stage::Demo, 0, 0).shuffle(&mut values);
    candidates.iter().zip(values).map(|(c, value)| (c.sample, value)).collect()
}

fn ranked(selection: &Selection, class_id: u32) -> Vec<u32> {
    selection.rows.iter().filter(|r| r.class_id == class_id).map(|r| r.sample).collect()
}

proptest! {
    #[test]
    fn the_budget_is_met_exactly_or_the_class_is_reported(
        sizes in proptest::collection::vec(1u32..30, 1..5),
        (images, tiles) in (1u32..5, 1u32..5),
        seed in 0u64..50,
    ) {
        let samples = toy(&sizes);
        let scores = tied_scores(&samples, seed);
        let per_class = images * tiles;
        for r in of_scores() {
            let with = |on_small_class| {
                let budget = Budget { per_class, multiple: tiles, on_small_class };
                select(&Candidates::of(&samples), el2n(&scores), &r, &budget, seed)
            };
            let small: Vec<usize> = (0..sizes.len()).filter(|&c| sizes[c] < per_class).collect();
            match with(OnSmallClass::Refuse) {
                Ok(_) => prop_assert!(small.is_empty()),
                Err(error) => {
                    let reported = error.to_string();
                    prop_assert!(!small.is_empty() && small.iter().all(|c| reported.contains(&samples.classes[*c])), "{}", reported);
                }
            }
            let Ok(selection) = with(OnSmallClass::Fewer) else {
                prop_assert!(sizes.iter().any(|&size| size < tiles));
                continue;
            };
            let mut seen = HashSet::new();
            for (class, &size) in sizes.iter().enumerate() {
                let rows: Vec<&Selected> = selection.rows.iter().filter(|r| r.class_id == class as u32).collect();
                prop_assert_eq!(rows.len(), size as usize);
                prop_assert_eq!(selection.kept_of(class as u32).len() as u32, per_class.min(size / tiles * tiles));
                for (rank, row) in (0..).zip(rows) {
                    prop_assert_eq!(row.rank_in_class, rank);
                    prop_assert!(seen.insert(row.sample), "sample {} stands twice", row.sample);
                    prop_assert_eq!(row.sample % sizes.len() as u32, class as u32);
                }
            }
        }
    }

    #[test]
    fn the_order_of_candidates_and_scores_changes_nothing(size in 1u32..40, seed in 0u64..50) {
        let samples = toy(&[size, size + 3]);
        let mut scores = tied_scores(&samples, seed);
        let mut other: Vec<u32> = samples.rows.iter().map(|row| row.sample).collect();
        let one = budget(1, OnSmallClass::Refuse);
        for r in of_scores().chain(["easy-first-global", "ccs-global"].map(|name| rule(name).expect("known"))) {
            let first = select(&Candidates::of(&samples), el2n(&scores), &r, &one, seed).expect("selected");
            Stream::new(seed, Stage::Demo, 1, 0).shuffle(&mut other);
            Stream::new(seed, Stage::Demo, 2, 0).shuffle(&mut scores);
            let second = select(&Candidates::among(&samples, other.iter().copied()), el2n(&scores), &r, &one, seed).expect("selected");
            prop_assert_eq!(&first, &second, "{}", r.name());
        }
    }

    #[test]
    fn easy_and_hard_are_exact_reverses_without_ties(size in 1u32..60, seed in 0u64..50) {
        let samples = toy(&[size]);
        let scores = distinct_scores(&samples, seed);
        let by = |name: &str, hard| {
            let one = budget(1, OnSmallClass::Refuse);
            let selection =
                select(&Candidates::of(&samples), self::by(hard, &scores), &rule(name).expect("known"), &one, 0);
            ranked(&selection.expect("selected"), 0)
        };
        let mut reversed = by("hard-first", HardEnd::High);
        reversed.reverse();
        prop_assert_eq!(&by("easy-first", HardEnd::High), &reversed);
        // The other end being hard is the same reversal.
        prop_assert_eq!(&by("easy-first", HardEnd::High), &by("hard-first", HardEnd::Low));
    }

    #[test]
    fn what_easy_first_keeps_is_no_harder_than_what_it_drops(size in 2u32..60, keep in 1u32..60, seed in 0u64..50) {
        let samples = toy(&[size, 60]);
        let scores = tied_scores(&samples, seed);
        let value: HashMap<u32, f32> = scores.iter().copied().collect();
        let keep = budget(keep.min(size), OnSmallClass::Refuse);
        let easy = rule("easy-first").expect("known");
        let selection = select(&Candidates::of(&samples), el2n(&scores), &easy, &keep, seed).expect("selected");
        for class in 0..2 {
            let side = |kept: bool| {
                selection.rows.iter().filter(move |r| r.verdict.is_kept() == kept && r.class_id == class).map(|r| value[&r.sample])
            };
            let hardest_kept = side(true).fold(f32::MIN, f32::max);
            let easiest_dropped = side(false).fold(f32::MAX, f32::min);
            prop_assert!(hardest_kept <= easiest_dropped, "{} and {}", hardest_kept, easiest_dropped);
        }
    }
}

#[test]
fn on_a_toy_set_easy_drops_the_wrong_labels_and_hard_keeps_them() {
    // Samples 0..16 are learned, 16..20 have wrong labels: a high EL2N and a negative margin.
    let samples = toy(&[20]);
    let table = |clean: f32, wrong: f32| -> Vec<(u32, f32)> {
        let of = |s: u32| if s < 16 { clean + s as f32 / 100.0 } else { wrong + s as f32 / 100.0 };
        (0..20).map(|sample| (sample, of(sample))).collect()
    };
    for (metric, rows) in [("el2n", table(0.1, 1.0)), ("aum", table(3.0, -2.0))] {
        let kept = |name: &str| {
            let metric = crate::metric(metric, None).expect("known");
            let evidence = Evidence { scores: Some(Scores::of(&metric, &rows)), features: None };
            let four = budget(4, OnSmallClass::Refuse);
            let selection = select(&Candidates::of(&samples), evidence, &rule(name).expect("known"), &four, 0);
            selection.expect("selected").kept_of(0)
        };
        assert!(kept("easy-first").iter().all(|&s| s < 16), "{metric}");
        assert!(kept("hard-first").iter().all(|&s| s >= 16), "{metric}");
    }
}

#[test]
fn ties_break_by_hash_and_both_zeros_are_one_number() {
    let mut samples = toy(&[4]);
    for (row, hash) in samples.rows.iter_mut().zip([9, 3, 7, 1]) {
        row.content_hash = hash.into();
    }
    let scores: Vec<(u32, f32)> = [0.0, -0.0, 0.0, -0.0].iter().zip(0..).map(|(&s, sample)| (sample, s)).collect();
    for name in ["easy-first", "hard-first"] {
        for hard in [HardEnd::High, HardEnd::Low] {
            let scores = by(hard, &scores);
            let one = budget(1, OnSmallClass::Refuse);
            let selection =
                select(&Candidates::of(&samples), scores, &rule(name).expect("known"), &one, 0).expect("selected");
            assert_eq!(ranked(&selection, 0), [3, 1, 2, 0], "{name}");
        }
    }
}

#[test]
fn reasons_say_rule_metric_and_numbers() {
    let samples = toy(&[5]);
    let scores = distinct_scores(&samples, 0);
    let reason = |name: &str| {
        let two = budget(2, OnSmallClass::Refuse);
        let selection = select(&Candidates::of(&samples), el2n(&scores), &rule(name).expect("known"), &two, SEED);
        let selection = selection.expect("selected");
        selection.reason(&selection.rows[4]).to_owned()
    };
    assert_eq!(&*reason("easy-first"), "easy-first by el2n, 2 of 5 kept");
    assert_eq!(&*reason("random"), "random by seed 11, 2 of 5 kept");
}

#[test]
fn random_needs_no_scores_differs_by_seed_and_class_and_nests_in_larger_budgets() {
    let samples = toy(&[40, 40]);
    let kept = |seed, count| {
        let count = budget(count, OnSmallClass::Refuse);
        let random = rule("random").expect("known");
        let selection =
            select(&Candidates::of(&samples), Evidence::default(), &random, &count, seed).expect("no scores needed");
        [selection.kept_of(0), selection.kept_of(1)]
    };
    let [cats, dogs] = kept(1, 10);
    assert_ne!([&cats, &dogs], [&kept(2, 10)[0], &kept(2, 10)[1]]);
    // Positions in the class, compared without the class's own numbers: two classes do not share a draw.
    let positions = |samples: &[u32]| samples.iter().map(|s| s / 2).collect::<Vec<_>>();
    assert_ne!(positions(&cats), positions(&dogs));
    assert_eq!(kept(1, 20)[0][..10], cats);
    // Over many seeds each sample is kept about equally often: 600 draws of 10 of 40, mean 150, standard deviation 11.
    let mut times = [0u32; 40];
    (0..600).flat_map(|seed| kept(seed, 10)[0].clone()).for_each(|sample| times[sample as usize / 2] += 1);
    assert!(times.iter().all(|&t| (100..200).contains(&t)), "{times:?}");
}

fn refused(samples: &Samples, evidence: Evidence) -> (String, String) {
    let one = budget(1, OnSmallClass::Refuse);
    let easy = rule("easy-first").expect("known");
    let error = select(&Candidates::of(samples), evidence, &easy, &one, 0).expect_err("broken scores");
    (error.to_string(), error.hint().expect("a hint").to_owned())
}

#[test]
fn scores_that_do_not_serve_are_refused_with_the_way_out() {
    let samples = toy(&[3]);
    let (what, hint) = refused(&samples, Evidence::default());
    assert!(what.contains("`easy-first` needs scores") && hint.contains("--metric"), "{what}");

    let (what, _) = refused(&samples, el2n(&[(2, 0.5)]));
    assert_eq!(what, "2 of 3 training images have no score by `el2n`, the first is `class-0/00000.png`");
    let (what, _) = refused(&samples, el2n(&[]));
    assert!(what.starts_with("3 of 3"), "{what}");

    let nan = [(0, 0.5), (1, f32::NAN), (2, 0.5)];
    let (what, _) = refused(&samples, el2n(&nan));
    assert_eq!(what, "1 of 3 scores by `el2n` are not a number, the first is that of `class-0/00001.png`");

    let twice = [(0, 0.5), (1, 0.5), (2, 0.5), (1, 0.25)];
    assert_eq!(refused(&samples, el2n(&twice)).0, "sample 1 has two scores by `el2n`");
}

#[test]
fn scores_of_strangers_are_ignored() {
    let samples = toy(&[2]);
    let scores = [(0, 0.5), (900, f32::NAN), (1, 0.25)];
    let one = budget(1, OnSmallClass::Refuse);
    let easy = rule("easy-first").expect("known");
    let selection = select(&Candidates::of(&samples), el2n(&scores), &easy, &one, 0).expect("selected");
    assert_eq!(selection.kept_of(0), [1]);
}

#[test]
fn a_global_rule_starves_classes_and_keeps_the_same_number_in_all() {
    // Class 0 is easy, class 2 is hard.
    let samples = toy(&[20, 20, 20]);
    let scores: Vec<(u32, f32)> = (0..60).map(|row| (row, (row % 3 * 100 + row) as f32)).collect();
    let kept = |name: &str, multiple| {
        let budget = Budget { per_class: 8, multiple, on_small_class: OnSmallClass::Refuse };
        let global = rule(name).expect("known");
        let selection = select(&Candidates::of(&samples), el2n(&scores), &global, &budget, 0).expect("selected");
        assert!(selection.rows.iter().all(|r| selection.reason(r).starts_with(name)), "{:?}", selection.reasons);
        [0, 1, 2].map(|class| selection.kept_of(class).len())
    };
    assert_eq!(kept("easy-first-global", 1), [20, 4, 0]);
    assert_eq!(kept("hard-first-global", 4), [0, 4, 20]);
    assert_eq!(
        kept("easy-first-global", 8),
        [16, 8, 0],
        "20 and 4 in images of 8: the third image is where 4 are left over"
    );
    assert_eq!(kept("random-global", 1).iter().sum::<usize>(), 24);
    let many = budget(21, OnSmallClass::Refuse);
    let global = rule("easy-first-global").expect("known");
    let error = select(&Candidates::of(&samples), el2n(&scores), &global, &many, 0).expect_err("63 of 60");
    assert!(error.to_string().starts_with("60 usable training images are fewer than the 63"), "{error}");
}

#[test]
fn one_sample_constant_scores_and_copies_are_no_trouble() {
    // Class 0 has one sample, class 1 three.
    let mut samples = toy(&[1, 3]);
    for r in of_scores() {
        let constant: Vec<(u32, f32)> = samples.rows.iter().map(|row| (row.sample, 0.5)).collect();
        let one = budget(1, OnSmallClass::Refuse);
        let selection = select(&Candidates::of(&samples), el2n(&constant), &r, &one, 3).expect("selected");
        assert_eq!((selection.kept_of(0), selection.kept_of(1).len()), (vec![0], 1), "{}", r.name());
    }
    // Copies tie in all but their rows, and the first row comes first.
    samples.rows.iter_mut().for_each(|row| row.content_hash = 9.into());
    let constant: Vec<(u32, f32)> = samples.rows.iter().map(|row| (row.sample, 0.5)).collect();
    let two = budget(2, OnSmallClass::Fewer);
    let easy = rule("easy-first").expect("known");
    let selection = select(&Candidates::of(&samples), el2n(&constant), &easy, &two, 3).expect("selected");
    assert_eq!(selection.kept_of(1), [1, 3]);
}

#[test]
fn a_rule_without_its_features_says_where_they_come_from() {
    let samples = toy(&[3]);
    for r in RULES.iter().filter(|r| r.needs.features()) {
        let scores: Vec<(u32, f32)> = (0..3).map(|row| (row, 0.5)).collect();
        let one = budget(1, OnSmallClass::Refuse);
        let choice = rule(r.name).expect("known");
        let error = select(&Candidates::of(&samples), el2n(&scores), &choice, &one, 0).expect_err("no features");
        assert!(error.to_string().contains("needs the proxies' features"), "{error}");
        assert!(error.hint().expect("a hint").contains("leave --scores out"), "{error}");
    }
}
