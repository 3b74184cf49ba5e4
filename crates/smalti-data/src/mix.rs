//! CutMix and MixUp on a batch: one draw, one box and one pairing for all of its images.
//!
//! The rule is that of torchvision's v2 transforms and of the published benchmark's code, which agree on the box. They differ in what the
//! labels get: torchvision mixes them by the share of pixels kept after the box was clipped, the benchmark by the number drawn.
//! [`Cut`] holds both. Papers: CutMix (arXiv 1905.04899), MixUp (arXiv 1710.09412).

use crate::error::{Error, Result};
use crate::pixels::PixelBox;
use crate::random::Stream;

/// Sides of a batch in rows of pixels (NHWC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Images.
    pub images: usize,
    /// Rows of each.
    pub height: u32,
    /// Columns of each.
    pub width: u32,
    /// Values of each pixel.
    pub channels: usize,
}

/// One draw of CutMix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// What is taken from the partner; without pixels where the draw keeps nearly everything.
    pub region: PixelBox,
    /// The share that was drawn, before the box was rounded and clipped.
    pub lambda: f64,
    /// The share of pixels that stay.
    pub kept: f64,
}

/// Draws a share from Beta(alpha, alpha) and a box of the rest of the area around any pixel.
///
/// # Errors
/// [`Error::Input`] unless `alpha` is above 0 and the picture has a pixel.
pub fn cutmix(width: u32, height: u32, alpha: f64, stream: &mut Stream) -> Result<Cut> {
    let lambda = beta(alpha, stream)?;
    if width == 0 || height == 0 {
        return Err(Error::input("a picture without pixels cannot be cut", "give both sides at least one pixel"));
    }
    let (column, row) = (stream.below(width), stream.below(height));
    Ok(cut(width, height, lambda, column, row))
}

/// The box for a given draw: sides of `sqrt(1 - lambda)`, rounded down to an even number of pixels, clipped to the picture.
pub fn cut(width: u32, height: u32, lambda: f64, column: u32, row: u32) -> Cut {
    let part = 0.5 * (1.0 - lambda.clamp(0.0, 1.0)).sqrt();
    let span = |side: u32, centre: u32| {
        let half = (part * f64::from(side)) as u32;
        let (first, end) = (centre.saturating_sub(half), centre.saturating_add(half).min(side));
        (first.min(end), end.saturating_sub(first))
    };
    let ((left, box_width), (top, box_height)) = (span(width, column), span(height, row));
    let cut = f64::from(box_width) * f64::from(box_height);
    let kept = 1.0 - cut / (f64::from(width) * f64::from(height));
    Cut { region: PixelBox { left, top, width: box_width, height: box_height }, lambda, kept }
}

/// The share of MixUp: Beta(alpha, alpha).
///
/// # Errors
/// [`Error::Input`] unless `alpha` is above 0.
pub fn beta(alpha: f64, stream: &mut Stream) -> Result<f64> {
    if !(alpha > 0.0 && alpha.is_finite()) {
        return Err(Error::input(format!("Beta({alpha}, {alpha}) is no distribution"), "give an alpha above 0"));
    }
    if alpha == 1.0 {
        return Ok(stream.uniform());
    }
    let (a, b) = (gamma(alpha, stream), gamma(alpha, stream));
    // Both can round to 0 for a tiny alpha; the distribution is then all but two points.
    Ok(if a + b > 0.0 { a / (a + b) } else { f64::from(stream.below(2)) })
}

