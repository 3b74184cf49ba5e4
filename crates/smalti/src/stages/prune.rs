//! Prune: a class-balanced choice over the full training set. Leaves `selection.parquet` and `kept.txt`.

use super::{Given, Scores, candidates};
use crate::recipe::Settings;
use crate::report::words::thousands;
use crate::run::Run;
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::tables::{Samples, Selection, id_list};
use smalti_select::Budget;
use std::collections::HashMap;

/// Chooses the images of every class.
///
/// # Errors
/// When a class is too small, a score is missing, or a given selection does not fit the budget.
pub fn prune(
    samples: &Samples,
    scores: Option<&Scores>,
    settings: &Settings,
    given: &Given,
    run: &Run,
    ui: &Ui,
) -> Result<Selection> {
    let candidates = candidates(samples);
    let budget = Budget::new(settings.ipc, &settings.layout(), settings.on_small_class)?;
    let selection = match given {
        Given::Selection(path) => {
            let classes: HashMap<u32, u32> = candidates.iter().map(|c| (c.sample, c.class_id)).collect();
            let read = match id_list::is_list(path) {
                true => id_list::read(path, samples)?,
                false => Selection::read(path, |sample| classes.get(&sample).copied())?,
            };
            smalti_select::from_given(read, &candidates, &samples.classes, &budget)?
        }
        Given::Nothing | Given::Scores(..) => {
            let rule = smalti_select::rule(&settings.rule)?;
            let scores = scores.map(|s| smalti_select::Scores { metric: &s.metric, hard: s.hard, rows: &s.rows });
            smalti_select::select(&candidates, &samples.classes, scores, rule, &budget, settings.seed)?
        }
    };
    selection.write(&run.table("selection.parquet"))?;
    id_list::write(&run.table("kept.txt"), &selection, samples)?;
    let kept = selection.rows.iter().filter(|row| row.kept).count() as u64;
    let how = match (given, &settings.metric) {
        (Given::Selection(_), _) => "as given".to_owned(),
        (_, Some(metric)) => format!("{} by {metric}", settings.rule),
        (_, None) => settings.rule.clone(),
    };
    ui.say("prune", format!("{how}: kept {} of {}", thousands(kept), thousands(candidates.len() as u64)));
    Ok(selection)
}
