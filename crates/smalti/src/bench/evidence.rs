//! What the rules of a bench decide by: proxies per seed, a file of scores per metric, and the choices of rules that compare features.

use super::cells::{Job, set_name};
use super::lab::Torch;
use crate::stages::{self, Evidence, ProxyJob};
use anyhow::Result;
use smalti_data::tables::Pass;
use smalti_data::tables::scores::write_scores;
use smalti_select::{Basis, ClassFeatures, METRICS, Metric, Needs};
use std::path::{Path, PathBuf};

/// What the rule of a job decides by: from OUT/scores and the trace of the proxies, which are trained where something is missing.
///
/// # Errors
/// When proxies cannot be trained, or a table is damaged.
pub(super) fn of(lab: &mut Torch, job: &Job) -> Result<Evidence> {
    let Some(making) = job.row.making().filter(|making| making.choice.rule.needs != Needs::Nothing) else {
        return Ok(Evidence::default());
    };
    let kept = selection(lab.out, job);
    with_proxies(lab, job.seed, |lab, folder, proxies| {
        let scores = match &making.metric {
            Some(metric) => {
                make_scores(lab, folder, proxies)?;
                Some(stages::given_scores(&file_of(folder, metric), &metric.name, Some(metric.hard))?)
            }
            None => None,
        };
        let features = match making.choice.rule.needs.features() && !kept.exists() {
            true => {
                train(lab, proxies)?;
                Some(ClassFeatures::open(proxies.trace, proxies.seeds)?)
            }
            false => None,
        };
        Ok(Evidence { scores, features, proxy_seconds: proxies.seconds()? })
    })
}

/// Computes the metrics of a seed that have no file yet.
///
/// # Errors
/// As [`of`].
pub(super) fn complete(lab: &mut Torch, seed: u64) -> Result<()> {
    with_proxies(lab, seed, make_scores)
}

/// Where the choice of a rule that compares features is kept: with it a new machine needs no proxy.
pub(super) fn selection(out: &Path, job: &Job) -> PathBuf {
    out.join("selections").join(set_name(&job.row.name, job.ipc, job.seed) + ".parquet")
}

/// Where the scores of a seed lie: a file per metric, so that a metric can be added and no file grows large.
pub(super) fn scores_folder(out: &Path, seed: u64) -> PathBuf {
    out.join(format!("scores/seed={seed}"))
}

/// The file of one metric's scores.
pub(super) fn file_of(folder: &Path, metric: &Metric) -> PathBuf {
    folder.join(format!("{}.parquet", metric.name))
}

/// Calls `with` with the folder of a seed's scores and its proxies, on which no other process works meanwhile.
fn with_proxies<T>(
    lab: &mut Torch,
    seed: u64,
    with: impl FnOnce(&mut Torch, &Path, &ProxyJob) -> Result<T>,
) -> Result<T> {
    let plan = lab.plan;
    // One lock for all seeds: they share the file of reports.
    let _alone = lab.alone("proxies")?;
    let (trace, reports) = (lab.work().join("trace"), lab.out.join("scores/proxies.json"));
    let seeds = plan.proxy.seeds_for(seed);
    let choices = plan.rows.iter().filter_map(|row| row.making()).map(|making| &making.choice);
    let proxies = ProxyJob {
        proxy: &plan.proxy,
        leaves: stages::leaves(plan.metrics.iter(), choices),
        seeds: &seeds,
        trace: &trace,
        reports: &reports,
    };
    let folder = scores_folder(lab.out, seed);
    with(lab, &folder, &proxies)
}

/// A user's metric means the same in all cells of a folder.
fn pin_own(lab: &Torch, metric: &Metric) -> Result<()> {
    match (&metric.basis, METRICS.iter().any(|known| known.name == metric.name)) {
        (Basis::Trace { sql, pass: Pass::Train }, false) => lab.pin(&format!("metric {}", metric.name), sql),
        (Basis::Trace { sql, pass: Pass::Eval }, false) => {
            lab.pin(&format!("metric {}", metric.name), &format!("{sql} of eval rows"))
        }
        _ => Ok(()),
    }
}

/// Computes the metrics of the plan that lack their file, all in one pass over the trace.
fn make_scores(lab: &mut Torch, folder: &Path, proxies: &ProxyJob) -> Result<()> {
    for metric in &lab.plan.metrics {
        pin_own(lab, metric)?;
    }
    let missing: Vec<&Metric> = lab.plan.metrics.iter().filter(|m| !file_of(folder, m).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    train(lab, proxies)?;
    for scored in smalti_select::scores(proxies.trace, proxies.seeds, &missing)? {
        let path = folder.join(format!("{}.parquet", scored.metric));
        write_scores(&path, vec![scored])?;
    }
    Ok(())
}

fn train(lab: &mut Torch, proxies: &ProxyJob) -> Result<()> {
    let (engine, ui) = (lab.engine, lab.ui);
    let images = lab.images()?;
    stages::train_proxies(proxies, &images.source.source, &images.source.samples, || Ok(engine), ui).map(|_| ())
}
