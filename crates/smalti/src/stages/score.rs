//! Score: proxies train and leave a trace; scores are queries over it. Leaves `trace/`, `proxies.json` and `scores.parquet`.
//!
//! What a rule decides by is its evidence: scores of one metric, features of the proxies, both or nothing.

use super::Given;
use crate::cache::{self, Cache, Kind};
use crate::decoded::{self, Wanted};
use crate::error::failure;
use crate::pipeline::Request;
use crate::proxies::ProxySettings;
use crate::recipe::Settings;
use crate::run::Run;
use crate::sources::{budget, rows};
use crate::students::{machine, program};
use crate::ui::{Ui, count};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use smalti_data::files;
use smalti_data::mosaic::Layout;
use smalti_data::source::Source;
use smalti_data::store::{Fit, ImageStore};
use smalti_data::tables::features::path_in;
use smalti_data::tables::scores::{UNNAMED, read_scores, write_scores};
use smalti_data::tables::trace::seed_dir;
use smalti_data::tables::{Samples, Split};
use smalti_learn::engine::Engine;
use smalti_learn::proxy::{self, Leaves, ProxyReport, Task};
use smalti_select::{Basis, Choice, ClassFeatures, HardEnd, Metric};
use std::path::Path;

/// Scores of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The metric's name.
    pub metric: String,
    /// Which end is hard.
    pub hard: HardEnd,
    /// Sample and score.
    pub rows: Vec<(u32, f32)>,
}

/// What a rule decides by.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Scores, where it needs them.
    pub scores: Option<Scores>,
    /// Features of the proxies, where it needs them.
    pub features: Option<ClassFeatures>,
    /// Seconds that the proxies took, where they were trained here.
    pub proxy_seconds: f64,
}

impl Evidence {
    /// As the rules read it.
    pub fn view(&self) -> smalti_select::Evidence<'_> {
        smalti_select::Evidence {
            scores: self.scores.as_ref().map(|s| smalti_select::Scores {
                metric: &s.metric,
                hard: s.hard,
                rows: &s.rows,
            }),
            features: self.features.as_ref(),
        }
    }
}

/// What the rule needs, or nothing when it needs nothing or a selection was given.
///
/// # Errors
/// When the given table does not fit, training fails, or a table cannot be written.
pub fn score(
    request: &Request,
    source: &Source,
    samples: &Samples,
    settings: &Settings,
    run: &Run,
    ui: &Ui,
) -> Result<Evidence> {
    let Some(proxy) = &settings.proxy else { return Ok(Evidence::default()) };
    let metric = settings.metric.as_deref();
    match (&request.given, metric) {
        (Given::Selection(_), _) => return Ok(Evidence::default()),
        (Given::Scores(path), Some(name)) => {
            let scores = Some(given_scores(path, name, settings.hard_end)?);
            return Ok(Evidence { scores, ..Evidence::default() });
        }
        (Given::Scores(_) | Given::Nothing, _) => {}
    }
    let metric = metric.map(|spec| smalti_select::metric(spec, settings.hard_end)).transpose()?;
    let choice = settings.choice()?;
    let trace = run.table("trace");
    let seeds = proxy.seeds_for(settings.seed);
    let job = ProxyJob {
        proxy,
        leaves: leaves(metric.iter(), [&choice]),
        seeds: &seeds,
        trace: &trace,
        reports: &run.table("proxies.json"),
    };
    let engine = || Ok(Engine::start(request.machine)?);
    let proxy_seconds = train_proxies(&job, source, samples, engine, ui)?;
    let scores = metric.map(|metric| scores_of(metric, &job, run, ui)).transpose()?;
    let features = match choice.rule.needs.features() {
        true => Some(ClassFeatures::open(&trace, &seeds)?),
        false => None,
    };
    Ok(Evidence { scores, features, proxy_seconds })
}

fn scores_of(metric: Metric, job: &ProxyJob, run: &Run, ui: &Ui) -> Result<Scores> {
    let path = run.table("scores.parquet");
    let known = if path.exists() { read_scores(&path)? } else { Vec::new() };
    let rows = match known.into_iter().find(|scored| scored.metric == metric.name) {
        Some(scored) => scored.rows,
        None => {
            let scored = smalti_select::scores(job.trace, job.seeds, &[&metric])?;
            let rows = scored.iter().flat_map(|scored| scored.rows.iter().copied()).collect();
            write_scores(&path, scored)?;
            rows
        }
    };
    ui.say(
        "score",
        format!(
            "{} of {} by {}",
            metric.name,
            count(rows.len() as u64, "image"),
            count(job.seeds.len() as u64, "proxy run")
        ),
    );
    Ok(Scores { metric: metric.name.into_owned(), hard: metric.hard, rows })
}

/// What the proxies must leave for these metrics and rules.
pub fn leaves<'a>(
    metrics: impl IntoIterator<Item = &'a Metric>,
    rules: impl IntoIterator<Item = &'a Choice>,
) -> Leaves {
    let of_features = |metric: &Metric| matches!(metric.basis, Basis::Features(_));
    let wanted = metrics.into_iter().any(of_features) || rules.into_iter().any(|choice| choice.rule.needs.features());
    if wanted { Leaves::TraceAndFeatures } else { Leaves::Trace }
}

