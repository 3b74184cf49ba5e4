//! `smalti relabel`.

use super::{Done, Form, args, print, print_json};
use crate::report::words::bytes;
use crate::sources::{TrainSet, budget};
use crate::students::SetFacts;
use crate::teachers::{Ready, Relabel, SoftSource};
use crate::ui::{Ui, count};
use anyhow::Result;
use serde::Serialize;
use smalti_learn::engine::Engine;
use smalti_learn::train::views_of;

pub(super) const EXAMPLE: &str = "\
Example: a teacher on all images, its labels for a set, and students that learn from them
  smalti train photos --test photos --student resnet18-small --size 64 --seeds 1 --save teacher.safetensors
  smalti relabel photos-ipc10 --teacher teacher.safetensors --protocol small-soft --out photos-ipc10-labels
  smalti train photos-ipc10 --test photos --protocol small-soft --labels photos-ipc10-labels";

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    steps: u64,
    of_steps: u64,
    views: u64,
    label_bytes: u64,
    image_bytes: u64,
    /// Images that do not decode and were left out.
    skipped_images: u64,
    teacher: String,
    seed: u64,
}

pub(super) fn run(args: &args::Relabel, form: Form, ui: &Ui) -> Result<Done> {
    let training = args.steps.recipe(Some(&args.protocol)).settle()?;
    let set = TrainSet::open(&args.dir, &args.columns.options(), args.size, ui)?;
    let engine = Engine::start(args.machine.settle())?;
    let Ready::Teacher(known) = SoftSource::Teacher(args.teacher.files()?).open(&training, &set, &engine, ui)? else {
        unreachable!("a teacher was asked for");
    };
    let store = set.load(&budget(&std::env::temp_dir()), ui)?;
    let job = Relabel { set: &set, training: &training, seed: args.seed, keep: args.keep, out: &args.out };
    let labels = job.run(&known, &store, &engine, ui)?;
    let written = Written {
        steps: labels.steps(),
        of_steps: labels.header.steps,
        views: views_of(
            store.len(),
            &training.spec("labels", args.seed, SetFacts::of(&store, set.classes.len())),
            labels.steps(),
        ),
        label_bytes: labels.bytes()?,
        image_bytes: set.image_bytes,
        skipped_images: set.skipped() as u64,
        teacher: known.name,
        seed: args.seed,
    };
    match form {
        Form::Json => print_json(&written)?,
        Form::Text => print(&format!(
            "{}: labels of {} of {} in {}, {:.1} times the {} of the images\n",
            args.out.display(),
            count(written.steps, "step"),
            written.of_steps,
            bytes(written.label_bytes),
            written.label_bytes as f64 / written.image_bytes.max(1) as f64,
            bytes(written.image_bytes),
        ))?,
    }
    Ok(Done::skipping(set.skipped()))
}
