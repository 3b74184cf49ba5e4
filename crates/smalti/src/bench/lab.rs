//! The real lab: trains proxies once per seed, makes each set once, trains a student per job.

use super::cells::{Cell, Exam, Job, Seconds};
use super::recipe::Plan;
use super::runner::Lab;
use crate::error::failure;
use crate::pipeline::{Overwrite, make_set};
use crate::run::{Run, working_folder};
use crate::sources::{Scanned, TestSet, TrainSet, budget, rows};
use crate::stages::{self, Evidence, Given, ProxyJob};
use crate::students::{program, train_one};
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::files;
use smalti_data::mosaic::Layout;
use smalti_data::source::SourceOptions;
use smalti_data::store::{Fit, ImageStore};
use smalti_data::tables::scores::write_scores;
use smalti_data::tables::{Samples, Selection, Split};
use smalti_data::write::source_hash;
use smalti_learn::engine::{Engine, Precision};
use smalti_learn::student;
use smalti_select::{ClassFeatures, Metric, Needs};
use std::collections::HashSet;
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
        Ok(Torch { plan, out, engine, ui, images: None })
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

    /// Computes the metrics that no row needs, where the recipe asks for some and the scores lack them.
    ///
    /// # Errors
    /// As a cell's.
    pub fn complete_scores(&mut self) -> Result<()> {
        if self.plan.recipe.metrics.is_empty() {
            return Ok(());
        }
        for seed in 0..self.plan.recipe.seeds {
            self.with_proxies(seed, |lab, folder, proxies| lab.make_scores(folder, proxies))?;
        }
        Ok(())
    }

    /// Calls `with` with the folder of a seed's scores and its proxies.
    fn with_proxies<T>(&mut self, seed: u64, with: impl FnOnce(&mut Self, &Path, &ProxyJob) -> Result<T>) -> Result<T> {
        let plan = self.plan;
        let folder = self.out.join("scores");
        let (trace, reports) = (self.work().join("trace"), folder.join("proxies.json"));
        let seeds = plan.proxy.seeds_for(seed);
        let proxies = ProxyJob {
            proxy: &plan.proxy,
            leaves: stages::leaves(plan.metrics.iter(), plan.rows.iter().map(|row| &row.choice)),
            seeds: &seeds,
            trace: &trace,
            reports: &reports,
        };
        with(self, &scores_folder(self.out, seed), &proxies)
    }

    /// What the rule of a job decides by: from OUT/scores and the trace of the proxies, which are trained where something is missing.
    fn evidence(&mut self, job: &Job) -> Result<Evidence> {
        let needs = job.row.choice.rule.needs;
        if needs == Needs::Nothing {
            return Ok(Evidence::default());
        }
        self.with_proxies(job.seed, |lab, folder, proxies| {
            let scores = match &job.row.metric {
                Some(metric) => {
                    lab.make_scores(folder, proxies)?;
                    Some(stages::given_scores(&file_of(folder, metric), &metric.name, Some(metric.hard))?)
                }
                None => None,
            };
            let features = match needs.features() && !lab.selection(job).exists() {
                true => {
                    lab.train(proxies)?;
                    Some(ClassFeatures::open(proxies.trace, proxies.seeds)?)
                }
                false => None,
            };
            Ok(Evidence { scores, features, proxy_seconds: proxies.seconds()? })
        })
    }

    /// Computes the metrics of the plan that lack their file, all in one pass over the trace.
    fn make_scores(&mut self, folder: &Path, proxies: &ProxyJob) -> Result<()> {
        let missing: Vec<&Metric> = self.plan.metrics.iter().filter(|m| !file_of(folder, m).exists()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.train(proxies)?;
        for scored in smalti_select::scores(proxies.trace, proxies.seeds, &missing)? {
            let path = folder.join(format!("{}.parquet", scored.metric));
            write_scores(&path, vec![scored])?;
        }
        Ok(())
    }

    fn train(&mut self, proxies: &ProxyJob) -> Result<()> {
        let (engine, ui) = (self.engine, self.ui);
        let images = self.images()?;
        stages::train_proxies(proxies, &images.source.source, &images.source.samples, || Ok(engine), ui).map(|_| ())
    }

    /// Where the choice of a rule that compares features is kept: with it a new machine needs no proxy.
    fn selection(&self, job: &Job) -> PathBuf {
        let name = format!("{}-ipc{}-seed{}.parquet", job.row.name, job.ipc, job.seed);
        self.out.join("selections").join(name)
    }

    /// The set of a job, made once; with the seconds that making it took.
    fn set(&mut self, job: &Job, evidence: &Evidence) -> Result<(TrainSet, f64)> {
        let dir = self.work().join("sets").join(format!("{}-ipc{}-seed{}", job.row.name, job.ipc, job.seed));
        let ui = self.ui;
        let size = self.plan.recipe.size;
        let kept = self.selection(job);
        let images = self.images()?;
        let start = Instant::now();
        if !dir.join(smalti_data::manifest::MANIFEST).exists() {
            let mut recipe = job.row.recipe.clone();
            (recipe.ipc, recipe.seed) = (Some(job.ipc), Some(job.seed));
            let settings = recipe.settle(&format!("{}-ipc{}", job.row.name, job.ipc), size)?;
            let run = Run::begin(&dir, Overwrite::Refuse)?;
            run.keep_settings(&settings.to_toml())?;
            let known = job.row.choice.rule.needs.features() && kept.exists();
            let given = if known { Given::Selection(kept.clone()) } else { Given::Nothing };
            let (source, samples) = (&images.source.source, &images.source.samples);
            make_set(source, samples, evidence, &settings, &given, &run, ui)?;
        }
        if job.row.choice.rule.needs.features() && !kept.exists() {
            let class_of = |row: u32| images.source.samples.rows.get(row as usize).map(|sample| sample.class_id);
            let mut selection = Selection::read(&working_folder(&dir).join("selection.parquet"), class_of)?;
            selection.rows.retain(|row| row.kept);
            selection.write(&kept)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok((TrainSet::open(&dir, &SourceOptions::default(), Some(size), ui)?, seconds))
    }
}

impl Lab for Torch<'_> {
    fn student(&mut self, job: &Job) -> Result<Cell> {
        let evidence = self.evidence(job)?;
        let (set, compress_seconds) = self.set(job, &evidence)?;
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
        let (result, network) = train_one(&name, &training, (&train, test, set.classes.len()), job.seed, &engine, ui)?;
        let held = match (&images.holdout, job.exam) {
            (Some(_), Exam::Holdout) => Some(result.top1_percent),
            (Some(holdout), Exam::Test) => Some(student::evaluate(&network, holdout, &engine)?.top1_percent),
            (None, _) => None,
        };
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
            holdout_top1_percent: held,
            class_top1_percent: result.class_top1_percent,
            test_images: test.len() as u64,
            train_images: train.len() as u64,
            image_bytes: set.image_bytes,
            label_bytes: set.label_bytes,
            images_per_second: result.images_per_second,
            seconds: Seconds {
                proxy: evidence.proxy_seconds,
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

/// Where the scores of a seed lie: a file per metric, so that a metric can be added and no file grows large.
pub fn scores_folder(out: &Path, seed: u64) -> PathBuf {
    out.join(format!("scores/seed={seed}"))
}

/// The file of one metric's scores.
pub fn file_of(folder: &Path, metric: &Metric) -> PathBuf {
    folder.join(format!("{}.parquet", metric.name))
}

/// Scores and cells belong to their images, whose hashes lie beside the scores: nothing from another machine is joined to other images.
fn keep_source_hash(out: &Path, source: &Samples, test: Option<&Samples>) -> Result<()> {
    let path = out.join("scores/source.txt");
    let both = [Some(source), test];
    let contents: String = both.into_iter().flatten().map(|samples| source_hash(samples) + "\n").collect();
    let labels: String =
        both.into_iter().flatten().map(|samples| format!("labels {}\n", label_hash(samples))).collect();
    let text = contents.clone() + &labels;
    if !path.exists() {
        return Ok(files::write_bytes(&path, text.as_bytes())?);
    }
    // Older folders hold the contents alone.
    let before = files::read(&path)?;
    if before == text.as_bytes() || before == contents.as_bytes() {
        return Ok(());
    }
    Err(failure(
        format!("`{}` was made from other images than those of the recipe", out.display()),
        "give the images it was made from, or another --out",
    ))
}

/// Which class each image is in.
fn label_hash(samples: &Samples) -> String {
    let mut hasher = blake3::Hasher::new();
    samples.rows.iter().for_each(|sample| {
        hasher.update(&sample.class_id.to_le_bytes());
    });
    hasher.finalize().to_hex().to_string()
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