/// Scores made elsewhere. A metric of ours brings its direction; for another one `end` must say it.
///
/// # Errors
/// When the table is not one, has no such metric, or the direction is not known.
pub fn given_scores(path: &Path, metric: &str, end: Option<HardEnd>) -> Result<Scores> {
    let all = read_scores(path)?;
    let metric = metric.split(['@', '=']).next().unwrap_or(metric).trim();
    // A table without the column `metric` holds one metric that has no name.
    let found = [metric, UNNAMED].into_iter().find(|name| all.iter().any(|scored| scored.metric == *name));
    let found = found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|scored| scored.metric.as_str()).collect();
        failure(
            format!("`{}` has no scores of `{metric}`", path.display()),
            format!("choose --metric: it has {}", names.join(", ")),
        )
    })?;
    let ours = smalti_select::METRICS.iter().any(|m| m.name == metric);
    let known = if ours { Some(smalti_select::metric(metric, end)?.hard) } else { None };
    let hard = known.or(end).ok_or_else(|| {
        failure(format!("which end of `{metric}` is hard?"), "add --hard-end high, or --hard-end low")
    })?;
    let rows = all.iter().find(|scored| scored.metric == found).map_or(Vec::new(), |scored| scored.rows.clone());
    Ok(Scores { metric: metric.to_owned(), hard, rows })
}

/// Names in the cache.
const TRACE: &str = "trace";
const REPORT: &str = "report.json";

/// What a finished proxy reported.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Trained {
    #[serde(flatten)]
    report: ProxyReport,
    /// The program and the machine. Earlier versions did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// Which proxies to train, and where their traces go.
pub struct ProxyJob<'a> {
    /// How each is trained.
    pub proxy: &'a ProxySettings,
    /// What each must leave behind.
    pub leaves: Leaves,
    /// One proxy each.
    pub seeds: &'a [u64],
    /// The folder of the traces.
    pub trace: &'a Path,
    /// The file of what they reported.
    pub reports: &'a Path,
}

/// Trains the proxies whose traces are not there, and returns the seconds that all of them took.
///
/// # Errors
/// When training fails or a file cannot be written.
pub fn train_proxies(
    job: &ProxyJob,
    source: &Source,
    samples: &Samples,
    engine: impl FnOnce() -> Result<Engine>,
    ui: &Ui,
) -> Result<f64> {
    let mut reports = job.known()?;
    let missing: Vec<u64> = job.seeds.iter().copied().filter(|&seed| !job.is_there(seed)).collect();
    if !missing.is_empty() {
        let (engine, cache) = (engine()?, Cache::open());
        let by = format!("smalti {}, {}", program(), machine(&engine));
        let mut store = None;
        for seed in missing {
            let key = job.key(source, samples, seed, &engine);
            let known = job.cached(&cache, &key, seed, ui)?;
            let is_new = known.is_none();
            let report = match known {
                Some(report) => report,
                None => {
                    let store = match &mut store {
                        Some(store) => store,
                        none => none.insert(load(job, source, samples, ui)?),
                    };
                    train_one(job, store, samples.classes.len(), seed, &engine, ui)?
                }
            };
            reports.retain(|known| known.report.seed != seed);
            reports.push(Trained { report: report.clone(), by: Some(by.clone()) });
            files::write_bytes(job.reports, &serde_json::to_vec_pretty(&reports)?)?;
            if is_new {
                job.keep_in_cache(&cache, &key, &report, ui);
            }
        }
        if let Some(other) = job.trained_otherwise(&reports, &by) {
            ui.warn(format!(
                "some of the proxies were trained by {other}, the others by {by}: to repeat these scores, both are needed; --scores keeps them"
            ));
        }
    }
    job.seconds()
}

