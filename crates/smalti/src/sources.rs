//! Opening what people point at: a training set with its layout, a test set whose classes are matched by name.

use crate::decoded::{self, Wanted};
use crate::error::failure;
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::manifest::{LABEL_BYTES, Manifest};
use smalti_data::mosaic::Layout;
use smalti_data::scan;
use smalti_data::source::{Source, SourceOptions};
use smalti_data::store::{Budget, Fit, ImageStore};
use smalti_data::tables::{ContentHash, Sample, Samples, Split};
use smalti_data::write::source_hash;
use std::collections::HashSet;
use std::path::Path;

/// A source with a row for each of its images.
pub struct Scanned {
    /// The images.
    pub source: Source,
    /// What they are.
    pub samples: Samples,
}

impl Scanned {
    /// Opens and scans; every image is checked once, bad ones are warned of by name.
    ///
    /// # Errors
    /// When the source cannot be listed.
    pub fn open(path: &Path, options: &SourceOptions, ui: &Ui) -> Result<Scanned> {
        Scanned::of(Source::open(path, options)?, ui)
    }

    /// Scans a source that is open.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn of(source: Source, ui: &Ui) -> Result<Scanned> {
        let samples = scan_with_progress(&source, ui)?;
        warn_of(&source, &samples, ui);
        Ok(Scanned { source, samples })
    }
}

/// Scans a source behind a progress bar.
///
/// # Errors
/// When the source cannot be read at all.
pub fn scan_with_progress(source: &Source, ui: &Ui) -> Result<Samples> {
    let bar = ui.progress("scan", "", source.len() as u64, "images");
    let samples = scan::scan(source, &|n| bar.add(n))?;
    bar.done();
    Ok(samples)
}

/// Whether a table made earlier lists exactly the images of this source.
pub fn lists(source: &Source, samples: &Samples) -> bool {
    let same = |row: u32, class_id| source.class_id(row) == class_id && *source.path(row) == *samples.path(row);
    samples.rows.len() == source.len() && samples.rows.iter().all(|s| same(s.sample, s.class_id))
}

/// Says what is to be known of how a source was read, and names the first unreadable images.
pub fn warn_of(source: &Source, samples: &Samples, ui: &Ui) {
    source.notes().iter().for_each(|note| ui.warn(note));
    let bad: Vec<_> = samples.bad().collect();
    for (sample, cause) in bad.iter().take(5) {
        ui.warn(format!(
            "skipped `{}` (class `{}`): {cause}",
            samples.path(sample.sample),
            samples.classes[sample.class_id as usize]
        ));
    }
    if bad.len() > 5 {
        ui.warn(format!("skipped {} in all; `smalti inspect` lists them", count(bad.len() as u64, "unreadable image")));
    }
}

/// The shorter side, in pixels, of the usable image in the middle when they are sorted by it.
pub fn typical_side(samples: &Samples) -> u32 {
    let mut sides: Vec<u32> = samples.usable(Split::Train).map(|s| s.width.min(s.height)).collect();
    sides.sort_unstable();
    sides.get(sides.len() / 2).copied().unwrap_or(1)
}

/// Images to train on.
pub struct TrainSet {
    scanned: Scanned,
    /// Tiles and size of the images as the student sees them.
    pub layout: Layout,
    /// Class names in class order.
    pub classes: Vec<String>,
    /// Class index for each class of the source.
    class_ids: Vec<u32>,
    /// Encoded bytes of the images.
    pub image_bytes: u64,
    /// Bytes of their labels.
    pub label_bytes: u64,
    /// Content hashes of the source images that the set shows.
    shown: HashSet<ContentHash>,
}

