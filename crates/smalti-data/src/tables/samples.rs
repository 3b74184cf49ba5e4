//! `samples.parquet`: what the source holds, one row per input image, bad ones included.

use super::{ContentHash, Paths, column, read_table, write_rows};
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The part of a source an image belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Images that may be scored, chosen and trained on.
    Train,
    /// Images that only measure.
    Test,
    /// The seeded part of the training images that measures choices (crop ranges, rules), never trains.
    Holdout,
}

impl Split {
    /// The name in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
            Split::Holdout => "holdout",
        }
    }

    fn parse(name: &str) -> Option<Split> {
        [Split::Train, Split::Test, Split::Holdout].into_iter().find(|s| s.name() == name)
    }
}

/// Whether the image can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It decodes.
    Ok,
    /// It does not, for a reason in [`Samples::causes`]; it is counted and named, never used.
    Bad,
}

/// One input image, in 40 bytes: a large source has millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Row of the source: the index in [`crate::source::Source`] order, and in [`Samples::rows`].
    pub sample: u32,
    /// The name of the encoded bytes; zero when they could not be read.
    pub content_hash: ContentHash,
    /// Index into [`Samples::classes`].
    pub class_id: u32,
    /// The part of the source.
    pub split: Split,
    /// Stored width in pixels; 0 when unknown.
    pub width: u32,
    /// Stored height in pixels; 0 when unknown.
    pub height: u32,
    /// Encoded size in bytes; what is larger than 1 GiB is no image.
    pub bytes: u32,
    /// Usable or not.
    pub status: Status,
}

/// The table with its class names.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Class names in class order.
    pub classes: Vec<String>,
    /// One row per input image, in source order.
    pub rows: Vec<Sample>,
    /// Path of each row inside the source, with `/` between parts; for Parquet the stored name or `file#row`.
    pub paths: Paths,
    /// Why a row is [`Status::Bad`].
    pub causes: BTreeMap<u32, String>,
}

impl PartialEq for Samples {
    fn eq(&self, other: &Samples) -> bool {
        let same_path = |row: &Sample| self.paths.get(row.sample) == other.paths.get(row.sample);
        (&self.classes, &self.rows, &self.causes) == (&other.classes, &other.rows, &other.causes)
            && self.rows.iter().all(same_path)
    }
}

const CLASSES: &str = "smalti.classes";

impl Samples {
    /// The usable samples of one split, in source order.
    pub fn usable(&self, split: Split) -> impl Iterator<Item = &Sample> {
        self.rows.iter().filter(move |s| s.split == split && s.status == Status::Ok)
    }

    /// The samples that cannot be used.
    pub fn bad(&self) -> impl Iterator<Item = (&Sample, &str)> {
        let bad = self.rows.iter().filter(|s| s.status == Status::Bad);
        bad.map(|s| (s, self.causes.get(&s.sample).map_or("", String::as_str)))
    }

