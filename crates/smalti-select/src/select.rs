//! One rule applied within each class: candidates, scores and a budget become a selection.

use crate::budget::{Budget, Counted};
use crate::candidate::{Candidate, by_class};
use crate::error::{Error, Result};
use crate::metrics::{HardEnd, Metric};
use crate::names::first_few;
use crate::rules::{Class, Needs, Rule};
use smalti_data::tables::{ScoreRow, Selected, Selection};
use std::sync::Arc;

/// The scores that a rule decides by.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// The metric's name; rows of other metrics are ignored.
    pub metric: &'a str,
    /// Which end of it is hard.
    pub hard: HardEnd,
    /// The rows, in any order, also for samples that are no candidates.
    pub rows: &'a [ScoreRow],
}

impl<'a> Scores<'a> {
    /// The rows of one of our metrics.
    pub fn of(metric: &'a Metric, rows: &'a [ScoreRow]) -> Scores<'a> {
        Scores { metric: metric.name, hard: metric.hard, rows }
    }
}

/// Ranks the candidates of each class by `rule` and keeps the best `budget.per_class` of each.
///
/// The selection holds one row per candidate, sorted by (class, rank). The order of candidates and scores changes nothing: ties
/// break by (content hash, path, sample). `seed` matters to rules that draw; scores are not looked at where the rule needs none.
///
/// # Errors
/// [`Error::Input`] for a class that is empty or too small, a label beyond `classes`, a sample that stands twice, and for scores
/// that are absent, incomplete, doubled or NaN.
pub fn select(
    candidates: &[Candidate],
    classes: &[String],
    scores: Option<Scores>,
    rule: &Rule,
    budget: &Budget,
    seed: u64,
) -> Result<Selection> {
    let groups = by_class(candidates, classes)?;
    let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
    let quotas = budget.quotas(&counts, classes, Counted::Usable)?;
    let (hardness, by) = match rule.needs {
        Needs::Nothing => (Vec::new(), format!("{} by seed {seed}", rule.name)),
        Needs::Scores => {
            let scores = scores.ok_or_else(|| {
                Error::input(
                    format!("the rule `{}` needs scores", rule.name),
                    "name a metric with --metric or a table of scores with --scores, or use --rule random",
                )
            })?;
            (hardness_of(candidates, &scores)?, format!("{} by {}", rule.name, scores.metric))
        }
    };
    let mut rows = Vec::with_capacity(candidates.len());
    for (class_id, (group, &quota)) in groups.iter().zip(&quotas).enumerate() {
        let of_class: Vec<f32> = match rule.needs {
            Needs::Nothing => Vec::new(),
            Needs::Scores => group.iter().map(|&i| hardness[i as usize]).collect(),
        };
        let class = Class { class_id: class_id as u32, len: group.len() as u32, hardness: &of_class, seed };
        let reason: Arc<str> = format!("{by}, {quota} of {} kept", group.len()).into();
        rows.extend((rule.rank)(&class).into_iter().enumerate().map(|(rank, position)| Selected {
            sample: candidates[group[position as usize] as usize].sample,
            class_id: class_id as u32,
            kept: (rank as u32) < quota,
            rank_in_class: rank as u32,
            reason: reason.clone(),
        }));
    }
    Ok(Selection { rows })
}

/// How hard each candidate is, in the order of the candidates.
fn hardness_of(candidates: &[Candidate], scores: &Scores) -> Result<Vec<f32>> {
    let known = of_metric(scores)?;
    let score_of =
        |c: &Candidate| known.binary_search_by_key(&c.sample, |(sample, _)| *sample).ok().map(|at| known[at].1);
    let hardness: Vec<Option<f32>> = candidates.iter().map(score_of).collect();

    // The same path is named whatever the order of the rows.
    let broken = |is_broken: fn(&Option<f32>) -> bool| {
        let of = candidates.iter().zip(&hardness).filter(|(_, h)| is_broken(h)).map(|(c, _)| &c.path);
        (of.clone().count(), of.min())
    };
    let (metric, total) = (scores.metric, candidates.len());
    if let (missing, Some(first)) = broken(Option::is_none) {
        return Err(Error::input(
            format!("{missing} of {total} training images have no score by `{metric}`, the first is `{first}`"),
            "scores belong to one source: compute them again from its trace, or give a table with a row for every sample",
        ));
    }
    if let (count, Some(first)) = broken(|h| h.is_some_and(f32::is_nan)) {
        return Err(Error::input(
            format!("{count} of {total} scores by `{metric}` are not a number, the first is that of `{first}`"),
            "a proxy that diverged writes such scores: train it again with a lower learning rate",
        ));
    }
    Ok(hardness.into_iter().flatten().map(|score| scores.hard.hardness(score)).collect())
}

/// (sample, score) of the metric wanted, sorted by sample.
fn of_metric(scores: &Scores) -> Result<Vec<(u32, f32)>> {
    let rows = scores.rows.iter().filter(|r| r.metric == scores.metric);
    let mut known: Vec<(u32, f32)> = rows.map(|r| (r.sample, r.score)).collect();
    if known.is_empty() && !scores.rows.is_empty() {
        let mut others: Vec<String> = scores.rows.iter().map(|r| format!("`{}`", r.metric)).collect();
        others.sort_unstable();
        others.dedup();
        return Err(Error::input(
            format!("the scores hold no metric `{}`", scores.metric),
            format!("they hold {}: choose one of those with --metric", first_few(&others)),
        ));
    }
    known.sort_unstable_by_key(|(sample, _)| *sample);
    if let Some(pair) = known.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::input(
            format!("sample {} has two scores by `{}`", pair[0].0, scores.metric),
            "keep one row per sample and metric",
        ));
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
