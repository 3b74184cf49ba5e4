//! `smalti train`.

use super::args::SplitName;
use super::{Done, Form, args, print, print_json};
use crate::error::{failure, of_call, usage};
use crate::report::stats::mean_sd;
use crate::report::words::bytes;
use crate::run::working_folder;
use crate::sources::{TestSet, TrainSet, budget};
use crate::students::{SetFacts, Summary, Training, TrainingRecipe, summarise, train_one, warn_of_few_steps};
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::decode::Profile;
use smalti_data::source::Source;
use smalti_data::tables::Samples;
use smalti_learn::checkpoint;
use smalti_learn::engine::Engine;
use smalti_learn::nets::Network;

pub(super) const EXAMPLE: &str = "\
Example: three small students on a compressed set, measured on the test part of its source
  smalti train photos-ipc10 --test photos --student convnet-3 --protocol small";

pub(super) fn run(args: &args::Train, form: Form, ui: &Ui) -> Result<Done> {
    let training = recipe(args).settle()?;
    if args.seeds == 0 {
        return Err(usage("no student is to be trained", "give --seeds 3, or leave it out"));
    }
    let past = args.seed.checked_add(args.seeds);
    let past = past.ok_or_else(|| usage("the seeds run past the largest number", "give a smaller --seed"))?;
    let engine = Engine::start(args.machine.settle())?;
    let train = TrainSet::open(&args.dir, &args.columns.options(), args.size, ui)?;
    Network::trial(&training.student, train.layout.size, &engine).map_err(of_call)?;
    let test = open_test(args, &train, ui)?;
    let scratch = std::env::temp_dir();
    let train_store = train.load(&budget(&scratch), ui)?;
    let test_store = test.load(train.layout.size, training.fit, &budget(&scratch), ui)?;
    let facts = SetFacts::of(&train_store, train.classes.len());
    warn_of_few_steps(&training, facts, ui);
    let ready = args.soft_source()?.open(&training, &train, &engine, ui)?;
    let stores = (&train_store, &test_store, train.classes.len());
    let name = args.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut runs = Vec::new();
    for seed in args.seed..past {
        let mut labels = ready.labels(&training, &train_store, train.classes.len(), seed)?;
        let (result, network) = train_one(&name, &training, stores, &mut labels, seed, &engine, ui)?;
        runs.push(result);
        if let Some(path) = &args.save {
            checkpoint::save(&network, &train.classes, &training.constants.of(facts.classes, facts.size), path)?;
        }
    }
    let label_bytes = ready.bytes(&training, facts, train.label_bytes)?;
    let sizes = (train_store.len(), test_store.len());
    let summary = Summary { label_bytes, ..summarise(&training, (&train, &test), sizes, &engine, runs) };
    match form {
        Form::Json => print_json(&summary)?,
        Form::Text => print(&text(&name, &training, &summary))?,
    }
    Ok(Done::skipping(train.skipped() + test.skipped()))
}

fn recipe(args: &args::Train) -> TrainingRecipe {
    let plain = args.steps.recipe(args.protocol.as_ref());
    TrainingRecipe { student: args.student.clone(), learning_rate: args.learning_rate, ..plain }
}

/// Test images that are decoded in another way than those of the set were: a picture that lies on its side is another picture.
fn warn_of_decoding(train: &TrainSet, test: Profile, ui: &Ui) {
    let test = test.name();
    if let Some(made) = train.decoding().filter(|made| *made != test) {
        ui.warn(format!(
            "the set was made of images decoded as {made}, and the test images are decoded as {test}: give the --orientation and --decode of `compress`"
        ));
    }
}

fn open_test(args: &args::Train, train: &TrainSet, ui: &Ui) -> Result<TestSet> {
    warn_of_decoding(train, args.columns.options().profile, ui);
    match args.split {
        SplitName::Test => TestSet::open(&args.test, &args.columns.options(), train, ui),
        SplitName::Holdout => {
            let table = working_folder(&args.dir).join("samples.parquet");
            if !table.exists() {
                return Err(failure(
                    format!("what was held out is on record in `{}`, which is not there", table.display()),
                    "bring that folder along with the set, or make the set again with `compress --holdout 0.1`",
                ));
            }
            let samples = Samples::read(&table)?;
            TestSet::holdout(Source::open(&args.test, &args.columns.options())?, samples, &train.classes)
        }
    }
}

/// The result with its protocol.
fn text(name: &str, training: &Training, summary: &Summary) -> String {
    let spread = |sd: Option<f64>| sd.map_or(String::new(), |sd| format!(" ± {sd:.1}"));
    let mut text = format!(
        "{name}: top-1 {:.1}{} %, top-5 {:.1}{} % (n = {}, {})\n",
        summary.top1_percent,
        spread(summary.top1_sd),
        summary.top5_percent,
        spread(summary.top5_sd),
        summary.runs.len(),
        count(summary.test_images, "test image")
    );
    let best: Vec<f64> = summary.runs.iter().filter_map(|run| run.best_top1_percent).collect();
    if !best.is_empty() {
        let best = mean_sd(&best);
        text.push_str(&format!(
            "best of several measurements on the test images: {:.1}{} % (chosen on what it is measured on: no result)\n",
            best.mean,
            spread(best.sd)
        ));
    }
    let rate = summary.runs.iter().map(|r| r.images_per_second).sum::<f64>() / summary.runs.len() as f64;
    text.push_str(&format!(
        "trained on {}, {} of images and {} of labels, at {rate:.0} images/s ({}, {})\n",
        count(summary.train_images, "image"),
        bytes(summary.image_bytes),
        bytes(summary.label_bytes),
        summary.precision,
        count(summary.threads as u64, "thread")
    ));
    for (what, value) in training.describe() {
        text.push_str(&format!("  {what:<13} {value}\n"));
    }
    text
}
