//! The images of a set, shard by shard: decode, resize to tiles, compose, encode, write, record.
//!
//! A shard that is recorded in the working folder, and whose files still have the recorded hashes, is not made again.

use super::names;
use crate::encode::{self, ImageFormat};
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{ImageEntry, TileEntry};
use crate::mosaic::{self, Layout, Plan, PlannedImage};
use crate::pixels::{PixelBox, Rgb};
use crate::resize;
use crate::source::Source;
use crate::tables::{ContentHash, Samples};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Most images in one shard.
const SHARD_IMAGES: usize = 64;

/// Most bytes of uncompressed images in one shard, unless one image alone is larger.
const SHARD_BYTES: usize = 64 << 20;

/// What the images of one set are made from.
pub(super) struct Job<'a> {
    /// The folder above `train/`: that of the set, or a staging folder for Parquet alone.
    pub root: &'a Path,
    /// The folder of the shards' records.
    pub shards: &'a Path,
    pub source: &'a Source,
    pub samples: &'a Samples,
    pub layout: &'a Layout,
    pub image_format: ImageFormat,
    /// Folder name of each class.
    pub folders: &'a [String],
}

/// What is known of a finished shard.
#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    /// Hash of everything its images depend on.
    key: String,
    images: Vec<ImageEntry>,
}

