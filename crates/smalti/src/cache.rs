//! What took long and would come out the same again: trained proxies, teachers and decoded images, by the hash of everything they depend on.
//!
//! ```text
//! CACHE/artifacts/KIND-KEY/about.json   what it is, in words; its time of change is that of the last use
//! CACHE/artifacts/KIND-KEY/files/…      hard links where the folders share a disk, else copies
//! ```
//!
//! CACHE is $SMALTI_CACHE, else smalti/ in the user's folder for caches; `SMALTI_CACHE=off` turns it off. The key of what was
//! trained holds the build, the processor, the number format and the threads, since training repeats its bits on those alone; and the GPU, where it need not.

use crate::error::failure;
use crate::ui::Ui;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use smalti_data::files::{self, RunLock};
use smalti_data::tables::{Samples, Split};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The cache of this user, or none.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    root: Option<PathBuf>,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The trace of a proxy, and its report.
    Proxy,
    /// The weights of a teacher, and what it is worth.
    Teacher,
    /// The pixels of decoded images.
    Decoded,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Proxy => "proxy",
            Kind::Teacher => "teacher",
            Kind::Decoded => "decoded",
        }
    }
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// BLAKE3 of what it depends on, in hexadecimal.
    pub key: String,
    /// What it is, in words.
    pub about: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Seconds since it was used last.
    #[serde(default, skip_deserializing)]
    pub unused_seconds: u64,
}

const ABOUT: &str = "about.json";
const FILES: &str = "files";

/// The hash of everything that an artifact depends on.
pub fn key(parts: &impl Serialize) -> String {
    let text = serde_json::to_vec(parts).expect("settings are plain data");
    blake3::hash(&text).to_hex().as_str()[..32].to_owned()
}

/// The hash of the training images with their rows and labels.
pub fn train_hash(samples: &Samples) -> String {
    let mut hasher = blake3::Hasher::new();
    for sample in samples.usable(Split::Train) {
        hasher.update(&sample.content_hash.bytes());
        hasher.update(&sample.sample.to_le_bytes());
        hasher.update(&sample.class_id.to_le_bytes());
    }
    hasher.update(&(samples.classes.len() as u64).to_le_bytes());
    hasher.finalize().to_hex().to_string()
}

impl Cache {
    /// As the environment says.
    pub fn open() -> Cache {
        let own = std::env::var_os("SMALTI_CACHE").filter(|value| !value.is_empty());
        let root = match own {
            Some(value) if value == "off" => None,
            Some(value) => Some(PathBuf::from(value)),
            None => {
                let folder = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
                let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
                folder.or_else(home).map(|folder| folder.join("smalti"))
            }
        };
        Cache { root }
    }

    /// One in a folder.
    pub fn at(root: &Path) -> Cache {
        Cache { root: Some(root.to_owned()) }
    }

    fn artifacts(&self) -> Option<PathBuf> {
        self.root.as_ref().map(|root| root.join("artifacts"))
    }

    /// The files of an artifact, if it is there and whole.
    pub fn find(&self, kind: Kind, key: &str) -> Option<PathBuf> {
        let folder = self.artifacts()?.join(format!("{}-{key}", kind.name()));
        let entry = read(&folder)?;
        let (files, about) = (folder.join(FILES), folder.join(ABOUT));
        if size(&files).ok()? != entry.bytes {
            return None;
        }
        // When it was used last; a cache that cannot be written still serves.
        let _ = fs::File::options().append(true).open(&about).and_then(|file| file.set_modified(SystemTime::now()));
        Some(files)
    }

    /// Keeps the files that `fill` puts into the folder it is given; they never change again. A cache that cannot take them is a warning, no failure.
    pub fn keep(&self, kind: Kind, key: &str, about: &str, ui: &Ui, fill: impl FnOnce(&Path) -> Result<()>) {
        let Some(artifacts) = self.artifacts() else { return };
        let folder = artifacts.join(format!("{}-{key}", kind.name()));
        let kept = (|| -> Result<()> {
            // Runs of one source keep the same things, maybe at once.
            let _alone = RunLock::wait(&artifacts, &|| ())?;
            let partial = files::partial_of(&folder);
            if partial.exists() {
                fs::remove_dir_all(&partial)?;
            }
            fs::create_dir_all(partial.join(FILES))?;
            fill(&partial.join(FILES))?;
            let bytes = size(&partial.join(FILES))?;
            let entry = Entry { kind, key: key.to_owned(), about: about.to_owned(), bytes, unused_seconds: 0 };
            files::write_bytes(&partial.join(ABOUT), &serde_json::to_vec_pretty(&entry)?)?;
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            Ok(files::rename(&partial, &folder)?)
        })();
        if let Err(error) = kept {
            ui.warn(format!("the cache `{}` did not take {about}: {error:#}", artifacts.display()));
        }
    }

