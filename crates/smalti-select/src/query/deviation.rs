//! `windowed_deviation(value, epoch, length, windows)`: how much a number still moves near the end of training.
//!
//! The population standard deviation of the value in each window of `length` consecutive rows by epoch, averaged over the last `windows`
//! windows, or over all where there are fewer; null where there is no whole window. A row without a value is skipped.

use arrow::array::builder::{Float64Builder, Int64Builder, ListBuilder};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use std::sync::Arc;

pub(super) fn windowed_deviation() -> AggregateUDF {
    let kinds = vec![DataType::Float64, DataType::Int64, DataType::Int64, DataType::Int64];
    AggregateUDF::new_from_impl(Deviation { signature: Signature::exact(kinds, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Deviation {
    signature: Signature,
}

impl AggregateUDFImpl for Deviation {
    fn name(&self) -> &'static str {
        "windowed_deviation"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |kind| DataType::List(Arc::new(Field::new_list_field(kind, true)));
        let field = |name, kind| Arc::new(Field::new(format_state_name(arguments.name, name), kind, true));
        Ok(vec![
            field("values", list(DataType::Float64)),
            field("epochs", list(DataType::Int64)),
            field("length", DataType::Int64),
            field("windows", DataType::Int64),
        ])
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::default()))
    }

    // Thousands of samples end in one batch: an accumulator each would cost a slice of every column for every row.
    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::default()))
    }
}

/// One value of a sample.
#[derive(Debug, Clone, Copy)]
struct Row {
    group: usize,
    epoch: i64,
    value: f64,
}

/// The values of many samples.
#[derive(Debug, Default)]
struct Groups {
    rows: Vec<Row>,
    groups: usize,
    length: i64,
    windows: i64,
}

impl Groups {
    /// The rows of the groups that are given out, sorted by group and epoch, and how many groups they are; the others move down.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<Row>, usize) {
        let taken = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(n) => n.min(self.groups),
        };
        let (rows, mut rest): (Vec<Row>, Vec<Row>) =
            std::mem::take(&mut self.rows).into_iter().partition(|row| row.group < taken);
        rest.iter_mut().for_each(|row| row.group -= taken);
        (self.rows, self.groups) = (rest, self.groups - taken);
        (sorted(&rows, taken), taken)
    }
}

/// Sorted by group, each by epoch. Groups are counted and not compared: epochs come in order, so that a group is then sorted already.
fn sorted(rows: &[Row], groups: usize) -> Vec<Row> {
    let mut next = vec![0usize; groups + 1];
    rows.iter().for_each(|row| next[row.group + 1] += 1);
    (0..groups).for_each(|group| next[group + 1] += next[group]);
    let mut sorted = rows.to_vec();
    for row in rows {
        sorted[next[row.group]] = *row;
        next[row.group] += 1;
    }
    let mut start = 0;
    for end in next.into_iter().take(groups) {
        sorted[start..end].sort_unstable_by_key(|row| (row.epoch, row.value.to_bits()));
        start = end;
    }
    sorted
}

