//! `trace/seed=S/features.parquet`: the penultimate features of every sample under one finished proxy, class by class.

use super::{column, next_batch, reading, schema, write_batches};
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Float32Type, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of features that are put into a column at once.
const PART_BYTES: usize = 16 << 20;

/// Features of some samples, one after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features {
    /// Rows of the source.
    pub samples: Vec<u32>,
    /// Class indices.
    pub labels: Vec<u32>,
    /// Numbers per sample.
    pub width: usize,
    /// samples.len() × width numbers.
    pub values: Vec<f32>,
}

impl Features {
    /// Those at some places.
    fn some(&self, places: &[usize]) -> Features {
        Features {
            samples: places.iter().map(|&at| self.samples[at]).collect(),
            labels: places.iter().map(|&at| self.labels[at]).collect(),
            width: self.width,
            values: places.iter().flat_map(|&at| self.row(at)).copied().collect(),
        }
    }

    /// Those of one sample, by its place in the list.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..(at + 1) * self.width]
    }
}

/// The file of one proxy's features.
pub fn path_in(seed_dir: &Path) -> PathBuf {
    seed_dir.join("features.parquet")
}

/// Writes features that are in memory, sorted by (class, sample), so that a class is read alone.
///
/// # Errors
/// As [`write_parts`].
pub fn write_features(path: &Path, features: &Features) -> Result<()> {
    let count = features.samples.len();
    if features.labels.len() != count || features.values.len() != count * features.width {
        return Err(wrong(&format!("{} numbers for {count} samples", features.values.len())));
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by_key(|&at| (features.labels[at], features.samples[at]));
    let part = (PART_BYTES / (4 * features.width.max(1))).max(1);
    write_parts(path, order.chunks(part).map(|rows| features.some(rows)))
}

/// Writes features that come in parts, in ascending order of (class, sample); in memory are one part and the row group that is being
/// compressed.
///
/// # Errors
/// [`Error::Io`] and [`Error::Table`] with the path; [`Error::Input`] for parts out of order or of different widths, or no part at all.
pub fn write_parts(path: &Path, parts: impl Iterator<Item = Features>) -> Result<()> {
    let mut parts = parts.peekable();
    let width = parts.peek().map_or(0, |first| first.width);
    if width == 0 {
        return Err(wrong("no numbers"));
    }
    let fields = table(width as i32);
    let mut last = None;
    let batches = parts.map(|part| {
        let count = part.samples.len();
        let mut keys = part.labels.iter().copied().zip(part.samples.iter().copied());
        let whole = part.width == width && part.labels.len() == count && part.values.len() == count * width;
        let in_order = keys.clone().is_sorted() && last <= keys.clone().next();
        last = keys.next_back().or(last);
        match whole && in_order {
            true => Ok(batch_of(&fields, part)),
            false => Err(wrong("parts that are out of order or of different widths")),
        }
    });
    write_batches(path, fields.clone(), batches)
}

fn wrong(what: &str) -> Error {
    Error::input(format!("{what}: these are no features"), "give `width` numbers for each sample, class by class")
}

fn batch_of(fields: &SchemaRef, part: Features) -> RecordBatch {
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    let list = FixedSizeListArray::new(item, part.width as i32, Arc::new(Float32Array::from(part.values)), None);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(UInt32Array::from(part.samples)), Arc::new(UInt32Array::from(part.labels)), Arc::new(list)];
    super::batch(fields.clone(), columns)
}

fn table(width: i32) -> SchemaRef {
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    schema(vec![
        Field::new("sample", DataType::UInt32, false),
        Field::new("label", DataType::UInt32, false),
        Field::new("features", DataType::FixedSizeList(item, width), false),
    ])
}

/// An opened file of features; labels and samples are in memory, eight bytes a row, features are read class by class.
#[derive(Debug)]
pub struct FeatureFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    samples: Vec<u32>,
    labels: Vec<u32>,
}

