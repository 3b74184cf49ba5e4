//! Names that flags take, and what they stand for.

use clap::ValueEnum;
use smalti_data::decode::{Detail, Orientation};
use smalti_data::write::OutputFormat;
use smalti_learn::engine::Precision;
use smalti_select::{HardEnd, OnSmallClass};

macro_rules! names {
    ($(#[$about:meta])* $name:ident => $target:ty { $($(#[$doc:meta])* $variant:ident => $value:expr),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub enum $name { $($(#[$doc])* $variant),+ }
        impl From<$name> for $target {
            fn from(name: $name) -> $target {
                match name { $($name::$variant => $value),+ }
            }
        }
    };
}

names! {
    /// `--format`.
    FormatName => OutputFormat {
        /// train/CLASS/IMAGE
        Folder => OutputFormat::Folder,
        /// data/train-*.parquet
        Parquet => OutputFormat::Parquet,
        /// Both of them
        Both => OutputFormat::Both,
        /// data/train-*.tar
        Webdataset => OutputFormat::WebDataset,
    }
}

names! {
    /// `--orientation`.
    OrientationName => Orientation {
        /// As the pixels are stored
        Stored => Orientation::Stored,
        /// As the EXIF tag says
        Exif => Orientation::Exif,
    }
}

names! {
    /// `--decode`.
    DetailName => Detail {
        /// All of the picture, then resized
        Exact => Detail::Exact,
        /// As little of a JPEG as covers the size wanted, then resized: faster, slightly other pixels
        Scaled => Detail::Scaled,
    }
}

names! {
    /// `--on-small-class`.
    SmallClassName => OnSmallClass {
        /// An error that names the class
        Refuse => OnSmallClass::Refuse,
        /// As many images as the class can fill
        Fewer => OnSmallClass::Fewer,
    }
}

names! {
    /// `--hard-end`.
    HardEndName => HardEnd {
        /// A high score means a hard image
        High => HardEnd::High,
        /// A low score means a hard image
        Low => HardEnd::Low,
    }
}

names! {
    /// `--precision`.
    PrecisionName => Precision {
        /// bf16 where it is native, else f32
        Auto => Precision::Auto,
        /// 32 bits throughout
        F32 => Precision::F32,
        /// bfloat16 in convolutions
        Bf16 => Precision::Bf16,
    }
}

/// `--split`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// The test part, or all images where there is none
    Test,
    /// What `compress --holdout` kept out
    Holdout,
}
