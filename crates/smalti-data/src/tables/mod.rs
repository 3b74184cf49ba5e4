//! The working tables: Arrow schemas, and reading and writing them as Parquet.
//!
//! | table | one row per | module |
//! |---|---|---|
//! | `samples.parquet` | input image | [`samples`] |
//! | `trace/seed=S/epoch=E.parquet` | sample and pass | [`trace`] |
//! | `trace/seed=S/features.parquet` | sample | [`features`] |
//! | `scores.parquet` | sample and metric | [`scores`] |
//! | `selection.parquet` | sample | [`selection`] |
//! | `LABELS/epoch=E.parquet` | view of an image | [`soft_labels`] |
//!
//! [`id_list`] is a selection as plain text. `B3SUMS` beside the tables holds their hashes.

mod content_hash;
pub mod features;
pub mod id_list;
mod paths;
pub mod samples;
pub mod scores;
pub mod selection;
pub mod soft_labels;
mod sums;
pub mod trace;

pub use content_hash::ContentHash;
pub use features::{FeatureFile, Features};
pub(crate) use paths::PathList;
pub use paths::Paths;
pub use samples::{Sample, Samples, Split, Status};
pub use scores::Scored;
pub use selection::{Reasons, Selected, Selection, Verdict};
pub use sums::{SUMS, check};
pub use trace::{Pass, TraceRow};

use crate::error::{self, Error, Result};
use crate::files;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows that are put into columns and compressed at once.
const WRITE_ROWS: usize = 1 << 15;

/// Writes a table as a whole or not at all, and its hash to the list beside it.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write_table(path: &Path, batch: &RecordBatch) -> Result<()> {
    write_batches(path, batch.schema(), std::iter::once(Ok(batch.clone())))
}

/// As [`write_table`], for rows that are put into columns a few at a time, so that a large table is in memory once.
fn write_rows<T>(path: &Path, schema: SchemaRef, rows: &[T], columns: impl Fn(&[T]) -> Vec<ArrayRef>) -> Result<()> {
    write_batches(path, schema.clone(), rows.chunks(WRITE_ROWS).map(|rows| Ok(batch(schema.clone(), columns(rows)))))
}

fn write_batches(path: &Path, schema: SchemaRef, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<()> {
    write_groups(path, schema, WRITE_ROWS, batches)
}

/// As [`write_batches`], in row groups of `rows`.
fn write_groups(
    path: &Path,
    schema: SchemaRef,
    rows: usize,
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows.max(1)))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(format!("smalti {}", env!("CARGO_PKG_VERSION")))
        .build();
    let (partial, ()) = files::write_partial(path, |out| {
        let wrong = |cause: parquet::errors::ParquetError| Error::io("write", path)(std::io::Error::other(cause));
        let mut writer = ArrowWriter::try_new(out, schema, Some(properties)).map_err(wrong)?;
        for batch in batches {
            writer.write(&batch?).map_err(wrong)?;
        }
        writer.close().map_err(wrong)?;
        Ok(())
    })?;
    sums::publish(&partial, path)
}

/// Reads a whole table of ours, or a table made elsewhere with the same columns.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened, [`Error::Table`] when it is not Parquet, is damaged, or has other bytes than were
/// written.
pub fn read_table(path: &Path) -> Result<RecordBatch> {
    check(path)?;
    let file = File::open(path).map_err(Error::io("read", path))?;
    let builder = reading(path, || ParquetRecordBatchReaderBuilder::try_new(file))?;
    let schema = builder.schema().clone();
    let batches = reading(path, || builder.build()?.collect::<std::result::Result<Vec<_>, ArrowError>>())?;
    reading(path, || concat_batches(&schema, &batches))
}

/// One step of reading a Parquet file: its error, or its panic (the library has some for damaged files), as an [`Error::Table`].
pub(crate) fn reading<T, E: ToString>(path: &Path, step: impl FnOnce() -> std::result::Result<T, E>) -> Result<T> {
    match error::guarded(step) {
        Some(outcome) => outcome.map_err(|cause| Error::table(path, cause)),
        None => Err(Error::table(path, "the file is damaged")),
    }
}

/// The next batch of a Parquet file, as a step of [`reading`]. After an error it must not be asked again.
pub(crate) fn next_batch(path: &Path, reader: &mut ParquetRecordBatchReader) -> Result<Option<RecordBatch>> {
    reading(path, || reader.next().transpose())
}

/// One column of a table that was read from `path`, cast to the type wanted.
///
/// # Errors
/// [`Error::Input`] when the column is missing (the hint lists those that are there), or does not cast without loss.
pub fn column<T: Array + Clone + 'static>(batch: &RecordBatch, name: &str, kind: &DataType, path: &Path) -> Result<T> {
    let found = batch.column_by_name(name).ok_or_else(|| {
        let names: Vec<String> = batch.schema().fields().iter().map(|f| format!("`{}`", f.name())).collect();
        Error::input(
            format!("the table `{}` has no column `{name}`", path.display()),
            format!("its columns are {}; rename one or make the table again", names.join(", ")),
        )
    })?;
    let wrong = || {
        Error::input(
            format!("column `{name}` of `{}` holds {} and not {kind}", path.display(), found.data_type()),
            "write the column with that type",
        )
    };
    let array = cast(found, kind).map_err(|_| wrong())?;
    if array.null_count() > found.null_count() {
        return Err(wrong());
    }
    array.as_any().downcast_ref::<T>().cloned().ok_or_else(wrong)
}

/// A batch whose columns are known to fit the schema.
fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema, columns).expect("the columns are built from the schema beside them")
}

fn schema(fields: Vec<arrow::datatypes::Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}