impl ProxyJob<'_> {
    /// Whether a proxy has left all that is wanted.
    fn is_there(&self, seed: u64) -> bool {
        let dir = seed_dir(self.trace, seed);
        dir.exists() && (self.leaves == Leaves::Trace || path_in(&dir).exists())
    }

    /// The hash of everything that its trace depends on.
    fn key(&self, source: &Source, samples: &Samples, seed: u64, engine: &Engine) -> String {
        let leaves = if self.leaves == Leaves::Trace { "trace" } else { "trace and features" };
        let images = (cache::train_hash(samples), source.profile().name());
        cache::key(&("proxy 2", images, self.proxy, seed, leaves, machine(engine), program()))
    }

    /// A proxy that another run has trained: its trace is put into its place.
    fn cached(&self, cache: &Cache, key: &str, seed: u64, ui: &Ui) -> Result<Option<ProxyReport>> {
        let Some(files) = cache.find(Kind::Proxy, key) else { return Ok(None) };
        let lost = |error: &dyn std::fmt::Display| {
            ui.warn(format!("the cache lost a proxy, which is trained again: {error}"));
        };
        let report = match files::read(&files.join(REPORT)) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| lost(&error)).ok(),
            Err(error) => {
                lost(&error);
                None
            }
        };
        let Some(report) = report else { return Ok(None) };
        let place = seed_dir(self.trace, seed);
        let partial = files::partial_of(&place);
        for old in [&partial, &place] {
            if old.exists() {
                std::fs::remove_dir_all(old).map_err(smalti_data::Error::io("remove the folder", old))?;
            }
        }
        if let Err(error) = cache::link_tree(&files.join(TRACE), &partial) {
            lost(&error);
            return Ok(None);
        }
        files::rename(&partial, &place)?;
        ui.say("proxy", format!("{} seed {seed}: from the cache", self.proxy.network));
        Ok(Some(report))
    }

    fn keep_in_cache(&self, cache: &Cache, key: &str, report: &ProxyReport, ui: &Ui) {
        let p = self.proxy;
        let about = format!("proxy {} at {} px, {} epochs, seed {}", p.network, p.size, p.epochs, report.seed);
        cache.keep(Kind::Proxy, key, &about, ui, |folder| {
            cache::link_tree(&seed_dir(self.trace, report.seed), &folder.join(TRACE))?;
            Ok(files::write_bytes(&folder.join(REPORT), &serde_json::to_vec(report)?)?)
        });
    }

    /// What trained a proxy of this job elsewhere, where that is known: training repeats its bits on one build, processor and number of threads alone.
    fn trained_otherwise<'a>(&self, reports: &'a [Trained], by: &str) -> Option<&'a str> {
        let mut own = reports.iter().filter(|known| self.seeds.contains(&known.report.seed));
        own.find_map(|known| known.by.as_deref().filter(|other| *other != by))
    }

    /// What finished proxies reported.
    fn known(&self) -> Result<Vec<Trained>> {
        if !self.reports.exists() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&files::read(self.reports)?)
            .with_context(|| format!("`{}` is damaged; remove it", self.reports.display()))
    }

    /// Seconds that these proxies took, wherever they were trained.
    ///
    /// # Errors
    /// When their report is damaged.
    pub fn seconds(&self) -> Result<f64> {
        let known = self.known()?;
        let own = known.iter().map(|known| &known.report).filter(|report| self.seeds.contains(&report.seed));
        Ok(own.map(|report| report.seconds).sum())
    }
}

fn load(job: &ProxyJob, source: &Source, samples: &Samples, ui: &Ui) -> Result<ImageStore> {
    let wanted = rows(samples.usable(Split::Train), |class_id| class_id);
    let bar = ui.progress("load", "images for the proxies", wanted.len() as u64, "images");
    let layout = Layout::new(1, job.proxy.size)?;
    let spool = job.trace.parent().unwrap_or(job.trace);
    let wanted = Wanted { rows: &wanted, layout: &layout, fit: Fit::Whole };
    let store = decoded::load((source, samples), wanted, &budget(spool), &|n| bar.add(n), ui)?;
    bar.done();
    Ok(store)
}

fn train_one(
    job: &ProxyJob,
    store: &ImageStore,
    classes: usize,
    seed: u64,
    engine: &Engine,
    ui: &Ui,
) -> Result<ProxyReport> {
    let total = store.len() as u64 * u64::from(job.proxy.epochs);
    let bar = ui.progress("proxy", &format!("{} seed {seed}", job.proxy.network), total, "images");
    let task = Task { seed, trace: job.trace, leaves: job.leaves };
    let report = proxy::record(store, classes, &job.proxy.spec(classes)?, &task, engine, &|n| bar.add(n))?;
    bar.done();
    ui.say(
        "proxy",
        format!(
            "{} seed {seed}: {} epochs at {} px, {:.1} % of the training images right, {:.0} s",
            job.proxy.network, job.proxy.epochs, job.proxy.size, report.train_top1_percent, report.seconds
        ),
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;
    use smalti_data::tables::Scored;

    #[test]
    fn given_scores_bring_their_direction_or_ask_for_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("scores.parquet");
        let scored = |metric: &str, rows: &[(u32, f32)]| Scored { metric: metric.into(), rows: rows.to_vec() };
        write_scores(&path, vec![scored("el2n", &[(0, 0.0), (1, 1.0)]), scored("mine", &[(0, 0.0)])]).expect("written");
        let el2n = given_scores(&path, "el2n", None).expect("ours");
        assert_eq!((el2n.hard, el2n.rows.len()), (HardEnd::High, 2));
        let error = given_scores(&path, "mine", None).expect_err("no direction");
        assert!(hint_of(&error).expect("a hint").contains("--hard-end"), "{error}");
        assert_eq!(given_scores(&path, "mine", Some(HardEnd::Low)).expect("said").hard, HardEnd::Low);
        let error = given_scores(&path, "aum", None).expect_err("not there");
        assert!(hint_of(&error).expect("a hint").contains("el2n, mine"), "{error}");
    }
}