    /// Every artifact, the one used last first.
    ///
    /// # Errors
    /// When the cache is off or its folder cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let artifacts =
            self.artifacts().ok_or_else(|| failure("the cache is off", "unset SMALTI_CACHE, or set it to a folder"))?;
        let mut found = Vec::new();
        if artifacts.is_dir() {
            for folder in fs::read_dir(&artifacts).with_context(|| format!("cannot read `{}`", artifacts.display()))? {
                let folder = folder?.path();
                if let Some(mut entry) = read(&folder).filter(|_| !is_leftover(&folder)) {
                    let used = fs::metadata(folder.join(ABOUT)).and_then(|about| about.modified()).ok();
                    let unused = used.and_then(|used| SystemTime::now().duration_since(used).ok());
                    entry.unused_seconds = unused.map_or(0, |unused| unused.as_secs());
                    found.push(entry);
                }
            }
        }
        found.sort_by(|a, b| (a.unused_seconds, &a.key).cmp(&(b.unused_seconds, &b.key)));
        Ok(found)
    }

    /// Removes what was used longest ago until `keep` bytes are left, and returns what went.
    ///
    /// # Errors
    /// As [`Cache::list`]; when something cannot be removed.
    pub fn clean(&self, keep: u64) -> Result<Vec<Entry>> {
        self.clear_leftovers()?;
        let (mut found, mut gone) = (self.list()?, Vec::new());
        let mut left: u64 = found.iter().map(|entry| entry.bytes).sum();
        while left > keep
            && let Some(entry) = found.pop()
        {
            let folder = self.artifacts().unwrap_or_default().join(format!("{}-{}", entry.kind.name(), entry.key));
            // Another process may have removed it meanwhile.
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove `{}`", folder.display()));
                }
                _ => {}
            }
            left -= entry.bytes;
            gone.push(entry);
        }
        Ok(gone)
    }

    /// Removes what was being written when a process was stopped: nobody writes while the lock is held.
    fn clear_leftovers(&self) -> Result<()> {
        let Some(artifacts) = self.artifacts().filter(|artifacts| artifacts.is_dir()) else { return Ok(()) };
        let _alone = RunLock::wait(&artifacts, &|| ())?;
        for folder in fs::read_dir(&artifacts).with_context(|| format!("cannot read `{}`", artifacts.display()))? {
            let folder = folder?.path();
            if folder.is_dir() && is_leftover(&folder) {
                fs::remove_dir_all(&folder).with_context(|| format!("cannot remove `{}`", folder.display()))?;
            }
        }
        Ok(())
    }

    /// Where it lies, if it is on.
    pub fn location(&self) -> Option<PathBuf> {
        self.artifacts()
    }
}

/// Whether a folder was being written when a process was stopped.
fn is_leftover(folder: &Path) -> bool {
    folder.extension().is_some_and(|end| end == files::PARTIAL)
}

fn read(folder: &Path) -> Option<Entry> {
    serde_json::from_slice(&fs::read(folder.join(ABOUT)).ok()?).ok()
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// The same files at another place: as hard links, or copied where the disk is another.
///
/// # Errors
/// When a folder or file cannot be read or written.
pub fn link_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_tree(&entry.path(), &place)?;
        } else if let Err(error) = fs::hard_link(entry.path(), &place) {
            // To copy onto a link would change the file at its other end.
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Volume;

    const SILENT: Ui = Ui { volume: Volume::Quiet };

    #[test]
    fn what_is_kept_is_found_by_its_key_until_it_is_cleaned_or_damaged() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::at(&dir.path().join("cache"));
        let made = dir.path().join("made");
        files::write_bytes(&made.join("a/b.txt"), b"12345").expect("written");
        let keys = [key(&("settings", 1)), key(&("settings", 2))];
        assert!(keys[0] != keys[1] && cache.find(Kind::Proxy, &keys[0]).is_none());
        for key in &keys {
            cache.keep(Kind::Proxy, key, "a proxy", &SILENT, |folder| Ok(link_tree(&made, folder)?));
        }
        let found = cache.find(Kind::Proxy, &keys[0]).expect("kept");
        assert_eq!(fs::read(found.join("a/b.txt")).expect("there"), b"12345");
        assert!(cache.find(Kind::Teacher, &keys[0]).is_none(), "another kind");
        let about = |key: &str| dir.path().join(format!("cache/artifacts/proxy-{key}/{ABOUT}"));
        let long_ago = SystemTime::now() - std::time::Duration::from_secs(1000);
        fs::File::options().append(true).open(about(&keys[0])).and_then(|f| f.set_modified(long_ago)).expect("set");
        let listed: Vec<String> = cache.list().expect("listed").into_iter().map(|entry| entry.key).collect();
        assert_eq!(listed, [keys[1].clone(), keys[0].clone()], "the one used last comes first");
        let cut = dir.path().join(format!("cache/artifacts/decoded-{}.{}", keys[0], files::PARTIAL));
        files::write_bytes(&cut.join("files/pixels.rgb"), b"half").expect("written");
        // Stopped between its description and its last name.
        let described = fs::read(about(&keys[0])).expect("there");
        files::write_bytes(&cut.join(ABOUT), &described).expect("written");
        assert_eq!(cache.list().expect("listed").len(), 2, "what was not finished is no artifact");
        let gone = cache.clean(5).expect("cleaned");
        assert!(!cut.exists(), "what a stopped process left");
        assert_eq!((gone.len(), gone[0].key.as_str(), gone[0].bytes), (1, keys[0].as_str(), 5));
        let left = cache.find(Kind::Proxy, &keys[1]).expect("still there");
        fs::remove_file(left.join("a/b.txt")).expect("removed");
        assert!(cache.find(Kind::Proxy, &keys[1]).is_none(), "it is not whole");
        assert!(made.join("a/b.txt").exists(), "the original is its owner's");
        assert!(Cache::default().list().is_err() && Cache::default().find(Kind::Proxy, &keys[0]).is_none());
    }
}
