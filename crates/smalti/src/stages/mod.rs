//! The stages of the pipeline, one file each. A stage reads what the stage before left, writes its own table, and is skipped when the
//! table is there.

mod prune;
mod scan;
mod score;
mod settle;
mod write;

pub use prune::prune;
pub use scan::{hold_out, scan};
pub use score::{ProxyJob, Scores, given_scores, score, train_proxies};
pub use settle::settle;
pub use write::write;

use smalti_select::HardEnd;
use std::path::PathBuf;

/// What was made elsewhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Given {
    /// Nothing: everything is made here.
    #[default]
    Nothing,
    /// `--scores FILE`, and which of its ends is hard where the metric is none of ours.
    Scores(PathBuf, Option<HardEnd>),
    /// `--selection FILE`.
    Selection(PathBuf),
}
