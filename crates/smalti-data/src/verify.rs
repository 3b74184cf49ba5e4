//! Reads a compressed set back: every file, size, hash, label and count, the card and the recipe too. Written sets pass through here before
//! their manifest exists.

use crate::decode::{self, Profile};
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{FileEntry, ImageEntry, Manifest};
use crate::source::Source;
use crate::write::{INDEX, ParquetRow, index, read_rows};
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Reopens the set in `dir` and checks all of it against its manifest, which is returned. Sets that were written before their card and
/// recipe were pinned only have to have them.
///
/// # Errors
/// The first thing that does not hold, as an [`Error::Input`] that names the file.
pub fn verify(dir: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(dir)?;
    check(dir, &manifest)?;
    Ok(manifest)
}

/// Checks the files in `dir` against a manifest that may not be written yet.
///
/// # Errors
/// As [`verify`].
pub fn check(dir: &Path, manifest: &Manifest) -> Result<()> {
    check_counts(dir, manifest)?;
    if manifest.format.has_folder() {
        check_members(dir, "train", manifest)?;
        first_error(&manifest.images, |image| check_image(dir, image, manifest.size))?;
    }
    if manifest.format.has_parquet() {
        check_members(dir, "data", manifest)?;
        check_parquet(dir, manifest)?;
    }
    if manifest.format.has_webdataset() {
        check_members(dir, "data", manifest)?;
        check_webdataset(dir, manifest)?;
    }
    let list = dir.join("class_to_idx.txt");
    if files::read(&list).map_err(|_| missing(&list))? != class_list(manifest).as_bytes() {
        return Err(broken(&list, "does not list the classes of the manifest"));
    }
    check_documents(dir, manifest)
}

/// The card and the recipe, whose hashes are in the manifest.
pub(crate) const DOCUMENTS: [&str; 2] = ["README.md", "recipe.toml"];

/// That card and recipe are there, and as they were written where the manifest says how that was: older ones do not.
fn check_documents(dir: &Path, manifest: &Manifest) -> Result<()> {
    for name in DOCUMENTS {
        let path = dir.join(name);
        let (_, hash) = files::hash(&path).map_err(|_| missing(&path))?;
        if manifest.documents.get(name).is_some_and(|written| *written != hash) {
            return Err(broken(&path, "has other bytes than were written"));
        }
    }
    Ok(())
}

/// The text of `class_to_idx.txt`: the folder of each class in class order, one a line.
pub(crate) fn class_list(manifest: &Manifest) -> String {
    manifest.folders.iter().map(|folder| format!("{folder}\n")).collect()
}

fn broken(path: &Path, what: &str) -> Error {
    Error::input(format!("`{}` {what}", path.display()), "compress again with --force, or restore the file")
}

fn missing(path: &Path) -> Error {
    broken(path, "is missing or cannot be read")
}

/// The error of the first item that has one, whatever the number of threads.
fn first_error<T: Sync>(items: &[T], check: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    items.par_iter().find_map_first(|item| check(item).err()).map_or(Ok(()), Err)
}

/// Images per class, and the sums that the manifest states.
fn check_counts(dir: &Path, manifest: &Manifest) -> Result<()> {
    let mut counts = vec![0u32; manifest.classes.len()];
    for image in &manifest.images {
        counts[image.class_id as usize] += 1;
    }
    for (class_id, &images) in (0..).zip(&counts) {
        let expected = manifest.expected_images(class_id);
        if images != expected {
            let class = &manifest.classes[class_id as usize];
            return Err(broken(dir, &format!("has {images} images of class `{class}`, not {expected}")));
        }
    }
    let bytes = manifest.images.iter().fold(0u64, |sum, image| sum.saturating_add(image.bytes));
    let packed = manifest.parquet.iter().chain(&manifest.webdataset);
    let rows = packed.fold(0u64, |sum, file| sum.saturating_add(file.rows));
    let packed = manifest.format.has_parquet() || manifest.format.has_webdataset();
    if bytes != manifest.image_bytes || (packed && rows != manifest.images.len() as u64) {
        return Err(broken(dir, "has a manifest whose sums do not fit its parts"));
    }
    Ok(())
}

