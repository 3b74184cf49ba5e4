//! `smalti observe`.

use super::{Done, Form, args, print, print_json};
use crate::error::usage;
use crate::sources::{TrainSet, budget};
use crate::teachers::Known;
use crate::ui::{Ui, count};
use anyhow::Result;
use serde::Serialize;
use smalti_data::crop::CropRange;
use smalti_learn::augment::Augment;
use smalti_learn::batch::{IMAGENET, Views};
use smalti_learn::distort::Distort;
use smalti_learn::engine::Engine;
use smalti_learn::observe::{Observed, observe};

pub(super) const EXAMPLE: &str = "\
Example: entropy and loss of two sets under one observer, as stored and under crops from a quarter of the area on
  smalti observe random-ipc10 pca-ipc10 --teacher observer.safetensors --crops 1,0.25";

/// One set under one augmentation.
#[derive(Debug, Serialize)]
struct Row {
    set: String,
    images: u64,
    /// Images that do not decode and were left out.
    skipped_images: u64,
    /// Smallest area of a crop; none for the images as stored.
    crop_min: Option<f64>,
    #[serde(flatten)]
    observed: Observed,
}

pub(super) fn run(args: &args::Observe, form: Form, ui: &Ui) -> Result<Done> {
    if let Some(&wrong) = args.crops.iter().find(|&&crop| !(crop > 0.0 && crop <= 1.0)) {
        return Err(usage(
            format!("a crop of {wrong} of the area cannot be"),
            "give --crops 1,0.5,0.25: parts of the area",
        ));
    }
    let engine = Engine::start(args.machine.settle())?;
    let (mut rows, mut skipped) = (Vec::new(), 0);
    for dir in &args.dirs {
        let set = TrainSet::open(dir, &args.columns.options(), args.size, ui)?;
        let known = Known::open(&args.teacher.files()?, &set.classes, set.layout.size, &engine, ui)?;
        let store = set.load(&budget(&std::env::temp_dir()), ui)?;
        skipped += set.skipped();
        let name = dir.display().to_string();
        for crop_min in std::iter::once(None).chain(args.crops.iter().copied().map(Some)) {
            let augment = if crop_min.is_some() { Augment::Standard } else { Augment::None };
            let range = CropRange { scale: (crop_min.unwrap_or(1.0), 1.0), ..CropRange::default() };
            let views = Views { augment, range, distort: Distort::None, seed: args.seed };
            let passes = if crop_min.is_some() { args.views } else { 1 };
            let observed = observe(&known.teacher, &store, &views, passes, &IMAGENET, &engine)?;
            let (images, skipped_images) = (store.len() as u64, set.skipped() as u64);
            rows.push(Row { set: name.clone(), images, skipped_images, crop_min, observed });
        }
    }
    match form {
        Form::Json => print_json(&rows)?,
        Form::Text => print(&text(&rows))?,
    }
    Ok(Done::skipping(skipped))
}

fn text(rows: &[Row]) -> String {
    let mut text = String::from(
        "| set | images | seen | entropy, nats | loss, nats | right, % | views |\n|---|--:|---|--:|--:|--:|--:|\n",
    );
    for Row { set, images, crop_min, observed, .. } in rows {
        let seen = crop_min.map_or("as stored".to_owned(), |crop| format!("crops of {crop} to 1"));
        text.push_str(&format!(
            "| {set} | {images} | {seen} | {:.3} | {:.3} | {:.1} | {} |\n",
            observed.entropy,
            observed.nll,
            observed.top1_percent,
            count(observed.views, "view")
        ));
    }
    text
}
