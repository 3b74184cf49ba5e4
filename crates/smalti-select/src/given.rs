//! Selections made elsewhere, held to the same budget as our own.

use crate::budget::{Budget, Counted};
use crate::candidate::Candidates;
use crate::error::{Error, Result};
use crate::rules::Balance;
use smalti_data::tables::{Selected, Selection, Verdict};

/// Holds a selection made elsewhere to the budget: each class keeps its best ranks, exactly `budget.per_class` of them; under a global rule
/// what was kept of it, in whole images and no more than the budget of all classes.
///
/// Ranks are counted anew: kept rows first, then rows that were not kept, then candidates that the selection does not mention,
/// which are not kept. Equal ranks break by (content hash, sample). What is cut to the budget says so in its reason.
///
/// # Errors
/// [`Error::Input`] for a row that is no candidate, has another class or stands twice, for a class that keeps too few, and for a pool that keeps too many.
pub fn from_given(
    selection: Selection,
    candidates: &Candidates,
    balance: Balance,
    budget: &Budget,
) -> Result<Selection> {
    let groups = candidates.by_class();
    let Selection { rows, mut reasons } = selection;
    let mut given = by_row(rows, candidates)?;
    let kept = |row: &Option<Selected>| row.as_ref().is_some_and(|r| r.verdict.is_kept());
    let counts: Vec<usize> =
        groups.iter().map(|group| group.iter().filter(|&&row| kept(&given[row as usize])).count()).collect();
    let quotas = match balance {
        Balance::Class => budget.quotas(&counts, candidates.classes(), Counted::Given)?,
        Balance::Global => {
            let kept: Vec<u32> = counts.iter().map(|&count| count as u32 / budget.multiple * budget.multiple).collect();
            let sum: u32 = kept.iter().sum();
            let limit = budget.in_all(counts.len(), sum as usize, Counted::Given)?;
            // Ranks are counted class by class, so they do not say which of a pool's samples go first.
            if sum > limit {
                return Err(Error::input(
                    format!(
                        "the given selection keeps {sum} samples, and the budget is {limit} (ipc x grid² x classes)"
                    ),
                    "keep fewer in it, raise --ipc or --grid, or name a rule that is not global, which cuts each class by rank",
                ));
            }
            kept
        }
    };

    let silent = reasons.number("not in the given selection");
    let mut rows = Vec::with_capacity(candidates.len());
    for (class_id, (mut group, &quota)) in groups.into_iter().zip(&quotas).enumerate() {
        // Stable over the order in which ties break: kept, then not kept, then not mentioned.
        group.sort_by_key(|&row| match &given[row as usize] {
            Some(row) => (!row.verdict.is_kept(), row.rank_in_class, false),
            None => (true, u32::MAX, true),
        });
        for (rank, sample) in group.into_iter().enumerate() {
            let was = given[sample as usize].take();
            let within = (rank as u32) < quota;
            let reason = match was.map(|row| row.verdict) {
                None => silent,
                Some(verdict) if verdict.is_kept() && !within => {
                    let cut = format!("{}, cut to {quota}", reasons.get(verdict.reason()));
                    reasons.number(&cut)
                }
                Some(verdict) => verdict.reason(),
            };
            rows.push(Selected {
                sample,
                class_id: class_id as u32,
                rank_in_class: rank as u32,
                verdict: if within { Verdict::kept(reason) } else { Verdict::left(reason) },
            });
        }
    }
    Ok(Selection { rows, reasons })
}

