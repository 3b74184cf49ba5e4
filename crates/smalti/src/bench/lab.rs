//! The real lab: trains proxies once per seed, makes each set once, trains a student per job.

use super::cells::{Cell, Exam, Job, Seconds};
use super::recipe::Plan;
use super::runner::Lab;
use crate::error::failure;
use crate::pipeline::{Overwrite, make_set};
use crate::run::Run;
use crate::sources::{Scanned, TestSet, TrainSet, budget, rows};
use crate::stages::{self, Given, ProxyJob, Scores};
use crate::students::{program, train_one};
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::files;
use smalti_data::mosaic::Layout;
use smalti_data::source::SourceOptions;
use smalti_data::store::{Fit, ImageStore};
use smalti_data::tables::scores::write_scores;
use smalti_data::tables::{Samples, Split};
use smalti_data::write::source_hash;
use smalti_learn::engine::{Engine, Precision};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where and how to compute.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    /// Number format.
    pub precision: Precision,
    /// Threads; 0 for all cores.
    pub threads: usize,
}

/// A lab that trains with libtorch.
pub struct Torch<'a> {
    plan: &'a Plan,
    out: &'a Path,
    engine: Engine,
    ui: &'a Ui,
    images: Option<Images>,
    scores: BTreeMap<u64, Vec<Scores>>,
}

/// What every cell shares, decoded once.
struct Images {
    source: Scanned,
    test: ImageStore,
    holdout: Option<ImageStore>,
}

