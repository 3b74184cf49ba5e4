//! Score: proxies train and leave a trace; scores are queries over it. Leaves `trace/`, `proxies.json` and `scores.parquet`.

use super::Given;
use crate::error::failure;
use crate::pipeline::Request;
use crate::recipe::{ProxySettings, Settings};
use crate::run::Run;
use crate::sources::{budget, rows};
use crate::ui::{Ui, count};
use anyhow::{Context, Result};
use smalti_data::files;
use smalti_data::mosaic::Layout;
use smalti_data::source::Source;
use smalti_data::store::{Fit, ImageStore};
use smalti_data::tables::scores::{read_scores, write_scores};
use smalti_data::tables::trace::seed_dir;
use smalti_data::tables::{Samples, ScoreRow, Split};
use smalti_learn::engine::Engine;
use smalti_learn::proxy::{self, ProxyReport};
use smalti_select::{HardEnd, Metric};
use std::collections::BTreeMap;
use std::path::Path;

/// Scores of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The metric's name.
    pub metric: String,
    /// Which end is hard.
    pub hard: HardEnd,
    /// One number per sample.
    pub rows: Vec<ScoreRow>,
    /// Seconds that the proxies took, where they were trained here.
    pub proxy_seconds: f64,
}

/// The scores that the rule needs, or none when it needs none or a selection was given.
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
) -> Result<Option<Scores>> {
    let (Some(name), Some(proxy)) = (&settings.metric, &settings.proxy) else { return Ok(None) };
    match &request.given {
        Given::Selection(_) => return Ok(None),
        Given::Scores(path, end) => return Ok(Some(given_scores(path, name, *end)?)),
        Given::Nothing => {}
    }
    let metric = smalti_select::metric(name)?;
    let trace = run.table("trace");
    let seeds = proxy.seeds_for(settings.seed);
    let job = ProxyJob { proxy, seeds: &seeds, trace: &trace, reports: &run.table("proxies.json") };
    let engine = || Ok(Engine::start(request.precision, request.threads)?);
    let proxy_seconds = train_proxies(&job, source, samples, engine, ui)?;
    let path = run.table("scores.parquet");
    let rows = if path.exists() { read_scores(&path)? } else { smalti_select::scores(&trace, &seeds, &[metric])? };
    write_scores(&path, &rows)?;
    ui.say(
        "score",
        format!(
            "{} of {} by {}",
            metric.name,
            count(rows.len() as u64, "image"),
            count(seeds.len() as u64, "proxy run")
        ),
    );
    Ok(Some(Scores { metric: metric.name.to_owned(), hard: metric.hard, rows, proxy_seconds }))
}

/// Scores made elsewhere. A metric of ours brings its direction; for another one `end` must say it.
///
/// # Errors
/// When the table is not one, has no such metric, or the direction is not known.
pub fn given_scores(path: &Path, metric: &str, end: Option<HardEnd>) -> Result<Scores> {
    let all = read_scores(path)?;
    let mut by_metric: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &all {
        *by_metric.entry(&row.metric).or_default() += 1;
    }
    // A table without the column `metric` holds one metric that has no name.
    let found = [metric, "given"].into_iter().find(|name| by_metric.contains_key(name));
    let found = found.map(str::to_owned).ok_or_else(|| {
        let names: Vec<&str> = by_metric.keys().copied().collect();
        failure(
            format!("`{}` has no scores of `{metric}`", path.display()),
            format!("choose --metric: it has {}", names.join(", ")),
        )
    })?;
    let known: Option<&Metric> = smalti_select::METRICS.iter().find(|m| m.name == metric);
    let hard = end.or(known.map(|m| m.hard)).ok_or_else(|| {
        failure(format!("which end of `{metric}` is hard?"), "add --hard-end high, or --hard-end low")
    })?;
    let rows = all
        .into_iter()
        .filter(|row| row.metric == found)
        .map(|row| ScoreRow { metric: metric.to_owned(), ..row })
        .collect();
    Ok(Scores { metric: metric.to_owned(), hard, rows, proxy_seconds: 0.0 })
}

/// Which proxies to train, and where their traces go.
pub struct ProxyJob<'a> {
    /// How each is trained.
    pub proxy: &'a ProxySettings,
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
    let missing: Vec<u64> = job.seeds.iter().copied().filter(|&seed| !seed_dir(job.trace, seed).exists()).collect();
    if !missing.is_empty() {
        let engine = engine()?;
        let store = load(job, source, samples, ui)?;
        for seed in missing {
            let report = train_one(job, &store, samples.classes.len(), seed, &engine, ui)?;
            reports.retain(|known| known.seed != seed);
            reports.push(report);
            files::write_bytes(job.reports, &serde_json::to_vec_pretty(&reports)?)?;
        }
    }
    job.seconds()
}

impl ProxyJob<'_> {
    /// What finished proxies reported.
    fn known(&self) -> Result<Vec<ProxyReport>> {
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
        Ok(self.known()?.iter().filter(|report| self.seeds.contains(&report.seed)).map(|report| report.seconds).sum())
    }
}

fn load(job: &ProxyJob, source: &Source, samples: &Samples, ui: &Ui) -> Result<ImageStore> {
    let wanted = rows(samples.usable(Split::Train), |class_id| class_id);
    let bar = ui.progress("load", "images for the proxies", wanted.len() as u64, "images");
    let layout = Layout::new(1, job.proxy.size)?;
    let spool = job.trace.parent().unwrap_or(job.trace);
    let store = ImageStore::load(source, &wanted, &layout, Fit::Whole, &budget(spool), &|n| bar.add(n))?;
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
    let report = proxy::record(store, classes, &job.proxy.spec(), seed, job.trace, engine, &|n| bar.add(n))?;
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

    fn row(sample: u32, metric: &str) -> ScoreRow {
        ScoreRow { sample, metric: metric.into(), score: sample as f32 }
    }

    #[test]
    fn given_scores_bring_their_direction_or_ask_for_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("scores.parquet");
        write_scores(&path, &[row(0, "el2n"), row(1, "el2n"), row(0, "mine")]).expect("written");
        let el2n = given_scores(&path, "el2n", None).expect("ours");
        assert_eq!((el2n.hard, el2n.rows.len()), (HardEnd::High, 2));
        let error = given_scores(&path, "mine", None).expect_err("no direction");
        assert!(hint_of(&error).expect("a hint").contains("--hard-end"), "{error}");
        assert_eq!(given_scores(&path, "mine", Some(HardEnd::Low)).expect("said").hard, HardEnd::Low);
        let error = given_scores(&path, "aum", None).expect_err("not there");
        assert!(hint_of(&error).expect("a hint").contains("el2n, mine"), "{error}");
    }
}
