//! The images of a set as Parquet files that Hugging Face `datasets` and its viewer read.
//!
//! Columns: `image` (`struct<bytes: binary, path: string>`), `label` (int64, a ClassLabel), and `tiles`, the boxes `left, top, width,
//! height` of all tiles one after the other, so that any reader can crop inside one tile. The schema's `huggingface` metadata names
//! the features. Image bytes are stored as they are: no compression, no dictionary, no statistics (which cost ten times their
//! bytes in memory); row groups of at most 100 rows, the most that the Hub's viewer likes.

use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{FileEntry, ImageEntry};
use crate::tables;
use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Builder, Int64Array, ListArray, ListBuilder, RecordBatch, StringArray,
    StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Most bytes of one file; the Hub's convention is 500 MB. The rest is room for the footer.
pub(super) const MAX_FILE_BYTES: u64 = 480_000_000;

/// Most rows of one row group.
const GROUP_ROWS: usize = 100;

/// Most image bytes of one row group, unless one image alone is larger.
const GROUP_BYTES: u64 = 100_000_000;

/// Writes the images, found under `root`, to `dir/data/train-XXXXX-of-XXXXX.parquet`.
///
/// # Errors
/// I/O errors with the path; [`Error::Input`] when an image is not the one described.
pub(super) fn write_files(
    dir: &Path,
    root: &Path,
    images: &[ImageEntry],
    classes: &[String],
    max_bytes: u64,
) -> Result<Vec<FileEntry>> {
    let parts = split(images, max_bytes, usize::MAX);
    let schema = schema(classes);
    let mut entries = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        let file = format!("data/train-{number:05}-of-{:05}.parquet", parts.len());
        let path = dir.join(&file);
        write_file(&path, root, part, &schema)?;
        let (bytes, blake3) = files::hash(&path)?;
        entries.push(FileEntry { file, rows: part.len() as u64, bytes, blake3 });
    }
    Ok(entries)
}

/// Cuts a list of images into runs of at most so many bytes and rows, each of at least one image.
fn split(images: &[ImageEntry], max_bytes: u64, max_rows: usize) -> Vec<&[ImageEntry]> {
    let stored = |image: &ImageEntry| image.bytes + 64 + image.file.len() as u64 + 16 * image.tiles.len() as u64;
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, image) in images.iter().enumerate() {
        if at > start && (bytes + stored(image) > max_bytes || at - start == max_rows) {
            parts.push(&images[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += stored(image);
    }
    if start < images.len() {
        parts.push(&images[start..]);
    }
    parts
}

fn write_file(path: &Path, root: &Path, images: &[ImageEntry], schema: &SchemaRef) -> Result<()> {
    files::write_atomic(path, |out| {
        let wrong = |cause: parquet::errors::ParquetError| Error::io("write", path)(std::io::Error::other(cause));
        let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties())).map_err(wrong)?;
        for group in split(images, GROUP_BYTES, GROUP_ROWS) {
            writer.write(&rows_of(group, root, schema)?).map_err(wrong)?;
            writer.flush().map_err(wrong)?;
        }
        writer.close().map_err(wrong)?;
        Ok(())
    })
}

fn properties() -> WriterProperties {
    let image = ColumnPath::from(vec!["image".to_owned(), "bytes".to_owned()]);
    WriterProperties::builder()
        .set_created_by(format!("smalti {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::SNAPPY)
        .set_column_compression(image.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(image.clone(), false)
        .set_column_statistics_enabled(image, EnabledStatistics::None)
        .build()
}

fn image_fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)])
}

fn schema(classes: &[String]) -> SchemaRef {
    let features = json!({"info": {"features": {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "tiles": {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"},
    }}});
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let fields = vec![
        Field::new("image", DataType::Struct(image_fields()), true),
        Field::new("label", DataType::Int64, true),
        Field::new("tiles", DataType::List(item), true),
    ];
    Arc::new(Schema::new(fields).with_metadata(HashMap::from([("huggingface".to_owned(), features.to_string())])))
}

/// One row group: the images' bytes, checked against their hashes, with labels and boxes.
fn rows_of(images: &[ImageEntry], root: &Path, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut encoded = Vec::with_capacity(images.len());
    let mut tiles = ListBuilder::new(Int32Builder::new());
    for image in images {
        let path = root.join(&image.file);
        let bytes = files::read(&path)?;
        if blake3::hash(&bytes).to_hex().as_str() != image.blake3 {
            return Err(Error::input(
                format!("`{}` changed while the set was being made", path.display()),
                "run the same command again",
            ));
        }
        encoded.push(bytes);
        // Sides are at most 8192 px.
        image.tiles.iter().flat_map(|tile| tile.place).for_each(|x| tiles.values().append_value(x as i32));
        tiles.append(true);
    }
    let pictures: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(&encoded)),
        Arc::new(StringArray::from_iter_values(images.iter().map(ImageEntry::file_name))),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StructArray::new(image_fields(), pictures, None)),
        Arc::new(Int64Array::from_iter_values(images.iter().map(|image| i64::from(image.class_id)))),
        Arc::new(tiles.finish()),
    ];
    Ok(RecordBatch::try_new(schema.clone(), columns).expect("the columns are built for the schema above"))
}