impl TrainSet {
    /// A compressed set, or the training part of any labelled set brought to `size` px.
    ///
    /// # Errors
    /// When it cannot be opened or holds no usable image, or when `size` contradicts a set of mosaics.
    pub fn open(path: &Path, options: &SourceOptions, size: Option<u32>, ui: &Ui) -> Result<TrainSet> {
        let scanned = Scanned::open(path, options, ui)?;
        let manifest = scanned.source.manifest();
        if let (Some(_), Some((sample, cause))) = (manifest, scanned.samples.bad().next()) {
            let what =
                format!("the set `{}` is damaged: `{}`: {cause}", path.display(), scanned.samples.path(sample.sample));
            return Err(failure(
                what,
                "compress again with --force, or restore the file; `smalti verify` checks all of them",
            ));
        }
        let usable = scanned.samples.usable(Split::Train).count() as u64;
        if usable == 0 {
            return Err(failure(format!("`{}` has no training image", path.display()), "name a set with a train part"));
        }
        let layout = match manifest {
            Some(manifest) => layout_of(manifest, size)?,
            None => Layout::new(1, size.unwrap_or_else(|| typical_side(&scanned.samples).min(224)))?,
        };
        let shown = match manifest {
            Some(manifest) => hashes_of(manifest),
            None => scanned.samples.usable(Split::Train).map(|s| s.content_hash).collect(),
        };
        Ok(TrainSet {
            layout,
            classes: scanned.source.classes().to_vec(),
            class_ids: (0..).take(scanned.source.classes().len()).collect(),
            image_bytes: scanned.samples.usable(Split::Train).map(|s| u64::from(s.bytes)).sum(),
            label_bytes: usable * LABEL_BYTES,
            shown,
            scanned,
        })
    }

    /// The name of the preset that made it, if it is a compressed set.
    pub fn method(&self) -> Option<&str> {
        self.scanned.source.manifest().and_then(|m| m.method.get("preset")).map(String::as_str)
    }

    /// Images left out because they do not decode.
    pub fn skipped(&self) -> usize {
        self.scanned.samples.bad().count()
    }

    /// How its images are decoded, where that is a choice: the name of a profile. What `smalti` stored is decoded in one way.
    pub fn profile(&self) -> Option<String> {
        let source = &self.scanned.source;
        source.manifest().is_none().then(|| source.profile().name())
    }

    /// How the images were decoded that it was made of, where that is on record: the name of a profile.
    pub fn decoding(&self) -> Option<&str> {
        self.scanned.source.manifest().map(|manifest| manifest.decode_profile.as_str())
    }

    /// The hash of its images in their order: soft labels belong to these images.
    pub fn hash(&self) -> String {
        source_hash(&self.scanned.samples)
    }

    /// Takes the classes `wanted` in their order: labels keep their names. Where the names are others, how they differ is the error, in words.
    ///
    /// # Errors
    /// When the classes are not exactly these.
    pub fn match_classes(&mut self, wanted: &[String]) -> std::result::Result<(), String> {
        self.class_ids = match_classes(self.scanned.source.classes(), wanted)?;
        self.classes = wanted.to_vec();
        Ok(())
    }

    /// What it is to whoever learns from it: its images in their order, the class of each, and their tiles.
    pub fn identity(&self) -> String {
        let labels = label_hash(self.scanned.samples.rows.iter().map(|s| self.class_ids[s.class_id as usize]));
        format!("{} labels {labels} grid {}", self.hash(), self.layout.grid)
    }

    /// Images of the class that has the fewest, and of the one that has the most.
    pub fn images_per_class(&self) -> (u64, u64) {
        let mut counts = vec![0; self.classes.len()];
        for sample in self.scanned.samples.usable(Split::Train) {
            counts[self.class_ids[sample.class_id as usize] as usize] += 1;
        }
        (counts.iter().copied().min().unwrap_or(0), counts.iter().copied().max().unwrap_or(0))
    }

    /// How many of these images it shows, by content.
    pub fn shows<'a>(&self, others: impl Iterator<Item = &'a Sample>) -> usize {
        others.filter(|sample| self.shown.contains(&sample.content_hash)).count()
    }

    /// Decodes the images.
    ///
    /// # Errors
    /// When an image changed since the scan.
    pub fn load(&self, budget: &Budget, ui: &Ui) -> Result<ImageStore> {
        let wanted = rows(self.scanned.samples.usable(Split::Train), |class_id| self.class_ids[class_id as usize]);
        let wanted = Wanted { rows: &wanted, layout: &self.layout, fit: Fit::Whole };
        decoded::load((&self.scanned.source, &self.scanned.samples), wanted, budget, &|_| (), ui)
    }
}

fn layout_of(manifest: &Manifest, size: Option<u32>) -> Result<Layout> {
    match size {
        Some(size) if size != manifest.size && manifest.grid > 1 => Err(failure(
            format!("the mosaics are {} px wide and cannot be trained on at {size} px", manifest.size),
            format!("leave --size out, or compress again with --size {size}"),
        )),
        Some(size) => Ok(Layout::new(manifest.grid, size)?),
        None => Ok(Layout::new(manifest.grid, manifest.size)?),
    }
}

