//! Everything but JPEG, through `image`, brought to RGB as Pillow's `convert("RGB")` does.

use super::tiff::Palette;
use super::{MAX_SIDE, bad, checked};
use crate::error::Result;
use crate::pixels::Rgb;
use image::metadata::Orientation as Turn;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// Decodes the first image of a file to RGB.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> Result<Rgb> {
    let palette = palette_of(bytes, format);
    let decoder = opened(palette.as_ref().map_or(bytes, |palette| &palette.grey), format)?;
    let (width, height) = decoder.dimensions();
    checked(u64::from(width), u64::from(height))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| bad(e.to_string()))?;
    let (width, height) = (image.width(), image.height());
    let data = match palette {
        Some(palette) => palette.rgb(image),
        None => rgb(image),
    };
    Ok(Rgb { width, height, data })
}

/// Stored width and height.
pub(super) fn dimensions(bytes: &[u8], format: ImageFormat) -> Result<(u32, u32)> {
    let palette = palette_of(bytes, format);
    let (width, height) = opened(palette.as_ref().map_or(bytes, |palette| &palette.grey), format)?.dimensions();
    checked(u64::from(width), u64::from(height))
}

fn palette_of(bytes: &[u8], format: ImageFormat) -> Option<Palette> {
    if format == ImageFormat::Tiff { Palette::of(bytes) } else { None }
}

/// How the metadata would have the picture turned; what does not read asks for nothing.
pub(super) fn orientation(bytes: &[u8], format: ImageFormat) -> Result<Turn> {
    let palette = palette_of(bytes, format);
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

/// Pillow takes the high byte of 16-bit colour, but clips 16-bit grey at 255.
fn rgb(image: DynamicImage) -> Vec<u8> {
    let high = |value: u16| (value >> 8) as u8;
    match image {
        DynamicImage::ImageLuma16(grey) => {
            grey.as_raw().iter().flat_map(|&value| [u8::try_from(value).unwrap_or(u8::MAX); 3]).collect()
        }
        DynamicImage::ImageLumaA16(grey) => {
            grey.as_raw().chunks_exact(2).flat_map(|pixel| [high(pixel[0]); 3]).collect()
        }
        DynamicImage::ImageRgb16(colour) => colour.as_raw().iter().map(|&value| high(value)).collect(),
        DynamicImage::ImageRgba16(colour) => {
            colour.as_raw().chunks_exact(4).flat_map(|pixel| [high(pixel[0]), high(pixel[1]), high(pixel[2])]).collect()
        }
        other => other.into_rgb8().into_raw(),
    }
}
