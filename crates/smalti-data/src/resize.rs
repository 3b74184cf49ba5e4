//! Resizing as torchvision does it: a triangle filter that widens when shrinking, to the byte as on its tensors of 8 bits, and
//! but for roundings as on PIL images (`Image.resize(BILINEAR)`), whose coefficients have more bits.
//!
//! `fast_image_resize` has the same arithmetic but goes down the columns first, and what is rounded between the two passes then
//! differs in a sixth of a photograph's values. So it is asked for one pass at a time, along the rows first. Nothing outside
//! the given box is read: torchvision crops to an image of its own and then resizes it.

use crate::decode::MAX_PIXELS;
use crate::error::{Error, Result};
use crate::pixels::{PixelBox, Rgb};
use fast_image_resize as fir;
use fir::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fir::pixels::U8x3;
use std::cell::RefCell;

/// A reusable resizer: its buffers grow to the largest picture seen and stay.
#[derive(Debug, Default)]
pub struct Resizer {
    inner: fir::Resizer,
    /// The picture between the passes.
    between: Vec<u8>,
}

impl Resizer {
    /// A resizer with empty buffers, using the widest vector instructions of this processor.
    pub fn new() -> Resizer {
        Resizer::default()
    }

    /// Resizes the box `region` of a picture of `src_width` x `src_height` pixels to `width` x `height`, into `out`.
    ///
    /// # Arguments
    /// `src` and `out` hold rows of three-byte pixels (HWC, no padding): `src_height * src_width * 3` and
    /// `height * width * 3` bytes.
    ///
    /// # Errors
    /// [`Error::Input`] when a size is 0, a buffer has another length, or the box leaves the picture.
    pub fn resize_box_into(
        &mut self,
        (src, src_width, src_height): (&[u8], u32, u32),
        region: PixelBox,
        (out, width, height): (&mut [u8], u32, u32),
    ) -> Result<()> {
        check_buffer("source", src.len(), src_width, src_height)?;
        check_buffer("target", out.len(), width, height)?;
        check_region(region, src_width, src_height)?;
        let source = TypedImageRef::<U8x3>::from_buffer(src_width, src_height, src).map_err(|e| wrong(&e))?;
        let source = TypedCroppedImage::new(source, region.left, region.top, region.width, region.height)
            .map_err(|e| wrong(&e))?;
        let mut target = TypedImage::<U8x3>::from_buffer(width, height, out).map_err(|e| wrong(&e))?;
        let bilinear = bilinear();
        if region.width == width || region.height == height {
            return self.inner.resize_typed(&source, &mut target, &bilinear).map_err(|e| wrong(&e));
        }
        self.between.resize(width as usize * region.height as usize * 3, 0);
        let mut between =
            TypedImage::<U8x3>::from_buffer(width, region.height, &mut self.between).map_err(|e| wrong(&e))?;
        self.inner.resize_typed(&source, &mut between, &bilinear).map_err(|e| wrong(&e))?;
        self.inner.resize_typed(&between, &mut target, &bilinear).map_err(|e| wrong(&e))
    }

    /// The box `part` of what the whole picture becomes at `width` x `height` pixels, into `out`: rows of three-byte pixels, those of the
    /// box alone. Only the pixels that it is made of are read.
    fn resize_part_into(
        &mut self,
        image: &Rgb,
        (width, height): (u32, u32),
        part: PixelBox,
        out: &mut [u8],
    ) -> Result<()> {
        check_buffer("source", image.data.len(), image.width, image.height)?;
        check_buffer("target", out.len(), part.width, part.height)?;
        check_region(part, width, height)?;
        let across = Stretch::of(image.width, width, (part.left, part.width));
        let down = Stretch::of(image.height, height, (part.top, part.height));
        let source =
            TypedImageRef::<U8x3>::from_buffer(image.width, image.height, &image.data).map_err(|e| wrong(&e))?;
        let source = TypedCroppedImage::new(source, across.first, down.first, across.count, down.count)
            .map_err(|e| wrong(&e))?;
        self.between.resize(part.width as usize * down.count as usize * 3, 0);
        let mut between =
            TypedImage::<U8x3>::from_buffer(part.width, down.count, &mut self.between).map_err(|e| wrong(&e))?;
        let rows = bilinear().crop(across.start, 0.0, across.length, f64::from(down.count));
        self.inner.resize_typed(&source, &mut between, &rows).map_err(|e| wrong(&e))?;
        let mut target = TypedImage::<U8x3>::from_buffer(part.width, part.height, out).map_err(|e| wrong(&e))?;
        let columns = bilinear().crop(0.0, down.start, f64::from(part.width), down.length);
        self.inner.resize_typed(&between, &mut target, &columns).map_err(|e| wrong(&e))
    }
}

