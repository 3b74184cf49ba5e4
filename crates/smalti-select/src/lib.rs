//! Choices: metrics as SQL over the training trace, and the rules that keep some samples and drop the rest.
//!
//! ```text
//! trace ──scores()──> scores ──select()──> selection ──plan()──> images to be written
//! ```
//!
//! 1. [`metrics`] is the list of metrics; [`query`] computes any of them over `trace/seed=S/epoch=E.parquet`,
//! 2. [`rules`] is the list of pruning rules; [`select`](fn@select) applies one within each class, [`from_given`] takes a
//!    selection made elsewhere,
//! 3. [`plan`](fn@plan) groups the kept samples into images.
//!
//! The query engine and its async runtime stay inside: every call is plain and blocking. No pixels, no learning here.

pub mod error;
pub mod features;
pub mod metrics;
pub mod query;
pub mod rules;

mod budget;
mod candidate;
mod given;
mod names;
mod plan;
mod points;
mod select;

pub use budget::{Budget, OnSmallClass};
pub use candidate::Candidates;
pub use error::{Error, Result};
pub use features::ClassFeatures;
pub use given::from_given;
pub use metrics::{Basis, HardEnd, METRICS, Metric, metric};
pub use plan::plan;
pub use query::{check_metric, scores};
pub use rules::{Balance, Choice, Needs, RULES, Rule, rule};
pub use select::{Evidence, Scores, select};

#[cfg(test)]
mod testing;
