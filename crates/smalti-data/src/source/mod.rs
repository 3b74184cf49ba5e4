//! Sources: where labelled images come from. A source lists its images and streams their bytes; only the listing is held in memory.
//!
//! - a folder with one folder per class, as torchvision's ImageFolder reads it, with or without `train` and `test` above the classes,
//! - Parquet files as Hugging Face `datasets` writes them,
//! - tar files as `webdataset` reads them, or with one folder per class inside,
//! - a compressed set of ours, whose manifest fixes classes and order.

mod class_label;
mod class_map;
mod columns;
mod folder;
mod labels;
mod names;
mod parquet;
mod tar;

pub use folder::EXTENSIONS;

use crate::decode::Profile;
use crate::error::{Error, Result};
use crate::manifest::{self, Manifest};
use crate::pixels::Rgb;
use crate::tables::{PathList, Paths, Split};
use crate::write;
use class_map::{ClassMap, Named};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Largest encoded image in bytes; what is larger is no image and is not read.
const MAX_IMAGE_BYTES: u64 = 1 << 30;

/// What a person may have to say about a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// Column of the images in Parquet, ending of the images in tar files (`jpg`); found when not given.
    pub image_column: Option<String>,
    /// Column of the labels in Parquet, key of the labels in the `.json` of tar files; found when not given.
    pub label_column: Option<String>,
    /// A file that fixes names and order of the classes; see `docs/formats.md` for its forms.
    pub class_map: Option<PathBuf>,
    /// How encoded images become pixels.
    pub profile: Profile,
}

/// Labelled images in a fixed order. Row numbers index this order.
pub struct Source {
    location: PathBuf,
    kind: &'static str,
    classes: Vec<String>,
    listing: Arc<dyn Listing>,
    /// The class index of each class of the listing, where a class map gives another order.
    order: Option<Vec<u32>>,
    manifest: Option<Manifest>,
    profile: Profile,
    notes: Vec<String>,
}

/// What takes one image: its row, and its encoded bytes or why there are none.
type Each<'a> = &'a (dyn Fn(u32, Result<Vec<u8>>) + Sync);

/// The images of one kind of source; the methods are those of [`Source`].
trait Listing: PathList {
    fn len(&self) -> usize;
    fn class_id(&self, row: u32) -> u32;
    fn split(&self, row: u32) -> Split;
    fn for_each(&self, rows: &[u32], each: Each) -> Result<()>;
    /// Files and folders that hold the images.
    fn places(&self) -> Vec<PathBuf>;
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({}, {}, {} images)", self.location.display(), self.kind, self.len())
    }
}

