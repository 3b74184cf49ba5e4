//! Images and bytes: sources, decoding, resizing, mosaics, writers, and the tables every stage of Smalti reads and writes.
//!
//! This crate knows nothing of learning or queries. The order of the modules is the order of the flow:
//!
//! 1. [`source`] lists the images of a folder or of Parquet files and streams their bytes,
//! 2. [`decode`] and [`resize`] turn bytes into RGB pixels as Pillow does,
//! 3. [`scan`] reads a whole source once and describes every image in `samples.parquet`,
//! 4. [`mosaic`] tiles whole images, [`crop`] draws boxes inside one tile,
//! 5. [`write`](mod@write) writes the compressed set, [`verify`] reads it back.
//!
//! [`tables`] holds the schemas, [`random`] the keyed random numbers, [`files`] the writing that never leaves half a file.

pub mod card;
pub mod crop;
pub mod decode;
pub mod encode;
pub mod error;
pub mod files;
pub mod manifest;
pub mod mosaic;
pub mod pixels;
pub mod random;
pub mod resize;
pub mod scan;
pub mod source;
pub mod store;
pub mod tables;
pub mod verify;
pub mod write;

pub use error::{Error, Result};
pub use manifest::Manifest;
pub use pixels::{PixelBox, Rgb};
pub use source::{Source, SourceOptions};
pub use store::ImageStore;
