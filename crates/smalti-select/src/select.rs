//! One rule applied within each class: candidates, scores and a budget become a selection.

use crate::budget::{Budget, Counted};
use crate::candidate::Candidates;
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
/// break by (content hash, sample). `seed` matters to rules that draw; scores are not looked at where the rule needs none.
///
/// # Errors
/// [`Error::Input`] for a class that is empty or too small, and for scores that are absent, incomplete, doubled or NaN.
pub fn select(
    candidates: &Candidates,
    scores: Option<Scores>,
    rule: &Rule,
    budget: &Budget,
    seed: u64,
) -> Result<Selection> {
    let groups = candidates.by_class();
    let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
    let quotas = budget.quotas(&counts, candidates.classes(), Counted::Usable)?;
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
            Needs::Scores => group.iter().map(|&row| hardness[row as usize]).collect(),
        };
        let class = Class { class_id: class_id as u32, len: group.len() as u32, hardness: &of_class, seed };
        let reason: Arc<str> = format!("{by}, {quota} of {} kept", group.len()).into();
        rows.extend((rule.rank)(&class).into_iter().enumerate().map(|(rank, position)| Selected {
            sample: group[position as usize],
            class_id: class_id as u32,
            kept: (rank as u32) < quota,
            rank_in_class: rank as u32,
            reason: reason.clone(),
        }));
    }
    Ok(Selection { rows })
}

/// How hard each row of the source is; rows that are no candidates may hold anything.
fn hardness_of(candidates: &Candidates, scores: &Scores) -> Result<Vec<f32>> {
    let known = of_metric(candidates, scores)?;
    let score = |row: u32| known.get(row as usize).copied().flatten();
    let broken = |is_broken: fn(Option<f32>) -> bool| {
        let rows = candidates.iter().map(|sample| sample.sample).filter(|&row| is_broken(score(row)));
        (rows.clone().count(), rows.min().map(|first| candidates.path(first)))
    };
    let (metric, total) = (scores.metric, candidates.len());
    if let (missing, Some(first)) = broken(|score| score.is_none()) {
        return Err(Error::input(
            format!("{missing} of {total} training images have no score by `{metric}`, the first is `{first}`"),
            "scores belong to one source: compute them again from its trace, or give a table with a row for every sample",
        ));
    }
    if let (count, Some(first)) = broken(|score| score.is_some_and(f32::is_nan)) {
        return Err(Error::input(
            format!("{count} of {total} scores by `{metric}` are not a number, the first is that of `{first}`"),
            "a proxy that diverged writes such scores: train it again with a lower learning rate",
        ));
    }
    Ok(known.into_iter().map(|score| scores.hard.hardness(score.unwrap_or_default())).collect())
}

/// The score of each row of the source by the metric wanted.
fn of_metric(candidates: &Candidates, scores: &Scores) -> Result<Vec<Option<f32>>> {
    let mut known: Vec<Option<f32>> = vec![None; candidates.source_len()];
    let mut found = scores.rows.is_empty();
    for row in scores.rows.iter().filter(|row| row.metric == scores.metric) {
        found = true;
        let Some(place) = known.get_mut(row.sample as usize) else { continue };
        if place.replace(row.score).is_some() {
            return Err(Error::input(
                format!("sample {} has two scores by `{}`", row.sample, scores.metric),
                "keep one row per sample and metric",
            ));
        }
    }
    if !found {
        let mut others: Vec<String> = scores.rows.iter().map(|r| format!("`{}`", r.metric)).collect();
        others.sort_unstable();
        others.dedup();
        return Err(Error::input(
            format!("the scores hold no metric `{}`", scores.metric),
            format!("they hold {}: choose one of those with --metric", first_few(&others)),
        ));
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
