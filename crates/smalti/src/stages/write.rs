//! Write: the compressed set, verified, its manifest last.

use crate::recipe::{Beside, Said, Settings};
use crate::report::words::bytes;
use crate::run::Run;
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::manifest::{Manifest, Skipped};
use smalti_data::mosaic::Plan;
use smalti_data::source::Source;
use smalti_data::tables::{Sample, Samples};
use smalti_data::write::{SetSpec, source_hash, write_set};
use smalti_select::HardEnd;
use std::collections::BTreeMap;

/// Writes and verifies the set.
///
/// # Errors
/// When the source changed, the output cannot be written, or what was written does not read back.
pub fn write(
    source: &Source,
    samples: &Samples,
    plan: &Plan,
    settings: &Settings,
    run: &Run,
    ui: &Ui,
) -> Result<Manifest> {
    let spec = SetSpec {
        created_by: "smalti compress",
        name: settings.name.clone(),
        classes: samples.classes.clone(),
        ipc: settings.ipc,
        layout: settings.layout(),
        seed: settings.seed,
        format: settings.format,
        method: method(settings),
        skipped: skipped(samples),
        source_kind: source.kind().to_owned(),
        source_images: samples.rows.len() as u64,
        source_hash: source_hash(samples),
        recipe_toml: settings.to_toml(),
        licence: settings.licence.clone(),
        notes: None,
    };
    write_as(source, samples, plan, &spec, run, ui)
}

/// What made the choice, in words.
fn method(settings: &Settings) -> BTreeMap<String, String> {
    let end = settings.hard_end.map(|end| if end == HardEnd::High { "high" } else { "low" }.to_owned());
    let said = [
        ("preset", settings.preset.clone()),
        ("rule", settings.rule.clone()),
        ("metric", settings.metric.clone()),
        ("hard end of the metric", end),
    ];
    let beside = settings.beside.iter().map(|Beside { flag, value }| {
        let said = match value {
            Said::Name(name) => name.clone(),
            Said::File(hash) => format!("made elsewhere, BLAKE3 {hash}"),
        };
        (*flag, Some(said))
    });
    said.into_iter().chain(beside).filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Source images that could not be used.
pub fn skipped(samples: &Samples) -> Vec<Skipped> {
    let entry = |(sample, cause): (&Sample, &str)| Skipped {
        path: samples.path(sample.sample).into_owned(),
        cause: cause.to_owned(),
    };
    samples.bad().map(entry).collect()
}

/// Writes and verifies the set that `spec` describes, and warns of classes that readers would number in another way.
///
/// # Errors
/// As [`write`].
pub fn write_as(
    source: &Source,
    samples: &Samples,
    plan: &Plan,
    spec: &SetSpec,
    run: &Run,
    ui: &Ui,
) -> Result<Manifest> {
    let bar = ui.progress("write", "", plan.images.len() as u64, "images");
    let manifest = write_set(&run.out, &run.dir, source, samples, plan, spec, &|n| bar.add(n))?;
    bar.done();
    if manifest.format.has_folder()
        && let Some(at) = sorted(&manifest.folders).iter().zip(&manifest.folders).position(|(a, b)| *a != b)
    {
        ui.warn(format!(
            "class {at} is `{}`, but readers of folders number classes by name: match them by name, or by class_to_idx.txt",
            manifest.folders[at]
        ));
    }
    let empty: Vec<&String> =
        manifest.uneven.iter().filter(|(_, images)| **images == 0).map(|(class, _)| class).collect();
    if let Some(first) = empty.first() {
        ui.warn(format!(
            "{} of {} classes have no image, `{first}` first: a reader of folders alone would number the others anew, so match classes by \
             class_to_idx.txt",
            empty.len(),
            manifest.classes.len()
        ));
    }
    let tiles = manifest.grid * manifest.grid;
    ui.say(
        "write",
        format!(
            "{}: {} of {} px, {} each, {}, verified",
            run.out.display(),
            count(manifest.images.len() as u64, "image"),
            manifest.size,
            count(u64::from(tiles), "tile"),
            bytes(manifest.image_bytes)
        ),
    );
    Ok(manifest)
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    sorted
}
