//! The crop range of a result: chosen among those of the recipe by students on the hold-out. The test images have no say.

use super::cells::{Exam, Group, Job, budget_name};
use super::plan::Plan;
use super::runner::{Finished, Lab, finish, finish_in_turn};
use crate::ui::Ui;
use anyhow::Result;
use std::path::Path;

/// The students that choose the range of a group, range by range: none where there is one range, where nothing is cropped, and where every cell is
/// finished.
///
/// # Errors
/// When a finished cell is damaged.
pub(super) fn students<'a>(plan: &'a Plan, group: Group<'a>, out: &Path) -> Result<Vec<Job<'a>>> {
    let (row, training, ipc) = group;
    if plan.crops.len() < 2 || !training.augment.crops() {
        return Ok(Vec::new());
    }
    let of = |crop_min, seed, exam| Job { row, training, ipc, seed, crop_min, exam };
    let mut finished = true;
    for seed in 0..row.seeds {
        finished &= of(0.0, seed, Exam::Test).finished(out)?.is_some();
    }
    let ranges: &[f64] = if finished { &[] } else { &plan.crops };
    let of_range = |&crop_min: &f64| (0..plan.crop_seeds).map(move |seed| of(crop_min, seed, Exam::Holdout));
    Ok(ranges.iter().flat_map(of_range).collect())
}

/// How many of them are to be trained.
///
/// # Errors
/// When a finished cell is damaged.
pub(super) fn to_do(plan: &Plan, group: Group, out: &Path) -> Result<u64> {
    let mut left = 0;
    for job in students(plan, group, out)? {
        left += u64::from(job.finished(out)?.is_none());
    }
    Ok(left)
}

/// The smallest area of the crops of a group: of several the one with the best mean accuracy on the hold-out, of equal ones the first.
///
/// # Errors
/// When a student cannot be trained, or a finished one is damaged.
pub(super) fn choose(plan: &Plan, group: Group, lab: &mut dyn Lab, out: &Path, ui: &Ui) -> Result<f64> {
    let (row, training, ipc) = group;
    let students = students(plan, group, out)?;
    let Some(first) = students.first() else {
        // Of several ranges the first stands for cells that are all finished, which ask for none.
        return Ok(match plan.crops.first() {
            Some(&only) if training.augment.crops() => only,
            _ => training.crop.of(row.grid(plan.recipe.size)).scale.0,
        });
    };
    // What another process works on comes last, so that two processes do not wait for each other student by student.
    let mut elsewhere = Vec::new();
    for job in &students {
        if finish(job, lab, out)? == Finished::Elsewhere {
            elsewhere.push(job);
        }
    }
    for job in elsewhere {
        finish_in_turn(job, lab, out)?;
    }
    let mut best = (first.crop_min, f64::NEG_INFINITY);
    for of_range in students.chunk_by(|a, b| a.crop_min == b.crop_min) {
        let mut sum = 0.0;
        for job in of_range {
            sum += job.finished(out)?.map_or(f64::NAN, |cell| cell.top1_percent);
        }
        let mean = sum / of_range.len() as f64;
        if mean > best.1 {
            best = (of_range[0].crop_min, mean);
        }
    }
    let title = format!("{} ipc {}", row.name, budget_name(ipc));
    ui.say("crop", format!("{title}: from {} of the area, {:.1} % on the hold-out", best.0, best.1));
    Ok(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cells;
    use crate::bench::results::table;
    use crate::bench::runner::run;
    use crate::bench::runner::tests::{Pretend, SILENT, plan};
    use smalti_learn::augment::Augment;

    #[test]
    fn a_row_that_crops_nothing_chooses_nothing_and_says_so() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (mut plan, mut lab) = (plan(), Pretend::default());
        plan.rows[1].trainings[0].augment = Augment::Factor;
        let cells = run(&plan, &mut lab, dir.path(), &SILENT).expect("done").cells;
        assert_eq!(lab.trained.iter().filter(|name| name.starts_with("random") && name.contains("-crop")).count(), 2);
        assert!(!lab.trained.iter().any(|name| name.starts_with("pca") && name.contains("-crop")), "{:?}", lab.trained);
        let own = plan.rows[1].trainings[0].crop.of(2).scale.0;
        assert!(cells.iter().all(|cell| cell.crop_min == if cell.method == "pca" { own } else { 0.5 }));
        let crops: Vec<String> = table(&plan, &cells).into_iter().map(|row| row.crop).collect();
        assert_eq!(crops, ["0.5 to 1", "none"]);
        let (name, said) = plan.rows[1].trainings[0].describe().swap_remove(5);
        assert_eq!((name.as_str(), said.as_str()), ("augmentation", "factor, no crop"));
    }

    #[test]
    fn the_best_mean_on_the_hold_out_is_chosen_wherever_it_stands() {
        // The first seed alone prefers 0.9, the mean 0.5; the test images 0.9; all ranges of pca are equal.
        fn worth(job: &Job) -> f64 {
            match (job.exam, job.row.name.as_str(), job.crop_min) {
                (Exam::Test, ..) => job.crop_min,
                (Exam::Holdout, "pca", _) => 1.0,
                (Exam::Holdout, _, 0.5) => 4.0,
                (Exam::Holdout, _, 0.9) if job.seed == 0 => 5.0,
                (Exam::Holdout, ..) => 0.0,
            }
        }
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut plan = plan();
        (plan.crops, plan.crop_seeds) = (vec![0.1, 0.5, 0.9], 2);
        let mut lab = Pretend { worth: Some(worth), ..Pretend::default() };
        let cells = run(&plan, &mut lab, dir.path(), &SILENT).expect("done").cells;
        let chosen: Vec<(&str, f64)> = cells.iter().map(|cell| (cell.method.as_str(), cell.crop_min)).collect();
        assert_eq!(chosen, [("random", 0.5), ("random", 0.5), ("pca", 0.1), ("pca", 0.1)]);
    }

    #[test]
    fn finished_cells_choose_nothing_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let plan = plan();
        let left = |path: &Path| -> u64 {
            cells::groups(&plan).map(|group| to_do(&plan, group, path).expect("readable")).sum()
        };
        assert_eq!(left(dir.path()), 4, "two rows, two ranges, one seed");
        let cells = run(&plan, &mut Pretend::default(), dir.path(), &SILENT).expect("done").cells;
        std::fs::remove_dir_all(dir.path().join("holdout")).expect("removed");
        assert_eq!(left(dir.path()), 0);
        let mut again = Pretend::default();
        assert_eq!(run(&plan, &mut again, dir.path(), &SILENT).expect("done").cells, cells);
        assert!(again.trained.is_empty(), "{:?}", again.trained);
        std::fs::remove_file(dir.path().join("cells").join(format!("{}.json", cells[0].name()))).expect("removed");
        assert_eq!(left(dir.path()), 2);
    }
}
