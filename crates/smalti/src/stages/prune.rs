//! Prune: a class-balanced choice over the full training set. Leaves `selection.parquet` and `kept.txt`.

use super::{Evidence, Given};
use crate::recipe::Settings;
use crate::report::words::thousands;
use crate::run::Run;
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::tables::{Samples, Selection, Split, Status, id_list};
use smalti_select::{Budget, Candidates};
use std::path::Path;

/// Chooses the images of every class.
///
/// # Errors
/// When a class is too small, a score is missing, or a given selection does not fit the budget.
pub fn prune(
    samples: &Samples,
    evidence: &Evidence,
    settings: &Settings,
    given: &Given,
    run: &Run,
    ui: &Ui,
) -> Result<Selection> {
    let candidates = Candidates::of(samples);
    let selection = match given {
        Given::Selection(path) => choose_given(path, samples, settings)?,
        Given::Nothing | Given::Scores(_) => {
            let rule = settings.choice()?;
            let budget = Budget::new(settings.ipc, &settings.layout(), settings.on_small_class)?;
            smalti_select::select(&candidates, evidence.view(), &rule, &budget, settings.seed)?
        }
    };
    selection.write(&run.table("selection.parquet"))?;
    id_list::write(&run.table("kept.txt"), &selection, samples)?;
    let kept = selection.rows.iter().filter(|row| row.verdict.is_kept()).count() as u64;
    let how = match (given, &settings.metric) {
        (Given::Selection(_), _) => "as given".to_owned(),
        (_, Some(metric)) => format!("{} by {metric}", settings.choice()?.name()),
        (_, None) => settings.choice()?.name(),
    };
    ui.say("prune", format!("{how}: kept {} of {}", thousands(kept), thousands(candidates.len() as u64)));
    Ok(selection)
}

/// A choice that was made elsewhere, held to the budget.
///
/// # Errors
/// When it does not read, is of another source, or does not fit the budget.
pub(super) fn choose_given(path: &Path, samples: &Samples, settings: &Settings) -> Result<Selection> {
    let usable =
        |row: u32| samples.rows.get(row as usize).filter(|s| s.split == Split::Train && s.status == Status::Ok);
    let read = match id_list::is_list(path) {
        true => id_list::read(path, samples)?,
        false => Selection::read(path, |row| usable(row).map(|sample| sample.class_id))?,
    };
    let balance = settings.choice()?.balance;
    let budget = Budget::new(settings.ipc, &settings.layout(), settings.on_small_class)?;
    Ok(smalti_select::from_given(read, &Candidates::of(samples), balance, &budget)?)
}
