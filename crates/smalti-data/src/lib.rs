//! Images and bytes: sources, decoding, resizing, mosaics, writers, and the tables every stage of Smalti reads and writes.
//!
//! This crate knows nothing of learning or queries. In the order of the flow:
//!
//! 1. [`source`] lists the images of a folder, of Parquet files or of a compressed set, and streams their bytes,
//! 2. [`decode`] and [`resize`](mod@resize) turn bytes into RGB pixels as Pillow does,
//! 3. [`scan`](mod@scan) reads a whole source once and describes every image in `samples.parquet`,
//! 4. [`store`] holds decoded images of one size for training; [`crop`] draws boxes inside one tile, [`mix`] pairs images,
//! 5. [`mosaic`] tiles whole images, [`encode`](mod@encode) makes files of them,
//! 6. [`write`](mod@write) writes the compressed set with its [`card`] and [`manifest`], [`verify`](mod@verify) reads it back.
//!
//! [`tables`] holds the schemas, [`random`] the keyed random numbers, [`files`] the writing that never leaves half a file.
//!
//! ```
//! use smalti_data::source::{Source, SourceOptions};
//! use smalti_data::{decode, encode, pixels::Rgb, scan};
//!
//! // A folder with one folder of images per class ..
//! let photos = tempfile::tempdir()?;
//! for (class, colour) in [("cherry", [180, 0, 20]), ("lemon", [250, 240, 60])] {
//!     std::fs::create_dir(photos.path().join(class))?;
//!     let file = encode::encode(&Rgb::filled(32, 24, colour), encode::ImageFormat::Png)?;
//!     std::fs::write(photos.path().join(class).join("1.png"), file)?;
//! }
//! // .. opens as a source, whose images are listed, decoded and measured.
//! let source = Source::open(photos.path(), &SourceOptions::default())?;
//! assert_eq!(source.classes(), ["cherry", "lemon"]);
//! let samples = scan::scan(&source, &|_| ())?;
//! assert_eq!((&*samples.path(1), samples.rows[1].width), ("lemon/1.png", 32));
//! source.for_each(&[1], &|_, bytes| {
//!     let picture = bytes.and_then(|bytes| decode::decode(&bytes)).expect("it was scanned");
//!     assert_eq!(picture.pixel(0, 0), [250, 240, 60]);
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod card;
pub mod crop;
pub mod decode;
pub mod encode;
pub mod error;
pub mod files;
pub mod manifest;
pub mod mix;
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

/// The example of the crate's README is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
