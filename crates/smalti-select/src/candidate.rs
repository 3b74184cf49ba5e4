//! Candidates: the usable training images, and the one order in which ties break.

use rayon::prelude::*;
use smalti_data::tables::{Sample, Samples, Split, Status};
use std::borrow::Cow;

/// The images that a rule may choose: rows of a source, four bytes each.
#[derive(Debug, Clone)]
pub struct Candidates<'a> {
    samples: &'a Samples,
    rows: Vec<u32>,
}

impl<'a> Candidates<'a> {
    /// The usable training images.
    pub fn of(samples: &'a Samples) -> Candidates<'a> {
        Candidates { samples, rows: samples.usable(Split::Train).map(|sample| sample.sample).collect() }
    }

    /// Those of some rows that are usable, each once; the order of the rows changes no selection.
    pub fn among(samples: &'a Samples, rows: impl IntoIterator<Item = u32>) -> Candidates<'a> {
        let mut seen = vec![false; samples.rows.len()];
        let usable = |row: &u32| {
            let sample = samples.rows.get(*row as usize);
            sample.is_some_and(|s| s.status == Status::Ok) && !std::mem::replace(&mut seen[*row as usize], true)
        };
        Candidates { samples, rows: rows.into_iter().filter(usable).collect() }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Class names in class order.
    pub fn classes(&self) -> &'a [String] {
        &self.samples.classes
    }

    /// The images.
    pub fn iter(&self) -> impl Iterator<Item = &'a Sample> + Clone {
        let samples: &'a Samples = self.samples;
        self.rows.iter().map(|&row| &samples.rows[row as usize])
    }

    /// Rows of the source, candidates or not.
    pub(crate) fn source_len(&self) -> usize {
        self.samples.rows.len()
    }

    pub(crate) fn path(&self, row: u32) -> Cow<'a, str> {
        self.samples.path(row)
    }

    /// All row numbers of the source, in the order in which ties break.
    pub(crate) fn as_one(&self) -> Vec<u32> {
        self.ordered(&self.rows)
    }

    /// Row numbers of the source by class, each class in the order in which ties break: (content hash, row). Everything later works on
    /// these lists, so the order of the candidates changes nothing. Images with one hash have the same bytes: which of them comes first
    /// changes no pixel.
    pub(crate) fn by_class(&self) -> Vec<Vec<u32>> {
        let mut groups = vec![Vec::new(); self.samples.classes.len()];
        self.iter().for_each(|sample| groups[sample.class_id as usize].push(sample.sample));
        groups.par_iter_mut().for_each(|group| *group = self.ordered(group));
        groups
    }

    /// Rows sorted by (content hash, row). The beginning of each hash lies beside its row: a look into the table per comparison would
    /// miss the cache.
    fn ordered(&self, rows: &[u32]) -> Vec<u32> {
        let hash = |row: u32| self.samples.rows[row as usize].content_hash;
        let mut keyed: Vec<(u64, u32)> = rows.iter().map(|&row| (hash(row).leading(), row)).collect();
        keyed.par_sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| (hash(a.1), a.1).cmp(&(hash(b.1), b.1))));
        keyed.into_iter().map(|(_, row)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::samples;

    #[test]
    fn ties_break_by_hash_then_row_and_rows_count_once() {
        let mut samples = samples(&[0, 0, 1, 0, 0]);
        for (row, hash) in samples.rows.iter_mut().zip([9, 1, 5, 1, 1]) {
            row.content_hash = hash.into();
        }
        samples.rows[4].status = Status::Bad;
        let candidates = Candidates::among(&samples, [3, 0, 0, 2, 1, 4, 99]);
        assert_eq!(candidates.len(), 4);
        assert_eq!(candidates.by_class(), [vec![1, 3, 0], vec![2]]);
        assert_eq!(Candidates::of(&samples).by_class(), candidates.by_class());
    }
}
