//! Smalti compresses a labelled image data set to N images per class, keeps hard labels only, and measures what the result is worth.
//!
//! Read [`pipeline`] first: it shows the whole of `compress` on one screen. Then:
//!
//! | part | module |
//! |---|---|
//! | settings: flags over files over presets | [`recipe`], [`presets`], [`proxies`] |
//! | the stages of the pipeline | [`stages`], [`run`] |
//! | students on a set, several seeds | [`students`], [`sources`] |
//! | soft labels: who says them, and what was said | [`teachers`] |
//! | images made from a network | [`distill`] |
//! | methods against each other | [`bench`] |
//! | what need not be trained twice | [`cache`] |
//! | the page | [`report`] |
//! | images without a download | [`demo`] |

pub mod bench;
pub mod cache;
pub mod cli;
mod decoded;
pub mod demo;
pub mod distill;
pub mod error;
pub mod inspect;
pub mod methods;
pub mod pipeline;
pub mod presets;
pub mod proxies;
pub mod recipe;
pub mod report;
pub mod run;
pub mod sources;
pub mod stages;
pub mod students;
pub mod teachers;
pub mod ui;
mod warm_up;

/// The README's code is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
