//! A folder with one folder of images per class, by torchvision's rule.
//!
//! Class = top-level folder, sorted as text ("1", "10", "2"); images at any depth below it, links followed; folders sorted by their
//! whole path, files sorted inside each. One level above the classes may name splits, and then only splits. Hidden folders are no classes.

use super::names::Names;
use super::{Each, MAX_IMAGE_BYTES, has_ending, row_number, split_word, together};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::tables::{PathList, Split};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// File name endings of images, in any case: torchvision's list.
pub const EXTENSIONS: [&str; 9] = [".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"];

/// Endings of pictures that torchvision passes over as well; of these a person is told.
const PASSED_OVER: [&str; 7] = ["avif", "gif", "heic", "heif", "jfif", "jp2", "jxl"];

/// All images of a folder.
#[derive(Default)]
pub(super) struct Listing {
    root: PathBuf,
    folders: Vec<Folder>,
    names: Names,
    /// How many pictures of other endings lie among them.
    passed_over: BTreeMap<String, usize>,
}

/// One folder that holds images.
struct Folder {
    /// Below the root.
    path: PathBuf,
    class_id: u32,
    split: Split,
    /// Number of its first file; its files follow each other.
    first: u32,
}

/// Lists an image folder; returns its class names, its images, and what to know of them.
pub(super) fn list(root: &Path) -> Result<(Vec<String>, Listing, Vec<String>)> {
    let top = subfolders(root)?;
    let splits: Option<Vec<(OsString, Split)>> = top
        .iter()
        .map(|name| split_of(name).map(|split| (name.clone(), split)))
        .collect::<Option<Vec<_>>>()
        .filter(|splits| !splits.is_empty());
    let mut listing = Listing { root: root.to_owned(), ..Listing::default() };
    let mut notes = Vec::new();
    let classes = match splits {
        None => {
            if top.is_empty() {
                return Err(no_classes(root));
            }
            no_splits(root, &top)?;
            listing.add_split(Path::new(""), &top, Split::Train)?;
            top
        }
        Some(mut splits) => {
            // Training images come first, whatever the names of the splits.
            splits.sort_by_key(|(_, split)| *split);
            notes.extend(together(splits.iter().map(|(name, split)| (name.to_string_lossy().into_owned(), *split))));
            let mut all: Vec<(&OsString, Vec<OsString>)> = Vec::new();
            for (name, _) in &splits {
                let classes = subfolders(&root.join(name))?;
                if classes.is_empty() {
                    return Err(no_classes(&root.join(name)));
                }
                all.push((name, classes));
            }
            agree(root, &all)?;
            for ((name, split), (_, classes)) in splits.iter().zip(&all) {
                listing.add_split(Path::new(name), classes, *split)?;
            }
            all.swap_remove(0).1
        }
    };
    notes.extend(listing.told());
    Ok((as_text(root, &classes)?, listing, notes))
}

/// The names of class folders as text, which must tell them apart.
fn as_text(root: &Path, classes: &[OsString]) -> Result<Vec<String>> {
    let names: Vec<String> = classes.iter().map(|class| class.to_string_lossy().into_owned()).collect();
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(Error::input(
            format!("two class folders of `{}` both read as `{twice}`: their names are not UTF-8 text", root.display()),
            "rename one of them",
        )),
        None => Ok(names),
    }
}

/// The split that the name of a folder means.
fn split_of(name: &OsStr) -> Option<Split> {
    name.to_str().and_then(split_word)
}

/// Refuses splits beside which something else lies: all of them would pass for classes. A folder that holds images itself is a class,
/// whatever its name.
fn no_splits(root: &Path, top: &[OsString]) -> Result<()> {
    let (mut splits, mut others) = (Vec::new(), Vec::new());
    for name in top {
        match split_of(name) {
            None => others.push(name),
            Some(_) if holds_folders_alone(&root.join(name))? => splits.push(name),
            Some(_) => {}
        }
    }
    let (&[first, second, ..], Some(other)) = (splits.as_slice(), others.first()) else { return Ok(()) };
    Err(Error::input(
        format!(
            "`{}` holds the splits `{}` and `{}`, and beside them the folder `{}`, which is none",
            root.display(),
            first.display(),
            second.display(),
            other.display()
        ),
        "move that folder out of the data set, or name a folder that holds the splits only; splits are told by words like train, val and test",
    ))
}

/// Whether a folder has folders in it and no image beside them.
fn holds_folders_alone(folder: &Path) -> Result<bool> {
    let (folders, files) = entries(folder)?;
    let visible = folders.iter().any(|name| !name.as_encoded_bytes().starts_with(b"."));
    Ok(visible && !files.iter().any(|name| is_image(name)))
}