impl FeatureFile {
    /// Opens a file; `width` is known from the first class that is read.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Table`] with the path; [`Error::Input`] where columns are missing or rows are not sorted by class.
    pub fn open(path: &Path) -> Result<FeatureFile> {
        super::check(path)?;
        let file = File::open(path).map_err(Error::io("read", path))?;
        let metadata = reading(path, || ArrowReaderMetadata::load(&file, Default::default()))?;
        let mut opened = FeatureFile { path: path.to_owned(), metadata, samples: Vec::new(), labels: Vec::new() };
        let mut reader = opened.reader(&["sample", "label"], None)?;
        while let Some(batch) = next_batch(path, &mut reader)? {
            let numbers = |name| column::<UInt32Array>(&batch, name, &DataType::UInt32, path);
            opened.samples.extend(numbers("sample")?.values());
            opened.labels.extend(numbers("label")?.values());
        }
        let sorted = opened.labels.iter().zip(&opened.samples).is_sorted();
        if !sorted || opened.samples.len() != opened.labels.len() {
            return Err(Error::table(path, "its rows are not sorted by label and sample"));
        }
        Ok(opened)
    }

    /// One more than the largest class index.
    pub fn classes(&self) -> u32 {
        self.labels.last().map_or(0, |last| last + 1)
    }

    /// Features of one class, in the order of the samples; none where the class has no sample.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Table`] with the path, also for a number that is not finite.
    pub fn class(&self, label: u32) -> Result<Features> {
        let first = self.labels.partition_point(|&other| other < label);
        let count = self.labels[first..].partition_point(|&other| other == label);
        let range = first..first + count;
        let mut features = Features {
            samples: self.samples[range.clone()].to_vec(),
            labels: self.labels[range.clone()].to_vec(),
            ..Features::default()
        };
        if count == 0 {
            return Ok(features);
        }
        let rows = RowSelection::from_consecutive_ranges(std::iter::once(range), self.samples.len());
        let mut reader = self.reader(&["features"], Some(rows))?;
        while let Some(batch) = next_batch(&self.path, &mut reader)? {
            features.width = self.add(&batch, &mut features.values)?;
        }
        if features.values.len() != count * features.width || !features.values.iter().all(|value| value.is_finite()) {
            return Err(Error::table(&self.path, format!("its features of class {label} are not all numbers")));
        }
        Ok(features)
    }

    /// Appends the numbers of a batch and returns their width.
    fn add(&self, batch: &RecordBatch, values: &mut Vec<f32>) -> Result<usize> {
        let wrong = || Error::table(&self.path, "its column `features` holds no lists of 32-bit numbers");
        let list = batch.column_by_name("features").and_then(|c| c.as_fixed_size_list_opt()).ok_or_else(wrong)?;
        let numbers = list.values().as_primitive_opt::<Float32Type>().ok_or_else(wrong)?;
        let width = list.value_length() as usize;
        if list.null_count() + numbers.null_count() > 0 || numbers.len() != list.len() * width {
            return Err(wrong());
        }
        values.extend_from_slice(numbers.values());
        Ok(width)
    }

    fn reader(&self, names: &[&str], rows: Option<RowSelection>) -> Result<ParquetRecordBatchReader> {
        let file = File::open(&self.path).map_err(Error::io("read", &self.path))?;
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), names.iter().copied());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(mask)
            .with_batch_size(1 << 12);
        if let Some(rows) = rows {
            builder = builder.with_row_selection(rows);
        }
        reading(&self.path, || builder.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_come_back_class_by_class() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = path_in(dir.path());
        let features = Features {
            samples: vec![7, 3, 5, 9],
            labels: vec![1, 0, 1, 2],
            width: 2,
            values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        };
        write_features(&path, &features).expect("written");
        let file = FeatureFile::open(&path).expect("opened");
        let class = file.class(1).expect("read");
        assert_eq!((class.samples, class.width, class.values), (vec![5, 7], 2, vec![5.0, 6.0, 1.0, 2.0]));
        assert_eq!(file.class(0).expect("read").values, [3.0, 4.0]);
        assert!(file.class(8).expect("none").samples.is_empty());
        let short = Features { values: vec![0.0; 7], ..features.clone() };
        write_features(&path, &short).expect_err("a number is missing");
        let disordered = [features.some(&[0]), features.some(&[1])].into_iter();
        write_parts(&path, disordered).expect_err("class 1 before class 0");
        let wider = Features { width: 1, values: vec![9.0], ..features.some(&[3]) };
        write_parts(&path, [features.some(&[1]), wider].into_iter()).expect_err("another width");
        write_parts(&path, std::iter::empty()).expect_err("nothing");
        let broken = Features { values: vec![f32::NAN; 8], ..features };
        write_features(&path, &broken).expect("written");
        let error = FeatureFile::open(&path).expect("opened").class(2).expect_err("not a number");
        assert!(error.to_string().contains("class 2"), "{error}");
    }
}
