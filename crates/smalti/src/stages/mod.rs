//! The stages of the pipeline, one file each. A stage reads what the stage before left, writes its own table, and is skipped when the
//! table is there.

mod prune;
mod scan;
mod score;
mod settle;
mod write;

pub use prune::prune;
pub use scan::{hold_out, scan};
pub use score::{Evidence, ProxyJob, Scores, given_scores, leaves, score, train_proxies};
pub use settle::settle;
pub use write::{skipped, write, write_as};

use std::path::PathBuf;

/// What was made elsewhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Given {
    /// Nothing: everything is made here.
    #[default]
    Nothing,
    /// `--scores FILE`.
    Scores(PathBuf),
    /// `--selection FILE`.
    Selection(PathBuf),
}
