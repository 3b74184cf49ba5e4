//! Reads a whole source once: every image is checked, hashed and measured, and becomes one row of `samples.parquet`.
//!
//! An image that does not read or decode is a row too, with the cause; it is never used and never silent.

use crate::error::{Error, Result};
use crate::source::Source;
use crate::tables::{ContentHash, Sample, Samples, Status};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Describes every image of a source, in source order. `progress` is called with 1 for each image finished.
///
/// The table is the same for any number of threads.
///
/// # Errors
/// [`Error::Table`] and [`Error::Io`] when a Parquet file is damaged; single bad images are rows, not errors.
pub fn scan(source: &Source, progress: &(dyn Fn(u64) + Sync)) -> Result<Samples> {
    let count = u32::try_from(source.len()).expect("a source numbers its rows in 32 bits");
    let rows: Vec<u32> = (0..count).collect();
    let (samples, causes) = look(source, &rows, progress)?;
    Ok(Samples { classes: source.classes().to_vec(), rows: samples, paths: source.paths(), causes })
}

/// Looks again at the images of an earlier table that could not be used: they may have been repaired.
///
/// # Errors
/// As [`scan`].
pub fn scan_bad(source: &Source, samples: &mut Samples) -> Result<()> {
    let bad: Vec<u32> = samples.bad().map(|(sample, _)| sample.sample).collect();
    let (found, causes) = look(source, &bad, &|_| ())?;
    found.into_iter().for_each(|sample| samples.rows[sample.sample as usize] = sample);
    samples.causes = causes;
    Ok(())
}

/// The rows of images, sorted, and why some cannot be used.
fn look(
    source: &Source,
    rows: &[u32],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(Vec<Sample>, BTreeMap<u32, String>)> {
    // In the order in which threads finish, and sorted at the end: one piece of memory, never a second copy.
    let found: Mutex<(Vec<Sample>, BTreeMap<u32, String>)> =
        Mutex::new((Vec::with_capacity(rows.len()), BTreeMap::new()));
    source.for_each(rows, &|row, bytes| {
        let (sample, cause) = describe(source, row, bytes);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.0.push(sample);
        found.1.extend(cause.map(|cause| (row, cause)));
        drop(found);
        progress(1);
    })?;
    let (mut samples, causes) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    samples.sort_unstable_by_key(|sample| sample.sample);
    if samples.len() != rows.len() {
        let what = format!("`{}` gave {} of its {} images", source.location().display(), samples.len(), rows.len());
        return Err(Error::input(what, "the source changes while it is read; run the command again when it rests"));
    }
    Ok((samples, causes))
}

/// The row of an image, and why it cannot be used where it cannot.
fn describe(source: &Source, row: u32, bytes: Result<Vec<u8>>) -> (Sample, Option<String>) {
    let bad = |sample: Sample, cause: String| (Sample { status: Status::Bad, ..sample }, Some(cause));
    let unread = Sample {
        sample: row,
        content_hash: ContentHash::default(),
        class_id: source.class_id(row),
        split: source.split(row),
        width: 0,
        height: 0,
        bytes: 0,
        status: Status::Ok,
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => return bad(unread, cause(error)),
    };
    let Ok(length) = u32::try_from(bytes.len()) else { return bad(unread, "it is larger than 4 GiB".to_owned()) };
    let read = Sample { content_hash: ContentHash::of(&bytes), bytes: length, ..unread };
    let written = source.manifest().and_then(|manifest| manifest.images.get(row as usize));
    // A content hash is the beginning of the hash in the manifest.
    if written.is_some_and(|image| !image.blake3.starts_with(&read.content_hash.to_string())) {
        return bad(read, "it has other bytes than were written".to_owned());
    }
    match source.profile().check(&bytes) {
        Ok((width, height)) => (Sample { width, height, ..read }, None),
        Err(error) => {
            // The stored size, where at least the header reads.
            let (width, height) = source.profile().dimensions(&bytes).unwrap_or((0, 0));
            bad(Sample { width, height, ..read }, cause(error))
        }
    }
}

/// Why an image cannot be used; which image it is stands in the row.
fn cause(error: Error) -> String {
    match error {
        Error::Decode { cause } => cause,
        Error::Io { action, source, .. } => format!("cannot {action} it: {source}"),
        other => other.to_string(),
    }
}
