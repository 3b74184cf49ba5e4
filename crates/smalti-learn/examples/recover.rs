//! Image steps per second of recover: our side of benches/recover_speed.py.
//!
//! `recover NETWORK SIZE BATCH STEPS [auto|f32|bf16] [BATCHES]` moves noise under an untrained network, some batches side by side, and prints one JSON row.

use smalti_learn::batch::IMAGENET;
use smalti_learn::engine::Engine;
use smalti_learn::nets::{Network, Shape};
use smalti_learn::recover::{Backbone, Batch, Curriculum, Jitter, Look, Pass, RecoverSpec, Targets, recover};
use std::time::Instant;

/// Steps before the clock starts, on both sides.
const WARM_UP: u32 = 2;
const CLASSES: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, size, batch, steps, more @ ..] = arguments.as_slice() else {
        return Err("usage: recover NETWORK SIZE BATCH STEPS [auto|f32|bf16] [BATCHES]".into());
    };
    let precision = more.first().map_or("auto", String::as_str);
    let batches: u32 = more.get(1).map_or(Ok(1), |number| number.parse())?;
    let (size, batch, steps): (u32, u32, u32) = (size.parse()?, batch.parse()?, steps.parse()?);
    let engine = Engine::cpu(serde_json::from_value(precision.into())?, 0)?;
    let net = Network::new(network, Shape { classes: CLASSES, size }, 1, &engine)?;
    let targets = Targets::running(&net);
    let labels: Vec<u32> = (0..batch).map(|image| image % CLASSES as u32).collect();
    let images: Vec<Batch> = (0..batches).map(|number| Batch { labels: &labels, start: None, number }).collect();
    let pass = Pass { stage: "speed", seed: 1, batches: &images };
    let columns: Vec<i64> = (0..CLASSES as i64).collect();
    let backbone = Backbone { network: &net, targets: &targets, columns: &columns, constants: IMAGENET };
    let run = |iterations: u32| {
        let look = Look { crop: Curriculum::Fixed { least: 0.08 }, jitter: Jitter::Forward { most: 32 } };
        let spec = RecoverSpec {
            iterations,
            learning_rate: 0.25,
            statistics: 0.01,
            first_layer: 10.0,
            variance: 1.0,
            look,
            nudge: None,
            generalised: None,
        };
        recover(std::slice::from_ref(&backbone), &pass, &spec, &engine, &|_| ())
    };
    drop(run(WARM_UP)?);
    let start = Instant::now();
    drop(run(steps)?);
    let seconds = start.elapsed().as_secs_f64();
    let row = serde_json::json!({
        "images_per_second": f64::from(steps * batch * batches) / seconds,
        "seconds": seconds,
        "precision": engine.precision_name(),
        "threads": engine.threads,
    });
    println!("{row}");
    Ok(())
}
