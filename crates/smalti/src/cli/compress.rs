//! `smalti compress` and `smalti verify`.

use super::{Done, Form, args, print, print_json};
use crate::pipeline::{self, Outcome, Overwrite, Request};
use crate::proxies::ProxyRecipe;
use crate::recipe::{Recipe, Settings};
use crate::report::words::bytes;
use crate::run::working_folder;
use crate::stages::Given;
use crate::ui::{Ui, count};
use anyhow::Result;
use serde_json::json;
use smalti_data::decode::{Detail, Orientation};
use smalti_data::manifest::Manifest;
use smalti_data::source::SourceOptions;
use smalti_data::tables::Split;

pub(super) const EXAMPLE: &str = "\
Example: ten images per class, each a mosaic of four
  smalti compress photos --ipc 10 --out photos-ipc10

A recipe holds the same settings in TOML:
  ipc = 10
  preset = \"pca\"
  size = 96
  [proxy]
  epochs = 10";

/// Classes with another number of images that are named.
const MOST_CLASSES: usize = 10;

pub(super) const VERIFY_EXAMPLE: &str = "\
Example:
  smalti verify photos-ipc10";

pub(super) fn run(args: &args::Compress, form: Form, ui: &Ui) -> Result<Done> {
    let file = args.recipe.as_deref().map(Recipe::read).transpose()?.unwrap_or_default();
    let recipe = flags(args).over(file);
    let request = Request {
        source: &args.source,
        options: SourceOptions { profile: recipe.profile(), ..args.columns.options() },
        out: &args.out,
        recipe,
        given: given(args),
        overwrite: if args.force { Overwrite::Replace } else { Overwrite::Refuse },
        machine: args.machine.settle(),
    };
    let outcome = pipeline::compress(&request, ui)?;
    match form {
        Form::Json => print_json(&facts(&outcome, &args.out))?,
        Form::Text => print(&text(&outcome, args))?,
    }
    Ok(Done::skipping(outcome.manifest.skipped.len()))
}

/// What the flags say, as a recipe.
fn flags(args: &args::Compress) -> Recipe {
    Recipe {
        name: None,
        ipc: args.ipc,
        preset: args.preset.clone(),
        grid: args.grid,
        metric: args.metric.clone(),
        hard_end: args.hard_end.map(Into::into),
        rule: args.rule.clone(),
        size: args.size,
        holdout: args.holdout,
        seed: args.seed,
        format: args.format.map(Into::into),
        orientation: args.columns.orientation.map(Into::into),
        decode: args.columns.decode.map(Into::into),
        on_small_class: args.on_small_class.map(Into::into),
        licence: args.licence.clone(),
        proxy: ProxyRecipe {
            network: args.proxy.proxy.clone(),
            protocol: args.proxy.proxy_protocol.clone(),
            size: args.proxy.proxy_size,
            epochs: args.proxy.proxy_epochs,
            seeds: args.proxy.proxy_seeds,
            eval_epochs: args.proxy.eval_epochs.clone(),
            ..ProxyRecipe::default()
        },
    }
}

fn given(args: &args::Compress) -> Given {
    match (&args.scores, &args.selection) {
        (Some(path), _) => Given::Scores(path.clone()),
        (_, Some(path)) => Given::Selection(path.clone()),
        (None, None) => Given::Nothing,
    }
}

fn facts(outcome: &Outcome, out: &std::path::Path) -> serde_json::Value {
    let Manifest { images, skipped, image_bytes, label_bytes, grid, size, .. } = &outcome.manifest;
    json!({
        "out": out,
        "classes": outcome.manifest.classes.len(),
        "images": images.len(),
        "ipc": outcome.manifest.ipc,
        "grid": grid,
        "size": size,
        "image_bytes": image_bytes,
        "label_bytes": label_bytes,
        "source_images": outcome.samples.rows.len(),
        "holdout_images": pipeline::held_out(&outcome.samples),
        "skipped": skipped,
        "uneven": outcome.manifest.uneven,
        "method": outcome.manifest.method,
        "seed": outcome.manifest.seed,
    })
}

