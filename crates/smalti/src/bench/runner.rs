//! The order of work: for each row and budget choose the crop range on the hold-out, then one cell per seed.

use super::cells::{self, Cell, Exam, Job};
use super::crop;
use super::plan::Plan;
use crate::error::{failure, hint_of};
use crate::report::words::seconds;
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::files::{self, RunLock};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the runner needs done. The real one trains; that of the tests pretends.
pub trait Lab {
    /// Makes the set of a job if it is not there, trains a student and measures it.
    ///
    /// # Errors
    /// Whatever stops the cell.
    fn student(&mut self, job: &Job) -> Result<Cell>;

    /// Whether another process makes something right now without which the job cannot begin.
    ///
    /// # Errors
    /// When that cannot be told.
    fn is_waiting(&self, _job: &Job) -> Result<bool> {
        Ok(false)
    }
}

/// What a run left.
pub struct Outcome {
    /// Every finished cell.
    pub cells: Vec<Cell>,
    /// Names of the cells that failed, with their causes.
    pub failed: Vec<(String, String)>,
}

impl Outcome {
    /// All cells, or what failed.
    ///
    /// # Errors
    /// When a cell failed.
    pub fn all_or_error(self) -> Result<Vec<Cell>> {
        let Some((name, cause)) = self.failed.first() else { return Ok(self.cells) };
        Err(failure(
            format!(
                "{} failed, {} finished; the first is {name}: {cause}",
                count(self.failed.len() as u64, "cell"),
                self.cells.len()
            ),
            "each cause lies in cells/*.failed.txt; the same command tries the failed ones again",
        ))
    }
}

/// Runs what is not finished. A cell that fails is recorded, and the rest goes on; one that another process works on is left to it until nothing
/// else is to do.
///
/// # Errors
/// When a finished cell is damaged or a file cannot be written.
pub fn run(plan: &Plan, lab: &mut dyn Lab, out: &Path, ui: &Ui) -> Result<Outcome> {
    let total = cells::jobs(plan).count();
    let known = cells::read_all(plan, out)?.len();
    ui.say("bench", format!("{}: {}, {known} finished before", plan.recipe.name, count(total as u64, "cell")));
    let pace = Pace { start: Instant::now(), done: 0 };
    let mut tally = Tally { total, known, pace, failed: Vec::new(), elsewhere: Vec::new() };
    for group in cells::groups(plan) {
        let (row, training, ipc) = group;
        let of = |crop_min, seed| Job { row, training, ipc, seed, crop_min, exam: Exam::Test };
        let crop_min = match crop::choose(plan, group, lab, out, ui) {
            Ok(crop_min) => crop_min,
            Err(error) => {
                for job in (0..row.seeds).map(|seed| of(0.0, seed)) {
                    if job.finished(out)?.is_none() {
                        tally.failed.push(record(&job, &error, out)?);
                    }
                }
                continue;
            }
        };
        for seed in 0..row.seeds {
            let job = of(crop_min, seed);
            let came = finish(&job, lab, out);
            tally.add(job, came, out, ui)?;
        }
    }
    while !tally.elsewhere.is_empty() {
        let first = tally.elsewhere.remove(0);
        ui.say("wait", format!("another process works on {}", first.name()));
        let came = finish_in_turn(&first, lab, out);
        tally.add(first, came, out, ui)?;
        // What that process made may be what the others lacked as well, and it has gone on to one of them.
        for job in std::mem::take(&mut tally.elsewhere) {
            let came = finish(&job, lab, out);
            tally.add(job, came, out, ui)?;
        }
    }
    Ok(Outcome { cells: cells::read_all(plan, out)?, failed: tally.failed })
}

/// What came of the cells so far.
struct Tally<'a> {
    total: usize,
    /// Finished before this run began.
    known: usize,
    pace: Pace,
    failed: Vec<(String, String)>,
    elsewhere: Vec<Job<'a>>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, job: Job<'a>, came: Result<Finished>, out: &Path, ui: &Ui) -> Result<()> {
        match came {
            Ok(Finished::Before) => forget_failure(&job, out)?,
            Ok(Finished::Now) => {
                self.pace.done += 1;
                ui.say("bench", self.pace.line(self.known + self.pace.done + self.failed.len(), self.total));
            }
            Ok(Finished::Elsewhere) => self.elsewhere.push(job),
            Err(error) => {
                ui.warn(format!("{} failed: {error:#}", job.name()));
                self.failed.push(record(&job, &error, out)?);
            }
        }
        Ok(())
    }
}

/// How fast cells are done here.
struct Pace {
    start: Instant,
    done: usize,
}

impl Pace {
    fn line(&self, finished: usize, total: usize) -> String {
        let each = self.start.elapsed().as_secs_f64() / self.done.max(1) as f64;
        let left = each * total.saturating_sub(finished) as f64;
        format!("{finished} of {total} cells, {} each, about {} left", seconds(each), seconds(left))
    }
}