fn hashes_of(manifest: &Manifest) -> HashSet<ContentHash> {
    let tiles = manifest.images.iter().flat_map(|image| &image.tiles);
    tiles.filter_map(|tile| ContentHash::parse(&tile.content_hash)).collect()
}

/// Images to measure on.
pub struct TestSet {
    scanned: Scanned,
    split: Split,
    /// Class index of the training set for each class of the source.
    class_ids: Vec<u32>,
}

impl TestSet {
    /// The test part of `path`, or all of it when it has none. Classes are matched by name.
    ///
    /// # Errors
    /// When the classes are not exactly those of the training set, or there is no image.
    pub fn open(path: &Path, options: &SourceOptions, train: &TrainSet, ui: &Ui) -> Result<TestSet> {
        let set = TestSet::of(Scanned::open(path, options, ui)?, &train.classes)?;
        let seen = train.shows(set.usable());
        if seen > 0 {
            ui.warn(format!(
                "{} of {} test images are also in the training set, so the accuracy says little; give --test other images, or compress \
                 with --holdout 0.1 and measure with --split holdout",
                seen,
                set.len()
            ));
        }
        Ok(set)
    }

    /// The images that `compress --holdout` kept out of `source`; `samples` is the table in the working folder of the set.
    ///
    /// # Errors
    /// When the table holds no such image, or belongs to another source.
    pub fn holdout(source: Source, samples: Samples, classes: &[String]) -> Result<TestSet> {
        if samples.usable(Split::Holdout).next().is_none() {
            return Err(failure("the set was made without a hold-out", "compress again with --holdout 0.1"));
        }
        if !lists(&source, &samples) {
            let what = format!("`{}` is not the source that the hold-out was taken from", source.location().display());
            return Err(failure(what, "give --test the folder or file that was compressed"));
        }
        let class_ids =
            match_classes(&samples.classes, classes).map_err(|how| other_classes(source.location(), &how))?;
        Ok(TestSet { scanned: Scanned { source, samples }, split: Split::Holdout, class_ids })
    }

    /// The test part of a scanned source, or all of it when it has none.
    ///
    /// # Errors
    /// As [`TestSet::open`].
    pub fn of(scanned: Scanned, classes: &[String]) -> Result<TestSet> {
        let has_test = scanned.samples.usable(Split::Test).next().is_some();
        let split = if has_test { Split::Test } else { Split::Train };
        if scanned.samples.usable(split).next().is_none() {
            let what = format!("`{}` has no test image", scanned.source.location().display());
            return Err(failure(what, "name a folder or a Parquet file with labelled images"));
        }
        let class_ids = match_classes(&scanned.samples.classes, classes)
            .map_err(|how| other_classes(scanned.source.location(), &how))?;
        Ok(TestSet { scanned, split, class_ids })
    }

    /// The hash of all images of its source.
    pub fn hash(&self) -> String {
        source_hash(&self.scanned.samples)
    }

    /// The images that measure.
    pub fn usable(&self) -> impl Iterator<Item = &Sample> {
        self.scanned.samples.usable(self.split)
    }

    /// Number of test images.
    pub fn len(&self) -> usize {
        self.usable().count()
    }

    /// Whether there are none; never true for an opened set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Images left out because they do not decode.
    pub fn skipped(&self) -> usize {
        self.scanned.samples.bad().count()
    }

    /// Decodes the images to `size` px.
    ///
    /// # Errors
    /// When an image changed since the scan.
    pub fn load(&self, size: u32, fit: Fit, budget: &Budget, ui: &Ui) -> Result<ImageStore> {
        let wanted = rows(self.usable(), |class_id| self.class_ids[class_id as usize]);
        let wanted = Wanted { rows: &wanted, layout: &Layout::new(1, size)?, fit };
        decoded::load((&self.scanned.source, &self.scanned.samples), wanted, budget, &|_| (), ui)
    }
}

/// Source row and class index, by row.
pub fn rows<'a>(samples: impl Iterator<Item = &'a Sample>, class_of: impl Fn(u32) -> u32) -> Vec<(u32, u32)> {
    samples.map(|s| (s.sample, class_of(s.class_id))).collect()
}

/// The rows of the training images of each class, ascending.
pub fn train_rows(samples: &Samples) -> Vec<Vec<u32>> {
    let mut rows = vec![Vec::new(); samples.classes.len()];
    for sample in samples.usable(Split::Train) {
        rows[sample.class_id as usize].push(sample.sample);
    }
    rows
}

