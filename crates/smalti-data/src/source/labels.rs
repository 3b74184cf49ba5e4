//! Labels as they are stored, numbers or text, into class numbers and names.

use super::class_map::Named;
use super::columns::is_text;
use crate::error::{Error, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// Largest label of a source that names no classes; a larger number is an identifier, not a class.
const MAX_LABEL: i64 = 999_999;

/// Where a label stands, for errors.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// A row of a Parquet file.
    Row(&'a Path, usize),
    /// A sample of a tar file.
    Sample(&'a Path, &'a str),
}

impl Place<'_> {
    fn file(&self) -> &Path {
        match self {
            Place::Row(file, _) | Place::Sample(file, _) => file,
        }
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Row(file, row) => write!(f, "row {row} of `{}`", file.display()),
            Place::Sample(file, key) => write!(f, "sample `{key}` of `{}`", file.display()),
        }
    }
}

/// What is known of the classes while files are read.
#[derive(Default)]
pub(super) struct Labels {
    /// Names from the metadata, with the file that gave them; none before the first file.
    names: Option<(Option<Vec<String>>, PathBuf)>,
    /// Places in those names.
    places: HashMap<String, u32>,
    /// Whether labels are text; not known before the first row.
    text: Option<bool>,
    largest: u32,
    /// Labels that are text, numbered as they came.
    texts: HashMap<String, u32>,
}

impl Labels {
    /// Takes the class names of one more file, which must be those of the first.
    pub(super) fn expect(&mut self, names: Option<Vec<String>>, path: &Path) -> Result<()> {
        match &self.names {
            None => {
                self.places = names.iter().flatten().cloned().zip(0..).collect();
                self.names = Some((names, path.to_owned()));
            }
            Some((known, _)) if *known == names => {}
            Some((_, first)) => {
                return Err(Error::input(
                    format!("`{}` and `{}` name different classes", first.display(), path.display()),
                    "give files of one data set; write them with the same features",
                ));
            }
        }
        Ok(())
    }

    /// The class of a label that is text. It is final only after [`Labels::finish`].
    pub(super) fn text(&mut self, text: &str, place: Place) -> Result<u32> {
        self.same_kind(true, place)?;
        if let Some((Some(_), _)) = &self.names {
            return self.places.get(text).copied().ok_or_else(|| {
                let what = format!("{place} has the label `{text}`, which the list of classes does not name");
                Error::input(what, "complete the list, or take it away")
            });
        }
        if let Some(&class_id) = self.texts.get(text) {
            return Ok(class_id);
        }
        let next = self.texts.len() as u32;
        self.texts.insert(text.to_owned(), next);
        Ok(next)
    }

    /// The class of a label that is a number.
    pub(super) fn number(&mut self, value: i64, place: Place) -> Result<u32> {
        self.same_kind(false, place)?;
        let names = self.names.as_ref().and_then(|(names, _)| names.as_ref());
        let classes = names.map_or(MAX_LABEL + 1, |names| names.len() as i64);
        let fits = u32::try_from(value).ok().filter(|_| value < classes);
        let class_id = fits.ok_or_else(|| out_of_range(place, value, classes, names.is_some()))?;
        self.largest = self.largest.max(class_id);
        Ok(class_id)
    }

    fn same_kind(&mut self, text: bool, place: Place) -> Result<()> {
        if *self.text.get_or_insert(text) == text {
            return Ok(());
        }
        let kind = if text { "text" } else { "numbers" };
        Err(Error::input(
            format!("the labels of `{}` are {kind} from {place} on, unlike those before", place.file().display()),
            "write all labels as numbers, or all as text",
        ))
    }

    /// The class names; labels that are text get their final numbers.
    pub(super) fn finish(self, labels: &mut [u32]) -> Named {
        if !self.texts.is_empty() {
            let mut texts: Vec<(String, u32)> = self.texts.into_iter().collect();
            texts.sort();
            let mut order = vec![0; texts.len()];
            for (class_id, (_, seen)) in (0..).zip(&texts) {
                order[*seen as usize] = class_id;
            }
            labels.iter_mut().for_each(|label| *label = order[*label as usize]);
            return Named::Names(texts.into_iter().map(|(text, _)| text).collect());
        }
        match self.names {
            Some((Some(names), _)) => Named::Names(names),
            _ if labels.is_empty() => Named::Names(Vec::new()),
            _ => Named::Numbers(self.largest + 1),
        }
    }
}

/// Appends the labels of one Parquet batch, whose first row is number `start` of the file.
pub(super) fn of_batch(
    batch: &RecordBatch,
    label: &str,
    (path, start): (&Path, usize),
    labels: &mut Labels,
    out: &mut Vec<u32>,
) -> Result<()> {
    let missing = || Error::table(path, format!("the column `{label}` does not read"));
    let column = batch.column_by_name(label).ok_or_else(missing)?;
    if let Some(at) = (0..column.len()).find(|&at| column.is_null(at)) {
        return Err(Error::input(
            format!("row {} of `{}` has no label in `{label}`", start + at, path.display()),
            "remove such rows, or name another label column",
        ));
    }
    let place = |at| Place::Row(path, start + at);
    if is_text(column.data_type()) {
        let texts = cast(column, &DataType::Utf8).map_err(|_| missing())?;
        for (at, text) in texts.as_string::<i32>().iter().flatten().enumerate() {
            out.push(labels.text(text, place(at))?);
        }
        return Ok(());
    }
    let numbers = cast(column, &DataType::Int64).map_err(|_| missing())?;
    let numbers = numbers.as_primitive::<Int64Type>();
    for at in 0..numbers.len() {
        // Null is what does not fit in 64 bits with a sign.
        let value = if numbers.is_null(at) { i64::MAX } else { numbers.value(at) };
        out.push(labels.number(value, place(at))?);
    }
    Ok(())
}

fn out_of_range(place: Place, value: i64, classes: i64, named: bool) -> Error {
    let what = format!("{place} has the label {value}");
    match named {
        true => Error::input(
            format!("{what}, but there are {classes} classes (0 to {})", classes - 1),
            "a label of -1 marks images without one, as in some test files: give the labelled file alone, or a folder of labelled files",
        ),
        false => Error::input(format!("{what}; class numbers go from 0 to {}", classes - 1), "name the label column"),
    }
}