impl<'a> Torch<'a> {
    /// A lab for a plan; nothing is read before the first cell needs it.
    ///
    /// # Errors
    /// When the machine cannot compute as asked.
    pub fn open(plan: &'a Plan, out: &'a Path, machine: Machine, ui: &'a Ui) -> Result<Torch<'a>> {
        let engine = Engine::start(machine.precision, machine.threads)?;
        Ok(Torch { plan, out, engine, ui, images: None, scores: BTreeMap::new() })
    }

    fn work(&self) -> PathBuf {
        self.out.join("work")
    }

    fn fit(&self) -> Fit {
        self.plan.rows[0].training.fit
    }

    fn images(&mut self) -> Result<&Images> {
        if self.images.is_none() {
            self.images = Some(self.open_images()?);
        }
        Ok(self.images.as_ref().expect("it was put there above"))
    }

    fn open_images(&self) -> Result<Images> {
        let options = SourceOptions::default();
        let mut source = Scanned::open(&self.plan.source, &options, self.ui)?;
        stages::hold_out(&mut source.samples, self.plan.recipe.holdout, 0);
        source.samples.write(&self.work().join("samples.parquet"))?;
        let classes = source.source.classes().to_vec();
        let elsewhere = self.plan.recipe.test.is_some();
        let scanned = match elsewhere {
            true => Scanned::open(&self.plan.test, &options, self.ui)?,
            false => Scanned {
                source: smalti_data::source::Source::open(&self.plan.source, &options)?,
                samples: source.samples.clone(),
            },
        };
        if !elsewhere && scanned.samples.usable(Split::Test).next().is_none() {
            let what = format!("`{}` has no test part", self.plan.source.display());
            return Err(failure(what, "add `test = \"PATH\"` to the recipe, or put the images into train/ and test/"));
        }
        keep_source_hash(self.out, &source.samples, elsewhere.then_some(&scanned.samples))?;
        warn_of_leaks(&source.samples, &scanned.samples, elsewhere, self.ui);
        let work = self.work();
        let test = TestSet::of(scanned, &classes)?.load(self.plan.recipe.size, self.fit(), &budget(&work))?;
        let held = rows(source.samples.usable(Split::Holdout), |class_id| class_id);
        let layout = Layout::new(1, self.plan.recipe.size)?;
        let holdout = match held.is_empty() {
            true => None,
            false => Some(ImageStore::load(&source.source, &held, &layout, self.fit(), &budget(&work), &|_| ())?),
        };
        Ok(Images { source, test, holdout })
    }

    /// The scores of one seed by all metrics of the plan: from OUT/scores, or from new proxies.
    fn scores(&mut self, seed: u64, metric: &str) -> Result<Scores> {
        if !self.scores.contains_key(&seed) {
            let made = self.make_scores(seed)?;
            self.scores.insert(seed, made);
        }
        let found = self.scores.get(&seed).and_then(|all| all.iter().find(|s| s.metric == metric));
        found.cloned().ok_or_else(|| {
            failure(format!("there are no scores of `{metric}`"), "remove OUT/scores to make them again")
        })
    }

    fn make_scores(&mut self, seed: u64) -> Result<Vec<Scores>> {
        let folder = self.out.join("scores");
        let path = folder.join(format!("seed={seed}.parquet"));
        let names: HashSet<&str> = self.plan.rows.iter().filter_map(|row| row.metric.as_deref()).collect();
        let metrics = smalti_select::METRICS.iter().filter(|m| names.contains(m.name)).collect::<Vec<_>>();
        let (plan, engine, ui, work) = (self.plan, self.engine, self.ui, self.work());
        let images = self.images()?;
        let seeds = plan.proxy.seeds_for(seed);
        let trace = work.join("trace");
        let job = ProxyJob { proxy: &plan.proxy, seeds: &seeds, trace: &trace, reports: &folder.join("proxies.json") };
        if !path.exists() {
            stages::train_proxies(&job, &images.source.source, &images.source.samples, || Ok(engine), ui)?;
            write_scores(&path, &smalti_select::scores(&trace, &seeds, &metrics)?)?;
        }
        let proxy_seconds = job.seconds()?;
        let read =
            |m: &&smalti_select::Metric| Ok(Scores { proxy_seconds, ..stages::given_scores(&path, m.name, None)? });
        metrics.iter().map(read).collect()
    }

    /// The set of a job, made once; with the seconds that making it took.
    fn set(&mut self, job: &Job, scores: Option<&Scores>) -> Result<(TrainSet, f64)> {
        let dir = self.work().join("sets").join(format!("{}-ipc{}-seed{}", job.row.name, job.ipc, job.seed));
        let ui = self.ui;
        let size = self.plan.recipe.size;
        let images = self.images()?;
        let start = Instant::now();
        if !dir.join(smalti_data::manifest::MANIFEST).exists() {
            let mut recipe = job.row.recipe.clone();
            (recipe.ipc, recipe.seed) = (Some(job.ipc), Some(job.seed));
            let settings = recipe.settle(&format!("{}-ipc{}", job.row.name, job.ipc), size)?;
            let run = Run::begin(&dir, Overwrite::Refuse)?;
            run.keep_settings(&settings.to_toml())?;
            make_set(&images.source.source, &images.source.samples, scores, &settings, &Given::Nothing, &run, ui)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok((TrainSet::open(&dir, &SourceOptions::default(), Some(size), ui)?, seconds))
    }
}

impl Lab for Torch<'_> {
    fn student(&mut self, job: &Job) -> Result<Cell> {
        let scores = job.row.metric.as_deref().map(|metric| self.scores(job.seed, metric)).transpose()?;
        let (set, compress_seconds) = self.set(job, scores.as_ref())?;
        let mut training = job.row.training.clone();
        training.crop.scale.0 = job.crop_min;
        let scratch = self.work();
        let train = set.load(&budget(&scratch))?;
        let (engine, ui) = (self.engine, self.ui);
        let images = self.images()?;
        let test = match job.exam {
            Exam::Test => Some(&images.test),
            Exam::Holdout => images.holdout.as_ref(),
        };
        let test = test.ok_or_else(|| {
            failure("there is no hold-out to choose crop ranges on", "set `holdout = 0.1` in the recipe")
        })?;
        let name =
            format!("{} ipc {}{}", job.row.name, job.ipc, if job.exam == Exam::Holdout { " hold-out" } else { "" });
        let (result, _) = train_one(&name, &training, (&train, test, set.classes.len()), job.seed, &engine, ui)?;
        Ok(Cell {
            method: job.row.name.clone(),
            ipc: job.ipc,
            student: training.student.clone(),
            protocol: training.protocol.clone(),
            augment: training.augment.name().to_owned(),
            crop_min: job.crop_min,
            seed: job.seed,
            exam: job.exam,
            top1_percent: result.top1_percent,
            top5_percent: result.top5_percent,
            class_top1_percent: result.class_top1_percent,
            test_images: test.len() as u64,
            train_images: train.len() as u64,
            image_bytes: set.image_bytes,
            label_bytes: set.label_bytes,
            images_per_second: result.images_per_second,
            seconds: Seconds {
                proxy: scores.map_or(0.0, |s| s.proxy_seconds),
                compress: compress_seconds,
                train: result.history.seconds,
                eval: result.eval_seconds,
            },
            history: result.history,
            program: program(),
            machine: describe(&engine),
        })
    }
}

/// Scores and cells belong to their images, whose hashes lie beside the scores: nothing from another machine is joined to other images.
fn keep_source_hash(out: &Path, source: &Samples, test: Option<&Samples>) -> Result<()> {
    let path = out.join("scores/source.txt");
    let text: String = [Some(source), test].into_iter().flatten().map(|samples| source_hash(samples) + "\n").collect();
    if !path.exists() {
        return Ok(files::write_bytes(&path, text.as_bytes())?);
    }
    if files::read(&path)? == text.as_bytes() {
        return Ok(());
    }
    Err(failure(
        format!("`{}` was made from other images than those of the recipe", out.display()),
        "give the images it was made from, or another --out",
    ))
}

fn warn_of_leaks(train: &Samples, test: &Samples, elsewhere: bool, ui: &Ui) {
    let seen: HashSet<u128> = train.usable(Split::Train).map(|s| s.content_hash).collect();
    let split = if !elsewhere || test.usable(Split::Test).next().is_some() { Split::Test } else { Split::Train };
    let leaks = test.usable(split).filter(|s| seen.contains(&s.content_hash)).count();
    if leaks > 0 {
        ui.warn(format!("{leaks} test images are also training images; every row's accuracy is that much too high"));
    }
}

/// Processor, threads and number format.
pub fn describe(engine: &Engine) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split(':').nth(1));
    format!("{}, {} threads, {}", model.map_or("unknown processor", str::trim), engine.threads, engine.precision_name())
}
