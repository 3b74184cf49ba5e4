//! Writing that never leaves half a file: temporary sibling, fsync, rename, fsync of the folder; and the lock that keeps two runs apart.

use crate::error::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Ending of files that are still being written; readers ignore them, a resumed run replaces them.
pub const PARTIAL: &str = "partial";

/// The name of the file in a run's folder that says whose it is.
pub const LOCK: &str = "lock";

/// Writes a file as a whole or not at all.
///
/// `fill` receives a buffered writer on a sibling of `path`; the sibling is synced and renamed when `fill` succeeds.
/// Missing parent folders are created.
///
/// # Errors
/// What `fill` returned, or [`Error::Io`] with the path concerned. The old content of `path` then stays.
pub fn write_atomic<T>(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<T>) -> Result<T> {
    let (partial, value) = write_partial(path, fill)?;
    rename(&partial, path)?;
    Ok(value)
}

/// Writes the sibling that [`rename`] will make `path`, and returns its path.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_partial<T>(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<T>) -> Result<(PathBuf, T)> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create the folder", parent))?;
    }
    let partial = partial_of(path);
    let file = File::create(&partial).map_err(Error::io("create", &partial))?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    let value = match fill(&mut writer) {
        Ok(value) => value,
        Err(error) => {
            // The error that matters is the first one; a leftover sibling is harmless.
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
    };
    writer.flush().map_err(Error::io("write", &partial))?;
    writer.get_ref().sync_all().map_err(Error::io("sync", &partial))?;
    drop(writer);
    Ok((partial, value))
}

/// Writes `bytes` to `path` as a whole or not at all.
///
/// # Errors
/// [`Error::Io`] with the path concerned.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |writer| writer.write_all(bytes).map_err(Error::io("write", path)))
}

/// Renames a finished file or folder to its final name and makes the rename durable.
///
/// # Errors
/// [`Error::Io`] with the path concerned.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename a finished file to", to))?;
    match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Makes the names inside a folder durable.
///
/// # Errors
/// [`Error::Io`] with the path concerned.
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io("sync the folder", path))
}

/// The sibling under which `path` is written before it is complete.
pub fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(PARTIAL);
    path.with_file_name(name)
}

/// Reads a whole file.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("read", path))
}

/// Size and BLAKE3 of a file, read in pieces.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn hash(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = blake3::Hasher::new();
    let (mut buffer, mut total) = (vec![0; 1 << 18], 0u64);
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            return Ok((total, hasher.finalize().to_hex().to_string()));
        }
        hasher.update(&buffer[..read]);
        total += read as u64;
    }
}

/// Holds a run's folder for one process at a time; released when dropped or when the process ends in any way.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// Opens a lock file, creating it where needed. What somebody keeps under its name is left as it is.
fn lock_file(path: &Path) -> Result<File> {
    File::options().write(true).create(true).truncate(false).open(path).map_err(Error::io("create", path))
}

impl RunLock {
    /// Takes the lock file in `run`, creating the folder where needed.
    ///
    /// # Errors
    /// [`Error::Input`] when another process holds it, [`Error::Io`] when the folder cannot be written.
    pub fn take(run: &Path) -> Result<RunLock> {
        fs::create_dir_all(run).map_err(Error::io("create the folder", run))?;
        let path = run.join(LOCK);
        let file = lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::input(
                format!("another run is working in `{}`", run.display()),
                "wait for it to end, or give this run another --out",
            )),
            Err(TryLockError::Error(source)) => Err(Error::Io { action: "lock", path, source }),
        }
    }

    /// As [`RunLock::take`], but waits for another process to drop it; `waiting` is called once before that.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be written.
    pub fn wait(run: &Path, waiting: &dyn Fn()) -> Result<RunLock> {
        fs::create_dir_all(run).map_err(Error::io("create the folder", run))?;
        let path = run.join(LOCK);
        let file = lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(Error::io("lock", &path))?;
            }
            Err(TryLockError::Error(source)) => return Err(Error::Io { action: "lock", path, source }),
        }
        Ok(RunLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_sibling() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a/b.txt");
        write_bytes(&path, b"old").expect("first write");
        let failed: Result<()> = write_atomic(&path, |writer| {
            writer.write_all(b"new, but").expect("buffered");
            Err(Error::input("stop", "none"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"old");
        assert_eq!(fs::read_dir(dir.path().join("a")).expect("folder").count(), 1);
    }

    #[test]
    fn a_second_run_on_the_same_folder_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = RunLock::take(dir.path()).expect("free");
        let refused = RunLock::take(dir.path()).expect_err("held");
        assert!(refused.to_string().contains("another run"), "{refused}");
        let told = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                RunLock::wait(dir.path(), &|| told.store(true, std::sync::atomic::Ordering::SeqCst)).expect("its turn")
            });
            while !told.load(std::sync::atomic::Ordering::SeqCst) {
                std::thread::yield_now();
            }
            drop(first);
            drop(waits.join().expect("it ends"));
        });
        RunLock::take(dir.path()).expect("free again");
    }
}