/// Whether a folder has folders that may be classes; `data` is where packed files lie.
pub(super) fn has_classes(root: &Path) -> Result<bool> {
    Ok(subfolders(root)?.iter().any(|name| name != "data"))
}

/// Whether a folder in it, but for `data`, holds images itself.
pub(super) fn has_images(root: &Path) -> Result<bool> {
    for name in subfolders(root)?.iter().filter(|name| *name != "data") {
        if entries(&root.join(name))?.1.iter().any(|file| is_image(file)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The images of a compressed set, in the manifest's order.
pub(super) fn of_manifest(root: &Path, manifest: &Manifest) -> Listing {
    let mut listing = Listing { root: root.to_owned(), ..Listing::default() };
    // A manifest of 2^32 images does not fit in memory.
    for (first, image) in (0..).zip(&manifest.images) {
        let (folder, name) = image.file.rsplit_once('/').unwrap_or(("", &image.file));
        let known = listing
            .folders
            .last()
            .is_some_and(|last| last.path == Path::new(folder) && last.class_id == image.class_id);
        if !known {
            listing.folders.push(Folder { path: folder.into(), class_id: image.class_id, split: Split::Train, first });
        }
        listing.names.push(name.as_bytes());
    }
    listing
}

impl PathList for Listing {
    fn path(&self, row: u32) -> String {
        self.below(row).to_string_lossy().into_owned()
    }
}

impl super::Listing for Listing {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn class_id(&self, row: u32) -> u32 {
        self.folder(row).class_id
    }

    fn split(&self, row: u32) -> Split {
        self.folder(row).split
    }

    fn for_each(&self, rows: &[u32], each: Each) -> Result<()> {
        rows.par_iter().for_each(|&row| {
            let path = self.root.join(self.below(row));
            each(row, read(&path));
        });
        Ok(())
    }

    fn places(&self) -> Vec<PathBuf> {
        let folders = self.folders.iter().map(|folder| self.root.join(&folder.path));
        // A file that is a link lies elsewhere.
        let files = (0..self.names.len() as u32).into_par_iter().map(|row| self.root.join(self.below(row)));
        let links: Vec<PathBuf> = files.filter(|file| file.is_symlink()).collect();
        folders.chain(links).collect()
    }
}

impl Listing {
    /// The path of an image below the root.
    fn below(&self, row: u32) -> PathBuf {
        self.folder(row).path.join(OsStr::from_bytes(self.names.get(row as usize)))
    }

    fn folder(&self, row: u32) -> &Folder {
        let after = self.folders.partition_point(|folder| folder.first <= row);
        &self.folders[after - 1]
    }

    /// A note on the pictures that were passed over.
    fn told(&self) -> Option<String> {
        let counts: Vec<String> = self.passed_over.iter().map(|(ending, count)| format!("{count} .{ending}")).collect();
        (!counts.is_empty()).then(|| {
            let read = EXTENSIONS.join(" ");
            format!("pictures were passed over, {}: convert them to one of {read}", counts.join(", "))
        })
    }

    /// Adds the images of all classes below `split_path`. A class without an image is an error, as in torchvision.
    fn add_split(&mut self, split_path: &Path, classes: &[OsString], split: Split) -> Result<()> {
        let mut empty = Vec::new();
        for (class_id, class) in (0..).zip(classes) {
            let before = self.names.len();
            let mut found = Vec::new();
            walk(&self.root, &split_path.join(class), &mut Vec::new(), &mut |path, files| {
                for ending in files.iter().filter_map(|name| passed_over(name)) {
                    *self.passed_over.entry(ending).or_default() += 1;
                }
                files.retain(|name| is_image(name));
                files.sort();
                if !files.is_empty() {
                    found.push((path.to_owned(), std::mem::take(files)));
                }
            })?;
            // As Python sorts the walk: by the whole path as text, not part by part.
            found.sort_by(|a, b| a.0.as_os_str().cmp(b.0.as_os_str()));
            for (path, names) in found {
                let first = row_number(self.names.len(), &self.root)?;
                names.iter().for_each(|name| self.names.push(name.as_bytes()));
                row_number(self.names.len(), &self.root)?;
                self.folders.push(Folder { path, class_id, split, first });
            }
            if self.names.len() == before {
                empty.push(format!("`{}`", split_path.join(class).display()));
            }
        }
        if empty.is_empty() {
            return Ok(());
        }
        Err(Error::input(
            format!("`{}` has no image in the class folder {}", self.root.display(), shortened(&empty)),
            format!("remove an empty folder, or put images there; the endings read are {}", EXTENSIONS.join(" ")),
        ))
    }
}

/// The first few of a list of names.
fn shortened(names: &[String]) -> String {
    let first = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{first} and {} more", names.len() - 5) } else { first }
}

fn no_classes(folder: &Path) -> Error {
    let files = entries(folder).map_or(Vec::new(), |(_, files)| files);
    let ends = |name: &OsString| ["parquet", "arrow", "tar"].iter().any(|ending| has_ending(Path::new(name), ending));
    let hint = match files.iter().find(|name| ends(name)) {
        Some(file) => format!(
            "`{}` in it would be read from a folder of such files alone, each with its split in its name (train-0.parquet); an Arrow file becomes Parquet by \
             `to_parquet` of Hugging Face `datasets`",
            file.display()
        ),
        None => format!(
            "put the images of each class into a folder with its name: {}/<class>/<image>.jpg",
            folder.display()
        ),
    };
    Error::input(format!("`{}` has no class folder in it", folder.display()), hint)
}

/// Checks that all splits have the classes of the first one.
fn agree(root: &Path, splits: &[(&OsString, Vec<OsString>)]) -> Result<()> {
    let Some(((first, expected), others)) = splits.split_first() else { return Ok(()) };
    for (name, classes) in others {
        let only = |a: &[OsString], b: &[OsString]| a.iter().find(|class| !b.contains(class)).cloned();
        let difference = only(expected, classes).map(|class| (class, *first, *name));
        if let Some((class, here, there)) =
            difference.or_else(|| only(classes, expected).map(|class| (class, *name, *first)))
        {
            return Err(Error::input(
                format!(
                    "the splits of `{}` have different classes: `{}` is in `{}` and not in `{}`",
                    root.display(),
                    class.display(),
                    here.display(),
                    there.display()
                ),
                "give all splits the same class folders, or name one split's folder as the source",
            ));
        }
    }
    Ok(())
}

/// Names of the folders in a folder, links followed, hidden ones left out, sorted as text.
fn subfolders(folder: &Path) -> Result<Vec<OsString>> {
    let (mut folders, _) = entries(folder)?;
    folders.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    folders.sort();
    Ok(folders)
}

/// Names of the folders and of the other entries in a folder, links followed.
fn entries(folder: &Path) -> Result<(Vec<OsString>, Vec<OsString>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(Error::io("list the folder", folder))? {
        let entry = entry.map_err(Error::io("list the folder", folder))?;
        let kind = entry.file_type().map_err(Error::io("list the folder", folder))?;
        let is_folder = if kind.is_symlink() { entry.path().is_dir() } else { kind.is_dir() };
        if is_folder { folders.push(entry.file_name()) } else { files.push(entry.file_name()) }
    }
    Ok((folders, files))
}

/// Hands over the names of the files below `root/path`, folder by folder. `above` holds the folders on the way here: a link back to one of them is a
/// loop and is not entered.
fn walk(
    root: &Path,
    path: &Path,
    above: &mut Vec<(u64, u64)>,
    each: &mut dyn FnMut(&Path, &mut Vec<OsString>),
) -> Result<()> {
    let folder = root.join(path);
    let metadata = fs::metadata(&folder).map_err(Error::io("read", &folder))?;
    let identity = (metadata.dev(), metadata.ino());
    if above.contains(&identity) {
        return Ok(());
    }
    let (folders, mut files) = entries(&folder)?;
    each(path, &mut files);
    above.push(identity);
    folders.iter().try_for_each(|name| walk(root, &path.join(name), above, each))?;
    above.pop();
    Ok(())
}

/// The ending of a picture that is not read.
fn passed_over(name: &OsStr) -> Option<String> {
    let ending = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    PASSED_OVER.contains(&ending.as_str()).then_some(ending)
}

fn is_image(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes().to_ascii_lowercase();
    EXTENSIONS.iter().any(|extension| name.ends_with(extension.as_bytes()))
}

/// Reads one image. What is no plain file (a pipe never ends) or too large for an image is refused first.
fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() || metadata.len() > MAX_IMAGE_BYTES {
        let cause = if metadata.is_file() { "the file is larger than 1 GiB" } else { "it is no plain file" };
        return Err(Error::Decode { cause: cause.to_owned() });
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path)
        .and_then(|file| file.take(MAX_IMAGE_BYTES).read_to_end(&mut bytes))
        .map_err(Error::io("read", path))?;
    Ok(bytes)
}
