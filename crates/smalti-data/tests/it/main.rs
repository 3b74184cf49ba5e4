//! Tests of the crate from outside: sources, written sets, and agreement with Pillow and torchvision.

mod folder;
mod fuzz;
mod golden;
mod odd;
mod parquet;
mod readers;
mod sets;
mod util;
mod webdataset;
