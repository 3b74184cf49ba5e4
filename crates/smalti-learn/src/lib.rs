//! Learning: networks, the one training loop, proxies that record a trace, students and their evaluation. All libtorch stays in here.
//!
//! | part | module |
//! |---|---|
//! | precision, threads, errors of libtorch as values | [`engine`], [`error`] |
//! | networks with torchvision's names, initialised from our own generator | [`nets`] |
//! | AdamW and SGD with their state in plain slices | [`optim`] |
//! | what a step sees: crops, flips, normalised batches | [`augment`], [`batch`] |
//! | the one loop, and passes without gradients | [`train`](mod@train), [`inference`] |
//! | their two users | [`proxy`], [`student`] |
//! | published and scaled recipes | [`protocols`] |
//! | pixels moved until a network sees its classes and statistics in them | [`recover`] |

pub mod augment;
pub mod batch;
pub mod checkpoint;
pub mod distort;
pub mod engine;
pub mod error;
mod fused;
pub mod growth;
pub mod inference;
pub mod labels;
pub mod measure;
pub mod mix;
pub mod nets;
pub mod observe;
pub mod optim;
pub mod protocols;
pub mod proxy;
pub mod recover;
pub mod schedule;
pub mod sight;
pub mod student;
pub mod teacher;
pub mod tiles;
pub mod train;

pub use error::{Error, Result};