/// The pixels that some pixels of a resized picture are made of, along one axis.
struct Stretch {
    /// First of the pixels that are looked at.
    first: u32,
    /// How many of them.
    count: u32,
    /// Where the wanted part begins, in pixels from `first` on.
    start: f64,
    /// How far it goes, in pixels.
    length: f64,
}

impl Stretch {
    /// What `wanted` pixels from `from` on are made of, where `have` pixels become `all`.
    fn of(have: u32, all: u32, (from, wanted): (u32, u32)) -> Stretch {
        let scale = f64::from(have) / f64::from(all);
        let (start, end) = (f64::from(from) * scale, (f64::from(from) + f64::from(wanted)) * scale);
        // The triangle reaches as far as one pixel of the smaller of the two pictures; one more, since sums are rounded.
        let reach = scale.max(1.0) + 1.0;
        let first = (start - reach).floor().max(0.0) as u32;
        let count = ((end + reach).ceil() as u32).min(have).saturating_sub(first);
        let (start, end) = (start - f64::from(first), (end - f64::from(first)).min(f64::from(count)));
        Stretch { first, count, start, length: end - start }
    }
}

fn bilinear() -> fir::ResizeOptions {
    fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear))
}

fn wrong(cause: &dyn std::fmt::Display) -> Error {
    Error::input(format!("cannot resize: {cause}"), BUG)
}

const BUG: &str = "this is a fault of the program; please report it with the picture's size";

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Resizes a whole picture to `width` x `height` pixels; the same size returns the same pixels.
///
/// # Errors
/// [`Error::Input`] when a size is 0.
pub fn resize(image: &Rgb, width: u32, height: u32) -> Result<Rgb> {
    resize_box(image, whole(image), width, height)
}

/// Crops to `region`, then resizes to `width` x `height` pixels (torchvision's `resized_crop`).
///
/// # Errors
/// [`Error::Input`] when a size is 0 or the box leaves the picture.
pub fn resize_box(image: &Rgb, region: PixelBox, width: u32, height: u32) -> Result<Rgb> {
    let mut target = Rgb::filled(width, height, [0; 3]);
    let source = (image.data.as_slice(), image.width, image.height);
    RESIZER.with_borrow_mut(|r| r.resize_box_into(source, region, (&mut target.data, width, height)))?;
    Ok(target)
}

/// The training loader's step: the box `region` of a picture, resized to `size` x `size` pixels, written into `out`.
///
/// Uses one [`Resizer`] per thread, so no picture is allocated.
///
/// # Arguments
/// `src` holds `src_height * src_width * 3` bytes (HWC, 8 bits), `out` `size * size * 3`.
///
/// # Errors
/// [`Error::Input`] when a size is 0, a buffer has another length, or the box leaves the picture.
pub fn resized_crop_into(
    src: &[u8],
    src_width: u32,
    src_height: u32,
    region: PixelBox,
    size: u32,
    out: &mut [u8],
) -> Result<()> {
    RESIZER.with_borrow_mut(|r| r.resize_box_into((src, src_width, src_height), region, (out, size, size)))
}