/// What the selection says of each row of the source.
fn by_row(rows: Vec<Selected>, candidates: &Candidates) -> Result<Vec<Option<Selected>>> {
    let mut classes: Vec<Option<u32>> = vec![None; candidates.source_len()];
    candidates.iter().for_each(|sample| classes[sample.sample as usize] = Some(sample.class_id));
    let mut given: Vec<Option<Selected>> = vec![None; candidates.source_len()];
    for row in rows {
        let at = row.sample as usize;
        let Some(class_id) = classes.get(at).copied().flatten() else {
            return Err(Error::input(
                format!("the given selection holds sample {}, which is not a usable training image", row.sample),
                "a selection belongs to one source; make it from this source's samples.parquet",
            ));
        };
        if row.class_id != class_id {
            return Err(Error::input(
                format!(
                    "the given selection puts sample {} (`{}`) in class {}, but its class is {class_id}",
                    row.sample,
                    candidates.path(row.sample),
                    row.class_id
                ),
                "a selection belongs to one source; make it from this source's samples.parquet",
            ));
        }
        if given[at].is_some() {
            return Err(Error::input(
                format!("the given selection holds sample {} twice", row.sample),
                "keep one row per sample",
            ));
        }
        given[at] = Some(row);
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::OnSmallClass;
    use crate::testing::{budget, samples};
    use smalti_data::tables::Samples;

    fn row(sample: u32, class_id: u32, kept: bool, rank_in_class: u32) -> Selected {
        let verdict = if kept { Verdict::kept(0) } else { Verdict::left(0) };
        Selected { sample, class_id, rank_in_class, verdict }
    }

    fn theirs(rows: Vec<Selected>) -> Selection {
        let mut reasons = smalti_data::tables::Reasons::default();
        reasons.number("theirs");
        Selection { rows, reasons }
    }

    /// Samples 0..6 in class 0, 6..10 in class 1.
    fn source() -> Samples {
        samples(&[0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    }

    #[test]
    fn the_best_ranks_are_kept_and_counted_anew() {
        // Ranks as read from a file without that column: the row's number in the file.
        let rows =
            vec![row(7, 1, true, 0), row(3, 0, true, 1), row(9, 1, true, 2), row(0, 0, true, 3), row(1, 0, true, 4)];
        let two = budget(2, OnSmallClass::Refuse);
        let held = from_given(theirs(rows), &Candidates::of(&source()), Balance::Class, &two).expect("enough");
        assert_eq!(held.kept_of(0), [3, 0]);
        assert_eq!(held.kept_of(1), [7, 9]);
        assert_eq!(held.rows.len(), 10);
        let cut = held.rows.iter().find(|r| r.sample == 1).expect("a row per candidate");
        assert_eq!((cut.verdict.is_kept(), cut.rank_in_class, held.reason(cut)), (false, 2, "theirs, cut to 2"));
        let silent = held.rows.iter().find(|r| r.sample == 5).expect("a row per candidate");
        assert_eq!((silent.verdict.is_kept(), held.reason(silent)), (false, "not in the given selection"));
        for (class, size) in [(0, 6), (1, 4)] {
            let ranks: Vec<u32> = held.rows.iter().filter(|r| r.class_id == class).map(|r| r.rank_in_class).collect();
            assert_eq!(ranks, (0..size).collect::<Vec<_>>());
        }
    }

    #[test]
    fn too_few_is_an_error_or_fewer_whole_images() {
        let selection = || {
            theirs(vec![
                row(0, 0, true, 0),
                row(1, 0, true, 1),
                row(2, 0, true, 2),
                row(6, 1, true, 0),
                row(7, 1, true, 1),
            ])
        };
        let with = |on_small_class| {
            let budget = Budget { per_class: 4, multiple: 2, on_small_class };
            from_given(selection(), &Candidates::of(&source()), Balance::Class, &budget)
        };
        let error = with(OnSmallClass::Refuse).expect_err("three and two of four");
        assert!(error.to_string().ends_with("`class-0` keeps 3, `class-1` keeps 2"), "{error}");
        assert!(error.hint().expect("a hint").contains("given selection"));
        let fewer = with(OnSmallClass::Fewer).expect("whole images");
        assert_eq!((fewer.kept_of(0), fewer.kept_of(1)), (vec![0, 1], vec![6, 7]));
        let four = Budget { per_class: 4, multiple: 2, on_small_class: OnSmallClass::Refuse };
        let error =
            from_given(selection(), &Candidates::of(&source()), Balance::Global, &four).expect_err("four of eight");
        assert!(error.to_string().starts_with("4 samples of the given selection are fewer than the 8"), "{error}");
        let two = Budget { per_class: 2, multiple: 2, on_small_class: OnSmallClass::Refuse };
        from_given(selection(), &Candidates::of(&source()), Balance::Global, &two).expect("four of four");
        let six = theirs(
            vec![0, 1, 2, 3]
                .into_iter()
                .map(|s| row(s, 0, true, s))
                .chain([row(6, 1, true, 0), row(7, 1, true, 1)])
                .collect(),
        );
        let error = from_given(six, &Candidates::of(&source()), Balance::Global, &two).expect_err("six of four");
        assert!(error.to_string().starts_with("the given selection keeps 6 samples, and the budget is 4"), "{error}");
        // A class that the selection leaves out is too small in both ways.
        let half = theirs(vec![row(0, 0, true, 0)]);
        let one = budget(1, OnSmallClass::Fewer);
        let error = from_given(half, &Candidates::of(&source()), Balance::Class, &one).expect_err("no class 1");
        assert!(error.to_string().contains("`class-1` keeps 0"), "{error}");
    }

    #[test]
    fn rows_that_do_not_belong_are_refused() {
        let cases = [
            (vec![row(99, 0, true, 0)], "not a usable training image"),
            (vec![row(0, 1, true, 0)], "in class 1, but its class is 0"),
            (vec![row(0, 0, true, 0), row(0, 0, false, 1)], "twice"),
        ];
        for (rows, words) in cases {
            let one = budget(1, OnSmallClass::Refuse);
            let error = from_given(theirs(rows), &Candidates::of(&source()), Balance::Class, &one).expect_err(words);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
