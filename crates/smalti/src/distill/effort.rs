//! What making a set will take: image steps, and how many a second this machine does.

use super::blocks::{SIDE_BY_SIDE, blocks, passes};
use super::list::Distillation;
use super::staging::Block;
use super::tuning::{Tuned, Tuning};
use crate::warm_up::steps_per_second;
use anyhow::Result;
use smalti_data::Rgb;
use smalti_data::mosaic::Layout;
use smalti_data::store::ImageStore;
use smalti_learn::batch::IMAGENET;
use smalti_learn::engine::Engine;
use smalti_learn::nets::{Network, Shape};
use smalti_learn::recover::{Backbone, Batch, Pass, RecoverSpec, Targets, recover};
use std::time::Instant;

/// Image steps of a set; none where no pixel is moved.
///
/// # Errors
/// As making the set.
pub fn image_steps(
    method: &Distillation,
    tuning: &Tuning,
    (ipc, classes): (u32, usize),
    size: u32,
) -> Result<Option<u64>> {
    Ok(match method.tuned(tuning, size)? {
        Tuned::Recover { recover, .. } => Some(u64::from(ipc) * classes as u64 * u64::from(recover.iterations)),
        Tuned::Crops { .. } => None,
    })
}

/// Image steps a second of the first pass of a set of `ipc` images per class, from noise under untrained networks of these names; none where no pixel is moved.
///
/// # Errors
/// For an unknown network, or one without statistics to match.
pub fn rate(
    method: &Distillation,
    (tuning, ipc): (&Tuning, u32),
    networks: &[String],
    shape: Shape,
    engine: &Engine,
) -> Result<Option<f64>> {
    let Tuned::Recover { way, block, recover: spec, .. } = method.tuned(tuning, shape.size)? else { return Ok(None) };
    let networks: Vec<Network> =
        networks.iter().map(|name| Network::new(name, shape, 1, engine)).collect::<smalti_learn::Result<_>>()?;
    let grey = (Rgb::filled(shape.size, shape.size, [128; 3]), 0);
    let store = ImageStore::from_images(&[grey], &Layout { grid: 1, size: shape.size });
    let target = |network| match &spec.generalised {
        None => Ok(Targets::running(network)),
        Some(more) => {
            Targets::with_convolutions(network, &store, (spec.look.crop, more), &IMAGENET, (0, engine), &|_| ())
        }
    };
    let targets: Vec<Targets> = networks.iter().map(target).collect::<smalti_learn::Result<_>>()?;
    let columns: Vec<i64> = (0..shape.classes as i64).collect();
    let of = |(network, targets)| Backbone { network, targets, columns: &columns, constants: IMAGENET };
    let backbones: Vec<Backbone> = networks.iter().zip(&targets).map(of).collect();
    let all = blocks(way.batching, shape.classes as u32, ipc.min(SIDE_BY_SIDE as u32), block);
    let labels: Vec<Vec<u32>> = passes(&all, &spec).first().into_iter().copied().flatten().map(Block::labels).collect();
    let images: usize = labels.iter().map(Vec::len).sum();
    let batches: Vec<Batch> = labels.iter().map(|labels| Batch { labels, start: None, number: 0 }).collect();
    let pass = Pass { stage: "warm-up", seed: 0, batches: &batches };
    let seconds = |iterations: u32| -> Result<f64> {
        let start = Instant::now();
        let spec = RecoverSpec { iterations, nudge: None, ..spec };
        drop(recover(&backbones, &pass, &spec, engine, &|_| ())?);
        Ok(start.elapsed().as_secs_f64())
    };
    // Each network is asked once before the clock counts.
    let steps = steps_per_second(backbones.len() as u64, |steps| seconds(steps as u32))?;
    Ok(Some(steps * images as f64))
}
