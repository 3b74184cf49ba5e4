//! Sources: where labelled images come from. A source lists its images and streams their bytes; only the listing is held in memory.
//!
//! - a folder with one folder per class, as torchvision's ImageFolder reads it, with or without `train` and `test` above the classes,
//! - Parquet files as Hugging Face `datasets` writes them,
//! - a compressed set of ours, whose manifest fixes classes and order.

mod class_label;
mod columns;
mod folder;
mod labels;
mod parquet;

pub use folder::EXTENSIONS;

use crate::error::{Error, Result};
use crate::manifest::{self, Manifest};
use crate::tables::Split;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Largest encoded image in bytes; what is larger is no image and is not read.
const MAX_IMAGE_BYTES: u64 = 1 << 30;

/// What a person may have to say about a Parquet source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// Column of the images; found when not given.
    pub image_column: Option<String>,
    /// Column of the labels; found when not given.
    pub label_column: Option<String>,
}

/// Labelled images in a fixed order. Row numbers index this order.
pub struct Source {
    location: PathBuf,
    classes: Vec<String>,
    items: Items,
    manifest: Option<Manifest>,
}

enum Items {
    Folder(folder::Listing),
    Parquet(parquet::Listing),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({}, {}, {} images)", self.location.display(), self.kind(), self.len())
    }
}

