//! `scores.parquet`: one number per sample and metric.

use super::{batch, column, read_table, schema, write_table};
use crate::error::{Error, Result};
use arrow::array::{Array, Float32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field};
use std::path::Path;
use std::sync::Arc;

/// One score.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRow {
    /// Row of the source.
    pub sample: u32,
    /// Name of the metric.
    pub metric: String,
    /// Its value; which end is hard is a property of the metric.
    pub score: f32,
}

/// Writes scores, sorted by (metric, sample).
///
/// # Errors
/// [`Error::Io`] and [`Error::Table`] with the path.
pub fn write_scores(path: &Path, rows: &[ScoreRow]) -> Result<()> {
    let mut rows: Vec<&ScoreRow> = rows.iter().collect();
    rows.sort_by(|a, b| (&a.metric, a.sample).cmp(&(&b.metric, b.sample)));
    let fields = vec![
        Field::new("sample", DataType::UInt32, false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("score", DataType::Float32, false),
    ];
    let table = batch(
        schema(fields),
        vec![
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.sample))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.metric))),
            Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.score))),
        ],
    );
    write_table(path, &table)
}

/// Reads scores, ours or made elsewhere: columns `sample` and `score`, and `metric` where there are several.
///
/// # Errors
/// [`Error::Io`] and [`Error::Table`] with the path; [`Error::Input`] when a column is missing or holds nulls.
pub fn read_scores(path: &Path) -> Result<Vec<ScoreRow>> {
    let table = read_table(path)?;
    let samples: UInt32Array = column(&table, "sample", &DataType::UInt32, path)?;
    let scores: Float32Array = column(&table, "score", &DataType::Float32, path)?;
    if samples.null_count() + scores.null_count() > 0 {
        return Err(Error::input(
            format!("`{}` has empty cells in `sample` or `score`", path.display()),
            "give every sample one number",
        ));
    }
    let metrics: Option<StringArray> = match table.column_by_name("metric") {
        Some(_) => Some(column(&table, "metric", &DataType::Utf8, path)?),
        None => None,
    };
    Ok((0..table.num_rows())
        .map(|i| ScoreRow {
            sample: samples.value(i),
            metric: metrics.as_ref().map_or("given", |m| m.value(i)).to_owned(),
            score: scores.value(i),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_read_back_sorted_and_a_wrong_table_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("scores.parquet");
        let row = |sample, metric: &str, score| ScoreRow { sample, metric: metric.into(), score };
        write_scores(&path, &[row(2, "el2n", 0.5), row(1, "el2n", 0.25), row(0, "aum", -1.0)]).expect("written");
        let expected = vec![row(0, "aum", -1.0), row(1, "el2n", 0.25), row(2, "el2n", 0.5)];
        assert_eq!(read_scores(&path).expect("read"), expected);

        super::super::Samples::default().write(&path).expect("another table");
        let error = read_scores(&path).expect_err("no scores in it");
        assert!(error.to_string().contains("no column `score`"), "{error}");
        assert!(error.hint().expect("a hint").contains("`content_hash`"));
    }
}
