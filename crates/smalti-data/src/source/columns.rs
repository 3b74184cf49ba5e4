//! Which columns of a Parquet file hold images and labels, and what one cell of an image column holds.

use super::names::Names;
use crate::error::{Error, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use std::path::Path;

/// Names under which images and labels are looked for, in this order.
const IMAGE_COLUMNS: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 4] = ["label", "fine_label", "class_id", "labels"];

/// Where the bytes of an image are.
pub(super) struct ImageColumn {
    pub name: String,
    /// Leaf columns of the file; a struct may lack either.
    pub bytes: Option<usize>,
    pub path: Option<usize>,
}

/// The bytes in one cell of an image column; none where it or its struct is null.
pub(super) fn bytes_at(column: &dyn Array, at: usize) -> Option<&[u8]> {
    if column.is_null(at) {
        return None;
    }
    match column.data_type() {
        DataType::Struct(_) => bytes_at(column.as_struct_opt()?.column_by_name("bytes")?, at),
        DataType::Binary => Some(column.as_binary_opt::<i32>()?.value(at)),
        DataType::LargeBinary => Some(column.as_binary_opt::<i64>()?.value(at)),
        DataType::BinaryView => Some(column.as_binary_view_opt()?.value(at)),
        _ => None,
    }
}

/// The leaf column with this path.
pub(super) fn leaf(metadata: &ArrowReaderMetadata, parts: &[&str]) -> Option<usize> {
    metadata.parquet_schema().columns().iter().position(|column| column.path().parts() == parts)
}

/// The columns of a file, for an error.
fn columns(metadata: &ArrowReaderMetadata) -> String {
    metadata.schema().fields().iter().map(|f| format!("`{}`", f.name())).collect::<Vec<_>>().join(", ")
}

fn no_column(what: &str, metadata: &ArrowReaderMetadata, path: &Path) -> Error {
    let what = format!("`{}` has no {what}", path.display());
    Error::input(what, format!("its columns are {}; name the one to take", columns(metadata)))
}

/// Whether a column can hold images.
fn holds_images(kind: &DataType) -> bool {
    let binary = |kind: &DataType| matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    match kind {
        DataType::Struct(fields) => match fields.iter().find(|field| field.name() == "bytes") {
            Some(field) => binary(field.data_type()),
            None => fields.iter().any(|field| field.name() == "path"),
        },
        other => binary(other),
    }
}

/// The column of the images: the one given, else one of the known names, else the only one that can hold images.
pub(super) fn image_column(metadata: &ArrowReaderMetadata, given: Option<&str>, path: &Path) -> Result<ImageColumn> {
    let schema = metadata.schema();
    let known = IMAGE_COLUMNS.into_iter().find(|name| schema.field_with_name(name).is_ok());
    let fitting: Vec<&str> =
        schema.fields().iter().filter(|f| holds_images(f.data_type())).map(|f| f.name().as_str()).collect();
    let name = match (given.or(known), fitting.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => return Err(no_column("image column (`image` or `img`)", metadata, path)),
    };
    let field = schema.field_with_name(name).map_err(|_| no_column(&format!("column `{name}`"), metadata, path))?;
    if !holds_images(field.data_type()) {
        return Err(Error::input(
            format!("column `{name}` of `{}` holds {} and no images", path.display(), field.data_type()),
            "images are struct<bytes, path> or binary; paths alone cannot be read from Parquet",
        ));
    }
    let is_struct = matches!(field.data_type(), DataType::Struct(_));
    let (bytes, stored) = match is_struct {
        true => (leaf(metadata, &[name, "bytes"]), leaf(metadata, &[name, "path"])),
        false => (leaf(metadata, &[name]), None),
    };
    Ok(ImageColumn { name: name.to_owned(), bytes, path: stored })
}

/// The column of the labels: the one given, else one of the known names.
pub(super) fn label_column(metadata: &ArrowReaderMetadata, given: Option<&str>, path: &Path) -> Result<String> {
    let schema = metadata.schema();
    let known = LABEL_COLUMNS.into_iter().find(|name| schema.field_with_name(name).is_ok());
    let name = given.or(known).ok_or_else(|| no_column("label column (`label`, `fine_label`, ..)", metadata, path))?;
    let field = schema.field_with_name(name).map_err(|_| no_column(&format!("column `{name}`"), metadata, path))?;
    if field.data_type().is_integer() || is_text(field.data_type()) {
        return Ok(name.to_owned());
    }
    Err(Error::input(
        format!("column `{name}` of `{}` holds {} and no labels", path.display(), field.data_type()),
        "labels are whole numbers or text, one for each image",
    ))
}

pub(super) fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// Adds the stored name of each row to `names`, empty where it has none.
pub(super) fn stored_paths(batch: &RecordBatch, image: &ImageColumn, names: &mut Names) {
    let column = image.path.and_then(|_| batch.column_by_name(&image.name)?.as_struct_opt());
    let paths = column.and_then(|column| cast(column.column_by_name("path")?, &DataType::Utf8).ok());
    let Some((column, paths)) = column.zip(paths) else { return (0..batch.num_rows()).for_each(|_| names.push(&[])) };
    let paths = paths.as_string::<i32>();
    for at in 0..batch.num_rows() {
        let named = !column.is_null(at) && !paths.is_null(at);
        names.push(if named { paths.value(at).as_bytes() } else { &[] });
    }
}