impl Source {
    /// Lists the images of a folder, of Parquet or tar files, of a folder of such files (or with them in `data/`), or of a compressed
    /// set.
    ///
    /// Image bytes are not read, so a damaged image shows only in [`Source::for_each`].
    ///
    /// # Errors
    /// [`Error::Input`] when there is nothing to read, a set of ours is not finished, a class has no image, splits have different classes,
    /// a column is missing or of another type, or a label is out of range; [`Error::Io`] and [`Error::Table`] with the path.
    pub fn open(path: &Path, options: &SourceOptions) -> Result<Source> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::input(format!("there is no `{}`", path.display()), "check the path of the images")
            }
            _ => Error::io("read", path)(error),
        })?;
        if metadata.is_dir() && manifest::exists(path)? {
            return Source::of_set(path, options);
        }
        // Its mosaics would pass for whole pictures.
        if let Some(set) = write::begun(path)? {
            return Err(manifest::unfinished(&set));
        }
        let map = options.class_map.as_deref().map(ClassMap::read).transpose()?;
        let Found { kind, named, listing, notes } = match packed(path, options)? {
            Some(found) => found,
            None if metadata.is_dir() => folder_of(path, options)?,
            None => {
                let what = format!("`{}` is neither a folder nor a Parquet or tar file", path.display());
                let hint = "give a folder with one folder of images per class, a .parquet or a .tar file; unpack other archives first";
                return Err(Error::input(what, hint));
            }
        };
        let (classes, order) = match map {
            Some(map) => map.apply(named, path)?,
            None => (named.into_names(), None),
        };
        let location = path.to_owned();
        Ok(Source { location, kind, classes, listing, order, manifest: None, profile: options.profile, notes })
    }

    /// A compressed set: the manifest says what belongs to it, and in which order. A class map can only confirm it.
    fn of_set(path: &Path, options: &SourceOptions) -> Result<Source> {
        let manifest = Manifest::read(path)?;
        if let Some(map) = &options.class_map {
            ClassMap::read(map)?.confirm(&manifest.classes, path)?;
        }
        Source::of_manifest(path, manifest, options.profile)
    }

    /// The images of the set in `path`, which its manifest describes whether or not it is written yet.
    pub(crate) fn of_manifest(path: &Path, manifest: Manifest, profile: Profile) -> Result<Source> {
        let (kind, listing): (_, Arc<dyn Listing>) = match manifest.format {
            format if format.has_folder() => ("folder", Arc::new(folder::of_manifest(path, &manifest))),
            format if format.has_parquet() => ("parquet", Arc::new(parquet::of_manifest(path, &manifest)?)),
            _ => ("webdataset", Arc::new(tar::of_manifest(path, &manifest)?)),
        };
        Ok(Source {
            location: path.to_owned(),
            kind,
            classes: manifest.classes.clone(),
            listing,
            order: None,
            manifest: Some(manifest),
            profile,
            notes: Vec::new(),
        })
    }

    /// Whether `path` is read as folders of classes, so that a new folder in it would be a class, or part of one.
    pub fn is_of_class_folders(path: &Path) -> bool {
        let packed =
            ["parquet", "tar"].iter().any(|ending| files_at(path, ending).is_ok_and(|files| !files.is_empty()));
        let beside = folder::has_classes(path).unwrap_or(false);
        path.is_dir() && !manifest::exists(path).unwrap_or(true) && (beside || !packed)
    }

    /// Whether an image lies in `folder`, links followed: below this source's own path, or where a link in it leads.
    ///
    /// # Errors
    /// [`Error::Io`] when a place cannot be looked at.
    pub fn reaches_into(&self, folder: &Path) -> Result<bool> {
        let Ok(folder) = folder.canonicalize() else { return Ok(false) };
        for place in self.listing.places() {
            let there = match place.canonicalize() {
                Ok(there) => there,
                // A link that leads nowhere is a bad image, which the scan names; but its folder may be there.
                Err(_) if place.is_symlink() => match leads_towards(&place) {
                    Some(folder) => folder,
                    None => continue,
                },
                Err(error) => return Err(Error::io("read", &place)(error)),
            };
            if there.starts_with(&folder) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The path that was opened.
    pub fn location(&self) -> &Path {
        &self.location
    }

    /// `folder`, `parquet` or `webdataset`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What a person should know of how it was read: what was passed over, what was put together.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How its images become pixels.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Decodes one of its images, by its profile.
    ///
    /// # Errors
    /// As [`crate::decode::decode`].
    pub fn decode(&self, bytes: &[u8]) -> Result<Rgb> {
        self.profile.decode(bytes)
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
        self.listing.len()
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
        let class_id = self.listing.class_id(row);
        self.order.as_ref().map_or(class_id, |order| order[class_id as usize])
    }

    /// The part of the source an image belongs to: [`Split::Train`] unless a folder or a file name says otherwise.
    pub fn split(&self, row: u32) -> Split {
        self.listing.split(row)
    }

    /// Path inside the source with `/` between parts, for people: for Parquet the stored name, else `file.parquet#row`; for tar
    /// `file.tar/member`.
    pub fn path(&self, row: u32) -> String {
        self.listing.path(row)
    }

    /// All of [`Source::path`], without a copy of them.
    pub fn paths(&self) -> Paths {
        Paths::listed(self.listing.clone())
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
        self.listing.for_each(rows, each)
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

/// The last folder that is there on the way of a link.
fn leads_towards(link: &Path) -> Option<PathBuf> {
    let target = link.parent()?.join(link.read_link().ok()?);
    target.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok())
}

/// What is found: the kind of source, its classes, its images, and what to know of them.
struct Found {
    kind: &'static str,
    named: Named,
    listing: Arc<dyn Listing>,
    notes: Vec<String>,
}

/// Opens a folder of class folders.
fn folder_of(path: &Path, options: &SourceOptions) -> Result<Found> {
    let (classes, listing, mut notes) = folder::list(path)?;
    if options.image_column.is_some() || options.label_column.is_some() {
        notes.push(format!("`{}` is read as folders of classes: names of columns have no use there", path.display()));
    }
    Ok(Found { kind: "folder", named: Named::Names(classes), listing: Arc::new(listing), notes })
}

/// Opens a Parquet or tar file, or those in a folder; none where there are none.
fn packed(path: &Path, options: &SourceOptions) -> Result<Option<Found>> {
    let tables = files_at(path, "parquet")?;
    let archives = files_at(path, "tar")?;
    // An archive that somebody keeps beside the folders of the classes is not meant.
    let beside = path.is_dir() && folder::has_classes(path)?;
    let found = match (tables.is_empty(), archives.is_empty() || beside) {
        (false, _) => {
            let (named, listing) = parquet::list(&tables, options)?;
            let mut notes = notes_of(&tables);
            if path.is_dir() && folder::has_images(path)? {
                let read = format!("the Parquet files of `{}` are read, and its folders are not", path.display());
                notes.push(format!("{read}; move either away if the other is meant"));
            }
            Found { kind: "parquet", named, listing: Arc::new(listing), notes }
        }
        (true, false) => {
            let (named, listing) = tar::list(&archives, options)?;
            Found { kind: "webdataset", named, listing: Arc::new(listing), notes: notes_of(&archives) }
        }
        (true, true) => return Ok(None),
    };
    match found.listing.len() {
        0 => Err(Error::input(format!("`{}` has no image", path.display()), "give a file with labelled images in it")),
        _ => Ok(Some(found)),
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
}

/// A file with this ending, or those in a folder or its `data`.
fn files_at(path: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(if has_ending(path, ending) { vec![path.to_owned()] } else { Vec::new() });
    }
    let files = files_in(path, ending)?;
    if files.is_empty() { files_in(&path.join("data"), ending) } else { Ok(files) }
}

/// The files of a folder with this ending, sorted by name.
fn files_in(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list the folder", folder))? {
        let path = entry.map_err(Error::io("list the folder", folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if has_ending(&path, ending) && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The split of each file, from the words in its name; all training where no file names one.
fn splits_of(paths: &[PathBuf]) -> Result<Vec<Split>> {
    let named: Vec<Option<Split>> = paths.iter().map(|path| split_in(path).map(|(_, split)| split)).collect();
    match (named.iter().position(Option::is_some), named.iter().position(Option::is_none)) {
        (Some(with), Some(without)) => Err(Error::input(
            format!("`{}` names its split, but `{}` does not", paths[with].display(), paths[without].display()),
            "put train, validation or test into each file name, or give the files one by one",
        )),
        _ => Ok(named.into_iter().map(|split| split.unwrap_or(Split::Train)).collect()),
    }
}

/// The first word in the name of a file that names a split, and the split.
fn split_in(path: &Path) -> Option<(String, Split)> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.split(|c: char| !c.is_alphabetic()).find_map(|word| Some((word.to_owned(), split_word(word)?)))
}

/// What to know of some files.
fn notes_of(files: &[PathBuf]) -> Vec<String> {
    together(files.iter().filter_map(|path| split_in(path))).into_iter().collect()
}

/// A note where several words name a test part: they are measured on together.
fn together(splits: impl IntoIterator<Item = (String, Split)>) -> Option<String> {
    let tests = splits.into_iter().filter(|(_, split)| *split == Split::Test);
    let words: BTreeSet<String> = tests.map(|(word, _)| format!("`{word}`")).collect();
    (words.len() > 1).then(|| {
        let all: Vec<String> = words.into_iter().collect();
        format!("its test part is {} together; name one of them alone to measure on that", all.join(" and "))
    })
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
