//! One rule applied: candidates, evidence and a budget become a selection.

use crate::budget::{Budget, Counted};
use crate::candidate::Candidates;
use crate::error::{Error, Result};
use crate::features::ClassFeatures;
use crate::metrics::{HardEnd, Metric};
use crate::points::Points;
use crate::rules::{Balance, Choice, Class};
use rayon::prelude::*;
use smalti_data::tables::{Reasons, Selected, Selection, Verdict};

/// The scores that a rule decides by.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// The metric's name.
    pub metric: &'a str,
    /// Which end of it is hard.
    pub hard: HardEnd,
    /// Sample and score, in any order, also for samples that are no candidates.
    pub rows: &'a [(u32, f32)],
}

impl<'a> Scores<'a> {
    /// The rows of one of our metrics.
    pub fn of(metric: &'a Metric, rows: &'a [(u32, f32)]) -> Scores<'a> {
        Scores { metric: &metric.name, hard: metric.hard, rows }
    }
}

/// What is known of the candidates; a rule says what it needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// Scores of one metric.
    pub scores: Option<Scores<'a>>,
    /// Features of the proxies.
    pub features: Option<&'a ClassFeatures>,
}

/// Ranks the candidates by the rule and keeps the best: `budget.per_class` of each class, or as many in all where the rule is global.
///
/// The selection holds one row per candidate, sorted by (class, rank). The order of candidates and scores changes nothing: ties
/// break by (content hash, sample). `seed` matters to rules that draw; evidence that the rule does not need is not looked at.
///
/// # Errors
/// [`Error::Input`] for a class that is empty or too small, for scores that are absent, incomplete, doubled or NaN, and for features that are
/// absent or of other images.
pub fn select(
    candidates: &Candidates,
    evidence: Evidence,
    choice: &Choice,
    budget: &Budget,
    seed: u64,
) -> Result<Selection> {
    let groups = candidates.by_class();
    let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
    let rule = choice.rule;
    let hardness = match (rule.needs.scores(), evidence.scores) {
        (false, _) => None,
        (true, Some(scores)) => Some((hardness_of(candidates, &scores)?, scores)),
        (true, None) => {
            return Err(Error::input(
                format!("the rule `{}` needs scores", rule.name),
                "name a metric with --metric or a table of scores with --scores, or use --rule random",
            ));
        }
    };
    let features = match (rule.needs.features(), evidence.features) {
        (false, _) => None,
        (true, Some(features)) => Some(features),
        (true, None) => {
            return Err(Error::input(
                format!("the rule `{}` needs the proxies' features", rule.name),
                "leave --scores out, so that proxies are trained here, or use a rule of scores alone",
            ));
        }
    };
    let ranker = Ranker { choice, hardness: hardness.as_ref().map(|(h, s)| (h.as_slice(), s.hard)), features, seed };
    let by = match &hardness {
        Some((_, scores)) => format!("{} by {}", choice.name(), scores.metric),
        None if rule.needs.features() => format!("{} by features", choice.name()),
        None => format!("{} by seed {seed}", choice.name()),
    };
    let (ranked, quotas) = match choice.balance {
        Balance::Class => {
            let quotas = budget.quotas(&counts, candidates.classes(), Counted::Usable)?;
            let ranked = ranker.rank_classes(groups, &quotas)?;
            (ranked, quotas)
        }
        Balance::Global => {
            drop(groups);
            globally(candidates, &counts, &ranker, budget)?
        }
    };
    // The rows below are the largest table here.
    drop(hardness);
    let mut rows = Vec::with_capacity(candidates.len());
    let mut reasons = Reasons::default();
    for ((class_id, samples), quota) in (0..).zip(ranked).zip(quotas) {
        let reason = reasons.number(&format!("{by}, {quota} of {} kept", samples.len()));
        rows.extend((0..).zip(samples).map(|(rank_in_class, sample)| Selected {
            sample,
            class_id,
            rank_in_class,
            verdict: if rank_in_class < quota { Verdict::kept(reason) } else { Verdict::left(reason) },
        }));
    }
    Ok(Selection { rows, reasons })
}

/// A rule with all that it looks at.
struct Ranker<'a> {
    choice: &'a Choice,
    /// By row of the source.
    hardness: Option<(&'a [f32], HardEnd)>,
    features: Option<&'a ClassFeatures>,
    seed: u64,
}

