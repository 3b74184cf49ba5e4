//! EXIF orientation: which way up a camera held the picture.
//!
//! torchvision's folders ignore the tag, Hugging Face `datasets` turns the picture by it (Pillow's `exif_transpose`). TIFF is the
//! exception: there the tag belongs to the format, and Pillow turns the picture while it loads it.

use crate::pixels::Rgb;
use image::metadata::Orientation as Turn;
use image::{DynamicImage, RgbImage};

/// Whether pictures are turned as their EXIF tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// As the pixels are stored: torchvision, timm.
    #[default]
    Stored,
    /// As the tag says: Hugging Face `datasets`, `PIL.ImageOps.exif_transpose`.
    Exif,
}

/// What a picture's metadata asks for: the EXIF tag, else the one in XMP, in Pillow's order.
pub(super) fn asked(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Turn {
    let exif = exif.and_then(|chunk| Turn::from_exif_chunk(chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk)));
    exif.or_else(|| from_xmp(xmp?)).unwrap_or(Turn::NoTransforms)
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6`.
fn from_xmp(packet: &[u8]) -> Option<Turn> {
    const NAME: &[u8] = b"tiff:Orientation";
    packet.windows(NAME.len() + 3).find_map(|window| {
        let digit = match window.strip_prefix(NAME)? {
            [b'>', digit, _] | [b'=', b'"', digit] => *digit,
            _ => return None,
        };
        Turn::from_exif(digit.wrapping_sub(b'0'))
    })
}

/// Whether width and height change places.
pub(super) fn swaps(turn: Turn) -> bool {
    matches!(turn, Turn::Rotate90 | Turn::Rotate270 | Turn::Rotate90FlipH | Turn::Rotate270FlipH)
}

/// The picture, turned.
pub(super) fn turned(picture: Rgb, turn: Turn) -> Rgb {
    if turn == Turn::NoTransforms {
        return picture;
    }
    let Rgb { width, height, data } = picture;
    let mut image =
        DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, data).expect("a picture holds its pixels"));
    image.apply_orientation(turn);
    Rgb { width: image.width(), height: image.height(), data: image.into_rgb8().into_raw() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_in_xmp_counts_where_exif_has_none() {
        assert_eq!(asked(None, Some(b"<x tiff:Orientation=\"6\"/>")), Turn::Rotate90);
        assert_eq!(asked(None, Some(b"<tiff:Orientation>3</tiff:Orientation>")), Turn::Rotate180);
        assert_eq!(asked(None, Some(b"tiff:Orientation=\"")), Turn::NoTransforms);
        assert_eq!(asked(Some(b"Exif\0\0no tiff"), None), Turn::NoTransforms);
        assert_eq!(asked(None, Some(b"tiff:Orientation=\"9\"")), Turn::NoTransforms);
    }
}