    /// The path of a row.
    pub fn path(&self, row: u32) -> Cow<'_, str> {
        self.paths.get(row)
    }

    /// Writes the table.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Table`] with the path.
    pub fn write(&self, path: &Path) -> Result<()> {
        let classes = serde_json::to_string(&self.classes).expect("strings are JSON");
        let schema = Schema::new(fields()).with_metadata(HashMap::from([(CLASSES.to_owned(), classes)]));
        write_rows(path, Arc::new(schema), &self.rows, |rows| self.columns(rows))
    }

    /// Reads the table back.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Table`] and [`Error::Input`] with the path; [`Error::Table`] also for rows out of order and for labels beyond
    /// the classes.
    pub fn read(path: &Path) -> Result<Samples> {
        let table = read_table(path)?;
        let classes = table.schema_ref().metadata().get(CLASSES).cloned().unwrap_or_default();
        let classes: Vec<String> =
            serde_json::from_str(&classes).map_err(|_| Error::table(path, "it names no classes"))?;
        let ids: UInt32Array = column(&table, "sample", &DataType::UInt32, path)?;
        let hashes: FixedSizeBinaryArray = column(&table, "content_hash", &DataType::FixedSizeBinary(16), path)?;
        let paths: StringArray = column(&table, "path", &DataType::Utf8, path)?;
        let class_ids: UInt32Array = column(&table, "class_id", &DataType::UInt32, path)?;
        let splits: StringArray = column(&table, "split", &DataType::Utf8, path)?;
        let widths: UInt32Array = column(&table, "width", &DataType::UInt32, path)?;
        let heights: UInt32Array = column(&table, "height", &DataType::UInt32, path)?;
        let bytes: UInt32Array = column(&table, "bytes", &DataType::UInt32, path)?;
        let causes: StringArray = column(&table, "cause", &DataType::Utf8, path)?;
        let wrong = |i: usize, how: &str| Error::table(path, format!("row {i} {how}"));
        let rows = (0..table.num_rows())
            .map(|i| {
                if ids.value(i) as usize != i || class_ids.value(i) as usize >= classes.len() {
                    return Err(wrong(i, "is out of order, or has a label beyond the classes"));
                }
                Ok(Sample {
                    sample: ids.value(i),
                    content_hash: u128::from_be_bytes(hashes.value(i).try_into().unwrap_or_default()).into(),
                    class_id: class_ids.value(i),
                    split: Split::parse(splits.value(i)).ok_or_else(|| wrong(i, "has an unknown split"))?,
                    width: widths.value(i),
                    height: heights.value(i),
                    bytes: bytes.value(i),
                    status: if causes.is_null(i) { Status::Ok } else { Status::Bad },
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let causes = (0..).zip(&causes).filter_map(|(row, cause)| Some((row, cause?.to_owned()))).collect();
        Ok(Samples { classes, rows, paths: Paths::stored(paths), causes })
    }

    fn columns(&self, rows: &[Sample]) -> Vec<ArrayRef> {
        let hashes = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|s| s.content_hash.bytes()));
        let status = |s: &Sample| if s.status == Status::Ok { "ok" } else { "bad" };
        let cause = |s: &Sample| {
            Some(s).filter(|s| s.status == Status::Bad).map(|s| self.causes.get(&s.sample).map_or("", String::as_str))
        };
        vec![
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|s| s.sample))),
            Arc::new(hashes.expect("there is a row, and all hashes have one length")),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|s| self.path(s.sample)))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|s| s.class_id))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|s| s.split.name()))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|s| s.width))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|s| s.height))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|s| u64::from(s.bytes)))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(status))),
            Arc::new(rows.iter().map(cause).collect::<StringArray>()),
        ]
    }
}

fn fields() -> Vec<Field> {
    vec![
        Field::new("sample", DataType::UInt32, false),
        Field::new("content_hash", DataType::FixedSizeBinary(16), false),
        Field::new("path", DataType::Utf8, false),
        Field::new("class_id", DataType::UInt32, false),
        Field::new("split", DataType::Utf8, false),
        Field::new("width", DataType::UInt32, false),
        Field::new("height", DataType::UInt32, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("status", DataType::Utf8, false),
        Field::new("cause", DataType::Utf8, true),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_small_as_it_says() {
        assert_eq!(size_of::<Sample>(), 40);
    }

    #[test]
    fn the_table_reads_back_as_written() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("samples.parquet");
        let sample = Sample {
            sample: 0,
            content_hash: (u128::MAX - 5).into(),
            class_id: 1,
            split: Split::Holdout,
            width: 3,
            height: 4,
            bytes: 99,
            status: Status::Ok,
        };
        let bad = Sample { sample: 1, status: Status::Bad, ..sample };
        let table = Samples {
            classes: vec!["a".into(), "cat".into()],
            rows: vec![sample, bad],
            paths: ["cat/ä.png", "cat/b.png"].iter().collect(),
            causes: BTreeMap::from([(1, "cut".to_owned())]),
        };
        table.write(&path).expect("written");
        assert_eq!(Samples::read(&path).expect("read"), table);
        Samples::default().write(&path).expect("an empty table is written too");
        assert_eq!(Samples::read(&path).expect("read").rows.len(), 0);
        let disordered = Samples { rows: vec![bad, sample], ..table };
        disordered.write(&path).expect("written");
        assert!(Samples::read(&path).expect_err("out of order").to_string().contains("row 0"));
    }
}
