//! `B3SUMS`: the BLAKE3 of every table in a folder, in the form that `b3sum --check` reads.
//!
//! A table that is listed and has other bytes is damaged and is refused by name. One that is not listed was made elsewhere.

use crate::error::{Error, Result};
use crate::files;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The list's name in the folder of the tables.
pub const SUMS: &str = "B3SUMS";

/// Lists are read and written as a whole.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn list_of(table: &Path) -> PathBuf {
    table.with_file_name(SUMS)
}

fn name_of(table: &Path) -> String {
    table.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Name and hash of every table listed; none where there is no list.
fn read(list: &Path) -> Result<BTreeMap<String, String>> {
    if !list.is_file() {
        return Ok(BTreeMap::new());
    }
    let text = files::read(list)?;
    let lines = String::from_utf8_lossy(&text).into_owned();
    Ok(lines
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
        .collect())
}

/// Puts a finished table in its place: the list knows it before anyone can see it.
pub(super) fn publish(partial: &Path, table: &Path) -> Result<()> {
    let (_, hash) = files::hash(partial)?;
    let list = list_of(table);
    {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = read(&list)?;
        // The old table goes first: a run that is cut off here leaves none, never one with the hash of another.
        match fs::remove_file(table) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("replace", table)(error));
            }
            _ => {}
        }
        sums.insert(name_of(table), hash);
        let text: String = sums.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
        files::write_bytes(&list, text.as_bytes())?;
    }
    files::rename(partial, table)
}

/// Compares a table with the list beside it.
///
/// # Errors
/// [`Error::Table`] when it has other bytes than were written; [`Error::Io`] with the path.
pub fn check(table: &Path) -> Result<()> {
    let differs = || -> Result<bool> {
        let listed = read(&list_of(table))?.remove(&name_of(table));
        Ok(listed.is_some_and(|listed| files::hash(table).is_ok_and(|(_, hash)| hash != listed)))
    };
    // Looked at twice, since another process may be replacing the table right now.
    match differs()? && differs()? {
        true => Err(Error::table(
            table,
            format!(
                "it has other bytes than were written (BLAKE3 in {SUMS}); restore it, or remove it to have it made again"
            ),
        )),
        false => Ok(()),
    }
}
