//! Everything but JPEG, through `image`, brought to RGB as Pillow's `convert("RGB")` does.

use super::tiff::{self, Palette};
use super::{MAX_SIDE, bad, checked};
use crate::error::Result;
use crate::pixels::Rgb;
use image::metadata::Orientation as Turn;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// Decodes the first image of a file to RGB.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> Result<Rgb> {
    let palette = palette_of(bytes, format)?;
    let decoder = opened(palette.as_ref().map_or(bytes, |palette| &palette.grey), format)?;
    let (width, height) = decoder.dimensions();
    checked(u64::from(width), u64::from(height))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| bad(e.to_string()))?;
    let (width, height) = (image.width(), image.height());
    let data = match palette {
        Some(palette) => palette.rgb(image),
        None => rgb(image, Samples::of(bytes, format)),
    };
    Ok(Rgb { width, height, data })
}

/// Stored width and height.
pub(super) fn dimensions(bytes: &[u8], format: ImageFormat) -> Result<(u32, u32)> {
    let palette = palette_of(bytes, format)?;
    let (width, height) = opened(palette.as_ref().map_or(bytes, |palette| &palette.grey), format)?.dimensions();
    checked(u64::from(width), u64::from(height))
}

/// The palette of a TIFF; an error for one whose pixels would not be Pillow's.
fn palette_of(bytes: &[u8], format: ImageFormat) -> Result<Option<Palette>> {
    if format != ImageFormat::Tiff {
        return Ok(None);
    }
    match tiff::refused(bytes) {
        Some(kind) => Err(bad(format!("it is {kind}, which is not read; convert it to PNG"))),
        None => Ok(Palette::of(bytes)),
    }
}

/// How the metadata would have the picture turned; what does not read asks for nothing.
pub(super) fn orientation(bytes: &[u8], format: ImageFormat) -> Result<Turn> {
    let palette = palette_of(bytes, format)?;
    let mut decoder = opened(palette.as_ref().map_or(bytes, |palette| &palette.grey), format)?;
    if format == ImageFormat::Tiff {
        return Ok(decoder.orientation().unwrap_or(Turn::NoTransforms));
    }
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    Ok(super::orientation::asked(exif.as_deref(), xmp.as_deref()))
}

fn opened(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    // Eight bytes for each of the most pixels; what is not pixels fits beside those of any smaller image.
    limits.max_alloc = Some(super::MAX_PIXELS * 8);
    reader.limits(limits);
    reader.into_decoder().map_err(|e| bad(e.to_string()))
}

/// What samples mean beyond their number, as far as Pillow looks at it.
#[derive(Clone, Copy)]
enum Samples {
    Plain,
    /// Grey that a PNG stores without alpha; a value that it calls transparent makes the decoder add some.
    Grey,
    /// Colour that was multiplied by alpha.
    Multiplied,
}

impl Samples {
    fn of(bytes: &[u8], format: ImageFormat) -> Samples {
        // The header comes first in a PNG; its tenth byte is the kind of colour.
        match format {
            ImageFormat::Png if bytes.get(25) == Some(&0) => Samples::Grey,
            ImageFormat::Tiff if tiff::is_multiplied(bytes) => Samples::Multiplied,
            _ => Samples::Plain,
        }
    }
}

/// Pillow takes the high byte of 16-bit colour, but clips 16-bit grey at 255, and divides by alpha what was multiplied by it.
fn rgb(image: DynamicImage, samples: Samples) -> Vec<u8> {
    let high = |value: u16| (value >> 8) as u8;
    let clipped = |value: u16| u8::try_from(value).unwrap_or(u8::MAX);
    match (samples, image) {
        (_, DynamicImage::ImageLuma16(grey)) => grey.as_raw().iter().flat_map(|&value| [clipped(value); 3]).collect(),
        (Samples::Grey, DynamicImage::ImageLumaA16(grey)) => {
            grey.as_raw().chunks_exact(2).flat_map(|pixel| [clipped(pixel[0]); 3]).collect()
        }
        (_, DynamicImage::ImageLumaA16(grey)) => {
            grey.as_raw().chunks_exact(2).flat_map(|pixel| [high(pixel[0]); 3]).collect()
        }
        (_, DynamicImage::ImageRgb16(colour)) => colour.as_raw().iter().map(|&value| high(value)).collect(),
        (Samples::Multiplied, DynamicImage::ImageRgba16(colour)) => {
            colour.as_raw().chunks_exact(4).flat_map(|pixel| divided([0, 1, 2, 3].map(|at| high(pixel[at])))).collect()
        }
        (Samples::Multiplied, DynamicImage::ImageRgba8(colour)) => {
            colour.as_raw().chunks_exact(4).flat_map(|pixel| divided([0, 1, 2, 3].map(|at| pixel[at]))).collect()
        }
        (_, DynamicImage::ImageRgba16(colour)) => {
            colour.as_raw().chunks_exact(4).flat_map(|pixel| [high(pixel[0]), high(pixel[1]), high(pixel[2])]).collect()
        }
        (_, other) => other.into_rgb8().into_raw(),
    }
}

/// Colour without the alpha that it was multiplied by: Pillow's division, black where nothing is left.
fn divided([red, green, blue, alpha]: [u8; 4]) -> [u8; 3] {
    let by_alpha = |value: u8| match alpha {
        0 => 0,
        alpha => u8::try_from(u32::from(value) * 255 / u32::from(alpha)).unwrap_or(u8::MAX),
    };
    [red, green, blue].map(by_alpha)
}
