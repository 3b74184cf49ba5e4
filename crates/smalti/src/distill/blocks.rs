//! Recover: blocks of images that are moved together. A finished block lies in the working folder, so that a run that was cut off goes on
//! with the next.

use super::list::{Batching, Matches, Recovery, Start};
use super::staging::{Block, Staging};
use crate::decoded::{self, Wanted};
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
    After, Backbone, Batch, ClassStatistics, Pass, RecoverSpec, Rounding, Targets, Weights, pictures, recover,
};
use std::time::Instant;

/// Most images of blocks that are moved side by side: as many as the largest published batch has.
pub(super) const SIDE_BY_SIDE: usize = 100;

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
        let left: Vec<&[Block]> =
            self.turns(blocks).into_iter().filter(|turn| !turn.iter().all(|block| staging.has(block))).collect();
        let ipc = blocks.iter().flat_map(|block| &block.images).map(|(_, index)| index + 1).max().unwrap_or(0);
        if !left.is_empty() {
            // The first block pays for the pass over training images before it.
            let mut start = Instant::now();
            let materials = Materials::load(self, scanned, ipc, run, ui)?;
            let images: usize = left.iter().copied().flatten().map(|block| block.images.len()).sum();
            let steps = images as u64 * u64::from(self.spec.iterations);
            let bar = ui.progress("recover", self.method, steps, "image steps");
            let network = &self.first().network;
            let weights = self.drifts().then(|| Weights::of(network));
            for turn in left {
                weights.iter().for_each(|weights| weights.put_back(network));
                for together in turn.chunks(if self.drifts() { 1 } else { turn.len() }) {
                    let pictures = self.make(together, &materials, &|n| bar.add(n))?;
                    let seconds = start.elapsed().as_secs_f64() / together.len() as f64;
                    for (block, pictures) in together.iter().zip(pictures.chunks(together[0].images.len())) {
                        staging.keep(block, pictures, seconds)?;
                    }
                    start = Instant::now();
                }
            }
            bar.done();
        }
        Ok(())
    }

    /// Whether weights move on from block to block.
    fn drifts(&self) -> bool {
        self.spec.nudge.is_some_and(|nudge| nudge.after == After::Stay)
    }

    /// Blocks that are made again together where one of them is missing, so that a run that was cut off makes what a whole one does: those side by side in one
    /// pass or, where weights drift, those of one number in the class, from the first on.
    fn turns<'b>(&self, blocks: &'b [Block]) -> Vec<&'b [Block]> {
        if self.drifts() {
            blocks.chunk_by(|a, b| a.images[0].1 == b.images[0].1).collect()
        } else {
            passes(blocks, &self.spec)
        }
    }

    fn first(&self) -> &Opened {
        &self.teachers[0]
    }

    /// The pictures of some blocks of one size, one after another.
    fn make(&self, together: &[Block], materials: &Materials, progress: &dyn Fn(u64)) -> Result<Vec<Rgb>> {
        let own;
        let targets = match &materials.classes {
            Some(statistics) => {
                let classes: Vec<u32> = together.iter().map(|block| block.images[0].0).collect();
                own = [statistics.targets(&classes)?];
                &own[..]
            }
            None => &materials.everything,
        };
        let backbone = |(teacher, targets): (&'a Opened, _)| {
            let Opened { network, columns, .. } = teacher;
            Backbone { network, targets, columns, constants: teacher.constants() }
        };
        let backbones: Vec<Backbone> = self.teachers.iter().zip(targets).map(backbone).collect();
        let start = |block: &Block| match &materials.real {
            Some(real) => {
                let wanted: Vec<u32> = block.images.iter().map(|&image| real.place(image)).collect();
                Ok(Some(plain_batch(&real.store, &wanted, &self.first().constants(), &self.engine)?))
            }
            None => Ok(None),
        };
        let starts = together.iter().map(start).collect::<Result<Vec<_>>>()?;
        let labels: Vec<Vec<u32>> = together.iter().map(Block::labels).collect();
        let batch = |at: usize| Batch { labels: &labels[at], start: starts[at].as_ref(), number: together[at].number };
        let batches: Vec<Batch> = (0..together.len()).map(batch).collect();
        let pass = Pass { stage: &self.stage(together), seed: self.seed, batches: &batches };
        let images = recover(&backbones, &pass, &self.spec, &self.engine, progress)?;
        Ok(pictures(&images, &self.first().constants(), self.rounding))
    }

    /// The name of a pass in errors.
    fn stage(&self, together: &[Block]) -> String {
        match together {
            [first, .., last] => format!("{} blocks {} to {}", self.method, first.number, last.number),
            _ => format!("{} block {}", self.method, together[0].number),
        }
    }
}

/// Which blocks are moved side by side, where they can be: cut where their size changes or one more would be too many.
pub(super) fn passes<'b>(blocks: &'b [Block], spec: &RecoverSpec) -> Vec<&'b [Block]> {
    if !spec.side_by_side() {
        return blocks.chunks(1).collect();
    }
    let alike = blocks.chunk_by(|a, b| a.images.len() == b.images.len());
    alike.flat_map(|alike| alike.chunks((SIDE_BY_SIDE / alike[0].images.len()).max(1))).collect()
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
                let (crop, keyed) = (mover.spec.look.crop, (mover.seed, &mover.engine));
                let found = ClassStatistics::measure(network, &all, crop, &constants, keyed, &|n| bar.add(n))?;
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
                let drawn = draw(scanned, ipc, mover.seed);
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
fn draw(scanned: &Scanned, ipc: u32, seed: u64) -> Vec<Vec<u32>> {
    let mut rows = train_rows(&scanned.samples);
    for (class, rows) in (0..).zip(&mut rows) {
        Stream::new(seed, Stage::Recover, u32::MAX, class).shuffle(rows);
        rows.truncate(ipc as usize);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::list::{Way, distillation};
    use super::*;

    #[test]
    fn blocks_of_one_size_are_moved_side_by_side_up_to_a_number_of_images() {
        let spec = |name: &str| match distillation(name).expect("in the list").way {
            Way::Recover(way) => way.settings[0],
            Way::Crops(_) => panic!("{name} moves no pixels"),
        };
        let lens = |passes: Vec<&[Block]>| passes.iter().map(|pass| pass.len()).collect::<Vec<_>>();
        let cut = |blocks: &[Block]| lens(passes(blocks, &spec("sre2l")));
        assert_eq!(cut(&blocks(Batching::DistinctClasses, 10, 25, 100)), [10, 10, 5]);
        assert_eq!(cut(&blocks(Batching::DistinctClasses, 1000, 1, 100)), [1; 10]);
        assert_eq!(cut(&blocks(Batching::OneClass, 3, 150, 100)), [1; 6]);
        assert_eq!(cut(&blocks(Batching::OneClass, 7, 40, 40)), [2, 2, 2, 1]);
        assert_eq!(cut(&blocks(Batching::OneClass, 2, 500, 500)), [1, 1]);
        for name in ["dwa", "gvbsm"] {
            assert_eq!(lens(passes(&blocks(Batching::OneClass, 3, 2, 2), &spec(name))), [1, 1, 1], "{name}");
        }
    }

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