impl Ranker<'_> {
    /// Every class on its own: side by side where a rule looks at scores alone, one after the other where features of a class fill memory.
    fn rank_classes(&self, groups: Vec<Vec<u32>>, quotas: &[u32]) -> Result<Vec<Vec<u32>>> {
        let rank = |(class, group): (usize, Vec<u32>)| self.rank(class as u32, &group, quotas[class]);
        match self.features {
            Some(_) => groups.into_iter().enumerate().map(rank).collect(),
            None => groups.into_par_iter().enumerate().map(rank).collect(),
        }
    }

    /// The rows of a group, best first; `group` is in the order in which ties break.
    fn rank(&self, class_id: u32, group: &[u32], keep: u32) -> Result<Vec<u32>> {
        let hardness: Vec<f32> =
            self.hardness.map_or(Vec::new(), |(all, _)| group.iter().map(|&row| all[row as usize]).collect());
        let points = self.features.map_or(Ok(Points::default()), |features| points(features, class_id, group))?;
        let class = Class {
            class_id,
            len: group.len() as u32,
            keep,
            hardness: &hardness,
            hard: self.hardness.map_or(HardEnd::High, |(_, hard)| hard),
            points: &points,
            parameter: self.choice.parameter,
            seed: self.seed,
        };
        Ok((self.choice.rule.rank)(&class).into_iter().map(|position| group[position as usize]).collect())
    }
}

/// The features of a group, in its order.
fn points(features: &ClassFeatures, class_id: u32, group: &[u32]) -> Result<Points> {
    let known = features.class(class_id)?;
    let place = |row: &u32| known.samples.binary_search(row);
    if let Some(row) = group.iter().find(|row| place(row).is_err()) {
        return Err(Error::input(
            format!("sample {row} of class {class_id} has no features"),
            "the proxies were trained on other images: remove the trace and train them again",
        ));
    }
    let rows = group.iter().filter_map(|row| place(row).ok());
    Ok(Points::new(known.width, rows.flat_map(|at| known.row(at)).copied()))
}

/// All samples as one pool: the rows of each class in the order of the pool, and how many of each are kept, in whole images; what a class
/// keeps beyond its part of the pool is next in that order.
fn globally(
    candidates: &Candidates,
    counts: &[usize],
    ranker: &Ranker,
    budget: &Budget,
) -> Result<(Vec<Vec<u32>>, Vec<u32>)> {
    let keep = budget.in_all(counts.len(), candidates.len(), Counted::Usable)?;
    let ranked = ranker.rank(0, &candidates.as_one(), keep)?;
    let mut classes = vec![0; candidates.source_len()];
    candidates.iter().for_each(|sample| classes[sample.sample as usize] = sample.class_id);
    let mut rows: Vec<Vec<u32>> = counts.iter().map(|&count| Vec::with_capacity(count)).collect();
    let mut quotas = vec![0; counts.len()];
    for (rank, row) in (0..).zip(ranked) {
        let class_id = classes[row as usize] as usize;
        rows[class_id].push(row);
        quotas[class_id] += u32::from(rank < keep);
    }
    let sizes: Vec<usize> = rows.iter().map(Vec::len).collect();
    let quotas = budget.whole_images(&quotas, &sizes);
    if quotas.iter().all(|&quota| quota == 0) {
        let what = format!("no class fills one image of {} samples", budget.multiple);
        return Err(Error::input(what, "lower --grid, or raise --ipc"));
    }
    Ok((rows, quotas))
}

/// How hard each row of the source is; rows that are no candidates may hold anything.
fn hardness_of(candidates: &Candidates, scores: &Scores) -> Result<Vec<f32>> {
    let (mut values, known) = by_row(candidates, scores)?;
    let broken = |is_broken: &dyn Fn(usize) -> bool| {
        let rows = candidates.iter().map(|sample| sample.sample).filter(|&row| is_broken(row as usize));
        (rows.clone().count(), rows.min().map(|first| candidates.path(first)))
    };
    let (metric, total) = (scores.metric, candidates.len());
    if let (missing, Some(first)) = broken(&|row| !known[row]) {
        return Err(Error::input(
            format!("{missing} of {total} training images have no score by `{metric}`, the first is `{first}`"),
            "scores belong to one source and one hold-out: compute them again, give the --holdout and --seed that they were made with, or a table with a row for every sample",
        ));
    }
    if let (count, Some(first)) = broken(&|row| values[row].is_nan()) {
        return Err(Error::input(
            format!("{count} of {total} scores by `{metric}` are not a number, the first is that of `{first}`"),
            "a proxy that diverged writes such scores: train it again with a lower learning rate",
        ));
    }
    values.iter_mut().for_each(|value| *value = scores.hard.hardness(*value));
    Ok(values)
}

/// The score of each row of the source, 0 where there is none, and whether there is one.
fn by_row(candidates: &Candidates, scores: &Scores) -> Result<(Vec<f32>, Vec<bool>)> {
    let (mut values, mut known) = (vec![0.0; candidates.source_len()], vec![false; candidates.source_len()]);
    for &(sample, score) in scores.rows {
        let Some(place) = values.get_mut(sample as usize) else { continue };
        *place = score;
        if std::mem::replace(&mut known[sample as usize], true) {
            return Err(Error::input(
                format!("sample {sample} has two scores by `{}`", scores.metric),
                "keep one row per sample and metric",
            ));
        }
    }
    Ok((values, known))
}

#[cfg(test)]
mod tests;
