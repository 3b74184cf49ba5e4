//! Parquet files as Hugging Face `datasets` writes them: an image column and a label column.
//!
//! Listing reads labels and stored names alone. Image bytes are read row group by row group, only where rows are wanted, in batches of
//! a few megabytes.

use super::class_map::Named;
use super::columns::{ImageColumn, bytes_at, image_column, label_column, leaf, stored_paths};
use super::labels::{self, Labels};
use super::names::Names;
use super::{Each, SourceOptions, class_label, row_number, splits_of};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::tables::{self, PathList, Split};
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use ::parquet::file::metadata::PageIndexPolicy;
use arrow::array::Array;
use arrow::datatypes::DataType;
use rayon::prelude::*;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Image bytes that one batch should hold.
const BATCH_BYTES: u64 = 8 << 20;

/// Most rows of one batch.
const BATCH_ROWS: u64 = 256;

/// Rows read at once where only labels and names are read.
const LIST_ROWS: usize = 8192;

/// All rows of some Parquet files.
pub(super) struct Listing {
    tables: Vec<Table>,
    labels: Vec<u32>,
    /// Stored names, empty where there is none.
    paths: Names,
}

/// One opened file.
struct Table {
    path: PathBuf,
    split: Split,
    /// Number of its first row in the source.
    first: u32,
    metadata: ArrowReaderMetadata,
    image: ImageColumn,
}

/// Lists some files, which must agree in their classes; returns class names and rows.
pub(super) fn list(paths: &[PathBuf], options: &SourceOptions) -> Result<(Named, Listing)> {
    let splits = splits_of(paths)?;
    let mut listing = Listing { tables: Vec::new(), labels: Vec::new(), paths: Names::default() };
    let mut labels = Labels::default();
    for (path, split) in paths.iter().zip(splits) {
        listing.add(path, split, options, &mut labels)?;
    }
    let classes = labels.finish(&mut listing.labels);
    Ok((classes, listing))
}

/// The rows of a compressed set in Parquet alone.
pub(super) fn of_manifest(root: &Path, manifest: &Manifest) -> Result<Listing> {
    let mut listing = Listing { tables: Vec::new(), labels: Vec::new(), paths: Names::default() };
    let mut labels = Labels::default();
    for file in &manifest.parquet {
        listing.add(&root.join(&file.file), Split::Train, &SourceOptions::default(), &mut labels)?;
    }
    labels.finish(&mut listing.labels);
    if !listing.labels.iter().copied().eq(manifest.images.iter().map(|image| image.class_id)) {
        return Err(Error::input(
            format!("the Parquet files of `{}` do not hold the images of its manifest", root.display()),
            "compress again with --force, or restore the files",
        ));
    }
    Ok(listing)
}

impl PathList for Listing {
    fn path(&self, row: u32) -> String {
        match self.paths.get(row as usize) {
            [] => {
                let table = self.table(row);
                format!("{}#{}", table.path.file_name().unwrap_or_default().to_string_lossy(), row - table.first)
            }
            path => String::from_utf8_lossy(path).into_owned(),
        }
    }
}

impl super::Listing for Listing {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn class_id(&self, row: u32) -> u32 {
        self.labels[row as usize]
    }

    fn split(&self, row: u32) -> Split {
        self.table(row).split
    }

    fn for_each(&self, rows: &[u32], each: Each) -> Result<()> {
        let groups = self.groups(rows);
        // Row groups in parallel where there are enough of them; otherwise one after the other, with the rows of each batch in
        // parallel. Never both at once: a thread that waits for rows would start on another group, and so on.
        if groups.len() >= 2 * rayon::current_num_threads() {
            let failed =
                |group: &Group| group.read(&mut |batch| batch.rows().for_each(|(row, bytes)| each(row, bytes))).err();
            return groups.par_iter().with_max_len(1).find_map_first(failed).map_or(Ok(()), Err);
        }
        groups.iter().try_for_each(|group| {
            group.read(&mut |batch| {
                batch.rows().collect::<Vec<_>>().into_par_iter().for_each(|(row, bytes)| each(row, bytes))
            })
        })
    }

    fn places(&self) -> Vec<PathBuf> {
        self.tables.iter().map(|table| table.path.clone()).collect()
    }
}

impl Listing {
    fn table(&self, row: u32) -> &Table {
        let after = self.tables.partition_point(|table| table.first <= row);
        &self.tables[after - 1]
    }