/// The result, and what to do with it.
fn text(outcome: &Outcome, args: &args::Compress) -> String {
    let manifest = &outcome.manifest;
    // What one would train on otherwise: a hold-out is part of it, a test part is not.
    let train = outcome.samples.rows.iter().filter(|s| s.split != Split::Test);
    let source: u64 = train.map(|s| u64::from(s.bytes)).sum();
    let mut text = format!(
        "{}: {} in {}, {} instead of {}\n",
        args.out.display(),
        count(manifest.images.len() as u64, "image"),
        count(manifest.classes.len() as u64, "class"),
        bytes(manifest.image_bytes + manifest.label_bytes),
        bytes(source)
    );
    for (class, images) in manifest.uneven.iter().take(MOST_CLASSES) {
        text.push_str(&format!("class `{class}` has {images}\n"));
    }
    if manifest.uneven.len() > MOST_CLASSES {
        let more = manifest.uneven.len() - MOST_CLASSES;
        text.push_str(&format!("{more} more classes have not {}; manifest.json names them\n", manifest.ipc));
    }
    if !manifest.skipped.is_empty() {
        text.push_str(&format!(
            "{} skipped; manifest.json names them\n",
            count(manifest.skipped.len() as u64, "unreadable image")
        ));
    }
    text.push_str(&format!("working tables: {}\n", working_folder(&args.out).display()));
    text.push_str(&next(outcome, args));
    text
}

/// The command that measures the set, where the source has images for it: those it was chosen from would say little.
fn next(outcome: &Outcome, args: &args::Compress) -> String {
    let reading = reading(args, &outcome.settings);
    let (out, source) = (quoted(&args.out.to_string_lossy()), quoted(&args.source.to_string_lossy()));
    let tested = outcome.samples.usable(Split::Test).next().is_some();
    match (pipeline::held_out(&outcome.samples), tested) {
        (0, true) => format!("next: smalti train {out} --test {source}{reading}\n"),
        (0, false) => format!(
            "next: smalti train {out} --test OTHER{reading}\n{source} has no test part: OTHER are other images of its classes, or compress again with --holdout 0.1\n"
        ),
        _ => format!("next: smalti train {out} --test {source} --split holdout{reading}\n"),
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,:=+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// The flags by which the test images are read as the training images were.
fn reading(args: &args::Compress, settings: &Settings) -> String {
    let columns = &args.columns;
    let turned = (settings.orientation == Orientation::Exif).then(|| "exif".to_owned());
    let scaled = (settings.decode == Detail::Scaled).then(|| "scaled".to_owned());
    let map = columns.class_map.as_ref().map(|path| path.display().to_string());
    let flags = [
        ("image-column", columns.image_column.clone()),
        ("label-column", columns.label_column.clone()),
        ("class-map", map),
        ("orientation", turned),
        ("decode", scaled),
    ];
    flags.into_iter().filter_map(|(flag, value)| Some(format!(" --{flag} {}", quoted(&value?)))).collect()
}

pub(super) fn verify(args: &args::Verify, form: Form) -> Result<Done> {
    let manifest = smalti_data::verify::verify(&args.dir)?;
    match form {
        Form::Json => print_json(
            &json!({"verified": true, "images": manifest.images.len(), "image_bytes": manifest.image_bytes}),
        )?,
        Form::Text => print(&format!(
            "{}: {} in {}, {}: every {}file, size, hash, label and count is right\n",
            args.dir.display(),
            count(manifest.images.len() as u64, "image"),
            count(manifest.classes.len() as u64, "class"),
            bytes(manifest.image_bytes),
            // Sets from before their card and recipe were pinned.
            if manifest.documents.is_empty() { "image " } else { "" }
        ))?,
    }
    Ok(Done::All)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_the_shell() {
        for (word, expected) in
            [("photos-ipc10", "photos-ipc10"), ("../my photos", "'../my photos'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(quoted(word), expected);
        }
    }
}
