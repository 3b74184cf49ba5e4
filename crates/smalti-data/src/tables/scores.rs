//! `scores.parquet`: one number per sample and metric.

use super::{WRITE_ROWS, batch, column, read_table, schema, write_batches};
use crate::error::{Error, Result};
use arrow::array::{Array, Float32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What one metric says of every sample.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scored {
    /// Name of the metric; which end is hard is a property of the metric.
    pub metric: String,
    /// Row of the source, and its score.
    pub rows: Vec<(u32, f32)>,
}

/// Writes scores, sorted by (metric, sample).
///
/// # Errors
/// [`Error::Io`] and [`Error::Table`] with the path.
pub fn write_scores(path: &Path, mut scores: Vec<Scored>) -> Result<()> {
    scores.sort_by(|a, b| a.metric.cmp(&b.metric));
    scores.iter_mut().for_each(|scored| scored.rows.sort_unstable_by_key(|row| row.0));
    let fields = schema(vec![
        Field::new("sample", DataType::UInt32, false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("score", DataType::Float32, false),
    ]);
    let parts = scores.iter().flat_map(|scored| scored.rows.chunks(WRITE_ROWS).map(|rows| (&scored.metric, rows)));
    let batches = parts.map(|(metric, rows)| {
        Ok(batch(
            fields.clone(),
            vec![
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|_| metric))),
                Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.1))),
            ],
        ))
    });
    write_batches(path, fields.clone(), batches)
}

/// What the metric of a table without the column `metric` is called.
pub const UNNAMED: &str = "given";

/// Reads scores, ours or made elsewhere: columns `sample` and `score`, and `metric` where there are several; a table without that column
/// holds one metric called [`UNNAMED`]. By name of the metric.
///
/// # Errors
/// [`Error::Io`] and [`Error::Table`] with the path; [`Error::Input`] when a column is missing or holds nulls.
pub fn read_scores(path: &Path) -> Result<Vec<Scored>> {
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
    let mut found: BTreeMap<&str, Vec<(u32, f32)>> = BTreeMap::new();
    for i in 0..table.num_rows() {
        let metric = metrics.as_ref().map_or(UNNAMED, |m| m.value(i));
        found.entry(metric).or_default().push((samples.value(i), scores.value(i)));
    }
    Ok(found.into_iter().map(|(metric, rows)| Scored { metric: metric.to_owned(), rows }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_read_back_sorted_and_a_wrong_table_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("scores.parquet");
        let scored = |metric: &str, rows: &[(u32, f32)]| Scored { metric: metric.into(), rows: rows.to_vec() };
        write_scores(&path, vec![scored("el2n", &[(2, 0.5), (1, 0.25)]), scored("aum", &[(0, -1.0)])])
            .expect("written");
        let expected = [scored("aum", &[(0, -1.0)]), scored("el2n", &[(1, 0.25), (2, 0.5)])];
        assert_eq!(read_scores(&path).expect("read"), expected);

        super::super::Samples::default().write(&path).expect("another table");
        let error = read_scores(&path).expect_err("no scores in it");
        assert!(error.to_string().contains("no column `score`"), "{error}");
        assert!(error.hint().expect("a hint").contains("`content_hash`"));
    }
}