    /// Reads labels and names of one more file.
    fn add(&mut self, path: &Path, split: Split, options: &SourceOptions, labels: &mut Labels) -> Result<()> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let how = ArrowReaderOptions::new()
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .with_column_index_policy(PageIndexPolicy::Skip);
        let metadata = tables::reading(path, || ArrowReaderMetadata::load(&file, how))?;
        let image = image_column(&metadata, options.image_column.as_deref(), path)?;
        let label = label_column(&metadata, options.label_column.as_deref(), path)?;
        labels.expect(class_label::names(metadata.schema().metadata(), &label, path)?, path)?;
        let first = row_number(self.labels.len(), path)?;
        let leaves = leaf(&metadata, &[&label]).into_iter().chain(image.path);
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), leaves);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
            .with_projection(mask)
            .with_batch_size(LIST_ROWS);
        let mut reader = tables::reading(path, || builder.build())?;
        while let Some(batch) = tables::next_batch(path, &mut reader)? {
            let row = self.labels.len() - first as usize;
            labels::of_batch(&batch, &label, (path, row), labels, &mut self.labels)?;
            stored_paths(&batch, &image, &mut self.paths);
            row_number(self.labels.len(), path)?;
        }
        if (self.labels.len() - first as usize) as i64 != metadata.metadata().file_metadata().num_rows() {
            return Err(Error::table(path, "it has another number of rows than it says"));
        }
        self.tables.push(Table { path: path.to_owned(), split, first, metadata, image });
        Ok(())
    }

    /// The row groups that hold wanted rows.
    fn groups<'a>(&'a self, rows: &'a [u32]) -> Vec<Group<'a>> {
        let mut groups = Vec::new();
        let mut rest = rows;
        for table in &self.tables {
            let mut first = table.first;
            for (number, group) in table.metadata.metadata().row_groups().iter().enumerate() {
                // Saturating, since a damaged file can claim anything; reading it then finds other rows.
                let count = u32::try_from(group.num_rows()).unwrap_or(u32::MAX);
                let end = first.saturating_add(count);
                let (wanted, after) = rest.split_at(rest.partition_point(|&row| row < end));
                if !wanted.is_empty() {
                    groups.push(Group { table, number, first, count, wanted });
                }
                (first, rest) = (end, after);
            }
        }
        groups
    }
}

/// The wanted rows of one row group.
struct Group<'a> {
    table: &'a Table,
    number: usize,
    /// Number of its first row in the source.
    first: u32,
    count: u32,
    wanted: &'a [u32],
}

/// Some rows with their images.
struct Batch<'a> {
    rows: &'a [u32],
    column: &'a dyn Array,
}

impl Group<'_> {
    fn read(&self, each: &mut dyn FnMut(Batch)) -> Result<()> {
        let table = self.table;
        let Some(leaf) = table.image.bytes else {
            let none = arrow::array::new_null_array(&DataType::Binary, self.wanted.len());
            each(Batch { rows: self.wanted, column: &none });
            return Ok(());
        };
        let mut rest = self.wanted;
        let mut reader = self.reader(leaf)?;
        while let Some(batch) = tables::next_batch(&table.path, &mut reader)? {
            let (rows, after) = rest.split_at_checked(batch.num_rows()).ok_or_else(|| self.miscounted())?;
            let column = batch.column_by_name(&table.image.name).ok_or_else(|| self.miscounted())?;
            each(Batch { rows, column });
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(self.miscounted()) }
    }

    fn miscounted(&self) -> Error {
        Error::table(&self.table.path, "it has other rows than when it was listed")
    }

    fn reader(&self, leaf: usize) -> Result<ParquetRecordBatchReader> {
        let table = self.table;
        let file = File::open(&table.path).map_err(Error::io("read", &table.path))?;
        let mean = table.metadata.metadata().row_group(self.number).column(leaf).uncompressed_size().max(0) as u64
            / u64::from(self.count).max(1);
        let rows = (BATCH_BYTES / mean.max(1)).clamp(1, BATCH_ROWS) as usize;
        let mask = ProjectionMask::leaves(table.metadata.parquet_schema(), [leaf]);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, table.metadata.clone())
            .with_row_groups(vec![self.number])
            .with_projection(mask)
            .with_batch_size(rows);
        if self.wanted.len() < self.count as usize {
            let runs = runs(self.wanted, self.first);
            builder = builder
                .with_row_selection(RowSelection::from_consecutive_ranges(runs.into_iter(), self.count as usize));
        }
        tables::reading(&table.path, || builder.build())
    }
}

impl<'a> Batch<'a> {
    fn rows(&self) -> impl Iterator<Item = (u32, Result<Vec<u8>>)> + use<'a> {
        let column = self.column;
        self.rows.iter().enumerate().map(move |(at, &row)| {
            let bytes = bytes_at(column, at).map(<[u8]>::to_vec);
            (row, bytes.ok_or_else(|| Error::Decode { cause: "the row holds no image bytes".to_owned() }))
        })
    }
}

/// Sorted rows as ranges counted from `first`.
fn runs(rows: &[u32], first: u32) -> Vec<Range<usize>> {
    rows.chunk_by(|a, b| a + 1 == *b)
        .map(|run| (run[0] - first) as usize..(run[0] - first) as usize + run.len())
        .collect()
}
