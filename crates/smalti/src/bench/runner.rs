//! The order of work: for each row and budget choose the crop range on the hold-out, then one cell per seed.

use super::cells::{self, Cell, Exam, Job};
use super::recipe::{Plan, Row};
use crate::ui::{Ui, count};
use anyhow::Result;
use std::path::Path;

/// What the runner needs done. The real one trains; that of the tests pretends.
pub trait Lab {
    /// Makes the set of a job if it is not there, trains a student and measures it.
    ///
    /// # Errors
    /// Whatever stops the cell.
    fn student(&mut self, job: &Job) -> Result<Cell>;
}

/// Runs what is not finished and returns all cells.
///
/// # Errors
/// The first cell that fails; finished ones stay on disk.
pub fn run(plan: &Plan, lab: &mut dyn Lab, out: &Path, ui: &Ui) -> Result<Vec<Cell>> {
    let total = cells::jobs(plan).count() as u64;
    let known = cells::read_all(plan, out)?.len() as u64;
    ui.say("bench", format!("{}: {}, {} finished before", plan.recipe.name, count(total, "cell"), known));
    let mut done = Vec::new();
    for row in &plan.rows {
        for &ipc in &plan.recipe.ipc {
            let crop_min = choose_crop(plan, row, ipc, lab, out, ui)?;
            for seed in 0..plan.recipe.seeds {
                done.push(finish(&Job { row, ipc, seed, crop_min, exam: Exam::Test }, lab, out)?);
                ui.say("bench", format!("{} of {total} cells", done.len()));
            }
        }
    }
    Ok(done)
}

fn finish(job: &Job, lab: &mut dyn Lab, out: &Path) -> Result<Cell> {
    if let Some(cell) = job.finished(out)? {
        return Ok(cell);
    }
    let cell = lab.student(job)?;
    cells::write(&job.path(out), &cell)?;
    Ok(cell)
}

/// The crop range with the best mean accuracy on the hold-out; of equal ones the first. The test images have no say.
fn choose_crop(plan: &Plan, row: &Row, ipc: u32, lab: &mut dyn Lab, out: &Path, ui: &Ui) -> Result<f64> {
    if let [only] = plan.crops[..] {
        return Ok(only);
    }
    let mut best = (plan.crops[0], f64::NEG_INFINITY);
    for &crop_min in &plan.crops {
        let mut sum = 0.0;
        for seed in 0..plan.crop_seeds {
            sum += finish(&Job { row, ipc, seed, crop_min, exam: Exam::Holdout }, lab, out)?.top1_percent;
        }
        let mean = sum / plan.crop_seeds as f64;
        if mean > best.1 {
            best = (crop_min, mean);
        }
    }
    ui.say("crop", format!("{} ipc {ipc}: from {} of the area, {:.1} % on the hold-out", row.name, best.0, best.1));
    Ok(best.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::cells::Seconds;
    use crate::bench::recipe::BenchRecipe;
    use crate::recipe::parse;
    use crate::ui::Volume;
    use smalti_learn::train::History;

    /// A lab whose students know the answer: better with crops from 0.5 on, worse with every seed.
    #[derive(Default)]
    pub(crate) struct Pretend {
        pub(crate) trained: Vec<String>,
        pub(crate) fail_at: Option<usize>,
    }

    impl Lab for Pretend {
        fn student(&mut self, job: &Job) -> Result<Cell> {
            if self.fail_at == Some(self.trained.len()) {
                return Err(crate::error::failure("the lamp went out", "light it"));
            }
            let name = job.path(Path::new(""));
            self.trained.push(name.file_stem().expect("a name").to_string_lossy().into_owned());
            let row = plan().rows.iter().position(|r| r.name == job.row.name).expect("a row") as f64;
            Ok(Cell {
                method: job.row.name.clone(),
                ipc: job.ipc,
                student: job.row.training.student.clone(),
                protocol: job.row.training.protocol.clone(),
                augment: job.row.training.augment.name().into(),
                crop_min: job.crop_min,
                seed: job.seed,
                exam: job.exam,
                top1_percent: 20.0 + 5.0 * row + job.crop_min - job.seed as f64,
                top5_percent: 60.0,
                holdout_top1_percent: Some(21.0),
                class_top1_percent: vec![Some(25.0), None],
                test_images: 100,
                train_images: u64::from(job.ipc) * 2,
                image_bytes: 1000 * u64::from(job.ipc),
                label_bytes: 16 * u64::from(job.ipc),
                images_per_second: 100.0,
                seconds: Seconds { proxy: 3.0 * row, compress: 0.1, train: 2.0, eval: 0.5 },
                history: History { steps: 10, images_seen: 500, seconds: 2.0, curve: vec![(250, 2.0), (500, 1.0)] },
                program: "0 (commit 0)".into(),
                machine: "abacus".into(),
            })
        }
    }

    pub(crate) fn plan() -> Plan {
        let text = r#"
name = "small"
source = "images"
size = 32
ipc = [2]
seeds = 2
training = { student = "convnet-3", protocol = "small" }
crop = { min = [0.1, 0.5], seeds = 1 }
row = [{ preset = "random" }, { preset = "pca" }]
"#;
        parse::<BenchRecipe>(text).expect("a recipe").settle(Path::new(".")).expect("a plan")
    }

    pub(crate) const SILENT: Ui = Ui { volume: Volume::Quiet };

    #[test]
    fn every_cell_is_trained_once_with_the_crop_that_the_hold_out_chose() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut lab = Pretend::default();
        let cells = run(&plan(), &mut lab, dir.path(), &SILENT).expect("done");
        assert_eq!(
            lab.trained,
            [
                "random-ipc2-convnet-3_128-bn-seed0-crop0.1",
                "random-ipc2-convnet-3_128-bn-seed0-crop0.5",
                "random-ipc2-convnet-3_128-bn-seed0",
                "random-ipc2-convnet-3_128-bn-seed1",
                "pca-ipc2-convnet-3_128-bn-seed0-crop0.1",
                "pca-ipc2-convnet-3_128-bn-seed0-crop0.5",
                "pca-ipc2-convnet-3_128-bn-seed0",
                "pca-ipc2-convnet-3_128-bn-seed1",
            ]
        );
        assert!(cells.iter().all(|cell| cell.crop_min == 0.5 && cell.exam == Exam::Test));
        let mut again = Pretend::default();
        assert_eq!(run(&plan(), &mut again, dir.path(), &SILENT).expect("done"), cells);
        assert!(again.trained.is_empty(), "a rerun trains nothing");
    }

    #[test]
    fn a_run_that_was_cut_off_loses_one_cell() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut lab = Pretend { fail_at: Some(3), ..Pretend::default() };
        let error = run(&plan(), &mut lab, dir.path(), &SILENT).expect_err("cut off");
        assert_eq!(error.to_string(), "the lamp went out");
        let mut rest = Pretend::default();
        run(&plan(), &mut rest, dir.path(), &SILENT).expect("done");
        assert_eq!((lab.trained.len(), rest.trained.len()), (3, 5));
        assert_eq!(rest.trained[0], "random-ipc2-convnet-3_128-bn-seed1");
    }
}