/// Writes all images that are not there yet, and describes all of them in plan order.
///
/// # Errors
/// The first image, in source order, that no longer reads or decodes, or has changed since the scan; I/O errors with the path.
pub(super) fn write_images(job: &Job, plan: &Plan, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<ImageEntry>> {
    let raw = job.layout.size as usize * job.layout.size as usize * 3;
    let per_shard = (SHARD_BYTES / raw).clamp(1, SHARD_IMAGES);
    let mut all = Vec::with_capacity(plan.images.len());
    for (number, images) in plan.images.chunks(per_shard).enumerate() {
        let record = job.shards.join(format!("shard-{number:05}.json"));
        let planned: Vec<ImageEntry> = images.iter().map(|image| job.entry(image)).collect();
        let key = job.key(&planned);
        match finished(&record, &key, job.root) {
            Some(entries) => {
                progress(images.len() as u64);
                all.extend(entries);
            }
            None => {
                let entries = job.write_shard(images, planned, progress)?;
                let shard = Record { key, images: entries };
                let text = serde_json::to_vec(&shard).expect("numbers, strings and lists are JSON");
                files::write_bytes(&record, &text)?;
                all.extend(shard.images);
            }
        }
    }
    Ok(all)
}

/// The entries of a shard that an earlier run finished, if all of its files are still as they were written.
fn finished(record: &Path, key: &str, root: &Path) -> Option<Vec<ImageEntry>> {
    let record: Record = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
    let intact = |image: &ImageEntry| {
        fs::read(root.join(&image.file)).is_ok_and(|bytes| blake3::hash(&bytes).to_hex().as_str() == image.blake3)
    };
    (record.key == key && record.images.par_iter().all(intact)).then_some(record.images)
}

impl Job<'_> {
    /// What is known of an image before it is made: all but its bytes and their hash.
    fn entry(&self, image: &PlannedImage) -> ImageEntry {
        let folder = &self.folders[image.class_id as usize];
        let name = names::image(folder, image.index, self.image_format.extension());
        let tile = |(&sample, place): (&u32, PixelBox)| TileEntry {
            sample,
            content_hash: self.samples.rows[sample as usize].content_hash.to_string(),
            place: [place.left, place.top, place.width, place.height],
        };
        ImageEntry {
            file: format!("train/{folder}/{name}"),
            class_id: image.class_id,
            bytes: 0,
            blake3: String::new(),
            tiles: image.samples.iter().zip(self.layout.tiles()).map(tile).collect(),
        }
    }

    fn key(&self, planned: &[ImageEntry]) -> String {
        let of = (
            env!("CARGO_PKG_VERSION"),
            (self.source.profile().name(), super::RESIZE_PROFILE),
            (self.layout, self.image_format, self.image_format.quality()),
            planned,
        );
        let text = serde_json::to_vec(&of).expect("numbers, strings and lists are JSON");
        blake3::hash(&text).to_hex().to_string()
    }

    fn write_shard(
        &self,
        images: &[PlannedImage],
        planned: Vec<ImageEntry>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<ImageEntry>> {
        let canvases = self.compose(images)?;
        let entries = canvases
            .into_par_iter()
            .zip(planned)
            .map(|(canvas, entry)| {
                let bytes = encode::encode(&canvas, self.image_format)?;
                write_synced(&self.root.join(&entry.file), &bytes)?;
                progress(1);
                Ok(ImageEntry { bytes: bytes.len() as u64, blake3: blake3::hash(&bytes).to_hex().to_string(), ..entry })
            })
            .collect::<Result<Vec<_>>>()?;
        // The names become durable once per folder, not once per image.
        let folders: BTreeSet<PathBuf> = entries
            .iter()
            .flat_map(|entry| {
                self.root.join(&entry.file).ancestors().skip(1).take(3).map(Path::to_owned).collect::<Vec<_>>()
            })
            .collect();
        folders.iter().try_for_each(|folder| files::sync_dir(folder))?;
        Ok(entries)
    }

    /// The pictures of one shard.
    fn compose(&self, images: &[PlannedImage]) -> Result<Vec<Rgb>> {
        let boxes = self.layout.tiles();
        let mut places: Vec<(u32, usize, PixelBox)> = images
            .iter()
            .enumerate()
            .flat_map(|(image, planned)| {
                planned.samples.iter().zip(&boxes).map(move |(&row, &place)| (row, image, place))
            })
            .collect();
        places.sort_unstable_by_key(|place| place.0);
        let rows: Vec<u32> = places.iter().map(|place| place.0).collect();
        let canvas = || Mutex::new(Rgb::filled(self.layout.size, self.layout.size, [0; 3]));
        let canvases: Vec<Mutex<Rgb>> = images.iter().map(|_| canvas()).collect();
        self.source.try_for_each(&rows, &|at, row, bytes| {
            let (_, image, place) = places[at];
            let tile = self.tile(row, bytes, place)?;
            mosaic::paste(&mut canvases[image].lock().unwrap_or_else(PoisonError::into_inner), &tile, &place)
        })?;
        Ok(canvases.into_iter().map(|c| c.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }

    /// One sample as a tile: the whole image, squashed to its box.
    fn tile(&self, row: u32, bytes: Result<Vec<u8>>, place: PixelBox) -> Result<Rgb> {
        let sample = &self.samples.rows[row as usize];
        let changed = |cause: String| {
            Error::input(
                format!("the source changed while the set was being made: `{}` {cause}", self.samples.path(row)),
                "run the same command again with --force, so that the source is scanned anew",
            )
        };
        let bytes = bytes.map_err(|error| changed(format!("no longer reads ({error})")))?;
        if ContentHash::of(&bytes) != sample.content_hash {
            return Err(changed("has other bytes than at the scan".to_owned()));
        }
        let picture = self.source.profile().decode_for(&bytes, place.width, place.height);
        let picture = picture.map_err(|error| changed(format!("no longer decodes ({error})")))?;
        resize::resize(&picture, place.width, place.height)
    }
}

/// Writes a file under a temporary name, syncs and renames it. The caller syncs the folder.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create the folder", parent))?;
    }
    let partial = files::partial_of(path);
    let mut file = File::create(&partial).map_err(Error::io("create", &partial))?;
    file.write_all(bytes).map_err(Error::io("write", &partial))?;
    file.sync_all().map_err(Error::io("sync", &partial))?;
    fs::rename(&partial, path).map_err(Error::io("rename a finished file to", path))
}
