//! How encoded images become pixels: what a person may choose, by name, as every manifest records it.

use super::orientation::{self, Orientation};
use super::{format, guarded, jpeg, other};
use crate::error::Result;
use crate::pixels::Rgb;
use image::ImageFormat;
use image::metadata::Orientation as Turn;

/// How much of a JPEG is decoded where a smaller picture is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// All of it, then resized: torchvision's pixels.
    #[default]
    Exact,
    /// A half, a quarter or an eighth in each direction, never below the size wanted, then resized: the pixels of Pillow's `draft`.
    /// Faster, and slightly other pixels.
    Scaled,
}

/// How encoded images become pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Profile {
    /// Whether EXIF turns the picture.
    pub orientation: Orientation,
    /// Whether large JPEGs are decoded small.
    pub detail: Detail,
}

impl Profile {
    /// The name that manifests carry: `pillow-rgb`, with `+exif` and `+scaled` where chosen.
    pub fn name(self) -> String {
        let exif = if self.orientation == Orientation::Exif { "+exif" } else { "" };
        let scaled = if self.detail == Detail::Scaled { "+scaled" } else { "" };
        format!("pillow-rgb{exif}{scaled}")
    }

    /// Decodes all of an image to RGB.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(self, bytes: &[u8]) -> Result<Rgb> {
        self.decode_for(bytes, u32::MAX, u32::MAX)
    }

    /// Decodes an image that will be resized to `width` x `height` pixels. With [`Detail::Scaled`] the picture may be smaller than stored,
    /// but in neither direction smaller than asked.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode_for(self, bytes: &[u8], width: u32, height: u32) -> Result<Rgb> {
        guarded(|| {
            let kind = format(bytes)?;
            let turn = self.turn(bytes, kind)?;
            let picture = match kind {
                ImageFormat::Jpeg => {
                    let (width, height) = if orientation::swaps(turn) { (height, width) } else { (width, height) };
                    jpeg::decode(bytes, self.denominator(bytes, width, height)?)?
                }
                _ => other::decode(bytes, kind)?,
            };
            Ok(orientation::turned(picture, turn))
        })
    }

    /// Width and height in pixels of an image that decodes. Of a JPEG every bit is read, and one pixel in 64 computed: damage shows in the
    /// reading.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn check(self, bytes: &[u8]) -> Result<(u32, u32)> {
        if guarded(|| format(bytes))? != ImageFormat::Jpeg {
            return self.decode(bytes).map(|picture| (picture.width, picture.height));
        }
        guarded(|| jpeg::decode(bytes, 8))?;
        self.dimensions(bytes)
    }

    /// How the picture is turned. Metadata is looked at only where it counts.
    fn turn(self, bytes: &[u8], kind: ImageFormat) -> Result<Turn> {
        match (kind, self.orientation) {
            // The tag of a TIFF says how its rows are stored; Pillow never hands it out unturned.
            (ImageFormat::Tiff, _) => other::orientation(bytes, kind),
            (_, Orientation::Stored) => Ok(Turn::NoTransforms),
            (ImageFormat::Jpeg, Orientation::Exif) => Ok(jpeg::orientation(bytes)),
            (_, Orientation::Exif) => other::orientation(bytes, kind),
        }
    }

    /// By how much a JPEG can be decoded smaller and still cover the size wanted, as it is stored.
    fn denominator(self, bytes: &[u8], width: u32, height: u32) -> Result<u32> {
        if self.detail == Detail::Exact {
            return Ok(1);
        }
        let (stored_width, stored_height) = jpeg::dimensions(bytes)?;
        let fits = (stored_width / width.max(1)).min(stored_height / height.max(1));
        Ok([8, 4, 2].into_iter().find(|&d| d <= fits).unwrap_or(1))
    }

    /// Width and height in pixels as [`Profile::decode`] gives them, from the header alone.
    ///
    /// # Errors
    /// [`crate::Error::Decode`] when the header does not read or exceeds a limit. The pixels may still be damaged when it does read.
    pub fn dimensions(self, bytes: &[u8]) -> Result<(u32, u32)> {
        guarded(|| {
            let kind = format(bytes)?;
            let (width, height) = match kind {
                ImageFormat::Jpeg => jpeg::dimensions(bytes)?,
                other => other::dimensions(bytes, other)?,
            };
            Ok(if orientation::swaps(self.turn(bytes, kind)?) { (height, width) } else { (width, height) })
        })
    }
}
