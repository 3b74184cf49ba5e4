//! Recover: blocks of images that are moved together. A finished block lies in the working folder, so that a run that was cut off goes on
//! with the next.

use super::list::{Batching, Matches, Recovery, Start};
use super::staging::{Block, Staging};
use crate::decoded::{self, Wanted};
use crate::error::failure;
use crate::run::Run;
use crate::sources::{Scanned, budget, rows, train_rows};
use crate::teachers::Opened;
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::Rgb;
use smalti_data::mosaic::Layout;
use smalti_data::random::{Stage, Stream};
use smalti_data::store::{Fit, ImageStore};
use smalti_data::tables::Split;
use smalti_learn::batch::plain_batch;
use smalti_learn::engine::Engine;
use smalti_learn::recover::{
    After, Backbone, Batch, ClassStatistics, RecoverSpec, Rounding, Targets, Weights, pictures, recover,
};
use std::collections::HashSet;
use std::time::Instant;

/// All blocks of a set of `ipc` images in each of `classes` classes, at most `most` images each.
pub(super) fn blocks(batching: Batching, classes: u32, ipc: u32, most: u32) -> Vec<Block> {
    let (classes, most): (Vec<u32>, usize) = ((0..classes).collect(), most.max(1) as usize);
    let groups: Vec<Vec<(u32, u32)>> = match batching {
        Batching::DistinctClasses => {
            let of_index =
                |index| classes.chunks(most).map(move |part| part.iter().map(|&class| (class, index)).collect());
            (0..ipc).flat_map(of_index).collect()
        }
        Batching::OneClass => {
            let indices: Vec<u32> = (0..ipc).collect();
            let of_class = |&class: &u32| {
                indices
                    .chunks(most)
                    .map(move |part| part.iter().map(|&index| (class, index)).collect())
                    .collect::<Vec<_>>()
            };
            classes.iter().flat_map(of_class).collect()
        }
        Batching::ClassByClass => {
            let all: Vec<(u32, u32)> =
                classes.iter().flat_map(|&class| (0..ipc).map(move |index| (class, index))).collect();
            all.chunks(most).map(<[_]>::to_vec).collect()
        }
    };
    (0..).zip(groups).map(|(number, images)| Block { number, images }).collect()
}

/// Everything that moves pixels.
pub(super) struct Mover<'a> {
    /// Its name.
    pub method: &'a str,
    pub way: Recovery,
    pub spec: RecoverSpec,
    /// Those that look at the images in turn, at least one; what follows the network of a single one asks the first.
    pub teachers: &'a [Opened],
    pub rounding: Rounding,
    pub seed: u64,
    pub engine: Engine,
}

impl<'a> Mover<'a> {
    /// Finishes all blocks.
    pub fn finish(&self, blocks: &[Block], scanned: &Scanned, run: &Run, ui: &Ui) -> Result<()> {
        let staging = Staging::of(run);
        // Where weights drift from block to block, those of one number in the class are made together, from the first on.
        let drifts = self.spec.nudge.is_some_and(|nudge| nudge.after == After::Stay);
        let turn = |block: &Block| if drifts { block.images[0].1 } else { block.number };
        let missing: HashSet<u32> = blocks.iter().filter(|block| !staging.has(block)).map(turn).collect();
        let left: Vec<&Block> = blocks.iter().filter(|block| missing.contains(&turn(block))).collect();
        let ipc = blocks.iter().flat_map(|block| &block.images).map(|(_, index)| index + 1).max().unwrap_or(0);
        if !left.is_empty() {
            // The first block pays for the pass over training images before it.
            let mut start = Instant::now();
            let materials = Materials::load(self, scanned, ipc, run, ui)?;
            let steps =
                left.iter().map(|block| block.images.len() as u64).sum::<u64>() * u64::from(self.spec.iterations);
            let bar = ui.progress("recover", self.method, steps, "image steps");
            let network = &self.first().network;
            let weights = drifts.then(|| Weights::of(network));
            let mut before = None;
            for block in left {
                if before.replace(turn(block)) != Some(turn(block)) {
                    weights.iter().for_each(|weights| weights.put_back(network));
                }
                let pictures = self.make(block, &materials, &|n| bar.add(n))?;
                staging.keep(block, &pictures, start)?;
                start = Instant::now();
            }
            bar.done();
        }
        Ok(())
    }

    fn first(&self) -> &Opened {
        &self.teachers[0]
    }

    fn make(&self, block: &Block, materials: &Materials, progress: &dyn Fn(u64)) -> Result<Vec<Rgb>> {
        let labels: Vec<u32> = block.images.iter().map(|&(class, _)| class).collect();
        let own;
        let targets = match &materials.classes {
            Some(statistics) => {
                own = [statistics.targets(block.images[0].0)?];
                &own[..]
            }
            None => &materials.everything,
        };
        let backbone = |(teacher, targets): (&'a Opened, _)| {
            let Opened { network, columns, .. } = teacher;
            Backbone { network, targets, columns, constants: teacher.constants() }
        };
        let backbones: Vec<Backbone> = self.teachers.iter().zip(targets).map(backbone).collect();
        let start = match &materials.real {
            Some(real) => {
                let wanted: Vec<u32> = block.images.iter().map(|&image| real.place(image)).collect();
                Some(plain_batch(&real.store, &wanted, &self.first().constants(), &self.engine)?)
            }
            None => None,
        };
        let stage = format!("{} block {}", self.method, block.number);
        let batch =
            Batch { stage: &stage, labels: &labels, start: start.as_ref(), seed: self.seed, number: block.number };
        let images = recover(&backbones, &batch, &self.spec, &self.engine, progress)?;
        Ok(pictures(&images, &self.first().constants(), self.rounding))
    }
}

