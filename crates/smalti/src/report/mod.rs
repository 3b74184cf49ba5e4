//! The report: one HTML page, the same table as Markdown and CSV, and the figures as SVG files.
//!
//! Everything here takes plain data and returns text. Nothing reads a file, trains or chooses: the caller computes the rows,
//! picks the pictures and writes the findings in words, so that the page can be tested from a literal.
//!
//! | module | what it makes |
//! |---|---|
//! | [`stats`], [`bootstrap`], [`ranking`] | mean and spread over seeds, paired gains; intervals over seeds and images; DD-Ranking's scores |
//! | [`table`], [`latex`] | the table for terminals, READMEs, CSV readers and papers |
//! | [`tensorboard`] | event files |
//! | [`page`] | `report.html`: no script, no network, pictures inside |
//! | [`plots`] | the figures, in the page and as files |

pub mod bootstrap;
pub mod columns;
pub mod data;
pub mod embed;
pub mod latex;
pub mod page;
pub mod pictures;
pub mod plots;
pub mod ranking;
pub mod stats;
pub mod svg;
pub mod table;
pub mod tensorboard;
pub mod words;

#[cfg(test)]
pub mod example;

pub use data::{
    Bin, ClassBar, ClassStrip, Clear, Curve, EasyEnd, Gain, Gallery, Histogram, MeanSd, Page, Picture, TableRow,
};
pub use page::render;
pub use plots::figures;
