//! `selection.parquet`: what is kept, in which order, and why.

use super::{column, read_table, schema, write_rows};
use crate::error::{Error, Result};
use arrow::array::{Array, BooleanArray, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// One candidate with the verdict, in 16 bytes: a large source has millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// Row of the source.
    pub sample: u32,
    /// Class index.
    pub class_id: u32,
    /// Place in its class under the rule, 0 first. Kept samples are those with the smallest ranks.
    pub rank_in_class: u32,
    /// Whether it is part of the compressed set, and why.
    pub verdict: Verdict,
}

/// Kept or left, with the number of the reason in [`Selection::reasons`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict(u32);

impl Verdict {
    /// The highest bit says it; reasons are numbered below.
    const KEPT: u32 = 1 << 31;

    /// Part of the compressed set, for the reason with this number.
    pub fn kept(reason: u32) -> Verdict {
        Verdict(reason | Verdict::KEPT)
    }

    /// Not part of it.
    pub fn left(reason: u32) -> Verdict {
        Verdict(reason & !Verdict::KEPT)
    }

    /// Whether it is part of the compressed set.
    pub fn is_kept(self) -> bool {
        self.0 & Verdict::KEPT != 0
    }

    /// Number of the reason.
    pub fn reason(self) -> u32 {
        self.0 & !Verdict::KEPT
    }
}

/// Why samples are kept or not, each sentence once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasons {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Reasons {
    /// The number of a sentence, a new one where it is new.
    pub fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let (number, text): (u32, Arc<str>) = (self.texts.len() as u32, text.into());
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// A sentence; empty where there is none with that number.
    pub fn get(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }
}

/// All candidates, sorted by (class, rank).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// One row per usable training sample.
    pub rows: Vec<Selected>,
    /// Rule and metric in words, for each decision.
    pub reasons: Reasons,
}

impl Selection {
    /// Why a row is kept or not.
    pub fn reason(&self, row: &Selected) -> &str {
        self.reasons.get(row.verdict.reason())
    }

    /// Kept samples of one class, best rank first.
    pub fn kept_of(&self, class_id: u32) -> Vec<u32> {
        let mut kept: Vec<_> = self.rows.iter().filter(|r| r.verdict.is_kept() && r.class_id == class_id).collect();
        kept.sort_by_key(|r| r.rank_in_class);
        kept.iter().map(|r| r.sample).collect()
    }

    /// Writes the table.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Table`] with the path.
    pub fn write(&self, path: &Path) -> Result<()> {
        let fields = vec![
            Field::new("sample", DataType::UInt32, false),
            Field::new("class_id", DataType::UInt32, false),
            Field::new("kept", DataType::Boolean, false),
            Field::new("rank_in_class", DataType::UInt32, false),
            Field::new("reason", DataType::Utf8, false),
        ];
        write_rows(path, schema(fields), &self.rows, |rows| {
            vec![
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.sample))),
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.class_id))),
                Arc::new(rows.iter().map(|r| Some(r.verdict.is_kept())).collect::<BooleanArray>()),
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.rank_in_class))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| self.reason(r)))),
            ]
        })
    }

    /// Reads a selection, ours or made elsewhere. Only `sample` is required: `kept` defaults to all rows, `rank_in_class` to
    /// the order of the rows, `reason` to "given". `class_of` gives each sample's class (none when there is no such sample).
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Table`] with the path; [`Error::Input`] for a sample that does not exist or stands twice.
    pub fn read(path: &Path, class_of: impl Fn(u32) -> Option<u32>) -> Result<Selection> {
        let table = read_table(path)?;
        let samples: UInt32Array = column(&table, "sample", &DataType::UInt32, path)?;
        let kept: Option<BooleanArray> = match table.column_by_name("kept") {
            Some(_) => Some(column(&table, "kept", &DataType::Boolean, path)?),
            None => None,
        };
        let ranks: Option<UInt32Array> = match table.column_by_name("rank_in_class") {
            Some(_) => Some(column(&table, "rank_in_class", &DataType::UInt32, path)?),
            None => None,
        };
        let reasons: Option<StringArray> = match table.column_by_name("reason") {
            Some(_) => Some(column(&table, "reason", &DataType::Utf8, path)?),
            None => None,
        };
        let mut seen = std::collections::HashSet::new();
        let mut known = Reasons::default();
        let mut rows = Vec::with_capacity(table.num_rows());
        for i in 0..table.num_rows() {
            let sample = samples.value(i);
            let class_id = class_of(sample).filter(|_| samples.is_valid(i)).ok_or_else(|| {
                Error::input(
                    format!(
                        "row {i} of `{}` selects sample {sample}, which is not a usable training image",
                        path.display()
                    ),
                    "a selection belongs to one source; make it from this source's samples.parquet",
                )
            })?;
            if !seen.insert(sample) {
                return Err(Error::input(
                    format!("`{}` selects sample {sample} twice", path.display()),
                    "keep one row per sample",
                ));
            }
            let reason = known.number(reasons.as_ref().map_or("given", |r| r.value(i)));
            let is_kept = kept.as_ref().is_none_or(|k| k.is_valid(i) && k.value(i));
            rows.push(Selected {
                sample,
                class_id,
                rank_in_class: ranks.as_ref().map_or(i as u32, |r| r.value(i)),
                verdict: if is_kept { Verdict::kept(reason) } else { Verdict::left(reason) },
            });
        }
        rows.sort_by_key(|r| (r.class_id, r.rank_in_class, r.sample));
        Ok(Selection { rows, reasons: known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_reads_back_and_strangers_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("selection.parquet");
        assert_eq!(size_of::<Selected>(), 16);
        let row = |sample, class_id, verdict, rank_in_class| Selected { sample, class_id, rank_in_class, verdict };
        let [kept, left] = [Verdict::kept(0), Verdict::left(0)];
        let mut reasons = Reasons::default();
        assert_eq!((reasons.number("easy by el2n"), reasons.number("easy by el2n")), (0, 0));
        let selection = Selection { rows: vec![row(4, 0, kept, 0), row(1, 0, left, 1), row(2, 1, kept, 0)], reasons };
        selection.write(&path).expect("written");
        let class_of = |sample| (sample < 5).then_some(u32::from(sample == 2));
        let read = Selection::read(&path, class_of).expect("read");
        assert_eq!(read, selection);
        assert_eq!(read.kept_of(0), [4]);
        let error = Selection::read(&path, |_| None).expect_err("no such sample");
        assert!(error.to_string().contains("sample 4"), "{error}");
    }
}
