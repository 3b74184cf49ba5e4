//! The working folder `DIR.run` beside a compressed set: its lock, its settings, its tables.

use crate::error::failure;
use crate::pipeline::Overwrite;
use anyhow::Result;
use smalti_data::files::{self, LOCK, RunLock};
use smalti_data::manifest::MANIFEST;
use smalti_data::source::Source;
use smalti_data::tables::SUMS;
use smalti_data::write::{State, clear, state};
use std::path::{Path, PathBuf};

/// One run of `compress`, alone in its folders.
pub struct Run {
    /// The folder of the set.
    pub out: PathBuf,
    /// The folder of the working tables.
    pub dir: PathBuf,
    overwrite: Overwrite,
    _lock: RunLock,
}

impl Run {
    /// Takes the folders for writing `out`. What [`Overwrite::Replace`] replaces stays until [`Run::make_room`].
    ///
    /// # Errors
    /// When another run holds them, or `out` holds a finished set (without [`Overwrite::Replace`]) or something that is not ours.
    pub fn begin(out: &Path, overwrite: Overwrite) -> Result<Run> {
        let dir = working_folder(out);
        check_output(out, overwrite)?;
        check_working_folder(&dir)?;
        let lock = RunLock::take(&dir)?;
        Ok(Run { out: out.to_owned(), dir, overwrite, _lock: lock })
    }

    /// Whether an earlier run is replaced, whose tables say nothing of this one.
    pub fn replaces(&self) -> bool {
        self.overwrite == Overwrite::Replace
    }

    /// Removes the set that is to be replaced with its working tables, but for `spared`: once what was asked is known to be possible, and before work that
    /// would have to be done again after a crash, since nobody goes on beside a finished set.
    ///
    /// # Errors
    /// [`smalti_data::Error::Io`] with the path.
    pub fn make_room(&self, spared: Option<&Path>) -> Result<()> {
        if self.replaces() {
            clear(&self.out, &self.dir)?;
            forget_tables(&self.dir, spared)?;
        }
        Ok(())
    }

    /// A table of the working folder.
    pub fn table(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Saves the complete settings before any work, or compares them with those of the run that was cut off here. A run that came to
    /// nothing leaves no claim.
    ///
    /// # Errors
    /// When they differ; the lines that do are named.
    pub fn keep_settings(&self, text: &str) -> Result<()> {
        let path = self.table("recipe.toml");
        let work = ["trace", "scores.parquet", "begun", "blocks", "distilled"].map(|name| self.table(name));
        if !path.exists() || !work.iter().any(|made| made.exists()) {
            return Ok(files::write_bytes(&path, text.as_bytes())?);
        }
        let before = String::from_utf8_lossy(&files::read(&path)?).into_owned();
        if before == text {
            return Ok(());
        }
        let changed: Vec<&str> = before.lines().filter(|line| !text.lines().any(|new| new == *line)).collect();
        let changed = if changed.is_empty() { "fewer settings".to_owned() } else { changed.join("`, `") };
        let [_, scores, ..] = &work;
        let keep = match scores.exists() {
            true => format!("; --scores {} keeps what its proxies said", scores.display()),
            false => String::new(),
        };
        Err(failure(
            format!("`{}` belongs to a run with other settings: it had `{changed}`", self.dir.display()),
            format!("repeat the same command to go on with it, give another --out, or start over with --force{keep}"),
        ))
    }
}

/// `DIR.run` for `DIR`.
pub fn working_folder(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".run");
    out.with_file_name(name)
}

/// That `out` can be written: errors about the output come before anything is read or created.
///
/// # Errors
/// When it holds a finished set (without [`Overwrite::Replace`]) or something that is not ours.
pub fn check_output(out: &Path, overwrite: Overwrite) -> Result<()> {
    if out.file_name().is_none() {
        return Err(failure(
            format!("`{}` cannot be an output folder", out.display()),
            "give --out the name of a new folder",
        ));
    }
    match (state(out, &working_folder(out))?, overwrite) {
        (State::Foreign, _) => Err(failure(
            format!("`{}` exists and was not written by smalti", out.display()),
            "give another --out; smalti deletes nothing that it did not write",
        )),
        (State::Finished, Overwrite::Refuse) => Err(failure(
            format!("`{}` holds a finished set", out.display()),
            "give another --out, or --force to replace it",
        )),
        _ => Ok(()),
    }
}

/// That a working folder is ours or new: what lies in it under the names of our tables is replaced.
fn check_working_folder(dir: &Path) -> Result<()> {
    let filled = dir.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if filled && (!dir.join(LOCK).exists() || dir.join(MANIFEST).exists()) {
        return Err(failure(
            format!("`{}` would hold the working tables, and is no working folder of smalti", dir.display()),
            "give another --out, or move that folder; smalti deletes nothing that it did not write",
        ));
    }
    Ok(())
}

/// That source and output do not lie in each other, links followed: what is written there would be images of the source, or replace them.
///
/// # Errors
/// When one does, or a place of the source cannot be looked at.
pub fn check_apart(source: &Source, out: &Path) -> Result<()> {
    match out.exists() && source.reaches_into(out)? {
        true => Err(failure(
            format!("an image of the source `{}` lies in the output `{}`", source.location().display(), out.display()),
            "give an --out beside the source",
        )),
        false => check_beside(source.location(), out),
    }
}

/// That the output does not lie among the class folders of the source.
///
/// # Errors
/// When it does.
pub fn check_beside(source: &Path, out: &Path) -> Result<()> {
    match lies_in(out, source) && Source::is_of_class_folders(source) {
        true => Err(failure(
            format!(
                "the output `{}` lies in the source `{}`, whose folders are classes",
                out.display(),
                source.display()
            ),
            "give an --out beside the source",
        )),
        false => Ok(()),
    }
}

/// Whether a path is a folder or lies in it.
fn lies_in(path: &Path, folder: &Path) -> bool {
    place_of(path).zip(place_of(folder)).is_some_and(|(path, folder)| path.starts_with(folder))
}

/// Where a path leads, with symbolic links followed as far as it exists.
fn place_of(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|ancestor| ancestor.exists())?;
    let rest = path.strip_prefix(there).ok()?;
    let place = there.canonicalize().ok()?;
    // Joining nothing would add a slash.
    Some(if rest.as_os_str().is_empty() { place } else { place.join(rest) })
}

/// Removes the tables of an earlier run; nothing else in the folder is touched.
fn forget_tables(dir: &Path, spared: Option<&Path>) -> Result<()> {
    let spared = spared.and_then(|path| path.canonicalize().ok());
    for name in
        ["recipe.toml", "samples.parquet", "scores.parquet", "selection.parquet", "kept.txt", "proxies.json", SUMS]
    {
        let path = dir.join(name);
        if path.exists() && (spared.is_none() || path.canonicalize().ok() != spared) {
            std::fs::remove_file(&path).map_err(smalti_data::Error::io("remove", &path))?;
        }
    }
    for folder in ["trace", "blocks", "distilled"].map(|name| dir.join(name)) {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(smalti_data::Error::io("remove the folder", &folder))?;
        }
    }
    Ok(())
}
