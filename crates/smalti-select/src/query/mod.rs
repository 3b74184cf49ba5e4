//! Scores: metrics computed by the query engine over the trace.
//!
//! Aggregation is per (sample, seed) in SQL, then a mean over seeds here. The same bytes come out for any number of threads: each seed
//! is queried in parts, some samples each; a part is one partition that reads its files in the order of the epochs, so every sum of floats
//! sees its rows in one order. Parts run side by side, and the seeds' results are added in ascending order. All sums are f64 and only
//! the last number is rounded to f32. Memory holds one number per sample and metric for the sum and one seed, never the trace. Metrics of
//! features read one class at a time.

mod deviation;
mod engine;
mod expression;
mod files;
mod table;

use crate::error::{Error, Result};
use crate::features::ClassFeatures;
use crate::metrics::{Basis, Metric};
use engine::{Engine, PassQuery, SeedScores};
use files::SeedFiles;
use smalti_data::tables::{Pass, Scored};
use std::path::Path;

/// The scores of every sample by every metric, sorted by name of the metric, and each by sample.
///
/// `trace` is the folder that holds `seed=S/epoch=E.parquet`; only `seeds` are read, as a set. Metrics over one pass share a query.
/// Blocks until done; not to be called from async code.
///
/// # Errors
/// [`Error::Input`] for no seed, a metric named twice, missing seeds, epochs or samples (each by name), a pass that was not
/// recorded, and a score that is not a finite number; [`Error::Query`] when the engine refuses a metric's SQL;
/// [`smalti_data::Error`] for files that cannot be read or are no trace.
pub fn scores(trace: &Path, seeds: &[u64], metrics: &[&Metric]) -> Result<Vec<Scored>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    scores_on(threads, trace, seeds, metrics)
}

/// Checks a metric before any proxy is trained: its expression against the columns of the trace, and whether `epochs` are enough for it.
///
/// # Errors
/// As [`scores`] for a wrong expression; [`Error::Input`] for too few epochs.
pub fn check_metric(metric: &Metric, epochs: u32) -> Result<()> {
    if epochs < metric.epochs {
        return Err(Error::input(
            format!("the metric `{}` needs {} epochs, and the proxies train for {epochs}", metric.name, metric.epochs),
            format!("give --proxy-epochs {} or more, or choose another metric", metric.epochs),
        ));
    }
    match &metric.basis {
        Basis::Trace { pass, sql } => Engine::new(1)?.check_plan(&PassQuery::new(*pass, &[(metric, sql)])),
        Basis::Features(_) => Ok(()),
    }
}

fn scores_on(threads: usize, trace: &Path, seeds: &[u64], metrics: &[&Metric]) -> Result<Vec<Scored>> {
    let mut seeds = seeds.to_vec();
    seeds.sort_unstable();
    seeds.dedup();
    if seeds.is_empty() {
        return Err(Error::input("scores need at least one proxy seed", "train one proxy or more"));
    }
    let mut metrics = metrics.to_vec();
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = metrics.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::input(format!("the metric `{}` is named twice", pair[0].name), "name each metric once"));
    }
    let mut scored = Vec::new();
    for pass in [Pass::Train, Pass::Eval] {
        let of_pass: Vec<(&Metric, &str)> = metrics
            .iter()
            .filter_map(|&m| match &m.basis {
                Basis::Trace { pass: of, sql } if *of == pass => Some((m, &**sql)),
                _ => None,
            })
            .collect();
        if of_pass.is_empty() {
            continue;
        }
        let found = files::find(trace, &seeds)?;
        let engine = Engine::new(threads)?;
        let query = PassQuery::new(pass, &of_pass);
        engine.check(&query, &found[0])?;
        let mut total = Total { query: &query, seeds: 0, sums: None };
        engine.run(&query, &found, |scores| total.add(scores))?;
        total.finish(&mut scored);
    }
    for metric in metrics {
        if let Basis::Features(centre) = metric.basis {
            let rows = ClassFeatures::open(trace, &seeds)?.distances(centre)?;
            scored.push(Scored { metric: metric.name.to_string(), rows });
        }
    }
    // Passes were computed in turn; within a metric the samples are sorted.
    scored.sort_by(|a, b| a.metric.cmp(&b.metric));
    Ok(scored)
}

/// The running sum over seeds.
struct Total<'a> {
    query: &'a PassQuery,
    seeds: u32,
    sums: Option<SeedScores>,
}

impl Total<'_> {
    /// Adds the next seed.
    fn add(&mut self, next: SeedScores) -> Result<()> {
        self.check_samples(&next)?;
        self.seeds += 1;
        match &mut self.sums {
            None => self.sums = Some(next),
            Some(sums) => {
                for (sum, value) in sums.values.iter_mut().flatten().zip(next.values.iter().flatten()) {
                    *sum += value;
                }
            }
        }
        Ok(())
    }

    /// Every sample stands in every epoch of the pass exactly once, and every seed has the same samples and epochs.
    fn check_samples(&self, next: &SeedScores) -> Result<()> {
        let pass = self.query.pass.name();
        let whole = next.epochs.len() as i64;
        if let Some(at) = next.counts.iter().position(|&count| count != whole) {
            return Err(Error::input(
                format!(
                    "sample {} has {} {pass} rows in seed {}, which records that pass in {whole} epochs",
                    next.samples[at], next.counts[at], next.seed
                ),
                "each epoch holds each sample once: train that proxy again",
            ));
        }
        let Some(first) = &self.sums else { return Ok(()) };
        if let Some((epoch, lacks, has)) = first_difference(&first.epochs, first.seed, &next.epochs, next.seed) {
            return Err(Error::input(
                format!("epoch {epoch} has {pass} rows in seed {has} but none in seed {lacks}"),
                "train the proxies with the same settings, eval epochs included",
            ));
        }
        if let Some((sample, lacks, has)) = first_difference(&first.samples, first.seed, &next.samples, next.seed) {
            return Err(Error::input(
                format!("sample {sample} has {pass} rows in seed {has} but none in seed {lacks}"),
                "train all proxies on the same images",
            ));
        }
        Ok(())
    }

    /// Appends the means, metric by metric.
    fn finish(self, scored: &mut Vec<Scored>) {
        let Some(sums) = self.sums else { return };
        for (metric, values) in self.query.names.iter().zip(&sums.values) {
            let mean = |(&sample, &sum): (&u32, &f64)| (sample, (sum / f64::from(self.seeds)) as f32);
            let rows = sums.samples.iter().zip(values).map(mean).collect();
            scored.push(Scored { metric: metric.clone(), rows });
        }
    }
}

/// The smallest number that stands in only one of two ascending lists, with the owner that lacks it and the one that has it.
fn first_difference(a: &[u32], owner_a: u64, b: &[u32], owner_b: u64) -> Option<(u32, u64, u64)> {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    match (a.get(same), b.get(same)) {
        (None, None) => None,
        (Some(&x), Some(&y)) if x > y => Some((y, owner_a, owner_b)),
        (Some(&x), _) => Some((x, owner_b, owner_a)),
        (None, Some(&y)) => Some((y, owner_a, owner_b)),
    }
}

#[cfg(test)]
mod tests;
