//! Crop boxes for training: torchvision's RandomResizedCrop, whole pictures and single tiles of a mosaic alike.
//!
//! The boxes are drawn from our own keyed stream, so they are not torchvision's boxes for a seed; their distribution is
//! (tested against draws of `torchvision.transforms.v2.RandomResizedCrop`).

use crate::error::{Error, Result};
use crate::pixels::PixelBox;
use crate::random::Stream;

/// How large and how flat a random crop may be.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropRange {
    /// Smallest and largest area, as parts of the picture's or tile's area.
    pub scale: (f64, f64),
    /// Smallest and largest width divided by height.
    pub ratio: (f64, f64),
}

impl Default for CropRange {
    /// torchvision's defaults: 0.08 to 1 of the area, ratios of 3/4 to 4/3.
    fn default() -> CropRange {
        CropRange { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }
    }
}

impl CropRange {
    /// Checks a range that a person wrote.
    ///
    /// # Errors
    /// [`Error::Input`] unless 0 < low ≤ high for both pairs and the largest area is at most 1.
    pub fn check(&self) -> Result<()> {
        let ordered = |(low, high): (f64, f64)| low > 0.0 && low <= high && high.is_finite();
        if !ordered(self.scale) || self.scale.1 > 1.0 {
            return Err(Error::input(
                format!("the crop areas {} to {} are no range of parts of a picture", self.scale.0, self.scale.1),
                "give two numbers above 0 and up to 1, the smaller one first, such as 0.08 and 1",
            ));
        }
        if !ordered(self.ratio) {
            return Err(Error::input(
                format!("the crop ratios {} to {} are no range of width / height", self.ratio.0, self.ratio.1),
                "give two numbers above 0, the smaller one first, such as 0.75 and 1.333",
            ));
        }
        Ok(())
    }
}

/// A box inside a picture of `width` x `height` pixels, drawn as torchvision's `RandomResizedCrop.get_params` draws it:
/// ten tries of an area and a ratio; when none fits, the central crop with the nearest allowed ratio.
///
/// The box is never empty and always lies inside the picture.
pub fn random_resized_crop(width: u32, height: u32, range: &CropRange, stream: &mut Stream) -> PixelBox {
    let area = f64::from(width) * f64::from(height);
    let log_ratio = (range.ratio.0.ln(), range.ratio.1.ln());
    for _ in 0..10 {
        let target = area * stream.between(range.scale.0, range.scale.1);
        let ratio = stream.between(log_ratio.0, log_ratio.1).exp();
        let (w, h) = (rounded(target * ratio), rounded(target / ratio));
        if 0 < w && w <= width && 0 < h && h <= height {
            let top = stream.below(height - h + 1);
            let left = stream.below(width - w + 1);
            return PixelBox { left, top, width: w, height: h };
        }
    }
    central(width, height, range)
}

/// A box inside one `tile` of a mosaic, in the mosaic's pixels: [`random_resized_crop`] of the tile alone. No pixel of a
/// neighbouring tile is ever inside.
pub fn constrained(tile: PixelBox, range: &CropRange, stream: &mut Stream) -> PixelBox {
    let inner = random_resized_crop(tile.width, tile.height, range, stream);
    PixelBox { left: tile.left + inner.left, top: tile.top + inner.top, ..inner }
}

/// The fallback: all of the picture when its own ratio is allowed, otherwise the longer side is cut, centred.
fn central(width: u32, height: u32, range: &CropRange) -> PixelBox {
    let ratio = f64::from(width) / f64::from(height);
    let (w, h) = if ratio < range.ratio.0 {
        (width, whole(f64::from(width) / range.ratio.0).clamp(1, height))
    } else if ratio > range.ratio.1 {
        (whole(f64::from(height) * range.ratio.1).clamp(1, width), height)
    } else {
        (width, height)
    };
    PixelBox { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
}

/// The side of a square of that area, rounded as Python's `round` does, half to even.
fn rounded(area: f64) -> u32 {
    whole(area.sqrt())
}

fn whole(x: f64) -> u32 {
    // `as` saturates, so a wild range cannot overflow.
    x.round_ties_even() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stage;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_box_is_never_empty_and_never_leaves_its_tile(
            left in 0u32..500, top in 0u32..500, width in 1u32..700, height in 1u32..700,
            low in 0.001f64..1.0, span in 0.0f64..1.0, flat in 0.05f64..3.0, wide in 1.0f64..4.0, sample in 0u64..1000,
        ) {
            let range = CropRange { scale: (low, (low + span).min(1.0)), ratio: (flat, flat * wide) };
            prop_assert!(range.check().is_ok());
            let tile = PixelBox { left, top, width, height };
            let crop = constrained(tile, &range, &mut Stream::new(1, Stage::Augment, 0, sample));
            prop_assert!(crop.width >= 1 && crop.height >= 1);
            prop_assert!(crop.left >= left && crop.left + crop.width <= left + width);
            prop_assert!(crop.top >= top && crop.top + crop.height <= top + height);
        }
    }

    #[test]
    fn the_whole_of_a_square_is_the_only_box_of_full_scale_and_ratio_one() {
        let range = CropRange { scale: (1.0, 1.0), ratio: (1.0, 1.0) };
        let whole = PixelBox { left: 0, top: 0, width: 96, height: 96 };
        assert_eq!(random_resized_crop(96, 96, &range, &mut Stream::new(0, Stage::Augment, 0, 0)), whole);
    }

    #[test]
    fn the_fallback_cuts_the_longer_side_in_the_middle() {
        // A 400 x 100 picture holds no crop of its full area with a ratio of at most 4/3: always the fallback.
        let range = CropRange { scale: (1.0, 1.0), ..CropRange::default() };
        let mut stream = Stream::new(0, Stage::Augment, 0, 0);
        let wide = random_resized_crop(400, 100, &range, &mut stream);
        assert_eq!(wide, PixelBox { left: 133, top: 0, width: 133, height: 100 });
        let tall = random_resized_crop(100, 400, &range, &mut stream);
        assert_eq!(tall, PixelBox { left: 0, top: 133, width: 100, height: 133 });
    }

    #[test]
    fn a_range_upside_down_is_refused() {
        for (scale, ratio) in [((0.5, 0.2), (1.0, 1.0)), ((0.1, 1.5), (1.0, 1.0)), ((0.1, 1.0), (0.0, 1.0))] {
            assert!(CropRange { scale, ratio }.check().is_err(), "{scale:?} {ratio:?}");
        }
    }
}
