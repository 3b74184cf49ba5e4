//! Settle: the recipe becomes complete and is saved before any work.

use super::prune::choose_given;
use super::{Given, given_scores};
use crate::cache::train_hash;
use crate::error::{failure, usage};
use crate::pipeline::Request;
use crate::recipe::Settings;
use crate::run::Run;
use crate::sources::typical_side;
use anyhow::Result;
use smalti_data::files;
use smalti_data::tables::{Samples, Split};
use smalti_learn::engine::Engine;
use smalti_select::{Budget, Needs};
use std::path::Path;

/// Completes the settings with what the source says, finds out whether they can be met, removes what is replaced, and keeps them in the working folder.
///
/// # Errors
/// For settings that are in no list or out of range; for a folder that belongs to a run with others; for a class that is too small, tables that do not fit,
/// or a machine that cannot train the proxies.
pub fn settle(request: &Request, samples: &Samples, run: &Run) -> Result<Settings> {
    if samples.usable(Split::Train).next().is_none() {
        let what = format!("`{}` has no usable training image", request.source.display());
        return Err(failure(what, "run `smalti inspect` on it; a lower --holdout leaves more to choose from"));
    }
    let name = request.out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let settings = request.recipe.settle(&name, typical_side(samples))?;
    let rule = smalti_select::rule(&settings.rule)?;
    let needs = rule.rule.needs;
    if matches!(request.given, Given::Scores(_)) && needs != Needs::Scores {
        let what = match needs.features() {
            true => {
                format!("--scores is not enough for the rule `{}`, which compares features of proxies", settings.rule)
            }
            false => format!("--scores has no use for the rule `{}`", settings.rule),
        };
        return Err(usage(what, "leave it out, or choose --rule easy-first"));
    }
    if !matches!(request.given, Given::Selection(_)) {
        // A class that is too small is found now, not after the proxies have trained: any rule needs the same numbers.
        let budget = Budget::new(settings.ipc, &settings.layout(), settings.on_small_class)?;
        let mut counts = vec![0; samples.classes.len()];
        samples.usable(Split::Train).for_each(|sample| counts[sample.class_id as usize] += 1);
        budget.check(rule.balance, &counts, &samples.classes)?;
    }
    if let (Given::Nothing, Some(metric)) = (&request.given, &settings.metric) {
        let epochs = settings.proxy.as_ref().map_or(0, |proxy| proxy.epochs);
        smalti_select::check_metric(&smalti_select::metric(metric, settings.hard_end)?, epochs)?;
    }
    let map = match &request.options.class_map {
        Some(path) => line_of("class map", path)?,
        None => String::new(),
    };
    let text = settings.to_toml() + &images(request, samples) + &fingerprint(&request.given)? + &map;
    let named = match &request.given {
        Given::Nothing => None,
        Given::Scores(path) | Given::Selection(path) => Some(path.as_path()),
    };
    if run.replaces() {
        can_be_met(request, samples, &settings)?;
        run.make_room(named)?;
        samples.write(&run.table("samples.parquet"))?;
    }
    run.keep_settings(&text)?;
    Ok(settings)
}

/// What else can fail before the work, found out while what it replaces is still there.
fn can_be_met(request: &Request, samples: &Samples, settings: &Settings) -> Result<()> {
    match (&request.given, &settings.metric) {
        (Given::Selection(path), _) => choose_given(path, samples, settings).map(drop),
        (Given::Scores(path), Some(metric)) => given_scores(path, metric, settings.hard_end).map(drop),
        (Given::Scores(_) | Given::Nothing, _) if settings.proxy.is_some() => {
            Ok(Engine::start(request.machine).map(drop)?)
        }
        (Given::Scores(_) | Given::Nothing, _) => Ok(()),
    }
}

/// What the tables of a run are about: scores name images by their rows, so another set of images under the same names is another run.
fn images(request: &Request, samples: &Samples) -> String {
    format!("# training images: {} decoded as {}\n", train_hash(samples), request.options.profile.name())
}

/// What was given from elsewhere is part of the identity of a run, by content.
fn fingerprint(given: &Given) -> Result<String> {
    match given {
        Given::Nothing => Ok(String::new()),
        Given::Scores(path) => line_of("scores", path),
        Given::Selection(path) => line_of("selection", path),
    }
}

fn line_of(kind: &str, path: &Path) -> Result<String> {
    Ok(format!("# {kind}: {}\n", files::hash(path)?.1))
}
