//! What a person may change about a method, and what a run is then made with.

use super::crops::CropSpec;
use super::list::{Distillation, Recovery, Way, for_size};
use crate::error::usage;
use anyhow::Result;
use serde::Serialize;
use smalti_learn::recover::{After, Nudge, RecoverSpec, Rounding};

/// Most images per class: more would be a list that fills memory before anything is made.
const MOST: u32 = 1_000_000;

/// Which of the two is followed where published code differs from its paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Pixels are rounded to the nearest byte, and weights that DWA moved are put back after each block.
    Paper,
    /// Pixels are truncated, and DWA's weights drift from block to block until the next image of each class.
    Code,
}

/// What is not as published; none where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Steps of each image.
    pub iterations: Option<u32>,
    /// Most images that are moved together.
    pub block: Option<u32>,
    /// Which of the two is followed where published code differs from its paper.
    pub follows: Option<Follows>,
    /// Tiles per side of an image.
    pub grid: Option<u32>,
    /// Training images of each class whose crops are looked at.
    pub pool: Option<u32>,
    /// Crops of each of them.
    pub crops: Option<u32>,
}

/// A method with all its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "one of a run")]
pub(super) enum Tuned {
    Recover {
        #[serde(skip)]
        way: Recovery,
        block: u32,
        rounding: Rounding,
        recover: RecoverSpec,
    },
    Crops {
        crops: CropSpec,
    },
}

impl Distillation {
    /// Refuses what the method would ignore, and numbers with which nothing is made.
    ///
    /// # Errors
    /// Naming the flag.
    pub(crate) fn check(&self, tuning: &Tuning, ipc: u32) -> Result<()> {
        if !(1..=MOST).contains(&ipc) {
            return Err(usage(format!("{ipc} images per class cannot be made"), format!("choose 1 to {MOST}")));
        }
        let moves = self.moves_pixels();
        let given = [
            ("--iterations", tuning.iterations, moves, u32::MAX),
            ("--block", tuning.block, moves, u32::MAX),
            ("--compat", tuning.follows.map(|_| 1), moves, 1),
            ("--grid", tuning.grid, !moves, u32::MAX),
            ("--pool", tuning.pool, !moves, u32::MAX),
            // All of an image are held at once.
            ("--crops", tuning.crops, !moves, 1000),
        ];
        for (flag, number, means, most) in given {
            match number {
                Some(_) if !means => {
                    return Err(usage(format!("{flag} means nothing to `{}`", self.name), "leave it out"));
                }
                Some(0) => {
                    return Err(usage(format!("with {flag} 0 nothing is made"), format!("give {flag} above 0")));
                }
                Some(number) if number > most => {
                    return Err(usage(format!("{flag} {number} is too much"), format!("give {flag} up to {most}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses more teachers than it asks.
    ///
    /// # Errors
    /// For several, where it asks one.
    pub(crate) fn check_teachers(&self, count: usize) -> Result<()> {
        if count > 1 && !self.takes_several() {
            return Err(usage(
                format!("`{}` asks one teacher, and {count} are given", self.name),
                "give one --teacher, or choose gvbsm, which asks several in turn",
            ));
        }
        Ok(())
    }

    /// Tiles of a side of its images of `size` px.
    pub(crate) fn grid(&self, tuning: &Tuning, size: u32) -> u32 {
        match self.tuned(tuning, size) {
            Ok(Tuned::Crops { crops }) => crops.grid,
            _ => 1,
        }
    }

    /// The method for images of `size` px.
    ///
    /// # Errors
    /// When tiles of the grid do not fill an image.
    pub(super) fn tuned(&self, tuning: &Tuning, size: u32) -> Result<Tuned> {
        match self.way {
            Way::Recover(way) => {
                let mut recover = for_size(&way.settings, size);
                recover.iterations = tuning.iterations.unwrap_or(recover.iterations);
                let (rounding, after) = match tuning.follows.unwrap_or(Follows::Paper) {
                    Follows::Paper => (Rounding::Nearest, After::PutBack),
                    Follows::Code => (Rounding::Truncated, After::Stay),
                };
                recover.nudge = recover.nudge.map(|nudge| Nudge { after, ..nudge });
                let block = tuning.block.unwrap_or(for_size(&way.blocks, size));
                Ok(Tuned::Recover { way, block, rounding, recover })
            }
            Way::Crops(settings) => {
                let published = for_size(&settings, size);
                let crops = CropSpec {
                    grid: tuning.grid.unwrap_or(published.grid),
                    pool: tuning.pool.unwrap_or(published.pool),
                    crops: tuning.crops.unwrap_or(published.crops),
                };
                if !size.is_multiple_of(crops.grid) {
                    return Err(usage(
                        format!("{0} x {0} tiles of one size do not fill an image of {size} px", crops.grid),
                        "choose a --grid or --size that divides without a rest",
                    ));
                }
                Ok(Tuned::Crops { crops })
            }
        }
    }
}

impl Tuned {
    /// For the card of the set.
    pub fn notes(&self, method: &Distillation) -> String {
        let what = match self {
            Tuned::Recover { .. } => "The images are synthetic",
            Tuned::Crops { .. } => "The images are crops of training images",
        };
        format!("{what}: {} ({}).", method.about, method.paper)
    }
}
