//! Images per second of one student, loader included: our side of benches/train_speed.py.
//!
//! `speed FOLDER NETWORK SIZE BATCH STEPS THREADS WEIGHTS` trains on an image folder and prints one JSON row for each line of standard input. THREADS 0 are all cores. The weights at
//! the beginning are written to WEIGHTS, and the row says their loss on the first images of the folder, so that the other side can be seen to compute the same.

use smalti_data::crop::CropRange;
use smalti_data::mosaic::Layout;
use smalti_data::store::{Budget, Fit};
use smalti_data::{ImageStore, Source, SourceOptions};
use smalti_learn::augment::Augment;
use smalti_learn::batch::{IMAGENET, Views, plain_batch};
use smalti_learn::checkpoint;
use smalti_learn::distort::Distort;
use smalti_learn::engine::{Engine, Precision};
use smalti_learn::growth::Growth;
use smalti_learn::labels::Labels;
use smalti_learn::mix::Mix;
use smalti_learn::nets::{Mode, Network, Shape};
use smalti_learn::optim::OptimiserSpec;
use smalti_learn::schedule::{Length, Rate};
use smalti_learn::student;
use smalti_learn::train::{History, Observer, StatisticsUpdate, Step, TrainSpec, train};
use std::path::Path;
use std::time::Instant;
use tch::Tensor;

/// Steps before the clock starts, on both sides.
const WARM_UP: u64 = 2;
/// Passes over the test images are repeated for at least that long.
const EVALUATION_SECONDS: f64 = 1.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, network, size, batch, steps, threads, weights] = arguments.as_slice() else {
        return Err("usage: speed FOLDER NETWORK SIZE BATCH STEPS THREADS WEIGHTS".into());
    };
    let (size, batch, steps): (u32, u32, u64) = (size.parse()?, batch.parse()?, steps.parse()?);
    let engine = Engine::cpu(Precision::Auto, threads.parse()?)?;

    let source = Source::open(Path::new(folder), &SourceOptions::default())?;
    let start = Instant::now();
    let wanted: Vec<(u32, u32)> = (0..source.len() as u32).map(|row| (row, source.class_id(row))).collect();
    let spool = std::env::temp_dir();
    let budget = Budget { memory_bytes: 2 << 30, spool: &spool };
    let layout = Layout::new(1, size)?;
    let store = ImageStore::load(&source, &wanted, &layout, Fit::Whole, &budget, &|_| ())?;
    let load_seconds = start.elapsed().as_secs_f64();

    let shape = Shape { classes: source.classes().len(), size };
    let net = Network::new(network, shape, 1, &engine)?;
    checkpoint::save(&net, source.classes(), &IMAGENET, Path::new(weights))?;
    let first_loss = first_loss(&net, &store, batch, &engine)?;
    for line in std::io::stdin().lines() {
        line?;
        run(&net, &store, batch, WARM_UP, &engine)?;
        let history = run(&net, &store, batch, steps, &engine)?;
        let (start, mut evaluated) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < EVALUATION_SECONDS {
            student::evaluate(&net, &store, &IMAGENET, &engine)?;
            evaluated += store.len();
        }
        let eval_rate = evaluated as f64 / start.elapsed().as_secs_f64();
        let row = serde_json::json!({
            // The one decoding of the set counts as the loader's part.
            "images_per_second": history.images_seen as f64 / (load_seconds + history.seconds),
            "load_seconds": load_seconds,
            "train_seconds": history.seconds,
            "eval_images_per_second": eval_rate,
            "first_loss": first_loss,
            "precision": engine.precision_name(),
            "threads": engine.threads,
        });
        println!("{row}");
    }
    Ok(())
}

/// Mean cross-entropy of the first `batch` images as they are, under running statistics.
fn first_loss(net: &Network, store: &ImageStore, batch: u32, engine: &Engine) -> smalti_learn::Result<f64> {
    let first: Vec<u32> = (0..batch.min(store.len() as u32)).collect();
    let labels: Vec<i64> = first.iter().map(|&index| i64::from(store.label(index))).collect();
    let images = plain_batch(store, &first, &IMAGENET, engine)?;
    let logits = tch::no_grad(|| net.forward(&images, Mode::Eval)).logits;
    Ok(logits.cross_entropy_for_logits(&Tensor::from_slice(&labels).to_device(engine.device)).double_value(&[]))
}

fn run(net: &Network, store: &ImageStore, batch: u32, steps: u64, engine: &Engine) -> smalti_learn::Result<History> {
    let spec = TrainSpec {
        stage: "speed".into(),
        optimiser: OptimiserSpec::AdamW { learning_rate: 1e-3, weight_decay: 0.01 },
        rate: Rate::Cosine,
        batch,
        length: Length::ImagesSeen(steps * u64::from(batch)),
        views: Views { augment: Augment::Standard, range: CropRange::default(), distort: Distort::None, seed: 1 },
        growth: Growth::None,
        mix: Mix::None,
        normalise: IMAGENET,
        statistics: StatisticsUpdate::Once,
        seed: 1,
    };
    train(net, store, &mut Labels::Hard, &spec, engine, &mut Nothing)
}

struct Nothing;

impl Observer for Nothing {
    fn step(&mut self, _: &Step) -> smalti_learn::Result<()> {
        Ok(())
    }

    fn epoch_end(&mut self, _: u32, _: &Network) -> smalti_learn::Result<()> {
        Ok(())
    }
}