/// Gamma(shape, 1) by Marsaglia and Tsang (ACM TOMS 26.3, 2000), which boosts shapes below 1.
fn gamma(shape: f64, stream: &mut Stream) -> f64 {
    if shape < 1.0 {
        let boost = (1.0 - stream.uniform()).powf(1.0 / shape);
        return boost * gamma(shape + 1.0, stream);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = stream.normal();
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - stream.uniform();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Replaces `region` of every image by that of its partner: image i of the batch is paired with image `partner[i]` as it was before.
///
/// # Errors
/// [`Error::Input`] when the batch has another length than its shape, the box leaves the picture, or a partner is not there.
pub fn cutmix_batch<T: Copy>(batch: &mut [T], shape: Shape, region: PixelBox, partner: &[u32]) -> Result<()> {
    let each = shape.check(batch.len(), partner)?;
    let inside = |first: u32, count: u32, all: u32| first.checked_add(count).is_some_and(|end| end <= all);
    if !inside(region.left, region.width, shape.width) || !inside(region.top, region.height, shape.height) {
        return Err(Error::input("the box to cut leaves the picture", "draw it for the size of the batch"));
    }
    let row = region.width as usize * shape.channels;
    let starts: Vec<usize> = (region.top..region.top + region.height)
        .map(|y| (y as usize * shape.width as usize + region.left as usize) * shape.channels)
        .collect();
    // All boxes are gathered first, since partners change too.
    let boxes: Vec<T> = partner
        .iter()
        .flat_map(|&from| starts.iter().map(move |start| from as usize * each + start))
        .flat_map(|start| batch[start..start + row].to_vec())
        .collect();
    if row == 0 {
        return Ok(());
    }
    for (at, pixels) in boxes.chunks_exact(row).enumerate() {
        let start = at / starts.len() * each + starts[at % starts.len()];
        batch[start..start + row].copy_from_slice(pixels);
    }
    Ok(())
}

/// Every image becomes `lambda` of itself and `1 - lambda` of its partner as it was before.
///
/// # Errors
/// As [`cutmix_batch`].
pub fn mixup_batch(batch: &mut [f32], shape: Shape, lambda: f32, partner: &[u32]) -> Result<()> {
    let each = shape.check(batch.len(), partner)?;
    let before = batch.to_vec();
    for (image, &from) in batch.chunks_exact_mut(each).zip(partner) {
        let other = &before[from as usize * each..][..each];
        image.iter_mut().zip(other).for_each(|(value, other)| *value = other * (1.0 - lambda) + *value * lambda);
    }
    Ok(())
}

impl Shape {
    /// Values of one image.
    fn check(self, values: usize, partner: &[u32]) -> Result<usize> {
        let each = self.height as usize * self.width as usize * self.channels;
        let there = partner.iter().all(|&other| (other as usize) < self.images);
        if each == 0 || partner.len() != self.images || each.checked_mul(self.images) != Some(values) || !there {
            return Err(Error::input(
                format!("{values} values and {} partners are no batch of {self:?}", partner.len()),
                "give all values of the batch, and a partner in it for each image",
            ));
        }
        Ok(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stage;
    use proptest::prelude::*;

    /// Mean and variance of Beta(a, a) are 1/2 and 1 / (4 (2 a + 1)).
    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        for alpha in [0.2, 0.8, 1.0, 3.0] {
            let mut stream = Stream::new(5, Stage::Mix, 0, 0);
            let draws: Vec<f64> = (0..40_000).map(|_| beta(alpha, &mut stream).expect("an alpha above 0")).collect();
            let n = draws.len() as f64;
            let mean = draws.iter().sum::<f64>() / n;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Five standard errors of the mean; the variance has a smaller one, since no share is far from 1/2.
            let bound = 5.0 * (expected / n).sqrt();
            assert!((mean - 0.5).abs() < bound && (variance - expected).abs() < bound, "{alpha}: {mean}, {variance}");
        }
        assert!(beta(0.0, &mut Stream::new(0, Stage::Mix, 0, 0)).is_err());
    }

    proptest! {
        #[test]
        fn a_box_stays_inside_and_its_share_is_counted(
            width in 1u32..300, height in 1u32..300, lambda in 0.0f64..=1.0, x in 0.0f64..1.0, y in 0.0f64..1.0,
        ) {
            let (column, row) = ((x * f64::from(width)) as u32, (y * f64::from(height)) as u32);
            let Cut { region, kept, .. } = cut(width, height, lambda, column, row);
            prop_assert!(region.left + region.width <= width && region.top + region.height <= height);
            let share = f64::from(region.width * region.height) / f64::from(width * height);
            prop_assert!((kept - (1.0 - share)).abs() < 1e-12);
            prop_assert!(share <= 1.0 - lambda + 1e-9, "never more than was drawn");
        }
    }

    #[test]
    fn partners_are_taken_as_they_were() {
        let shape = Shape { images: 3, height: 2, width: 2, channels: 1 };
        let mut batch: Vec<u8> = (0..12).collect();
        let right = PixelBox { left: 1, top: 0, width: 1, height: 2 };
        cutmix_batch(&mut batch, shape, right, &[1, 2, 0]).expect("a batch");
        assert_eq!(batch, [0, 5, 2, 7, 4, 9, 6, 11, 8, 1, 10, 3]);
        assert!(cutmix_batch(&mut batch, shape, PixelBox { left: 2, ..right }, &[0, 1, 2]).is_err());
        assert!(cutmix_batch(&mut batch, shape, right, &[0, 1, 3]).is_err());
        assert!(mixup_batch(&mut [0.0; 11], shape, 0.5, &[0, 1, 2]).is_err());
        let nothing = PixelBox { left: 1, top: 1, width: 0, height: 1 };
        let before = batch.clone();
        cutmix_batch(&mut batch, shape, nothing, &[1, 2, 0]).expect("nothing to cut");
        assert_eq!(batch, before);
    }
}
