//! Pictures for the page: score histograms, stored images, and what was kept and dropped.

use crate::bench::cells::set_name;
use crate::bench::evidence::{file_of, scores_folder};
use crate::bench::inputs::is_source_of;
use crate::bench::plan::{Distilling, Origin, Plan, Row};
use crate::distill::list::Way;
use crate::report::{Bin, ClassStrip, EasyEnd, Gallery, Histogram, Picture};
use crate::run::working_folder;
use crate::sources::lists;
use crate::stages::{Scores, given_scores};
use crate::ui::count;
use anyhow::Result;
use smalti_data::encode::{ImageFormat, encode};
use smalti_data::manifest::{MANIFEST, Manifest};
use smalti_data::resize;
use smalti_data::source::Source;
use smalti_data::tables::{ContentHash, Samples, Selection};
use smalti_select::HardEnd;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Classes that are shown, evenly spread over all.
const CLASSES: usize = 3;
/// Stored images shown per class.
const STORED: usize = 3;
/// Kept and dropped images shown per class, each.
const EXAMPLES: usize = 6;
/// Side of a thumbnail in pixels.
const THUMBNAIL: u32 = 64;
/// Bars of a histogram.
const BINS: usize = 40;

/// What the pictures are made from.
pub(super) struct Pictures<'a> {
    plan: &'a Plan,
    out: &'a Path,
    source: Source,
    samples: Samples,
}

/// What a stored image of `tiles` tiles holds.
fn contents(row: &Row, tiles: u32) -> String {
    let what = match &row.origin {
        Origin::Distilled(Distilling { method, .. }) => match method.way {
            Way::Recover(_) => "synthetic image",
            Way::Crops(_) => "crop",
        },
        Origin::Made(_) | Origin::Full => "whole image",
        Origin::External { .. } => "tile",
    };
    format!("{} each", count(tiles.into(), what))
}

/// The pictures of a bench, or none when its images or working tables are not on this machine, or are those of other images.
pub(super) fn open<'a>(plan: &'a Plan, out: &'a Path) -> Result<Option<Pictures<'a>>> {
    let table = out.join("work/samples.parquet");
    if !table.exists() || !plan.source.exists() {
        return Ok(None);
    }
    let samples = Samples::read(&table)?;
    if !is_source_of(out, &samples)? {
        return Ok(None);
    }
    let source = Source::open(&plan.source, &plan.reading)?;
    Ok(lists(&source, &samples).then_some(Pictures { plan, out, source, samples }))
}

impl Pictures<'_> {
    pub(super) fn classes(&self) -> &[String] {
        &self.samples.classes
    }

    /// The set of a row at the first budget and seed.
    fn set(&self, row: &Row) -> PathBuf {
        self.out.join("work/sets").join(set_name(&row.name, self.plan.recipe.ipc[0], 0))
    }

    /// The rows that choose by a score, with their scores and selection at seed 0.
    fn scored(&self) -> Result<Vec<(&Row, Scores, Selection)>> {
        let folder = scores_folder(self.out, 0);
        let mut found = Vec::new();
        for row in &self.plan.rows {
            let selection = working_folder(&self.set(row)).join("selection.parquet");
            if let Some(metric) = row.metric()
                && file_of(&folder, metric).exists()
                && selection.exists()
            {
                let class_of = |sample: u32| self.samples.rows.get(sample as usize).map(|s| s.class_id);
                found.push((
                    row,
                    given_scores(&file_of(&folder, metric), &metric.name, Some(metric.hard))?,
                    Selection::read(&selection, class_of)?,
                ));
            }
        }
        Ok(found)
    }

    pub(super) fn histograms(&self) -> Result<Vec<Histogram>> {
        let scored = self.scored()?;
        Ok(scored.iter().map(|(row, scores, selection)| histogram(&row.name, scores, selection)).collect())
    }

    pub(super) fn galleries(&self) -> Result<Vec<Gallery>> {
        let mut galleries = Vec::new();
        for row in &self.plan.rows {
            let dir = self.set(row);
            if dir.join(MANIFEST).exists() {
                let manifest = Manifest::read(&dir)?;
                let images = self.stored(&dir, &manifest)?;
                let note = contents(row, manifest.grid * manifest.grid);
                galleries.push(Gallery { method: row.name.clone(), note, images });
            }
        }
        Ok(galleries)
    }

    fn stored(&self, dir: &Path, manifest: &Manifest) -> Result<Vec<Picture>> {
        let mut images = Vec::new();
        for class_id in self.shown() {
            for entry in manifest.images.iter().filter(|image| image.class_id == class_id).take(STORED) {
                images.push(Picture {
                    class: self.samples.classes[class_id as usize].clone(),
                    caption: String::new(),
                    mime: mime(manifest.image_format).to_owned(),
                    bytes: smalti_data::files::read(&dir.join(&entry.file))?,
                    size: (manifest.size, manifest.size),
                });
            }
        }
        Ok(images)
    }

    /// Class indices to show.
    fn shown(&self) -> Vec<u32> {
        let all = self.samples.classes.len();
        let some = all.min(CLASSES);
        (0..some).map(|i| (i * all / some) as u32).collect()
    }

    /// The easiest kept and the hardest dropped images of the first row that keeps the easy ones, and a line that says which.
    pub(super) fn choices(&self) -> Result<(Vec<ClassStrip>, String)> {
        let scored = self.scored()?;
        let easy = |row: &Row| row.making().is_some_and(|m| m.recipe.rule.as_deref() == Some("easy-first"));
        let Some((row, scores, selection)) = scored.iter().find(|(row, ..)| easy(row)) else {
            return Ok((Vec::new(), String::new()));
        };
        let score: HashMap<u32, f32> = scores.rows.iter().copied().collect();
        let mut strips = Vec::new();
        for class_id in self.shown() {
            let ranked: Vec<_> = selection.rows.iter().filter(|row| row.class_id == class_id).collect();
            let kept: Vec<u32> =
                ranked.iter().filter(|row| row.verdict.is_kept()).take(EXAMPLES).map(|row| row.sample).collect();
            let dropped: Vec<u32> =
                ranked.iter().rev().filter(|row| !row.verdict.is_kept()).take(EXAMPLES).map(|row| row.sample).collect();
            strips.push(ClassStrip {
                class: self.samples.classes[class_id as usize].clone(),
                kept: self.thumbnails(&kept, &score)?,
                dropped: self.thumbnails(&dropped, &score)?,
            });
        }
        let note = format!("The choice is that of {} at seed 0; under each image its {}.", row.name, scores.metric);
        Ok((strips, note))
    }

    fn thumbnails(&self, wanted: &[u32], score: &HashMap<u32, f32>) -> Result<Vec<Picture>> {
        let mut rows = wanted.to_vec();
        rows.sort_unstable();
        let made: Mutex<HashMap<u32, Vec<u8>>> = Mutex::new(HashMap::new());
        self.source.for_each(&rows, &|row, bytes| {
            // Under the same name another image may lie there by now: not the one that was scored.
            let scored = self.samples.rows[row as usize].content_hash;
            let Some(bytes) = bytes.ok().filter(|bytes| ContentHash::of(bytes) == scored) else { return };
            let picture = self.source.decode(&bytes).and_then(|p| resize::resize(&p, THUMBNAIL, THUMBNAIL));
            if let Ok(encoded) = picture.and_then(|p| encode(&p, ImageFormat::Jpeg)) {
                made.lock().unwrap_or_else(PoisonError::into_inner).insert(row, encoded);
            }
        })?;
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        let picture = |row: &u32| {
            Some(Picture {
                class: self.samples.classes[self.samples.rows[*row as usize].class_id as usize].clone(),
                caption: score.get(row).map_or(String::new(), |s| format!("{s:.2}")),
                mime: mime(ImageFormat::Jpeg).to_owned(),
                bytes: made.remove(row)?,
                size: (THUMBNAIL, THUMBNAIL),
            })
        };
        Ok(wanted.iter().filter_map(picture).collect())
    }
}

