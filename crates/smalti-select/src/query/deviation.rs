//! `windowed_deviation(value, epoch, length, windows)`: how much a number still moves near the end of training.
//!
//! The population standard deviation of the value in each window of `length` consecutive rows by epoch, averaged over the last `windows`
//! windows, or over all where there are fewer; null where there is no whole window.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf};
use std::sync::Arc;

pub(super) fn windowed_deviation() -> AggregateUDF {
    let whole = DataType::Int64;
    let list = |kind| DataType::List(Arc::new(arrow::datatypes::Field::new_list_field(kind, true)));
    create_udaf(
        "windowed_deviation",
        vec![DataType::Float64, whole.clone(), whole.clone(), whole.clone()],
        Arc::new(DataType::Float64),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::new(Rows::default()))),
        Arc::new(vec![list(DataType::Float64), list(whole.clone()), whole.clone(), whole]),
    )
}

/// The rows of one sample.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<(i64, f64)>,
    length: i64,
    windows: i64,
}

impl Accumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let numbers: &Float64Array = values[0].as_primitive::<Float64Type>();
        let whole = |at: usize| -> &Int64Array { values[at].as_primitive::<Int64Type>() };
        let (epochs, lengths, windows) = (whole(1), whole(2), whole(3));
        for at in 0..numbers.len() {
            (self.length, self.windows) = (lengths.value(at), windows.value(at));
            self.rows.push((epochs.value(at), numbers.value(at)));
        }
        if !numbers.is_empty() && (self.length < 2 || self.windows < 1) {
            return exec_err!("windowed_deviation needs windows of at least 2 epochs, and at least 1 of them");
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.rows.sort_unstable_by_key(|row| (row.0, row.1.to_bits()));
        let values: Vec<f64> = self.rows.iter().map(|row| row.1).collect();
        Ok(ScalarValue::Float64(mean_deviation(&values, self.length as usize, self.windows as usize)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.capacity() * size_of::<(i64, f64)>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.rows.iter().map(|row| ScalarValue::Float64(Some(row.1))).collect();
        let epochs: Vec<ScalarValue> = self.rows.iter().map(|row| ScalarValue::Int64(Some(row.0))).collect();
        Ok(vec![
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Float64)),
            ScalarValue::List(ScalarValue::new_list_nullable(&epochs, &DataType::Int64)),
            ScalarValue::Int64(Some(self.length)),
            ScalarValue::Int64(Some(self.windows)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, epochs) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for at in (0..values.len()).filter(|&at| values.is_valid(at) && !values.value(at).is_empty()) {
            let (numbers, numbered) = (values.value(at), epochs.value(at));
            let epochs = numbered.as_primitive::<Int64Type>().values();
            self.rows
                .extend(epochs.iter().copied().zip(numbers.as_primitive::<Float64Type>().values().iter().copied()));
            self.length = states[2].as_primitive::<Int64Type>().value(at);
            self.windows = states[3].as_primitive::<Int64Type>().value(at);
        }
        Ok(())
    }
}

fn mean_deviation(values: &[f64], length: usize, windows: usize) -> Option<f64> {
    let all: Vec<f64> = values.windows(length.max(1)).map(deviation).collect();
    let last = &all[all.len().saturating_sub(windows)..];
    (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64)
}

fn deviation(window: &[f64]) -> f64 {
    let mean = window.iter().sum::<f64>() / window.len() as f64;
    (window.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / window.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_by_hand_and_the_state_is_the_rows() {
        // Windows of 3: (0, 1, 2) and (1, 2, 5): √(2/3) and √(26/9).
        let both = ((2.0f64 / 3.0).sqrt() + (26.0f64 / 9.0).sqrt()) / 2.0;
        let found = mean_deviation(&[0.0, 1.0, 2.0, 5.0], 3, 9).expect("two windows");
        assert!((found - both).abs() < 1e-12, "{found}");
        let last = mean_deviation(&[0.0, 1.0, 2.0, 5.0], 3, 1).expect("one window");
        assert!((last - (26.0f64 / 9.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_deviation(&[1.0, 2.0], 3, 5), None);

        let part = |epochs: Vec<i64>, values: Vec<f64>| {
            let all = |n| Arc::new(Int64Array::from(vec![n; epochs.len()])) as ArrayRef;
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Float64Array::from(values)), Arc::new(Int64Array::from(epochs.clone())), all(3), all(9)];
            let mut rows = Rows::default();
            rows.update_batch(&columns).expect("numbers");
            rows
        };
        let mut merged = Rows::default();
        for mut rows in [part(vec![3, 1], vec![5.0, 1.0]), part(vec![0, 2], vec![0.0, 2.0])] {
            let state: Vec<ArrayRef> =
                rows.state().expect("a state").iter().map(|s| s.to_array().expect("an array")).collect();
            merged.merge_batch(&state).expect("merged");
        }
        assert_eq!(merged.evaluate().expect("a number"), ScalarValue::Float64(Some(found)));
    }
}
