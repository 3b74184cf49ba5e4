//! The images of a set as tar files that `webdataset`, timm and Hugging Face `datasets` stream.
//!
//! A sample is three members next to each other: the image, `.cls` (its class number in ASCII), and `.json` with `label`, `class`,
//! `file` and `tiles`, the boxes `[left, top, width, height]`. Its key is the number of the image in the manifest in nine digits, since a
//! dot in a key would end it. Readers shuffle only what fits in a buffer, so the samples are written in a seeded random order. Headers
//! hold no time and no owner: the same set gives the same bytes. `_info.json` is timm's index.

use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{FileEntry, ImageEntry};
use crate::random::{Stage, Stream};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use tar::{Builder, Header};

/// Most image bytes of one file, unless one image alone is larger.
pub(super) const MAX_FILE_BYTES: u64 = 1_000_000_000;

/// timm's index of a set of tar files.
pub(crate) const INDEX: &str = "_info.json";

/// Writes the images, found under `root`, to `dir/data/train-XXXXXX.tar`, and timm's index.
///
/// # Errors
/// I/O errors with the path; [`Error::Input`] when an image is not the one described.
pub(super) fn write_files(
    dir: &Path,
    root: &Path,
    images: &[ImageEntry],
    classes: &[String],
    seed: u64,
    max_bytes: u64,
) -> Result<Vec<FileEntry>> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    Stream::new(seed, Stage::Shard, 0, 0).shuffle(&mut order);
    let mut entries = Vec::new();
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |&&at: &&usize| {
            bytes += images[at].bytes;
            bytes <= max_bytes
        };
        let (part, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = after;
        let file = format!("data/train-{:06}.tar", entries.len());
        let path = dir.join(&file);
        files::write_atomic(&path, |out| write_file(&path, out, root, part, images, classes))?;
        let (bytes, blake3) = files::hash(&path)?;
        entries.push(FileEntry { file, rows: part.len() as u64, bytes, blake3 });
    }
    files::write_bytes(&dir.join(INDEX), index(images.len(), &entries).as_bytes())?;
    Ok(entries)
}

/// The text of `_info.json`, for so many images in these files.
pub(crate) fn index(images: usize, files: &[FileEntry]) -> String {
    let index = json!({"splits": {"train": {
        "name": "train",
        "num_samples": images,
        "filenames": files.iter().map(|file| &file.file).collect::<Vec<_>>(),
        "shard_lengths": files.iter().map(|file| file.rows).collect::<Vec<_>>(),
    }}});
    format!("{index:#}\n")
}

fn write_file(
    path: &Path,
    out: &mut dyn Write,
    root: &Path,
    part: &[usize],
    images: &[ImageEntry],
    classes: &[String],
) -> Result<()> {
    let mut archive = Builder::new(out);
    for &at in part {
        let image = &images[at];
        let stored = root.join(&image.file);
        let bytes = files::read(&stored)?;
        if blake3::hash(&bytes).to_hex().as_str() != image.blake3 {
            let what = format!("`{}` changed while the set was being made", stored.display());
            return Err(Error::input(what, "run the same command again"));
        }
        let ending = image.file.rsplit('.').next().unwrap_or("png");
        let facts = facts(image, classes).to_string();
        let label = image.class_id.to_string();
        let members = [(ending, bytes.as_slice()), ("cls", label.as_bytes()), ("json", facts.as_bytes())];
        for (ending, content) in members {
            // The key of an image is its number in the manifest.
            append(&mut archive, &format!("{at:09}.{ending}"), content).map_err(Error::io("write", path))?;
        }
    }
    archive.finish().map_err(Error::io("write", path))
}

/// What the `.json` member holds.
fn facts(image: &ImageEntry, classes: &[String]) -> serde_json::Value {
    let tiles: Vec<[u32; 4]> = image.tiles.iter().map(|tile| tile.place).collect();
    json!({
        "label": image.class_id,
        "class": classes[image.class_id as usize],
        "file": image.file_name(),
        "tiles": tiles,
    })
}

fn append(archive: &mut Builder<&mut dyn Write>, name: &str, content: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content)
}