/// The deterministic view that measures: torchvision's `Resize(resize)` of the shorter side, then `CenterCrop(crop)`.
///
/// A crop larger than the resized picture is padded with black, as torchvision does. Where the resized picture would have more than
/// [`MAX_PIXELS`] pixels, its centre alone is made, and a value may be off by one level.
///
/// # Errors
/// [`Error::Input`] when `resize` or `crop` is 0.
pub fn validation(image: &Rgb, resize: u32, crop: u32) -> Result<Rgb> {
    let (width, height) = shorter_side_to(image.width, image.height, resize);
    let mut target = Rgb::filled(crop, crop, [0; 3]);
    check_buffer("target", target.data.len(), crop, crop)?;
    let (from_x, to_x, columns) = centred(width, crop);
    let (from_y, to_y, rows) = centred(height, crop);
    let part = PixelBox { left: from_x, top: from_y, width: columns, height: rows };
    let centre = match u64::from(width) * u64::from(height) > MAX_PIXELS {
        // A line of 60,000 pixels, 319 bytes of PNG, would become 12 GB.
        true => resized_part(image, (width, height), part)?,
        false => resize_box(&self::resize(image, width, height)?, part, columns, rows)?,
    };
    target.paste(&centre, to_x, to_y);
    Ok(target)
}

/// The box `part` of what [`resize`] makes of a picture, without the rest. Weights come from the same places, rounded on the way.
fn resized_part(image: &Rgb, size: (u32, u32), part: PixelBox) -> Result<Rgb> {
    let mut target = Rgb::filled(part.width, part.height, [0; 3]);
    RESIZER.with_borrow_mut(|r| r.resize_part_into(image, size, part, &mut target.data))?;
    Ok(target)
}

