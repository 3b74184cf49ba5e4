//! What a folder named by `--out` holds, and the only deletions this program ever does there.

use super::names;
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{self, MANIFEST};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the folder of a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing, or there is no such folder.
    Empty,
    /// The part of a set that an earlier run with the same working folder wrote.
    Begun,
    /// A set with its manifest.
    Finished,
    /// Something that is not ours; nothing in it is touched.
    Foreign,
}

/// The file in the working folder that says that a set was begun.
fn marker(run: &Path) -> PathBuf {
    run.join("begun")
}

/// What the manifest will be: it lies in the folder of a set from the beginning, and becomes the manifest at the end. Without it a folder that a person put in the
/// place of an unfinished set would pass for that, and lose its images.
fn promise(dir: &Path) -> PathBuf {
    files::partial_of(&dir.join(MANIFEST))
}

/// Marks a folder as one that the run began. Whenever this is cut off, the folder is what it was before: empty, or a finished set.
pub(super) fn mark(dir: &Path, run: &Path) -> Result<()> {
    files::write_bytes(&marker(run), b"")?;
    let promise = promise(dir);
    fs::File::create(&promise).map(drop).map_err(Error::io("create", &promise))
}

/// Looks at the folder `dir` of a set whose working folder is `run`.
///
/// # Errors
/// [`Error::Io`] when `dir` cannot be listed, for example because it is a file.
pub fn state(dir: &Path, run: &Path) -> Result<State> {
    if !dir.exists() || entries(dir)?.is_empty() {
        return Ok(State::Empty);
    }
    if manifest::exists(dir)? {
        return Ok(State::Finished);
    }
    let begun = marker(run).exists() && promise(dir).exists() && !dir.join(MANIFEST).exists();
    Ok(if begun { State::Begun } else { State::Foreign })
}

/// The set that an earlier run began and did not finish, where `path` is its folder or lies in `train/` or `data/` of it: by the working folder beside it.
pub(crate) fn begun(path: &Path) -> Result<Option<PathBuf>> {
    let place = fs::canonicalize(path).map_err(Error::io("read", path))?;
    for dir in place.ancestors().take(3).filter(|dir| dir.file_name().is_some()) {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(".run");
        let run = dir.with_file_name(name);
        if marker(&run).exists() && dir.is_dir() && state(dir, &run)? == State::Begun {
            return Ok(Some(dir.to_owned()));
        }
    }
    Ok(None)
}

/// Takes an empty or begun folder for writing.
pub(super) fn begin(dir: &Path, run: &Path) -> Result<()> {
    match state(dir, run)? {
        State::Empty | State::Begun => {
            fs::create_dir_all(dir).map_err(Error::io("create the folder", dir))?;
            mark(dir, run)
        }
        State::Finished => Err(Error::input(
            format!("`{}` holds a finished set", dir.display()),
            "give another --out, or --force to replace it",
        )),
        State::Foreign => Err(foreign(dir)),
    }
}

fn foreign(dir: &Path) -> Error {
    Error::input(
        format!("`{}` exists and was not written by smalti", dir.display()),
        "give another --out; smalti deletes nothing that it did not write",
    )
}

/// Empties the folder of a finished or begun set (`--force`), and forgets what its working folder knows of finished shards. Files that
/// a person put there stay.
///
/// # Errors
/// [`Error::Input`] when the folder is not ours; [`Error::Io`] with the path.
pub fn clear(dir: &Path, run: &Path) -> Result<()> {
    match state(dir, run)? {
        State::Empty => return Ok(()),
        State::Foreign => return Err(foreign(dir)),
        State::Begun | State::Finished => {}
    }
    // In this order a run that is cut off here is a begun one, never a finished set with files missing.
    mark(dir, run)?;
    for name in [MANIFEST, "README.md", "class_to_idx.txt", "recipe.toml", super::INDEX] {
        remove_file(&dir.join(name))?;
    }
    remove_strays(dir, &HashSet::new())?;
    for folder in [run.join("shards"), run.join("images")] {
        remove_tree(&folder)?;
    }
    Ok(())
}

/// Removes images, Parquet files, tar files and temporary siblings of an earlier attempt that are no members of the set, told by their names, and
/// the folders that this leaves empty. What else lies there is left for [`crate::verify`] to name.
pub(super) fn remove_strays(dir: &Path, members: &HashSet<String>) -> Result<()> {
    let train = dir.join("train");
    for folder in subfolders(&train)? {
        let class = file_name(&folder);
        for file in entries(&folder)? {
            let name = file_name(&file);
            if names::is_image(&name, &class) && !members.contains(&format!("train/{class}/{name}")) {
                remove_file(&file)?;
            }
        }
        remove_if_empty(&folder)?;
    }
    remove_if_empty(&train)?;
    let data = dir.join("data");
    if data.is_dir() {
        for file in entries(&data)? {
            let name = file_name(&file);
            let ours = name.strip_suffix(".partial").unwrap_or(&name);
            let ours = ours.starts_with("train-") && (ours.ends_with(".parquet") || ours.ends_with(".tar"));
            if ours && !members.contains(&format!("data/{name}")) {
                remove_file(&file)?;
            }
        }
        remove_if_empty(&data)?;
    }
    Ok(())
}

/// Forgets the working files of a set that is finished.
pub(super) fn finish(run: &Path) -> Result<()> {
    for folder in [run.join("shards"), run.join("images")] {
        remove_tree(&folder)?;
    }
    remove_file(&marker(run))
}

/// Everything in a folder, sorted.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).map_err(Error::io("list the folder", folder))?;
    let mut paths = list
        .map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("list the folder", folder)))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir() && !path.is_symlink()).collect())
}

/// The last part of a path as text. Our own names are always text; others only have to differ from them.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove the folder", path)(error)),
        _ => Ok(()),
    }
}

fn remove_if_empty(folder: &Path) -> Result<()> {
    if folder.is_dir() && entries(folder)?.is_empty() {
        fs::remove_dir(folder).map_err(Error::io("remove the folder", folder))?;
    }
    Ok(())
}
