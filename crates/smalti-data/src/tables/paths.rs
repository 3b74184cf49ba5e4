//! Paths of a source's images, kept once: by the source that lists them, or in one piece of memory where a table was read back.

use arrow::array::{Array, StringArray};
use std::borrow::Cow;
use std::sync::Arc;

/// What knows the path of each of its rows.
pub(crate) trait PathList: Send + Sync {
    fn path(&self, row: u32) -> String;
}

/// The paths of a source's images by row, with `/` between parts. A copy shares them.
#[derive(Clone)]
pub struct Paths(Kept);

#[derive(Clone)]
enum Kept {
    Listed(Arc<dyn PathList>),
    Stored(StringArray),
}

impl Paths {
    /// Those of a source, asked for when they are needed.
    pub(crate) fn listed(list: Arc<dyn PathList>) -> Paths {
        Paths(Kept::Listed(list))
    }

    /// Those of a column.
    pub(crate) fn stored(column: StringArray) -> Paths {
        Paths(Kept::Stored(column))
    }

    /// The path of a row; empty where there is no such row.
    pub fn get(&self, row: u32) -> Cow<'_, str> {
        match &self.0 {
            Kept::Listed(list) => Cow::Owned(list.path(row)),
            Kept::Stored(column) if (row as usize) < column.len() => Cow::Borrowed(column.value(row as usize)),
            Kept::Stored(_) => Cow::Borrowed(""),
        }
    }
}

impl<S: AsRef<str>> FromIterator<S> for Paths {
    fn from_iter<I: IntoIterator<Item = S>>(paths: I) -> Paths {
        Paths::stored(StringArray::from_iter_values(paths))
    }
}

impl Default for Paths {
    fn default() -> Paths {
        std::iter::empty::<&str>().collect()
    }
}

impl std::fmt::Debug for Paths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kept::Listed(_) => f.write_str("Paths(of a source)"),
            Kept::Stored(column) => f.debug_list().entries(column.iter()).finish(),
        }
    }
}