/// What blocks share.
struct Materials {
    /// Of each teacher.
    everything: Vec<Targets>,
    classes: Option<ClassStatistics>,
    /// Training images to start from.
    real: Option<Real>,
}

/// Training images, some of each class.
struct Real {
    /// Sorted by row.
    store: ImageStore,
    rows: Vec<u32>,
    /// The rows of each class, in the order of the images that start from them.
    drawn: Vec<Vec<u32>>,
}

impl Real {
    /// Where the image of a class and number lies in the store.
    fn place(&self, (class, index): (u32, u32)) -> u32 {
        let row = self.drawn[class as usize][index as usize];
        self.rows.partition_point(|&other| other < row) as u32
    }
}

impl Materials {
    fn load(mover: &Mover, scanned: &Scanned, ipc: u32, run: &Run, ui: &Ui) -> Result<Materials> {
        let first = mover.first();
        let layout = Layout::new(1, first.network.shape.size)?;
        let load = |wanted: &[(u32, u32)]| {
            let wanted = Wanted { rows: wanted, layout: &layout, fit: Fit::Whole };
            decoded::load((&scanned.source, &scanned.samples), wanted, &budget(&run.dir), &|_| (), ui)
        };
        let load_all = || load(&rows(scanned.samples.usable(Split::Train), |class| class));
        let classes = match mover.way.matches {
            Matches::Everything => None,
            Matches::TheClass => {
                let all = load_all()?;
                let bar = ui.progress("measure", "statistics of each class", all.len() as u64, "images");
                let (network, constants) = (&first.network, first.constants());
                let found = ClassStatistics::measure(network, &all, &constants, &mover.engine, &|n| bar.add(n))?;
                bar.done();
                Some(found)
            }
        };
        let everything = match mover.spec.generalised {
            None => mover.teachers.iter().map(|teacher| Targets::running(&teacher.network)).collect(),
            Some(generalised) => {
                let all = load_all()?;
                let looks = (mover.spec.look.crop, &generalised);
                let images = (all.len() * mover.teachers.len()) as u64;
                let bar = ui.progress("measure", "statistics of convolutions", images, "images");
                let of = |teacher: &Opened| {
                    let (keyed, shown) = ((mover.seed, &mover.engine), teacher.constants());
                    Targets::with_convolutions(&teacher.network, &all, looks, &shown, keyed, &|n| bar.add(n))
                };
                let found = mover.teachers.iter().map(of).collect::<smalti_learn::Result<_>>()?;
                bar.done();
                found
            }
        };
        let real = match mover.way.start {
            Start::Noise => None,
            Start::RealImages => {
                let drawn = draw(scanned, ipc, mover.seed, mover.method)?;
                let mut wanted: Vec<(u32, u32)> =
                    (0..).zip(&drawn).flat_map(|(class, rows)| rows.iter().map(move |&row| (row, class))).collect();
                wanted.sort_unstable();
                let store = load(&wanted)?;
                Some(Real { store, rows: wanted.into_iter().map(|(row, _)| row).collect(), drawn })
            }
        };
        Ok(Materials { everything, classes, real })
    }
}

/// `ipc` training rows of each class, drawn without replacement.
fn draw(scanned: &Scanned, ipc: u32, seed: u64, method: &str) -> Result<Vec<Vec<u32>>> {
    let mut rows = train_rows(&scanned.samples);
    for (class, rows) in rows.iter_mut().enumerate() {
        if rows.len() < ipc as usize {
            let name = &scanned.samples.classes[class];
            return Err(failure(
                format!("`{method}` starts from training images: class `{name}` has {} for {ipc}", rows.len()),
                "choose a smaller --ipc, or a method that starts from noise",
            ));
        }
        Stream::new(seed, Stage::Recover, u32::MAX, class as u64).shuffle(rows);
        rows.truncate(ipc as usize);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_distinct_classes_or_one() {
        let distinct = blocks(Batching::DistinctClasses, 5, 2, 3);
        let images: Vec<Vec<(u32, u32)>> = distinct.iter().map(|block| block.images.clone()).collect();
        assert_eq!(
            images,
            [vec![(0, 0), (1, 0), (2, 0)], vec![(3, 0), (4, 0)], vec![(0, 1), (1, 1), (2, 1)], vec![(3, 1), (4, 1)]]
        );
        let one = blocks(Batching::OneClass, 2, 3, 100);
        assert_eq!(one[1], Block { number: 1, images: vec![(1, 0), (1, 1), (1, 2)] });
        assert_eq!(blocks(Batching::OneClass, 2, 3, 2).len(), 4);
        let mixed: Vec<Vec<(u32, u32)>> =
            blocks(Batching::ClassByClass, 3, 2, 4).into_iter().map(|block| block.images).collect();
        assert_eq!(mixed, [vec![(0, 0), (0, 1), (1, 0), (1, 1)], vec![(2, 0), (2, 1)]]);
    }
}
