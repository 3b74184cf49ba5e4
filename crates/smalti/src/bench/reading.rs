//! How a bench reads its images: what the other commands take as flags.

use serde::{Deserialize, Serialize};
use smalti_data::decode::{Detail, Orientation, Profile};
use smalti_data::source::SourceOptions;
use std::path::{Path, PathBuf};

/// The table `[reading]` of a recipe; it holds for source and test images alike.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reading {
    /// Column of the images, as `--image-column`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_column: Option<String>,
    /// Column or key of the labels, as `--label-column`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// A file that fixes names and order of the classes, as `--class-map`; a path as seen from the folder of the recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_map: Option<PathBuf>,
    /// Whether images are turned by their EXIF tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orientation: Option<Orientation>,
    /// Whether large JPEGs are decoded small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode: Option<Detail>,
}

impl Reading {
    /// Whether nothing is said.
    pub fn is_none(&self) -> bool {
        *self == Reading::default()
    }

    /// As a source wants it; `folder` is where a path starts.
    pub fn options(&self, folder: &Path) -> SourceOptions {
        SourceOptions {
            image_column: self.image_column.clone(),
            label_column: self.label_column.clone(),
            class_map: self.class_map.as_ref().map(|file| folder.join(file)),
            profile: Profile {
                orientation: self.orientation.unwrap_or_default(),
                detail: self.decode.unwrap_or_default(),
            },
        }
    }
}
