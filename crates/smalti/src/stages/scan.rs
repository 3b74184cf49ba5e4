//! Scan: one look at every image. Leaves `samples.parquet`.

use crate::inspect::inspect;
use crate::recipe::Recipe;
use crate::run::Run;
use crate::sources::{lists, scan_with_progress, warn_of};
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::random::{Stage, Stream};
use smalti_data::scan::scan_again;
use smalti_data::source::Source;
use smalti_data::tables::{Samples, Split};

/// Describes every image of the source, and takes the hold-out from its training part.
///
/// # Errors
/// When the source cannot be read or the table cannot be written.
pub fn scan(source: &Source, recipe: &Recipe, run: &Run, ui: &Ui) -> Result<Samples> {
    let path = run.table("samples.parquet");
    let known = if path.exists() && !run.replaces() { Some(Samples::read(&path)?) } else { None };
    let known = known.filter(|samples| samples.classes == source.classes() && lists(source, samples));
    let mut samples = match known {
        Some(samples) => {
            let mut samples = Samples { paths: source.paths(), ..samples };
            again_with_progress(source, &mut samples, ui)?;
            samples
        }
        None => scan_with_progress(source, ui)?,
    };
    warn_of(source, &samples, ui);
    for warning in inspect(&samples).warnings {
        ui.warn(warning);
    }
    hold_out(&mut samples, recipe.holdout.unwrap_or(0.0), recipe.seed.unwrap_or(0));
    // The table of a set that may stay belongs to it: `settle` writes over it.
    if !run.replaces() {
        samples.write(&path)?;
    }
    let used = samples.usable(Split::Train).count() as u64;
    ui.say(
        "scan",
        format!("{}, {} to choose from", count(samples.classes.len() as u64, "class"), count(used, "image")),
    );
    Ok(samples)
}

/// A run that goes on looks at every image again: scores name images by their rows, and another image may have taken the place of one.
fn again_with_progress(source: &Source, samples: &mut Samples, ui: &Ui) -> Result<()> {
    let bar = ui.progress("scan", "again", source.len() as u64, "images");
    scan_again(source, samples, &|n| bar.add(n))?;
    bar.done();
    Ok(())
}

/// Marks `part` of the training images as hold-out. The draw is keyed by each image's content, so it does not depend on order or names,
/// and copies of one image stay together.
pub fn hold_out(samples: &mut Samples, part: f64, seed: u64) {
    for sample in &mut samples.rows {
        if sample.split == Split::Holdout {
            sample.split = Split::Train;
        }
        if sample.split == Split::Train {
            let key = sample.content_hash.leading();
            if Stream::new(seed, Stage::Holdout, 0, key).uniform() < part {
                sample.split = Split::Holdout;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::tables::{ContentHash, Sample, Status};

    fn samples(n: u32) -> Samples {
        let row = |sample: u32| Sample {
            sample,
            content_hash: ContentHash::of(&(sample / 2).to_be_bytes()),
            class_id: 0,
            split: if sample.is_multiple_of(5) { Split::Test } else { Split::Train },
            width: 1,
            height: 1,
            bytes: 1,
            status: Status::Ok,
        };
        Samples { classes: vec!["a".into()], rows: (0..n).map(row).collect(), ..Samples::default() }
    }

    #[test]
    fn the_hold_out_is_a_seeded_part_of_the_training_images_that_keeps_copies_together() {
        let mut drawn = samples(4000);
        hold_out(&mut drawn, 0.25, 1);
        let held = drawn.usable(Split::Holdout).count();
        // 3,200 training rows in about 1,800 distinct contents: five standard deviations are about 110.
        assert!((690..=910).contains(&held), "{held}");
        assert_eq!(drawn.usable(Split::Test).count(), 800, "the test part is not touched");
        for pair in drawn.rows.chunks(2).filter(|p| p.iter().all(|s| s.split != Split::Test)) {
            assert_eq!(pair[0].split, pair[1].split, "copies stay together");
        }
        let mut again = drawn.clone();
        hold_out(&mut again, 0.25, 1);
        assert_eq!(again, drawn, "drawing twice changes nothing");
        hold_out(&mut again, 0.25, 2);
        assert_ne!(again, drawn);
        hold_out(&mut again, 0.0, 2);
        assert_eq!(again, samples(4000));
    }
}