fn mime(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "image/png",
        ImageFormat::Jpeg => "image/jpeg",
    }
}

fn histogram(method: &str, scores: &Scores, selection: &Selection) -> Histogram {
    let kept: HashMap<u32, bool> = selection.rows.iter().map(|row| (row.sample, row.verdict.is_kept())).collect();
    let values = || scores.rows.iter().filter_map(|(sample, score)| Some((f64::from(*score), *kept.get(sample)?)));
    let low = values().map(|v| v.0).fold(f64::INFINITY, f64::min);
    let high = values().map(|v| v.0).fold(f64::NEG_INFINITY, f64::max);
    let width = ((high - low) / BINS as f64).max(f64::MIN_POSITIVE);
    let edge = |i: usize| low + width * i as f64;
    let mut bins: Vec<Bin> = (0..BINS).map(|i| Bin { low: edge(i), high: edge(i + 1), kept: 0, dropped: 0 }).collect();
    for (value, kept) in values() {
        let bin = &mut bins[(((value - low) / width) as usize).min(BINS - 1)];
        if kept { bin.kept += 1 } else { bin.dropped += 1 }
    }
    Histogram {
        title: format!("{}: what {method} keeps", scores.metric),
        x_label: format!("{}, seed 0", scores.metric),
        easy_end: if scores.hard == HardEnd::High { EasyEnd::Low } else { EasyEnd::High },
        bins,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::inputs::keep_source_hash;
    use crate::bench::runner::tests::plan;
    use smalti_data::Rgb;
    use smalti_data::files::write_bytes;
    use smalti_data::source::SourceOptions;

    fn paint(photo: &Path, shade: u8) {
        let png = encode(&Rgb::filled(8, 8, [shade; 3]), ImageFormat::Png).expect("encoded");
        write_bytes(photo, &png).expect("written");
    }

    fn scanned(photos: &Path) -> Samples {
        let source = Source::open(photos, &SourceOptions::default()).expect("a folder of classes");
        smalti_data::scan::scan(&source, &|_| ()).expect("scanned")
    }

    #[test]
    fn only_the_images_of_the_bench_are_shown() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (photos, out) = (dir.path().join("photos"), dir.path().join("out"));
        paint(&photos.join("a/1.png"), 10);
        paint(&photos.join("b/1.png"), 200);
        let plan = Plan { source: photos.clone(), ..plan() };
        assert!(open(&plan, &out).expect("no table").is_none());
        let (own, table) = (scanned(&photos), out.join("work/samples.parquet"));
        keep_source_hash(&out, &own, None).expect("the first");
        own.write(&table).expect("written");
        let shown = || {
            let pictures = open(&plan, &out).expect("readable");
            pictures.map(|pictures| pictures.thumbnails(&[0, 1], &HashMap::new()).expect("shown").len())
        };
        assert_eq!(shown(), Some(2));

        paint(&photos.join("a/1.png"), 90);
        assert_eq!(shown(), Some(1), "one is another image by now");
        scanned(&photos).write(&table).expect("written");
        assert_eq!(shown(), None, "the table is that of other images");
        own.write(&table).expect("written");
        std::fs::rename(photos.join("a"), photos.join("c")).expect("renamed");
        assert_eq!(shown(), None, "as many images, and others");
    }
}