/// The rows of each group, in turn.
fn by_group(rows: &[Row], groups: usize) -> impl Iterator<Item = &[Row]> {
    let mut rest = rows;
    (0..groups).map(move |group| {
        let (these, others) = rest.split_at(rest.partition_point(|row| row.group <= group));
        rest = others;
        these
    })
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let numbers: &Float64Array = values[0].as_primitive::<Float64Type>();
        let whole = |at: usize| -> &Int64Array { values[at].as_primitive::<Int64Type>() };
        let (epochs, lengths, windows) = (whole(1), whole(2), whole(3));
        let wanted = |at: usize| opt_filter.is_none_or(|filter| filter.is_valid(at) && filter.value(at));
        for (at, &group) in group_indices.iter().enumerate() {
            if numbers.is_valid(at) && wanted(at) {
                (self.length, self.windows) = (lengths.value(at), windows.value(at));
                self.rows.push(Row { group, epoch: epochs.value(at), value: numbers.value(at) });
            }
        }
        if !self.rows.is_empty() && (self.length < 2 || self.windows < 1) {
            return exec_err!("windowed_deviation needs windows of at least 2 epochs, and at least 1 of them");
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (rows, groups) = self.take(emit_to);
        let mut values = Vec::new();
        let found = by_group(&rows, groups).map(|of_group| {
            values.clear();
            values.extend(of_group.iter().map(|row| row.value));
            mean_deviation(&values, self.length as usize, self.windows as usize)
        });
        Ok(Arc::new(found.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (rows, groups) = self.take(emit_to);
        let mut values = ListBuilder::new(Float64Builder::new());
        let mut epochs = ListBuilder::new(Int64Builder::new());
        for of_group in by_group(&rows, groups) {
            values.append_value(of_group.iter().map(|row| Some(row.value)));
            epochs.append_value(of_group.iter().map(|row| Some(row.epoch)));
        }
        let all = |number: i64| Arc::new(Int64Array::from(vec![number; groups]));
        Ok(vec![Arc::new(values.finish()), Arc::new(epochs.finish()), all(self.length), all(self.windows)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups = total_num_groups;
        let (numbers, epochs) = (values[0].as_list::<i32>(), values[1].as_list::<i32>());
        for (at, &group) in group_indices.iter().enumerate() {
            let (numbers, epochs) = (numbers.value(at), epochs.value(at));
            if numbers.is_empty() {
                continue;
            }
            let epochs = epochs.as_primitive::<Int64Type>().values();
            let pairs = epochs.iter().zip(numbers.as_primitive::<Float64Type>().values());
            self.rows.extend(pairs.map(|(&epoch, &value)| Row { group, epoch, value }));
            self.length = values[2].as_primitive::<Int64Type>().value(at);
            self.windows = values[3].as_primitive::<Int64Type>().value(at);
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let each: Vec<usize> = (0..values[0].len()).collect();
        let mut groups = Groups::default();
        groups.update_batch(values, &each, opt_filter, each.len())?;
        groups.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.capacity() * size_of::<Row>()
    }
}

/// The values of one group, for a query that groups nothing.
#[derive(Debug, Default)]
struct OneGroup(Groups);

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values, &vec![0; values[0].len()], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.groups = 1;
        ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.groups = 1;
        self.0.state(EmitTo::All)?.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states, &vec![0; states[0].len()], 1)
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

        let part = |rows: &[(usize, i64, f64)]| {
            let all = |n| Arc::new(Int64Array::from(vec![n; rows.len()])) as ArrayRef;
            let values = rows.iter().map(|row| row.2).collect::<Vec<f64>>();
            let epochs = rows.iter().map(|row| row.1).collect::<Vec<i64>>();
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Float64Array::from(values)), Arc::new(Int64Array::from(epochs)), all(3), all(9)];
            let groups: Vec<usize> = rows.iter().map(|row| row.0).collect();
            let mut accumulator = Groups::default();
            accumulator.update_batch(&columns, &groups, None, 2).expect("numbers");
            (columns, accumulator)
        };
        // Group 1 is the four numbers above in two parts and another order; group 0 has too few.
        let parts = [part(&[(1, 3, 5.0), (0, 0, 7.0), (1, 1, 1.0)]), part(&[(1, 0, 0.0), (1, 2, 2.0)])];
        let (mut merged, mut alone) = (Groups::default(), OneGroup::default());
        for (columns, mut groups) in parts {
            let state = groups.state(EmitTo::All).expect("a state");
            merged.merge_batch(&state, &[0, 1], 2).expect("merged");
            if columns[0].len() == 2 {
                let converted = groups.convert_to_state(&columns, Some(&BooleanArray::from(vec![true, false])));
                let converted = converted.expect("a state");
                assert_eq!(converted[0].as_list::<i32>().value_length(0), 1, "a row's state is the row");
                assert_eq!(converted[0].as_list::<i32>().value_length(1), 0, "the filter drops it");
            }
            alone
                .merge_batch(&[state[0].slice(1, 1), state[1].slice(1, 1), state[2].slice(1, 1), state[3].slice(1, 1)])
                .expect("merged");
        }
        assert_eq!(alone.evaluate().expect("a number"), ScalarValue::Float64(Some(found)));
        let first = merged.evaluate(EmitTo::First(1)).expect("group 0");
        assert!(first.len() == 1 && first.is_null(0));
        let second = merged.evaluate(EmitTo::All).expect("group 1");
        assert_eq!(second.as_primitive::<Float64Type>(), &Float64Array::from(vec![found]));
    }
}