/// Keeps the cause of a failure beside the cells.
fn record(job: &Job, error: &anyhow::Error, out: &Path) -> Result<(String, String)> {
    let mut text = format!("{error:#}\n");
    if let Some(hint) = hint_of(error) {
        text.push_str(&format!("hint: {hint}\n"));
    }
    files::write_bytes(&job.failure(out), text.as_bytes())?;
    Ok((job.name(), format!("{error:#}")))
}

/// When a cell was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    /// Its file lay there.
    Before,
    /// This call trained it.
    Now,
    /// Another process works on it, or on what it needs.
    Elsewhere,
}

fn lock_of(job: &Job, out: &Path) -> PathBuf {
    let exam = if job.exam == Exam::Holdout { format!("-crop{}", job.crop_min) } else { String::new() };
    out.join("work/locks/cells").join(job.name() + &exam)
}

/// Trains the student of a job, where it is not finished and no other process works on it or on what it needs.
pub(super) fn finish(job: &Job, lab: &mut dyn Lab, out: &Path) -> Result<Finished> {
    if job.finished(out)?.is_some() {
        return Ok(Finished::Before);
    }
    let _claim = match RunLock::take(&lock_of(job, out)) {
        Ok(claim) => claim,
        Err(smalti_data::Error::Input { .. }) => return Ok(Finished::Elsewhere),
        Err(error) => return Err(error.into()),
    };
    // Another process may have finished it a moment ago.
    if job.finished(out)?.is_some() {
        return Ok(Finished::Before);
    }
    if lab.is_waiting(job)? {
        return Ok(Finished::Elsewhere);
    }
    finish_claimed(job, lab, out)?;
    Ok(Finished::Now)
}

/// As [`finish`], but waits for whoever works on it.
pub(super) fn finish_in_turn(job: &Job, lab: &mut dyn Lab, out: &Path) -> Result<Finished> {
    let _turn = RunLock::wait(&lock_of(job, out), &|| ())?;
    if job.finished(out)?.is_some() {
        return Ok(Finished::Before);
    }
    finish_claimed(job, lab, out)?;
    Ok(Finished::Now)
}

fn finish_claimed(job: &Job, lab: &mut dyn Lab, out: &Path) -> Result<()> {
    let cell = lab.student(job)?;
    cells::write(&job.path(out), &cell)?;
    if job.exam == Exam::Test {
        forget_failure(job, out)?;
    }
    Ok(())
}

