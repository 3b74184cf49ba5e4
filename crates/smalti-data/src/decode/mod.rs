//! Encoded bytes into RGB pixels, as `PIL.Image.open(..).convert("RGB")` gives them. A [`Profile`] says what is turned by EXIF and
//! whether large JPEGs may be decoded small; [`decode`] does neither.
//!
//! JPEG goes through libjpeg-turbo with Pillow's settings, everything else through `image`. The format is told from the bytes, never
//! from a name. Size limits hold before pixels are allocated, and no input makes this module panic.

mod jpeg;
mod orientation;
mod other;
mod profile;
mod tiff;

pub use orientation::Orientation;
pub use profile::{Detail, Profile};

use crate::error::{self, Error, Result};
use crate::pixels::Rgb;
use image::ImageFormat;

/// Most pixels of one image: the number at which Pillow refuses to open a file.
pub const MAX_PIXELS: u64 = 2 * 89_478_485;

/// Largest side of one image in pixels.
pub const MAX_SIDE: u32 = 65_535;

/// Decodes an image to RGB: alpha is dropped, grey and palettes are expanded, the first frame of an animation is taken.
///
/// # Errors
/// [`Error::Decode`] when the bytes are no image of a known format, are cut short or damaged, or exceed [`MAX_PIXELS`] or
/// [`MAX_SIDE`].
pub fn decode(bytes: &[u8]) -> Result<Rgb> {
    Profile::default().decode(bytes)
}

/// Width and height in pixels, from the header alone.
///
/// # Errors
/// [`Error::Decode`] when the header does not read or exceeds a limit. The pixels may still be damaged when it does read.
pub fn dimensions(bytes: &[u8]) -> Result<(u32, u32)> {
    Profile::default().dimensions(bytes)
}

/// Runs a decoder; should it panic, the image is bad and the program goes on.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    error::guarded(work).unwrap_or_else(|| Err(bad("the decoder failed; the file is damaged")))
}

fn bad(cause: impl Into<String>) -> Error {
    Error::Decode { cause: cause.into() }
}

/// The first bytes of every format that is read.
fn format(bytes: &[u8]) -> Result<ImageFormat> {
    let riff = |kind: &[u8]| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(kind);
    match bytes {
        [] => Err(bad("the file is empty")),
        [0xFF, 0xD8, 0xFF, ..] => Ok(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(ImageFormat::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(ImageFormat::Gif),
        [b'B', b'M', ..] => Ok(ImageFormat::Bmp),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Ok(ImageFormat::Tiff),
        [b'P', b'1'..=b'7', ..] => Ok(ImageFormat::Pnm),
        _ if riff(b"WEBP") => Ok(ImageFormat::WebP),
        _ => Err(bad(format!("{}; JPEG, PNG, WebP, GIF, BMP, TIFF and PNM are read", foreign(bytes)))),
    }
}

/// What else people keep beside their images, in words.
fn foreign(bytes: &[u8]) -> &'static str {
    let start: Vec<u8> = bytes.iter().take(64).map(u8::to_ascii_lowercase).collect();
    let has = |word: &[u8]| start.windows(word.len()).any(|window| window == word);
    match bytes.get(4..12) {
        Some(b"ftypavif" | b"ftypavis") => return "it is AVIF",
        Some(b"ftypheic" | b"ftypheix" | b"ftypmif1") => return "it is HEIC",
        _ => {}
    }
    if has(b"<svg") {
        "it is SVG"
    } else if has(b"<!doctype html") || has(b"<html") {
        "it is a web page, not an image"
    } else if has(b"version https://git-lfs") {
        "it is a Git LFS pointer, not the image (run `git lfs pull`)"
    } else if start.iter().all(|&byte| byte == 0) {
        "it holds zeros, not an image"
    } else {
        "it is no known image format"
    }
}

/// Checks a size against the limits.
fn checked(width: u64, height: u64) -> Result<(u32, u32)> {
    if width == 0 || height == 0 {
        return Err(bad(format!("it has {width} x {height} pixels")));
    }
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(bad(format!("its {width} x {height} pixels are more than the limit of {MAX_PIXELS}")));
    }
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(w), Ok(h)) if w <= MAX_SIDE && h <= MAX_SIDE => Ok((w, h)),
        _ => Err(bad(format!("it is {width} x {height} pixels; the longest side read is {MAX_SIDE}"))),
    }
}