impl Source {
    /// Lists the images of a folder, a Parquet file, a folder of Parquet files (or with such files in `data/`), or a compressed set.
    ///
    /// Image bytes are not read, so a damaged image shows only in [`Source::for_each`].
    ///
    /// # Errors
    /// [`Error::Input`] when there is nothing to read, a class has no image, splits have different classes, a column is missing or of
    /// another type, or a label is out of range; [`Error::Io`] and [`Error::Table`] with the path.
    pub fn open(path: &Path, options: &SourceOptions) -> Result<Source> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::input(format!("there is no `{}`", path.display()), "check the path of the images")
            }
            _ => Error::io("read", path)(error),
        })?;
        if !metadata.is_dir() {
            if !is_parquet(path) {
                return Err(Error::input(
                    format!("`{}` is neither a folder nor a Parquet file", path.display()),
                    "give a folder with one folder of images per class, or a .parquet file; unpack archives first",
                ));
            }
            return Source::of_tables(path, vec![path.to_owned()], options);
        }
        if manifest::exists(path)? {
            return Source::of_set(path);
        }
        let mut tables = tables_in(path)?;
        if tables.is_empty() {
            tables = tables_in(&path.join("data"))?;
        }
        if !tables.is_empty() {
            return Source::of_tables(path, tables, options);
        }
        let (classes, listing) = folder::list(path)?;
        Ok(Source { location: path.to_owned(), classes, items: Items::Folder(listing), manifest: None })
    }

    fn of_tables(path: &Path, tables: Vec<PathBuf>, options: &SourceOptions) -> Result<Source> {
        let (classes, listing) = parquet::list(&tables, options)?;
        if listing.len() == 0 {
            return Err(Error::input(format!("`{}` has no rows", path.display()), "give a file with images in it"));
        }
        Ok(Source { location: path.to_owned(), classes, items: Items::Parquet(listing), manifest: None })
    }

    /// A compressed set: the manifest says what belongs to it, and in which order.
    fn of_set(path: &Path) -> Result<Source> {
        let manifest = Manifest::read(path)?;
        let items = match manifest.format.has_folder() {
            true => Items::Folder(folder::of_manifest(path, &manifest)),
            false => Items::Parquet(parquet::of_manifest(path, &manifest)?),
        };
        Ok(Source { location: path.to_owned(), classes: manifest.classes.clone(), items, manifest: Some(manifest) })
    }

    /// The path that was opened.
    pub fn location(&self) -> &Path {
        &self.location
    }

    /// `folder` or `parquet`.
    pub fn kind(&self) -> &'static str {
        match &self.items {
            Items::Folder(_) => "folder",
            Items::Parquet(_) => "parquet",
        }
    }

    /// The manifest, when the source is a compressed set of ours: its grid and tiles say where training may crop.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Class names in class order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of images, readable or not.
    pub fn len(&self) -> usize {
        match &self.items {
            Items::Folder(listing) => listing.len(),
            Items::Parquet(listing) => listing.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class index of an image.
    ///
    /// # Panics
    /// When there is no such row, as do [`Source::split`] and [`Source::path`].
    pub fn class_id(&self, row: u32) -> u32 {
        match &self.items {
            Items::Folder(listing) => listing.class_id(row),
            Items::Parquet(listing) => listing.class_id(row),
        }
    }

    /// The part of the source an image belongs to: [`Split::Train`] unless a folder or a file name says otherwise.
    pub fn split(&self, row: u32) -> Split {
        match &self.items {
            Items::Folder(listing) => listing.split(row),
            Items::Parquet(listing) => listing.split(row),
        }
    }

    /// Path inside the source with `/` between parts, for people: for Parquet the stored name, else `file.parquet#row`.
    pub fn path(&self, row: u32) -> String {
        match &self.items {
            Items::Folder(listing) => listing.path(row),
            Items::Parquet(listing) => listing.path(row),
        }
    }

    /// Hands the encoded bytes of `rows` to `each`, in any order, from the threads of the current rayon pool.
    ///
    /// An image that cannot be read is an error for its row. Memory holds a few images per thread.
    ///
    /// # Arguments
    /// `rows` are row numbers, ascending, each once.
    ///
    /// # Errors
    /// [`Error::Input`] when the rows are not ascending or not there; [`Error::Io`] and [`Error::Table`] when a whole Parquet file does
    /// not read. Some rows may have been handed over by then.
    pub fn for_each(&self, rows: &[u32], each: &(dyn Fn(u32, Result<Vec<u8>>) + Sync)) -> Result<()> {
        let ascending = rows.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || rows.last().is_some_and(|&row| row as usize >= self.len()) {
            return Err(Error::input(
                format!("rows of `{}` were asked for that are out of order or not there", self.location.display()),
                "the source changed since it was scanned; run the command again with --force",
            ));
        }
        match &self.items {
            Items::Folder(listing) => {
                listing.for_each(rows, each);
                Ok(())
            }
            Items::Parquet(listing) => listing.for_each(rows, each),
        }
    }

    /// [`Source::for_each`] for work that can fail; `each` also gets the place of the row in `rows`.
    ///
    /// # Errors
    /// As [`Source::for_each`]; else what `each` returned for the lowest row that failed, whatever the order in which threads met them.
    pub fn try_for_each(
        &self,
        rows: &[u32],
        each: &(dyn Fn(usize, u32, Result<Vec<u8>>) -> Result<()> + Sync),
    ) -> Result<()> {
        let failure: Mutex<Option<(u32, Error)>> = Mutex::new(None);
        self.for_each(rows, &|row, bytes| {
            let at = rows.partition_point(|&other| other < row);
            if let Err(error) = each(at, row, bytes) {
                let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                if first.as_ref().is_none_or(|(other, _)| row < *other) {
                    *first = Some((row, error));
                }
            }
        })?;
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), |(_, error)| Err(error))
    }
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// The Parquet files of a folder, sorted by name.
fn tables_in(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list the folder", folder))? {
        let path = entry.map_err(Error::io("list the folder", folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_parquet(&path) && !hidden && path.is_file() {
            tables.push(path);
        }
    }
    tables.sort();
    Ok(tables)
}

/// The split that a word names, as Hugging Face `datasets` reads them. All that only measures is [`Split::Test`].
fn split_word(word: &str) -> Option<Split> {
    match word.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "valid" | "val" | "dev" | "test" | "testing" | "eval" | "evaluation" => Some(Split::Test),
        _ => None,
    }
}

/// A row number; sources of more than 2^32 images are refused.
fn row_number(row: usize, path: &Path) -> Result<u32> {
    u32::try_from(row).map_err(|_| {
        Error::input(
            format!("`{}` has more than {} images", path.display(), u32::MAX),
            "give the images in several parts",
        )
    })
}