/// The size after torchvision's `Resize(side)`: the shorter side becomes `side`, the longer one `floor(side * long / short)`.
pub fn shorter_side_to(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longer = |long: u32, short: u32| {
        let scaled = u64::from(side) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    if width <= height { (side, longer(height, width)) } else { (longer(width, height), side) }
}

/// One axis of CenterCrop: first source pixel, first target pixel, how many. Python's `round` is half to even.
fn centred(have: u32, want: u32) -> (u32, u32, u32) {
    if have >= want {
        ((f64::from(have - want) / 2.0).round_ties_even() as u32, 0, want)
    } else {
        (0, (want - have) / 2, have)
    }
}

fn whole(image: &Rgb) -> PixelBox {
    PixelBox { left: 0, top: 0, width: image.width, height: image.height }
}

fn check_buffer(what: &str, bytes: usize, width: u32, height: u32) -> Result<()> {
    let needed = u64::from(width).checked_mul(u64::from(height)).and_then(|pixels| pixels.checked_mul(3));
    if width == 0 || height == 0 || needed != Some(bytes as u64) {
        return Err(Error::input(
            format!("the {what} of a resize is {width} x {height} pixels in {bytes} bytes"),
            "give both sides at least one pixel and three bytes per pixel",
        ));
    }
    Ok(())
}

fn check_region(region: PixelBox, width: u32, height: u32) -> Result<()> {
    let inside = |first: u32, count: u32, all: u32| count > 0 && first.checked_add(count).is_some_and(|end| end <= all);
    if inside(region.left, region.width, width) && inside(region.top, region.height, height) {
        return Ok(());
    }
    Err(Error::input(
        format!(
            "the box {} x {} at ({}, {}) leaves a picture of {width} x {height} pixels",
            region.width, region.height, region.left, region.top
        ),
        "give a box of at least one pixel inside the picture",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> Rgb {
        let mut image = Rgb::filled(width, height, [0; 3]);
        for y in 0..height {
            for x in 0..width {
                image.set_pixel(x, y, [(x * 7 % 256) as u8, (y * 11 % 256) as u8, ((x + y) * 3 % 256) as u8]);
            }
        }
        image
    }

    #[test]
    fn the_same_size_gives_the_same_pixels() {
        let image = gradient(17, 9);
        assert_eq!(resize(&image, 17, 9).expect("valid"), image);
        let part = PixelBox { left: 3, top: 2, width: 5, height: 4 };
        assert_eq!(resize_box(&image, part, 5, 4).expect("valid").pixel(0, 0), image.pixel(3, 2));
    }

    #[test]
    fn nothing_outside_the_box_is_read() {
        let inside = gradient(40, 30);
        let region = PixelBox { left: 11, top: 7, width: 13, height: 9 };
        let mut hostile = Rgb::filled(40, 30, [255, 0, 255]);
        for y in 7..16 {
            for x in 11..24 {
                hostile.set_pixel(x, y, inside.pixel(x, y));
            }
        }
        for (width, height) in [(4, 4), (13, 5), (6, 9), (31, 29), (64, 64)] {
            let a = resize_box(&inside, region, width, height).expect("valid");
            let b = resize_box(&hostile, region, width, height).expect("valid");
            assert_eq!(a.data, b.data, "{width} x {height}");
        }
    }

    #[test]
    fn the_shorter_side_follows_torchvision() {
        for ((width, height), side, expected) in [
            ((500, 375), 256, (341, 256)),
            ((375, 500), 256, (256, 341)),
            ((128, 128), 96, (96, 96)),
            ((3, 1000), 2, (2, 666)),
        ] {
            assert_eq!(shorter_side_to(width, height, side), expected);
        }
    }

    #[test]
    fn a_part_is_the_part_of_the_whole_within_one_level() {
        let image = gradient(61, 37);
        for (width, height) in [(200, 121), (61, 90), (30, 18), (7, 37), (61, 37), (1, 300)] {
            let all = resize(&image, width, height).expect("valid");
            let (middle_x, middle_y) = (width / 3, height / 3);
            for part in [
                PixelBox { left: 0, top: 0, width, height },
                PixelBox { left: middle_x, top: middle_y, width: width - middle_x, height: height - middle_y },
                PixelBox { left: width - 1, top: height / 2, width: 1, height: 1 },
            ] {
                let expected = resize_box(&all, part, part.width, part.height).expect("inside");
                let ours = resized_part(&image, (width, height), part).expect("inside");
                let off = ours.data.iter().zip(&expected.data).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(off <= Some(1), "{part:?} of {width} x {height}: {off:?}");
            }
        }
        assert!(resized_part(&image, (10, 10), PixelBox { left: 5, top: 0, width: 6, height: 1 }).is_err());
    }

    #[test]
    fn the_centre_of_a_line_is_made_without_the_rest() {
        let mut tall = Rgb::filled(1, 60_000, [0; 3]);
        (30_000..60_000).for_each(|y| tall.set_pixel(0, y, [240; 3]));
        let wide = Rgb { width: 60_000, height: 1, data: tall.data.clone() };
        for (side, crop) in [(256, 224), (224, 224), (128, 200)] {
            let down = validation(&tall, side, crop).expect("made");
            let across = validation(&wide, side, crop).expect("made");
            let margin = crop.saturating_sub(side) / 2;
            for at in 0..crop {
                // Between the two middle pixels, one of which is black.
                let place = f64::from(60_000 * side / 2 - crop / 2 + at) + 0.5;
                let expected = 240.0 * (place / f64::from(side) - 0.5 - 29_999.0).clamp(0.0, 1.0);
                for value in [down.pixel(crop / 2, at)[0], across.pixel(at, crop / 2)[0]] {
                    assert!((f64::from(value) - expected).abs() <= 1.0, "{side}, {crop}, {at}: {value}, {expected}");
                }
            }
            assert_eq!(down.pixel(margin, crop - 1), down.pixel(crop / 2, crop - 1));
            let outside = margin.checked_sub(1).map(|x| down.pixel(x, crop - 1));
            assert!(outside.is_none_or(|colour| colour == [0; 3]), "padding is black");
        }
    }

    #[test]
    fn impossible_sizes_and_boxes_are_errors() {
        let image = gradient(8, 8);
        assert!(resize(&image, 0, 4).is_err());
        assert!(validation(&image, 0, 4).is_err() && validation(&image, 8, 0).is_err());
        for (left, top, width, height) in [(0, 0, 0, 4), (5, 0, 4, 4), (0, 8, 1, 1), (u32::MAX, 0, 2, 1)] {
            assert!(resize_box(&image, PixelBox { left, top, width, height }, 4, 4).is_err());
        }
        let mut short = [0; 11];
        let all = PixelBox { left: 0, top: 0, width: 8, height: 8 };
        assert!(resized_crop_into(&image.data, 8, 8, all, 2, &mut short).is_err());
        assert!(resized_crop_into(&image.data[1..], 8, 8, all, 2, &mut [0; 12]).is_err());
    }
}