/// One row of a Parquet file of a compressed set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetRow<'a> {
    /// The encoded image.
    pub bytes: &'a [u8],
    /// Its bare file name.
    pub path: &'a str,
    /// Class index.
    pub label: i64,
    /// `left, top, width, height` of each tile in pixels.
    pub tiles: Vec<i32>,
}

/// Hands every row of one Parquet file of a compressed set to `each`, in order, with one row group in memory.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened, [`Error::Table`] when it is damaged or has other columns, or what `each` returned.
pub fn read_rows(path: &Path, each: &mut dyn FnMut(ParquetRow) -> Result<()>) -> Result<()> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = tables::reading(path, || {
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.with_batch_size(GROUP_ROWS).build())
    })?;
    while let Some(batch) = tables::next_batch(path, &mut reader)? {
        let columns =
            Columns::of(&batch).ok_or_else(|| Error::table(path, "its columns are not image, label and tiles"))?;
        for at in 0..batch.num_rows() {
            each(columns.row(at).ok_or_else(|| Error::table(path, format!("row {at} has an empty field")))?)?;
        }
    }
    Ok(())
}

struct Columns<'a> {
    bytes: &'a BinaryArray,
    path: &'a StringArray,
    label: &'a Int64Array,
    tiles: &'a ListArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Columns<'a>> {
        let image = batch.column_by_name("image")?.as_any().downcast_ref::<StructArray>()?;
        Some(Columns {
            bytes: image.column_by_name("bytes")?.as_any().downcast_ref()?,
            path: image.column_by_name("path")?.as_any().downcast_ref()?,
            label: batch.column_by_name("label")?.as_any().downcast_ref()?,
            tiles: batch.column_by_name("tiles")?.as_any().downcast_ref()?,
        })
    }

    fn row(&self, at: usize) -> Option<ParquetRow<'a>> {
        let empty = self.bytes.is_null(at) || self.path.is_null(at) || self.label.is_null(at) || self.tiles.is_null(at);
        let tiles = self.tiles.value(at);
        let tiles = tiles.as_any().downcast_ref::<arrow::array::PrimitiveArray<Int32Type>>()?.values().to_vec();
        let row =
            ParquetRow { bytes: self.bytes.value(at), path: self.path.value(at), label: self.label.value(at), tiles };
        (!empty).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::TileEntry;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    fn images(root: &Path, count: u32) -> Vec<ImageEntry> {
        std::fs::create_dir_all(root.join("train/a")).expect("created");
        let image = |i: u32| {
            let bytes = vec![i as u8; 1000];
            let file = format!("train/a/a_{i:05}.png");
            std::fs::write(root.join(&file), &bytes).expect("written");
            let tile = TileEntry { sample: i, content_hash: String::new(), place: [i, 1, 2, 3] };
            let blake3 = blake3::hash(&bytes).to_hex().to_string();
            ImageEntry { file, class_id: i % 2, bytes: 1000, blake3, tiles: vec![tile.clone(), tile] }
        };
        (0..count).map(image).collect()
    }

    #[test]
    fn files_and_row_groups_are_cut_where_they_should() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let images = images(dir.path(), 250);
        let classes = ["a".to_owned(), "b".to_owned()];
        let one = write_files(dir.path(), dir.path(), &images, &classes, MAX_FILE_BYTES).expect("written");
        assert_eq!(
            one.iter().map(|f| (f.file.as_str(), f.rows)).collect::<Vec<_>>(),
            [("data/train-00000-of-00001.parquet", 250)]
        );
        let file = File::open(dir.path().join(&one[0].file)).expect("there");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let rows: Vec<i64> = reader.metadata().row_groups().iter().map(|g| g.num_rows()).collect();
        assert_eq!(rows, [100, 100, 50]);
        let bytes = reader.metadata().row_group(0).column(0);
        assert_eq!(
            (bytes.column_path().string().as_str(), bytes.compression()),
            ("image.bytes", Compression::UNCOMPRESSED)
        );
        assert!(bytes.statistics().is_none() && bytes.dictionary_page_offset().is_none());

        let three = write_files(dir.path(), dir.path(), &images, &classes, 120_000).expect("written");
        assert_eq!(three.iter().map(|f| f.rows).sum::<u64>(), 250);
        assert_eq!(three.last().expect("some").file, "data/train-00002-of-00003.parquet");
        let mut seen = Vec::new();
        for file in &three {
            read_rows(&dir.path().join(&file.file), &mut |row| {
                assert_eq!(row.bytes, vec![seen.len() as u8; 1000]);
                assert_eq!(row.tiles, [seen.len() as i32, 1, 2, 3, seen.len() as i32, 1, 2, 3]);
                seen.push(row.label);
                Ok(())
            })
            .expect("read");
        }
        assert_eq!(seen.len(), 250);
        assert_eq!(seen[..4], [0, 1, 0, 1]);
    }

    #[test]
    fn the_same_images_give_the_same_bytes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let images = images(dir.path(), 120);
        let write =
            || write_files(dir.path(), dir.path(), &images, &["x".to_owned()], MAX_FILE_BYTES).expect("written");
        assert_eq!(write(), write());
    }

    #[test]
    fn an_image_that_changed_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let images = images(dir.path(), 3);
        std::fs::write(dir.path().join(&images[1].file), b"other").expect("written");
        let error = write_files(dir.path(), dir.path(), &images, &[], MAX_FILE_BYTES).expect_err("refused");
        assert!(error.to_string().contains("a_00001.png"), "{error}");
    }
}