/// Which class each image of a source is in, as a hash.
pub fn label_hash(class_ids: impl Iterator<Item = u32>) -> String {
    let mut hasher = blake3::Hasher::new();
    class_ids.for_each(|class_id| {
        hasher.update(&class_id.to_le_bytes());
    });
    hasher.finalize().to_hex().to_string()
}

/// For each class of a set the index of the same name in `wanted`; where the names are not the same, how they differ, in words.
fn match_classes(found: &[String], wanted: &[String]) -> std::result::Result<Vec<u32>, String> {
    let missing: Vec<&str> = wanted.iter().filter(|c| !found.contains(c)).map(String::as_str).collect();
    let extra: Vec<&str> = found.iter().filter(|c| !wanted.contains(c)).map(String::as_str).collect();
    let list = |names: &[&str]| {
        format!("`{}`{}", names[..names.len().min(5)].join("`, `"), if names.len() > 5 { ", …" } else { "" })
    };
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("lacks {}", list(&missing)));
    }
    if !extra.is_empty() {
        parts.push(format!("has {} more: {}", extra.len(), list(&extra)));
    }
    match parts.is_empty() {
        true => Ok(found.iter().map(|name| wanted.iter().position(|w| w == name).unwrap_or_default() as u32).collect()),
        false => Err(parts.join(" and ")),
    }
}

/// The error for a test set in `place` whose classes differ as `how` says.
fn other_classes(place: &Path, how: &str) -> anyhow::Error {
    failure(
        format!("the test set `{}` has other classes than the training set: it {how}", place.display()),
        "classes are matched by name; rename folders or labels so that both sets use the same names",
    )
}

/// Half of the memory that is free now; decoded images past it are spooled to `folder`.
pub fn budget(folder: &Path) -> Budget<'_> {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Budget { memory_bytes: available.map_or(2 << 30, |kib| kib * 512), spool: folder }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Volume;
    use smalti_data::Rgb;
    use smalti_data::encode::{ImageFormat, encode};

    const SILENT: Ui = Ui { volume: Volume::Quiet };

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn classes_are_matched_by_name_and_never_by_place() {
        let ids = match_classes(&names(&["b", "a", "c"]), &names(&["a", "b", "c"])).expect("the same names");
        assert_eq!(ids, [1, 0, 2]);
        let how = match_classes(&names(&["a", "x"]), &names(&["a", "b"])).expect_err("differ");
        assert_eq!(
            other_classes(Path::new("t"), &how).to_string(),
            "the test set `t` has other classes than the training set: it lacks `b` and has 1 more: `x`"
        );
    }

    #[test]
    fn labels_follow_their_names_and_are_part_of_what_a_set_is() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (image, shade) in [("a/1.png", 10), ("b/1.png", 90), ("b/2.png", 200)] {
            let png = encode(&Rgb::filled(8, 8, [shade; 3]), ImageFormat::Png).expect("encoded");
            smalti_data::files::write_bytes(&dir.path().join("photos").join(image), &png).expect("written");
        }
        let open = || {
            let options = SourceOptions::default();
            TrainSet::open(&dir.path().join("photos"), &options, Some(8), &SILENT).expect("a folder of classes")
        };
        let budget = Budget { memory_bytes: 1 << 20, spool: dir.path() };
        let labels = |set: &TrainSet| {
            let store = set.load(&budget, &SILENT).expect("decoded");
            (0..3).map(|image| store.label(image)).collect::<Vec<_>>()
        };
        let (own, mut turned) = (open(), open());
        turned.match_classes(&names(&["b", "a"])).expect("the same names");
        assert_eq!((labels(&own), labels(&turned)), (vec![0, 1, 1], vec![1, 0, 0]));
        assert_eq!((own.hash(), turned.classes.as_slice()), (turned.hash(), names(&["b", "a"]).as_slice()));
        assert_ne!(own.identity(), turned.identity(), "the same images under other labels");
        assert!(own.identity().starts_with(&own.hash()) && own.identity().ends_with(" grid 1"), "{}", own.identity());
        assert_eq!(turned.images_per_class(), (1, 2));
        let how = turned.match_classes(&names(&["a", "b", "c"])).expect_err("one class is not there");
        assert_eq!((how.as_str(), turned.images_per_class()), ("lacks `c`", (1, 2)));
    }
}
