//! Settle: the recipe becomes complete and is saved before any work.

use super::prune::choose_given;
use super::{Given, given_scores};
use crate::cache::train_hash;
use crate::error::{failure, of_call, usage};
use crate::pipeline::Request;
use crate::recipe::{Beside, Said, Settings};
use crate::run::Run;
use crate::sources::typical_side;
use anyhow::Result;
use smalti_data::files;
use smalti_data::tables::scores::{UNNAMED, read_scores};
use smalti_data::tables::{Samples, Split};
use smalti_learn::engine::Engine;
use smalti_learn::nets::Network;
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
    let mut settings = request.recipe.settle(&name, typical_side(samples))?;
    given_elsewhere(request, &mut settings)?;
    let rule = settings.choice()?;
    let needs = rule.rule.needs;
    if matches!(request.given, Given::Scores(_)) && needs != Needs::Scores {
        let what = match needs.features() {
            true => {
                format!("--scores is not enough for the rule `{}`, which compares features of proxies", rule.name())
            }
            false => format!("--scores has no use for the rule `{}`", rule.name()),
        };
        return Err(usage(what, "leave it out, or choose --rule easy-first"));
    }
    if let Given::Scores(path) = &request.given {
        has_a_meaning(path, request)?;
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
        let metric = smalti_select::metric(metric, settings.hard_end).map_err(of_call)?;
        smalti_select::check_metric(&metric, epochs)?;
    }
    if let (Given::Nothing, Some(proxy)) = (&request.given, &settings.proxy) {
        let engine = Engine::start(request.machine)?;
        let network = Network::trial(&proxy.network, proxy.size, &engine).map_err(of_call)?;
        proxy.spec(samples.classes.len())?.train.growth.check(&network, proxy.size, &engine)?;
    }
    let text = settings.to_toml() + &images(request, samples);
    let named = match &request.given {
        Given::Nothing => None,
        Given::Scores(path) | Given::Selection(path) => Some(path.as_path()),
    };
    if run.replaces() {
        fits(request, samples, &settings)?;
        run.make_room(named)?;
        samples.write(&run.table("samples.parquet"))?;
    }
    run.keep_settings(&text)?;
    Ok(settings)
}

/// That a table from elsewhere can be used, found out while what the set replaces is still there.
fn fits(request: &Request, samples: &Samples, settings: &Settings) -> Result<()> {
    match (&request.given, &settings.metric) {
        (Given::Selection(path), _) => choose_given(path, samples, settings).map(drop),
        (Given::Scores(path), Some(metric)) => given_scores(path, metric, settings.hard_end).map(drop),
        (Given::Scores(_), None) | (Given::Nothing, _) => Ok(()),
    }
}

/// What the tables of a run are about: scores name images by their rows, so another set of images under the same names is another run.
fn images(request: &Request, samples: &Samples) -> String {
    format!("# training images: {} decoded as {}\n", train_hash(samples), request.options.profile.name())
}

/// What was given from elsewhere is part of the identity of a run and of what its set says of itself; files by content.
fn given_elsewhere(request: &Request, settings: &mut Settings) -> Result<()> {
    let file = |flag, path: &Path| {
        let value = Said::File(files::hash(path)?.1);
        Ok::<_, anyhow::Error>(Beside { flag, value })
    };
    let of_choice = match &request.given {
        Given::Nothing => None,
        Given::Scores(path) => Some(file("scores", path)?),
        Given::Selection(path) => Some(file("selection", path)?),
    };
    if let Given::Selection(_) = &request.given {
        // No score is asked and no proxy trained, and a preset or rule that nobody named chose nothing.
        (settings.metric, settings.hard_end, settings.proxy) = (None, None, None);
        let (preset, rule) = (request.recipe.preset.is_some(), request.recipe.rule.is_some());
        settings.preset = settings.preset.take().filter(|_| preset);
        // A preset brings its rule.
        settings.rule = settings.rule.take().filter(|_| preset || rule);
    }
    let options = &request.options;
    let map = options.class_map.as_deref().map(|path| file("class-map", path)).transpose()?;
    let name = |flag, name: &Option<String>| name.clone().map(|name| Beside { flag, value: Said::Name(name) });
    let columns = [name("image-column", &options.image_column), name("label-column", &options.label_column)];
    settings.beside.extend(of_choice.into_iter().chain(map).chain(columns.into_iter().flatten()));
    Ok(())
}

/// That scores from elsewhere say what they are: the default's metric is not meant by somebody who names none.
fn has_a_meaning(path: &Path, request: &Request) -> Result<()> {
    let named = request.recipe.metric.is_some() || request.recipe.preset.is_some();
    if named || read_scores(path)?.iter().any(|scored| scored.metric != UNNAMED) {
        return Ok(());
    }
    Err(usage(
        format!("`{}` does not say of which metric its scores are", path.display()),
        "add --metric el2n, or another of `smalti methods`, or a name of your own with --hard-end high or low",
    ))
}
