//! Forward passes without gradients over a whole store.

use crate::batch::{Normalise, plain_batch};
use crate::engine::Engine;
use crate::error::Result;
use crate::nets::{Mode, Network, Output};
use smalti_data::store::ImageStore;

/// Pixels that one forward pass aims at: enough for every core, few enough that a wide network fits into memory.
const PIXELS: usize = 1 << 19;

/// Shows every image of `store`, unaugmented and in order, to `network` under running statistics; `with` gets the numbers of the
/// images of each batch and what came out.
///
/// # Errors
/// [`crate::Error::Input`] when the store is not what the network was built for (`stage` names who asks), when a spooled image
/// cannot be read back, or what `with` returned.
pub fn for_each_batch(
    network: &Network,
    store: &ImageStore,
    normalise: &Normalise,
    engine: &Engine,
    stage: &str,
    mut with: impl FnMut(&[u32], &Output) -> Result<()>,
) -> Result<()> {
    network.check_fits(store, stage)?;
    let all: Vec<u32> = (0..store.len() as u32).collect();
    for indices in all.chunks(at_once(store.size())) {
        with(indices, &look(network, store, indices, normalise, engine)?)?;
    }
    Ok(())
}

/// Images of `side` px of one forward pass.
pub fn at_once(side: u32) -> usize {
    let side = side as usize;
    (PIXELS / (side * side).max(1)).clamp(32, 512)
}

/// What comes out for some images of a store that fits the network, unaugmented, under running statistics, without gradients.
///
/// # Errors
/// When a spooled image cannot be read back.
pub fn look(
    network: &Network,
    store: &ImageStore,
    indices: &[u32],
    normalise: &Normalise,
    engine: &Engine,
) -> Result<Output> {
    let images = plain_batch(store, indices, normalise, engine)?;
    Ok(tch::no_grad(|| network.forward(&images, Mode::Eval)))
}
