//! The real lab: trains proxies once per seed, makes each set once, trains a student per job.

use super::cells::{Cell, Exam, Job, Seconds, budget_name, set_name};
use super::evidence;
use super::inputs;
use super::pins::pin;
use super::plan::{Distilling, IPC, Origin, Plan};
use super::runner::Lab;
use crate::decoded::{self, Wanted};
use crate::distill;
use crate::error::failure;
use crate::pipeline::{Overwrite, make_set};
use crate::report::bootstrap::Right;
use crate::run::{Run, working_folder};
use crate::sources::{Scanned, TestSet, TrainSet, budget, rows};
use crate::stages::{self, Evidence, Given};
use crate::students::{SetFacts, crops_from, machine, program, train_one};
use crate::teachers::Ready;
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::files::RunLock;
use smalti_data::manifest::{LABEL_BYTES, MANIFEST, Manifest};
use smalti_data::mosaic::Layout;
use smalti_data::source::{Source, SourceOptions};
use smalti_data::store::{Fit, ImageStore};
use smalti_data::tables::{Selection, Split};
use smalti_data::write::OutputFormat;
use smalti_learn::engine::{Engine, Machine};
use smalti_learn::labels::LabelKind;
use smalti_learn::student;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A lab that trains with libtorch.
pub struct Torch<'a> {
    pub(super) plan: &'a Plan,
    pub(super) out: &'a Path,
    pub(super) engine: Engine,
    pub(super) ui: &'a Ui,
    images: Option<Images>,
    pub(super) teacher: Option<Ready>,
    /// Warnings that were given: the seeds of a row would repeat them.
    pub(super) said: HashSet<String>,
}

/// What every cell shares, decoded once.
pub(super) struct Images {
    pub source: Scanned,
    test: Vec<(Fit, ImageStore)>,
    pub test_set: TestSet,
    holdout: Option<ImageStore>,
}

/// A set that is ready to be trained on.
pub(super) struct Ingredients {
    pub train: ImageStore,
    image_bytes: u64,
    hard_label_bytes: u64,
    seconds: f64,
    distilled_by: Option<String>,
}

