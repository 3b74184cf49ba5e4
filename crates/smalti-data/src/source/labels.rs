//! Labels of Parquet rows into class numbers and names.

use super::columns::is_text;
use crate::error::{Error, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Largest label of a source that names no classes; a larger number is an identifier, not a class.
const MAX_LABEL: i64 = 999_999;

/// What is known of the classes while files are read.
#[derive(Default)]
pub(super) struct Labels {
    /// Names from the metadata, with the file that gave them; none before the first file.
    names: Option<(Option<Vec<String>>, PathBuf)>,
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
            None => self.names = Some((names, path.to_owned())),
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

    /// Appends the labels of one batch, whose first row is number `start` of the file.
    pub(super) fn read(
        &mut self,
        batch: &RecordBatch,
        label: &str,
        (path, start): (&Path, usize),
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
        let text = is_text(column.data_type());
        if *self.text.get_or_insert(text) != text {
            return Err(Error::input(
                format!(
                    "the labels of `{}` are {}, unlike those of the files before",
                    path.display(),
                    column.data_type()
                ),
                "write all files with the same features",
            ));
        }
        if text {
            let texts = cast(column, &DataType::Utf8).map_err(|_| missing())?;
            for text in texts.as_string::<i32>().iter().flatten() {
                let next = self.texts.len() as u32;
                out.push(*self.texts.entry(text.to_owned()).or_insert(next));
            }
            return Ok(());
        }
        let numbers = cast(column, &DataType::Int64).map_err(|_| missing())?;
        let numbers = numbers.as_primitive::<Int64Type>();
        let names = self.names.as_ref().and_then(|(names, _)| names.as_ref());
        let classes = names.map_or(MAX_LABEL + 1, |names| names.len() as i64);
        for at in 0..numbers.len() {
            // Null is what does not fit in 64 bits with a sign.
            let value = if numbers.is_null(at) { i64::MAX } else { numbers.value(at) };
            let fits = u32::try_from(value).ok().filter(|_| value < classes);
            let class_id = fits.ok_or_else(|| out_of_range(path, start + at, value, classes, names.is_some()))?;
            self.largest = self.largest.max(class_id);
            out.push(class_id);
        }
        Ok(())
    }

    /// The class names; labels that are text get their final numbers.
    pub(super) fn finish(self, labels: &mut [u32]) -> Vec<String> {
        if !self.texts.is_empty() {
            let mut texts: Vec<(String, u32)> = self.texts.into_iter().collect();
            texts.sort();
            let mut order = vec![0; texts.len()];
            for (class_id, (_, seen)) in (0..).zip(&texts) {
                order[*seen as usize] = class_id;
            }
            labels.iter_mut().for_each(|label| *label = order[*label as usize]);
            return texts.into_iter().map(|(text, _)| text).collect();
        }
        if let Some((Some(names), _)) = self.names {
            return names;
        }
        // As many digits as the last one has, so that names sort as numbers do.
        let digits = self.largest.to_string().len();
        if labels.is_empty() {
            Vec::new()
        } else {
            (0..=self.largest).map(|class| format!("{class:0digits$}")).collect()
        }
    }
}

fn out_of_range(path: &Path, row: usize, value: i64, classes: i64, named: bool) -> Error {
    let what = format!("row {row} of `{}` has the label {value}", path.display());
    match named {
        true => Error::input(
            format!("{what}, but there are {classes} classes (0 to {})", classes - 1),
            "a label of -1 marks images without one, as in some test files: give the labelled file alone",
        ),
        false => Error::input(format!("{what}; class numbers go from 0 to {}", classes - 1), "name the label column"),
    }
}
