//! Everything but JPEG, through `image`, brought to RGB as Pillow's `convert("RGB")` does.

use super::{MAX_SIDE, bad, checked};
use crate::error::Result;
use crate::pixels::Rgb;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// Decodes the first image of a file to RGB.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> Result<Rgb> {
    let decoder = opened(bytes, format)?;
    let (width, height) = decoder.dimensions();
    checked(u64::from(width), u64::from(height))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| bad(e.to_string()))?;
    let (width, height) = (image.width(), image.height());
    Ok(Rgb { width, height, data: rgb(image) })
}

/// Width and height from the header.
pub(super) fn dimensions(bytes: &[u8], format: ImageFormat) -> Result<(u32, u32)> {
    let (width, height) = opened(bytes, format)?.dimensions();
    checked(u64::from(width), u64::from(height))
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
