//! That every class has the training images that a method needs: said before anything is trained, removed or made.

use super::list::{Matches, Start};
use super::tuning::Tuned;
use crate::error::failure;
use crate::sources::train_rows;
use anyhow::Result;
use smalti_data::tables::Samples;

/// # Errors
/// Naming the first class that has too few for `ipc` images.
pub(super) fn check(method: &str, tuned: &Tuned, ipc: u32, samples: &Samples) -> Result<()> {
    for (class, rows) in samples.classes.iter().zip(train_rows(samples)) {
        let found = rows.len() as u64;
        match tuned {
            Tuned::Crops { crops } => {
                let (wanted, seen) = (crops.tiles(ipc), found.min(crops.pool.into()));
                if seen < wanted {
                    return Err(failure(
                        format!(
                            "class `{class}` needs crops of {wanted} images and {seen} of its {found} are looked at"
                        ),
                        "choose a smaller --ipc or --grid, or a larger --pool where there are more images",
                    ));
                }
            }
            Tuned::Recover { way, .. } if way.start == Start::RealImages && found < ipc.into() => {
                return Err(failure(
                    format!("`{method}` starts from training images: class `{class}` has {found} for {ipc}"),
                    "choose a smaller --ipc, or a method that starts from noise",
                ));
            }
            Tuned::Recover { way, .. } if way.matches == Matches::TheClass && found == 0 => {
                return Err(failure(
                    format!("`{method}` matches the statistics of a class: class `{class}` has no training image"),
                    "give the class images, or remove it, or choose sre2l, which matches those of all classes",
                ));
            }
            Tuned::Recover { .. } => {}
        }
    }
    Ok(())
}
