//! Pixels into files: PNG for small images, JPEG for the rest, the same bytes every time.

use crate::error::{Error, Result};
use crate::pixels::Rgb;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// Largest side in pixels that is stored without loss. Above it PNG costs several times the bytes of JPEG at 95.
pub const PNG_UP_TO: u32 = 64;

/// Quality of the JPEG files, on libjpeg's scale of 1 to 100.
pub const JPEG_QUALITY: u8 = 95;

/// How images are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Without loss.
    Png,
    /// Quality [`JPEG_QUALITY`], colour at full resolution (4:4:4), Huffman tables fitted to the image.
    Jpeg,
}

impl ImageFormat {
    /// The format for images with sides of `size` px.
    pub fn for_size(size: u32) -> ImageFormat {
        if size <= PNG_UP_TO { ImageFormat::Png } else { ImageFormat::Jpeg }
    }

    /// The ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            ImageFormat::Png => "png",
            ImageFormat::Jpeg => "jpg",
        }
    }

    /// The quality, where there is one.
    pub fn quality(self) -> Option<u8> {
        match self {
            ImageFormat::Png => None,
            ImageFormat::Jpeg => Some(JPEG_QUALITY),
        }
    }

    /// The chroma subsampling, where there is one.
    pub fn subsampling(self) -> Option<&'static str> {
        match self {
            ImageFormat::Png => None,
            ImageFormat::Jpeg => Some("4:4:4"),
        }
    }

    /// The format in words, for the card.
    pub fn describe(self) -> String {
        match self {
            ImageFormat::Png => "PNG".to_owned(),
            ImageFormat::Jpeg => format!("JPEG quality {JPEG_QUALITY}, 4:4:4"),
        }
    }
}

/// The picture as a file of the given format. The same picture gives the same bytes.
///
/// # Errors
/// [`Error::Input`] when the encoder refuses the picture (it does for sides over 65,500 px).
pub fn encode(picture: &Rgb, format: ImageFormat) -> Result<Vec<u8>> {
    let refused = |cause: String| {
        let sides = format!("{} x {} px", picture.width, picture.height);
        Error::input(format!("cannot encode a picture of {sides}: {cause}"), "choose a smaller --size")
    };
    match format {
        ImageFormat::Png => {
            let mut bytes = Vec::new();
            PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive)
                .write_image(&picture.data, picture.width, picture.height, ExtendedColorType::Rgb8)
                .map_err(|e| refused(e.to_string()))?;
            Ok(bytes)
        }
        ImageFormat::Jpeg => jpeg(picture).map_err(|e| refused(e.to_string())),
    }
}

fn jpeg(picture: &Rgb) -> turbojpeg::Result<Vec<u8>> {
    let mut compressor = turbojpeg::Compressor::new()?;
    compressor.set_quality(i32::from(JPEG_QUALITY))?;
    compressor.set_subsamp(turbojpeg::Subsamp::None)?;
    // A few percent fewer bytes for the same pixels.
    compressor.set_optimize(true)?;
    compressor.compress_to_vec(turbojpeg::Image {
        pixels: picture.data.as_slice(),
        width: picture.width as usize,
        pitch: picture.width as usize * 3,
        height: picture.height as usize,
        format: turbojpeg::PixelFormat::RGB,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(size: u32) -> Rgb {
        let mut picture = Rgb::filled(size, size, [0; 3]);
        for y in 0..size {
            for x in 0..size {
                picture.set_pixel(x, y, [(x * 255 / size) as u8, (y * 255 / size) as u8, ((x + y) % 64) as u8]);
            }
        }
        picture
    }

    #[test]
    fn png_is_exact_and_jpeg_is_close_with_full_colour() {
        let picture = gradient(48);
        let png = encode(&picture, ImageFormat::Png).expect("encoded");
        let read = image::load_from_memory(&png).expect("a PNG").to_rgb8();
        assert_eq!(read.as_raw(), &picture.data);

        let jpeg = encode(&picture, ImageFormat::Jpeg).expect("encoded");
        let header = turbojpeg::read_header(&jpeg).expect("a JPEG");
        assert_eq!((header.width, header.height, header.subsamp), (48, 48, turbojpeg::Subsamp::None));
        let read = turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::RGB).expect("decoded");
        let off: u32 = read.pixels.iter().zip(&picture.data).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        assert!(off < 3 * picture.data.len() as u32, "mean error of {off} / {} levels", picture.data.len());
    }

    #[test]
    fn small_images_are_stored_without_loss() {
        assert_eq!(ImageFormat::for_size(64), ImageFormat::Png);
        assert_eq!(ImageFormat::for_size(65), ImageFormat::Jpeg);
        assert_eq!(ImageFormat::Jpeg.quality(), Some(95));
    }
}