/// Whether `train/` or `data/` holds anything that is not part of the set: a reader would take it for a part.
fn check_members(dir: &Path, part: &str, manifest: &Manifest) -> Result<()> {
    let files = match part {
        "train" => manifest.images.iter().map(|image| image.file.as_str()).collect::<HashSet<_>>(),
        _ => manifest.parquet.iter().chain(&manifest.webdataset).map(|file| file.file.as_str()).collect(),
    };
    let folders: HashSet<&str> =
        files.iter().filter_map(|file| file.rsplit_once('/')).map(|(folder, _)| folder).chain([part]).collect();
    let mut open = vec![part.to_owned()];
    while let Some(folder) = open.pop() {
        let path = dir.join(&folder);
        let list = std::fs::read_dir(&path).map_err(|_| missing(&path))?;
        for entry in list {
            let entry = entry.map_err(Error::io("list the folder", &path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let inside = format!("{folder}/{name}");
            if entry.path().is_dir() && folders.contains(inside.as_str()) {
                open.push(inside);
            } else if !files.contains(inside.as_str()) && !name.starts_with('.') {
                let hint = "move it away, or compress again with --force";
                return Err(Error::input(format!("`{}` is not part of the set", entry.path().display()), hint));
            }
        }
    }
    Ok(())
}

fn check_image(dir: &Path, image: &ImageEntry, size: u32) -> Result<()> {
    let path = dir.join(&image.file);
    let bytes = std::fs::read(&path).map_err(|_| missing(&path))?;
    check_bytes(&path, &bytes, image, size)
}

fn check_bytes(path: &Path, bytes: &[u8], image: &ImageEntry, size: u32) -> Result<()> {
    if bytes.len() as u64 != image.bytes {
        return Err(broken(path, &format!("has {} bytes, not {}", bytes.len(), image.bytes)));
    }
    if blake3::hash(bytes).to_hex().as_str() != image.blake3 {
        return Err(broken(path, "has other bytes than were written"));
    }
    let picture = decode::decode(bytes).map_err(|error| broken(path, &format!("does not decode: {error}")))?;
    if (picture.width, picture.height) != (size, size) {
        return Err(broken(path, &format!("is {} x {} px, not {size} x {size}", picture.width, picture.height)));
    }
    Ok(())
}

fn check_parquet(dir: &Path, manifest: &Manifest) -> Result<()> {
    let mut images = manifest.images.iter();
    let parts: Vec<(&FileEntry, &[ImageEntry])> = manifest
        .parquet
        .iter()
        .map(|file| {
            let rest = images.as_slice();
            let part = &rest[..rest.len().min(file.rows as usize)];
            images = rest[part.len()..].iter();
            (file, part)
        })
        .collect();
    first_error(&parts, |(file, part)| check_file(dir, file, part, manifest))
}

/// The size and hash of a packed file.
fn check_hash(dir: &Path, file: &FileEntry) -> Result<PathBuf> {
    let path = dir.join(&file.file);
    let (bytes, hash) = files::hash(&path).map_err(|_| missing(&path))?;
    match (bytes, &hash) == (file.bytes, &file.blake3) {
        true => Ok(path),
        false => Err(broken(&path, "has other bytes than were written")),
    }
}

/// The tar files: their hashes, and every member against its image.
fn check_webdataset(dir: &Path, manifest: &Manifest) -> Result<()> {
    let list = dir.join(INDEX);
    let text = files::read(&list).map_err(|_| missing(&list))?;
    if text != index(manifest.images.len(), &manifest.webdataset).as_bytes() {
        return Err(broken(&list, "does not list the tar files of the manifest"));
    }
    first_error(&manifest.webdataset, |file| check_hash(dir, file).map(|_| ()))?;
    let source = Source::of_manifest(dir, manifest.clone(), Profile::default())?;
    let rows: Vec<u32> = (0..).take(source.len()).collect();
    source.try_for_each(&rows, &|at, row, bytes| {
        let path = dir.join("data").join(source.path(row));
        check_bytes(&path, &bytes.map_err(|_| missing(&path))?, &manifest.images[at], manifest.size)
    })
}

/// One Parquet file: its hash, and each row against its image.
fn check_file(dir: &Path, file: &FileEntry, images: &[ImageEntry], manifest: &Manifest) -> Result<()> {
    let path = check_hash(dir, file)?;
    let mut next = images.iter();
    read_rows(&path, &mut |row: ParquetRow| {
        let image = next.next().ok_or_else(|| broken(&path, "has more rows than the manifest"))?;
        let tiles = image.tiles.iter().flat_map(|tile| tile.place).map(i64::from);
        let same = row.path == image.file_name()
            && row.label == i64::from(image.class_id)
            && row.tiles.iter().copied().map(i64::from).eq(tiles);
        if !same {
            return Err(broken(&path, &format!("has another label, name or tiles than `{}`", image.file)));
        }
        check_bytes(&path, row.bytes, image, manifest.size)
    })?;
    match next.next() {
        Some(image) => Err(broken(&path, &format!("has no row for `{}`", image.file))),
        None => Ok(()),
    }
}