/// A finished cell is no failure any more.
fn forget_failure(job: &Job, out: &Path) -> Result<()> {
    if job.failure(out).exists() {
        std::fs::remove_file(job.failure(out))?;
    }
    Ok(())
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
        /// Rows whose sets another process makes until the first student of this one is done.
        pub(crate) made_elsewhere: &'static [&'static str],
        /// What the crop of a student adds to its percent; its smallest area where there is none.
        pub(crate) worth: Option<fn(&Job) -> f64>,
    }

    impl Lab for Pretend {
        fn is_waiting(&self, job: &Job) -> Result<bool> {
            let early = self.trained.iter().all(|name| name.contains("-crop"));
            Ok(early && self.made_elsewhere.contains(&job.row.name.as_str()) && job.exam == Exam::Test)
        }

        fn student(&mut self, job: &Job) -> Result<Cell> {
            if self.fail_at == Some(self.trained.len()) {
                self.fail_at = None;
                return Err(crate::error::failure("the lamp went out", "light it"));
            }
            let name = job.path(Path::new(""));
            self.trained.push(name.file_stem().expect("a name").to_string_lossy().into_owned());
            let row = plan().rows.iter().position(|r| r.name == job.row.name).expect("a row") as f64;
            Ok(Cell {
                method: job.row.name.clone(),
                ipc: job.ipc,
                student: job.training.student.clone(),
                protocol: job.training.protocol.clone(),
                augment: job.training.augment.name().into(),
                crop_min: job.crop_min,
                seed: job.seed,
                exam: job.exam,
                top1_percent: 20.0 + 5.0 * row + self.worth.map_or(job.crop_min, |worth| worth(job)) - job.seed as f64,
                best_top1_percent: None,
                top5_percent: 60.0,
                holdout_top1_percent: Some(21.0),
                class_top1_percent: vec![Some(25.0), None],
                right: String::new(),
                teacher: None,
                distilled_by: None,
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
        let cells = run(&plan(), &mut lab, dir.path(), &SILENT).expect("done").cells;
        assert_eq!(
            lab.trained,
            [
                "random-ipc2-convnet-3_128-bn-small-seed0-crop0.1",
                "random-ipc2-convnet-3_128-bn-small-seed0-crop0.5",
                "random-ipc2-convnet-3_128-bn-small-seed0",
                "random-ipc2-convnet-3_128-bn-small-seed1",
                "pca-ipc2-convnet-3_128-bn-small-seed0-crop0.1",
                "pca-ipc2-convnet-3_128-bn-small-seed0-crop0.5",
                "pca-ipc2-convnet-3_128-bn-small-seed0",
                "pca-ipc2-convnet-3_128-bn-small-seed1",
            ]
        );
        assert!(cells.iter().all(|cell| cell.crop_min == 0.5 && cell.exam == Exam::Test));
        let mut again = Pretend::default();
        assert_eq!(run(&plan(), &mut again, dir.path(), &SILENT).expect("done").cells, cells);
        assert!(again.trained.is_empty(), "a rerun trains nothing");
    }

    #[test]
    fn cells_that_were_named_without_a_protocol_are_found() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cells = run(&plan(), &mut Pretend::default(), dir.path(), &SILENT).expect("done").cells;
        for folder in ["cells", "holdout"] {
            for entry in std::fs::read_dir(dir.path().join(folder)).expect("a folder") {
                let path = entry.expect("an entry").path();
                let older = path.to_string_lossy().replace("-small-seed", "-seed");
                std::fs::rename(&path, older).expect("renamed");
            }
        }
        let mut again = Pretend::default();
        assert_eq!(run(&plan(), &mut again, dir.path(), &SILENT).expect("done").cells, cells);
        assert!(again.trained.is_empty(), "{:?}", again.trained);
    }

    #[test]
    fn a_cell_that_fails_is_recorded_and_the_rest_goes_on() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut lab = Pretend { fail_at: Some(3), ..Pretend::default() };
        let outcome = run(&plan(), &mut lab, dir.path(), &SILENT).expect("it goes on");
        let failed = "random-ipc2-convnet-3_128-bn-small-seed1";
        assert_eq!((outcome.cells.len(), outcome.failed.len()), (3, 1));
        let note = dir.path().join("cells").join(format!("{failed}.failed.txt"));
        assert_eq!(std::fs::read_to_string(&note).expect("written"), "the lamp went out\nhint: light it\n");
        let error = outcome.all_or_error().expect_err("one failed");
        assert!(
            error.to_string().contains("1 cell failed, 3 finished") && error.to_string().contains(failed),
            "{error}"
        );
        let mut rest = Pretend::default();
        let outcome = run(&plan(), &mut rest, dir.path(), &SILENT).expect("done");
        assert_eq!((outcome.cells.len(), rest.trained.len()), (4, 1));
        assert_eq!(rest.trained[0], failed);
        assert!(!note.exists(), "it is no failure any more");
    }

    #[test]
    fn what_waits_for_another_process_comes_last() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut lab = Pretend { made_elsewhere: &["random"], ..Pretend::default() };
        let outcome = run(&plan(), &mut lab, dir.path(), &SILENT).expect("done");
        assert_eq!(outcome.cells.len(), 4);
        let order: Vec<&str> = lab
            .trained
            .iter()
            .filter(|name| !name.contains("crop"))
            .filter_map(|name| name.split('-').next())
            .collect();
        assert_eq!(order, ["pca", "pca", "random", "random"]);
    }

    /// The other process, a thread here, holds a cell until this one has done the cell after it.
    #[test]
    fn after_a_wait_what_is_free_goes_before_what_still_is_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let plan = plan();
        let path = |row: &str, seed: u64| {
            let job = cells::jobs(&plan).find(|job| job.row.name == row && job.seed == seed).expect("in the plan");
            (lock_of(&job, dir.path()), job.path(dir.path()))
        };
        let (held, _) = path("random", 1);
        let (_, awaited) = path("pca", 1);
        let lock = RunLock::take(&held).expect("free");
        let mut lab = Pretend { made_elsewhere: &["random", "pca"], ..Pretend::default() };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                while !awaited.exists() && start.elapsed().as_secs() < 20 {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                drop(lock);
            });
            run(&plan, &mut lab, dir.path(), &SILENT).expect("done");
        });
        let last = lab.trained.last().expect("four cells");
        assert_eq!(last, "random-ipc2-convnet-3_128-bn-small-seed1", "{:?}", lab.trained);
    }

    #[test]
    fn two_processes_share_the_cells_of_a_folder() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (first, second) = std::thread::scope(|scope| {
            let work = || {
                let mut lab = Pretend::default();
                let cells = run(&plan(), &mut lab, dir.path(), &SILENT).expect("done").cells;
                (cells, lab.trained)
            };
            let other = scope.spawn(work);
            (work(), other.join().expect("it ends"))
        });
        assert_eq!(first.0, second.0, "both see all cells");
        let mut trained: Vec<String> = first.1.into_iter().chain(second.1).collect();
        assert_eq!(trained.len(), 8, "each is trained once: {trained:?}");
        trained.sort_unstable();
        trained.dedup();
        assert_eq!(trained.len(), 8);
    }
}