impl<'a> Torch<'a> {
    /// A lab for a plan; nothing is read before the first cell needs it.
    ///
    /// # Errors
    /// When the machine cannot compute as asked.
    pub fn open(plan: &'a Plan, out: &'a Path, machine: Machine, ui: &'a Ui) -> Result<Torch<'a>> {
        let engine = Engine::start(machine)?;
        Ok(Torch { plan, out, engine, ui, images: None, teacher: None, said: HashSet::new() })
    }

    pub(super) fn work(&self) -> PathBuf {
        self.out.join("work")
    }

    /// Whether another process works on `what`.
    fn is_taken(&self, what: &str) -> Result<bool> {
        match RunLock::take(&self.work().join("locks").join(what)) {
            Ok(_) => Ok(false),
            Err(smalti_data::Error::Input { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until no other process works on `what`, and keeps others from it until the lock is dropped.
    pub(super) fn alone(&self, what: &str) -> Result<RunLock> {
        let folder = self.work().join("locks").join(what);
        Ok(RunLock::wait(&folder, &|| self.ui.say("wait", format!("another process works on {what}")))?)
    }

    /// As [`pin`], while no other process does.
    pub(super) fn pin(&self, name: &str, value: &str) -> Result<()> {
        let _alone = self.alone("inputs")?;
        pin(self.out, name, value)
    }

    pub(super) fn images(&mut self) -> Result<&Images> {
        if self.images.is_none() {
            self.images = Some(self.open_images()?);
        }
        Ok(self.images.as_ref().expect("it was put there above"))
    }

    fn open_images(&self) -> Result<Images> {
        let _alone = self.alone("images")?;
        let options = &self.plan.reading;
        let mut source = Scanned::open(&self.plan.source, options, self.ui)?;
        stages::hold_out(&mut source.samples, self.plan.recipe.holdout, 0);
        let classes = source.source.classes().to_vec();
        let elsewhere = self.plan.recipe.test.is_some();
        let scanned = match elsewhere {
            true => Scanned::open(&self.plan.test, options, self.ui)?,
            false => Scanned { source: Source::open(&self.plan.source, options)?, samples: source.samples.clone() },
        };
        if !elsewhere && scanned.samples.usable(Split::Test).next().is_none() {
            let what = format!("`{}` has no test part", self.plan.source.display());
            return Err(failure(what, "add `test = \"PATH\"` to the recipe, or put the images into train/ and test/"));
        }
        inputs::keep_source_hash(self.out, &source.samples, elsewhere.then_some(&scanned.samples))?;
        // Only now is it known that the images are those of the cells: a table that lies here is theirs.
        source.samples.write(&self.work().join("samples.parquet"))?;
        inputs::warn_of_small_classes(self.plan, &source.samples, self.ui);
        inputs::warn_of_leaks(&source.samples, &scanned.samples, elsewhere, self.ui);
        let work = self.work();
        let test_set = TestSet::of(scanned, &classes)?;
        let held = rows(source.samples.usable(Split::Holdout), |class_id| class_id);
        let layout = Layout::new(1, self.plan.recipe.size)?;
        // The hold-out is made of training images and is fitted as they are.
        let holdout = match held.is_empty() {
            true => None,
            false => {
                let wanted = Wanted { rows: &held, layout: &layout, fit: Fit::Whole };
                Some(decoded::load((&source.source, &source.samples), wanted, &budget(&work), &|_| (), self.ui)?)
            }
        };
        Ok(Images { source, test: Vec::new(), test_set, holdout })
    }

    /// Decodes the test images as a protocol fits them, once for each way.
    pub(super) fn load_test(&mut self, fit: Fit) -> Result<()> {
        let (size, work) = (self.plan.recipe.size, self.work());
        self.images()?;
        let images = self.images.as_mut().expect("opened a line above");
        if images.test.iter().all(|(known, _)| *known != fit) {
            let store = images.test_set.load(size, fit, &budget(&work), self.ui)?;
            images.test.push((fit, store));
        }
        Ok(())
    }

    /// Computes the metrics that no row needs, where the recipe asks for some and the scores lack them.
    ///
    /// # Errors
    /// As a cell's.
    pub fn complete_scores(&mut self) -> Result<()> {
        if self.plan.recipe.metrics.is_empty() {
            return Ok(());
        }
        (0..self.plan.recipe.seeds).try_for_each(|seed| evidence::complete(self, seed))
    }

    /// The set of a job, decoded, with the seconds that making it took.
    fn ingredients(&mut self, job: &Job, evidence: &Evidence) -> Result<Ingredients> {
        let scratch = self.work();
        let mut distilled_by = None;
        let set = match &job.row.origin {
            Origin::Full => return self.everything(),
            Origin::External { path, class_map } => {
                let path = self.out.join(path.replace(IPC, &budget_name(job.ipc)));
                let class_map = class_map.as_ref().map(|list| self.out.join(list));
                let options = SourceOptions { class_map, ..SourceOptions::default() };
                (TrainSet::open(&path, &options, Some(self.plan.recipe.size), self.ui)?, 0.0)
            }
            Origin::Made(_) => self.made(job, evidence)?,
            Origin::Distilled(distilling) => {
                let (set, seconds, by) = self.distilled(job, distilling)?;
                distilled_by = by;
                (set, seconds)
            }
        };
        let ((mut set, seconds), ui) = (set, self.ui);
        inputs::match_classes(&mut set, self.images()?.source.source.classes(), &job.row.name)?;
        if let Origin::External { .. } = job.row.origin {
            self.check_foreign(&set, job)?;
        }
        Ok(Ingredients {
            train: set.load(&budget(&scratch), ui)?,
            image_bytes: set.image_bytes,
            hard_label_bytes: set.label_bytes,
            seconds,
            distilled_by,
        })
    }

    /// All training images but the hold-out.
    pub(super) fn everything(&mut self) -> Result<Ingredients> {
        let (size, work, ui) = (self.plan.recipe.size, self.work(), self.ui);
        let Images { source, .. } = self.images()?;
        let wanted = rows(source.samples.usable(Split::Train), |class_id| class_id);
        let layout = Layout::new(1, size)?;
        let wanted = Wanted { rows: &wanted, layout: &layout, fit: Fit::Whole };
        let train = decoded::load((&source.source, &source.samples), wanted, &budget(&work), &|_| (), ui)?;
        let image_bytes = source.samples.usable(Split::Train).map(|sample| u64::from(sample.bytes)).sum();
        Ok(Ingredients {
            hard_label_bytes: train.len() as u64 * LABEL_BYTES,
            train,
            image_bytes,
            seconds: 0.0,
            distilled_by: None,
        })
    }

    /// The set of a job that is made here, made once.
    fn made(&mut self, job: &Job, evidence: &Evidence) -> Result<(TrainSet, f64)> {
        let making = job.row.making().expect("a row that is made here");
        let name = set_name(&job.row.name, job.ipc, job.seed);
        let dir = self.work().join("sets").join(&name);
        let kept = evidence::selection(self.out, job);
        let (ui, size) = (self.ui, self.plan.recipe.size);
        let _alone = self.alone(&format!("set-{name}"))?;
        let images = self.images()?;
        let start = Instant::now();
        let compares = making.choice.rule.needs.features();
        if !dir.join(MANIFEST).exists() {
            let mut recipe = making.recipe.clone();
            (recipe.ipc, recipe.seed) = (Some(job.ipc), Some(job.seed));
            let settings = recipe.settle(&format!("{}-ipc{}", job.row.name, job.ipc), size)?;
            let run = Run::begin(&dir, Overwrite::Refuse)?;
            run.keep_settings(&settings.to_toml())?;
            let given = if compares && kept.exists() { Given::Selection(kept.clone()) } else { Given::Nothing };
            let (source, samples) = (&images.source.source, &images.source.samples);
            make_set(source, samples, evidence, &settings, &given, &run, ui)?;
        }
        if compares && !kept.exists() {
            let class_of = |row: u32| images.source.samples.rows.get(row as usize).map(|sample| sample.class_id);
            let mut selection = Selection::read(&working_folder(&dir).join("selection.parquet"), class_of)?;
            selection.rows.retain(|row| row.verdict.is_kept());
            let _alone = self.alone("selections")?;
            selection.write(&kept)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok((TrainSet::open(&dir, &SourceOptions::default(), Some(size), ui)?, seconds))
    }

    /// The distilled set of a job, made once, from teachers and the training images but for the hold-out; with the seconds that this took and who was asked.
    fn distilled(&mut self, job: &Job, distilling: &Distilling) -> Result<(TrainSet, f64, Option<String>)> {
        let number = job.seed % distilling.sets;
        let name = distilling.set_name(job);
        let dir = self.work().join("sets").join(&name);
        let _alone = self.alone(&format!("set-{name}"))?;
        let (ui, size, engine) = (self.ui, self.plan.recipe.size, self.engine);
        if distilling.has_set(job, self.out) {
            self.check_files(distilling)?;
        } else {
            let &Distilling { method, tuning, .. } = distilling;
            let order = distill::Order {
                method,
                tuning,
                ipc: job.ipc,
                size: Some(size),
                seed: number,
                format: OutputFormat::Folder,
            };
            distill::check_counts(&order, size, &self.images()?.source)?;
            let teachers = self.asked(distilling)?;
            let run = Run::begin(&dir, Overwrite::Refuse)?;
            distill::make(&order, &self.images()?.source, &teachers, engine, &run, ui)?;
        }
        let by = Manifest::read(&dir)?.method.remove("teacher");
        Ok((TrainSet::open(&dir, &SourceOptions::default(), Some(size), ui)?, distill::cost(&dir)?, by))
    }
}

impl Images {
    pub(super) fn fitted(&self, fit: Fit) -> &ImageStore {
        let found = self.test.iter().find(|(known, _)| *known == fit);
        &found.expect("test images are loaded before they are asked for").1
    }
}

impl Lab for Torch<'_> {
    /// A teacher or a distilled set takes an hour or so, in which there are other cells to do.
    fn is_waiting(&self, job: &Job) -> Result<bool> {
        let mut needed: Vec<String> =
            self.plan.teachers().take(job.teachers(self.plan, self.out)).map(|(name, _)| name).collect();
        if let Origin::Distilled(distilling) = &job.row.origin {
            needed.push(format!("set-{}", distilling.set_name(job)));
        }
        for what in needed {
            if self.is_taken(&what)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn student(&mut self, job: &Job) -> Result<Cell> {
        let evidence = evidence::of(self, job)?;
        let made = self.ingredients(job, &evidence)?;
        let mut training = job.training.clone();
        // Without a choice the range is the protocol's own, which may depend on the tiles of the set.
        if !self.plan.crops.is_empty() && training.augment.crops() {
            training.crop = crops_from(training.crop, job.crop_min);
        }
        self.ready(&training)?;
        self.load_test(training.fit)?;
        let (engine, ui) = (self.engine, self.ui);
        self.images()?;
        let images = self.images.as_ref().expect("opened a line above");
        let classes = images.source.source.classes().len();
        let test = match job.exam {
            Exam::Test => Some(images.fitted(training.fit)),
            Exam::Holdout => images.holdout.as_ref(),
        };
        let test = test.ok_or_else(|| {
            failure("there is no hold-out to choose crop ranges on", "set `holdout = 0.1` in the recipe")
        })?;
        let ready = self.teacher.as_ref().filter(|_| training.labels != LabelKind::Hard).unwrap_or(&Ready::Hard);
        let mut labels = ready.labels(&training, &made.train, classes, job.seed)?;
        let name = job.title();
        let sets = (&made.train, test, classes);
        let (result, network) = train_one(&name, &training, sets, &mut labels, job.seed, &engine, ui)?;
        let facts = SetFacts::of(&made.train, classes);
        let spec = training.spec(&name, job.seed, facts);
        let held = match (&images.holdout, job.exam) {
            (Some(_), Exam::Holdout) => Some(result.top1_percent),
            (Some(holdout), Exam::Test) => {
                Some(student::evaluate(&network, holdout, &spec.normalise, &engine)?.top1_percent)
            }
            (None, _) => None,
        };
        Ok(Cell {
            method: job.row.name.clone(),
            ipc: job.ipc,
            student: training.student.clone(),
            protocol: training.protocol.clone(),
            augment: training.augment.name().to_owned(),
            crop_min: training.crop.of(facts.grid).scale.0,
            seed: job.seed,
            exam: job.exam,
            top1_percent: result.top1_percent,
            best_top1_percent: result.best_top1_percent,
            top5_percent: result.top5_percent,
            holdout_top1_percent: held,
            class_top1_percent: result.class_top1_percent,
            right: Right::new(result.right).to_hex(),
            teacher: match ready {
                Ready::Teacher(known) => Some(known.name.clone()),
                Ready::Hard | Ready::Stored(_) => None,
            },
            distilled_by: made.distilled_by,
            test_images: test.len() as u64,
            train_images: made.train.len() as u64,
            image_bytes: made.image_bytes,
            label_bytes: ready.bytes(&training, facts, made.hard_label_bytes)?,
            images_per_second: result.images_per_second,
            seconds: Seconds {
                proxy: evidence.proxy_seconds,
                compress: made.seconds,
                train: result.history.seconds,
                eval: result.eval_seconds,
            },
            history: result.history,
            program: program(),
            machine: machine(&engine),
        })
    }
}
