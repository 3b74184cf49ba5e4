//! RDED (arXiv 2312.03526): of many crops of training images those that the teacher finds easiest, one of an image, as tiles of the stored images.

use super::staging::{Block, Staging};
use crate::error::failure;
use crate::sources::{Scanned, train_rows};
use crate::teachers::Opened;
use crate::ui::Ui;
use anyhow::Result;
use serde::Serialize;
use smalti_data::Rgb;
use smalti_data::crop::{CropRange, random_resized_crop};
use smalti_data::random::{Stage, Stream};
use smalti_data::resize::resize_box;
use smalti_learn::engine::Engine;
use smalti_learn::tiles::tile_losses;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How crops are drawn and put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CropSpec {
    /// Tiles per side of a stored image.
    pub grid: u32,
    /// Training images of each class that are looked at.
    pub pool: u32,
    /// Crops of each of them.
    pub crops: u32,
}

impl CropSpec {
    /// Crops that a class needs for `ipc` stored images.
    pub(super) fn tiles(&self, ipc: u32) -> u64 {
        u64::from(ipc) * u64::from(self.grid).pow(2)
    }
}

/// Crops are square, of 8 % to all of the image.
const RANGE: CropRange = CropRange { scale: (0.08, 1.0), ratio: (1.0, 1.0) };

/// A teacher that picks crops.
pub(super) struct Picker<'a> {
    pub spec: CropSpec,
    pub teacher: &'a Opened,
    pub seed: u64,
    pub engine: Engine,
}

/// One block for each class: all of its tiles, easiest first.
fn blocks(classes: usize, tiles: u32) -> Vec<Block> {
    let of = |class| Block { number: class, images: (0..tiles).map(|index| (class, index)).collect() };
    (0..classes as u32).map(of).collect()
}

impl Picker<'_> {
    /// Finishes all classes.
    pub fn finish(&self, ipc: u32, scanned: &Scanned, staging: &Staging, ui: &Ui) -> Result<()> {
        let wanted = self.spec.tiles(ipc);
        let pools = self.pools(scanned);
        // No class has more images than fit into 32 bits.
        let blocks = blocks(pools.len(), wanted as u32);
        let left: Vec<&Block> = blocks.iter().filter(|block| !staging.has(block)).collect();
        let images = left.iter().map(|block| pools[block.number as usize].len() as u64).sum();
        let bar = ui.progress("crop", "by what the teacher finds easy", images, "images");
        for block in left {
            let start = Instant::now();
            let tiles = self.pick(block, &pools[block.number as usize], scanned, &|n| bar.add(n))?;
            staging.keep(block, &tiles, start.elapsed().as_secs_f64())?;
        }
        bar.done();
        Ok(())
    }

    /// The rows of each class that are looked at, ascending.
    fn pools(&self, scanned: &Scanned) -> Vec<Vec<u32>> {
        let mut pools = train_rows(&scanned.samples);
        for (class_id, pool) in (0..).zip(&mut pools) {
            Stream::new(self.seed, Stage::Crops, u32::MAX, class_id).shuffle(pool);
            pool.truncate(self.spec.pool as usize);
            pool.sort_unstable();
        }
        pools
    }

    /// The tiles of a class: the easiest crop of each image, and of those the easiest.
    fn pick(
        &self,
        block: &Block,
        rows: &[u32],
        scanned: &Scanned,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Rgb>> {
        let (tile, spec, seed) = (self.teacher.network.shape.size / self.spec.grid, self.spec, self.seed);
        let drawn: Vec<Mutex<Vec<Rgb>>> = rows.iter().map(|_| Mutex::default()).collect();
        scanned.source.try_for_each(rows, &|at, row, bytes| {
            let image = scanned.source.decode(&bytes?)?;
            let crops = draw(&image, &spec, (seed, row), tile)?;
            *drawn[at].lock().unwrap_or_else(PoisonError::into_inner) = crops;
            progress(1);
            Ok(())
        })?;
        let drawn: Vec<Vec<Rgb>> =
            drawn.into_iter().map(|crops| crops.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        let all: Vec<&Rgb> = drawn.iter().flatten().collect();
        let Opened { network, columns, .. } = self.teacher;
        let losses = tile_losses(network, &all, (columns, block.number), &self.teacher.constants(), &self.engine)?;
        let class = &scanned.samples.classes[block.number as usize];
        let best = easiest(&losses, self.spec.crops as usize, block.images.len(), class)?;
        Ok(best.into_iter().map(|at| all[at].clone()).collect())
    }
}

/// The crops of one image, as tiles.
fn draw(image: &Rgb, spec: &CropSpec, (seed, row): (u64, u32), tile: u32) -> smalti_data::Result<Vec<Rgb>> {
    let crop = |number: u32| {
        let mut stream = Stream::new(seed, Stage::Crops, number, row.into());
        let region = random_resized_crop(image.width, image.height, &RANGE, &mut stream);
        resize_box(image, region, tile, tile)
    };
    (0..spec.crops).map(crop).collect()
}

/// Of the losses [images x crops] of a class the places of the `wanted` smallest, at most one an image; the first of equals.
///
/// # Errors
/// When one is no number: whether it is easy cannot be told.
fn easiest(losses: &[f32], crops: usize, wanted: usize, class: &str) -> Result<Vec<usize>> {
    if losses.iter().any(|loss| !loss.is_finite()) {
        return Err(failure(
            format!("the teacher's loss on crops of class `{class}` is no number"),
            "train the teacher again: its weights or statistics are no numbers; if they are, start over with --precision f32 and --force",
        ));
    }
    let best = |(image, own): (usize, &[f32])| {
        let least = own.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
        image * crops + least
    };
    let mut best: Vec<usize> = losses.chunks(crops).enumerate().map(best).collect();
    best.sort_by(|&a, &b| losses[a].total_cmp(&losses[b]));
    best.truncate(wanted);
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_easiest_crop_of_each_image_is_ranked() {
        let losses = [0.5, 0.4, 0.1, 0.2, 0.3, 0.3, 0.9, 0.05];
        let easiest = |losses: &[f32], crops, wanted| easiest(losses, crops, wanted, "disc");
        assert_eq!(easiest(&losses, 2, 3).expect("numbers"), [7, 2, 4], "one an image; the first of equals");
        assert_eq!(easiest(&losses, 4, 9).expect("numbers"), [7, 2], "of four crops each");
        for none in [f32::NAN, -f32::NAN, f32::INFINITY] {
            let error = easiest(&[none, 1.0, 2.0, 3.0], 2, 1).expect_err("no number").to_string();
            assert!(error.contains("class `disc` is no number"), "{error}");
        }
    }
}
