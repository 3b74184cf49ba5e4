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
    let room = Vec::with_capacity(source.len());
    let found = look(source, room, progress, &|row, bytes| Some(describe(source, row, bytes)))?;
    Ok(Samples { classes: source.classes().to_vec(), rows: found.samples, paths: source.paths(), causes: found.causes })
}

/// Reads every image again, and describes those anew that could not be used or have other bytes than an earlier table of this source says.
/// An image that is as it was keeps its row and is not decoded. `progress` is called with 1 for each image finished.
///
/// # Errors
/// [`Error::Input`] when the table has another number of rows than the source has images; else as [`scan`].
pub fn scan_again(source: &Source, samples: &mut Samples, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
    if samples.rows.len() != source.len() {
        let (images, rows) = (source.len(), samples.rows.len());
        let what =
            format!("`{}` has {images} images, and the table of its samples {rows}", source.location().display());
        return Err(Error::input(what, "run the same command again with --force, so that the source is scanned anew"));
    }
    let known = &samples.rows;
    let as_known = |row: u32, bytes: &[u8]| {
        let sample = &known[row as usize];
        sample.status == Status::Ok && sample.content_hash == ContentHash::of(bytes)
    };
    let found = look(source, Vec::new(), progress, &|row, bytes| {
        let same = bytes.as_ref().is_ok_and(|bytes| as_known(row, bytes));
        (!same).then(|| describe(source, row, bytes))
    })?;
    found.samples.into_iter().for_each(|sample| samples.rows[sample.sample as usize] = sample);
    // Whatever could not be used was looked at again, so these are all causes.
    samples.causes = found.causes;
    Ok(())
}

/// The row of an image, and why it cannot be used where it cannot.
type Described = (Sample, Option<String>);

/// What a pass over all images of a source has found so far.
struct Found {
    /// Images that were handed over.
    seen: usize,
    samples: Vec<Sample>,
    /// Why some of them cannot be used.
    causes: BTreeMap<u32, String>,
}

/// Hands every image to `describe`, and returns the rows that it makes, sorted. They are put into `room`.
fn look(
    source: &Source,
    room: Vec<Sample>,
    progress: &(dyn Fn(u64) + Sync),
    describe: &(dyn Fn(u32, Result<Vec<u8>>) -> Option<Described> + Sync),
) -> Result<Found> {
    let count = u32::try_from(source.len()).expect("a source numbers its rows in 32 bits");
    let rows: Vec<u32> = (0..count).collect();
    // In the order in which threads finish, and sorted at the end: one piece of memory, never a second copy.
    let found = Mutex::new(Found { seen: 0, samples: room, causes: BTreeMap::new() });
    source.for_each(&rows, &|row, bytes| {
        let described = describe(row, bytes);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.seen += 1;
        if let Some((sample, cause)) = described {
            found.samples.push(sample);
            found.causes.extend(cause.map(|cause| (row, cause)));
        }
        drop(found);
        progress(1);
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.samples.sort_unstable_by_key(|sample| sample.sample);
    if found.seen != rows.len() {
        let what = format!("`{}` gave {} of its {} images", source.location().display(), found.seen, rows.len());
        return Err(Error::input(what, "the source changes while it is read; run the command again when it rests"));
    }
    Ok(found)
}

/// The row of an image, and why it cannot be used where it cannot.
fn describe(source: &Source, row: u32, bytes: Result<Vec<u8>>) -> Described {
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
