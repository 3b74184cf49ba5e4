//! Views drawn where the network computes: stored bytes travel once, from pinned memory, and are cropped, resized, flipped and
//! normalised there.
//!
//! Resizing is linear in the pixels of a row, so that every view of a batch is a product with a matrix of its own: the triangle filter of
//! [`smalti_data::resize`], which widens when shrinking, over the columns of its box; then the same over its rows. Coefficients are rounded to
//! the 16-bit integers that they are there, so that sums are whole numbers below 2^24, which fp32 holds: levels are the same to the byte, unless a view
//! shrinks its box more than four times, or an environment variable has fp32 products rounded to TF32 on a GPU.

use super::{Look, Looks, Normalise, rearranged};
use crate::augment::{Flip, View};
use crate::engine::Engine;
use crate::error::Result;
use rayon::prelude::*;
use smalti_data::PixelBox;
use smalti_data::store::ImageStore;
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

/// Images [B, 3, side, side] of the engine's kind in channels-last storage, on the engine's device.
pub(super) fn fill(store: &ImageStore, (looks, side): Looks, normalise: &Normalise, engine: &Engine) -> Result<Tensor> {
    let stored = i64::from(store.size());
    let bytes = sent(&gathered(store, looks)?, engine.device).reshape([looks.len() as i64, stored, stored, 3]);
    let views: Vec<View> = looks.iter().map(|look| look.view.unwrap_or(whole(store.size()))).collect();
    let untouched = |view: &View| (view.region, view.flipped, side) == (whole(side).region, Flip::No, store.size());
    let levels = match views.iter().all(untouched) {
        true => bytes.to_kind(Kind::Float).permute([0, 3, 1, 2]),
        false => resized(&bytes.permute([0, 3, 1, 2]).to_kind(Kind::Float).contiguous(), &views, i64::from(side)),
    };
    let (mean, std) = normalise.tensors(engine.device);
    let normal = ((levels / 255.0 - mean) / std).to_kind(engine.kind);
    Ok(normal.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]))
}

/// The bytes of each image, [B, S, S, 3], its tiles in the order of the view.
fn gathered(store: &ImageStore, looks: &[Look]) -> Result<Vec<u8>> {
    let each = store.size() as usize * store.size() as usize * 3;
    let mut bytes = vec![0; looks.len() * each];
    bytes.par_chunks_mut(each).zip(looks).try_for_each(|(out, look)| {
        let stored = store.image(look.index)?;
        match look.view.map_or(0, |view| view.arrangement) {
            0 => out.copy_from_slice(&stored),
            number => out.copy_from_slice(&rearranged(&stored, store, number)),
        }
        Ok::<_, crate::Error>(())
    })?;
    Ok(bytes)
}

/// Numbers on the device. To a GPU they leave from pinned memory, so that the processor goes on while they travel.
fn sent<T: Element>(numbers: &[T], device: Device) -> Tensor {
    let here = Tensor::from_slice(numbers);
    match device {
        Device::Cpu => here,
        // `pin_memory` itself warns of its argument, which tch always gives.
        _ => here.internal_pin_memory(device).to_device_(device, here.kind(), true, false),
    }
}

fn whole(size: u32) -> View {
    View { arrangement: 0, region: PixelBox { left: 0, top: 0, width: size, height: size }, flipped: Flip::No }
}

/// The view of each image: levels [B, 3, S, S] to levels [B, 3, side, side].
fn resized(levels: &Tensor, views: &[View], side: i64) -> Tensor {
    let stored = levels.size()[3];
    let columns: Vec<Span> = views
        .iter()
        .map(|view| Span { first: view.region.left, count: view.region.width, flipped: view.flipped })
        .collect();
    let rows: Vec<Span> = views
        .iter()
        .map(|view| Span { first: view.region.top, count: view.region.height, flipped: Flip::No })
        .collect();
    let [columns, rows] = [&columns, &rows].map(|spans| Coefficients::new(spans, (stored, side), levels.device()));
    let between = columns.round(&levels.matmul(&columns.whole.transpose(-2, -1)));
    rows.round(&rows.whole.matmul(&between))
}

/// A part of an axis that becomes the whole of it.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    count: u32,
    flipped: Flip,
}

impl Span {
    /// First pixel, the one after the last, old pixels for each of `new` ones, the middle of the first new one in new pixels, and the way to
    /// the next: a mirrored view counts its new pixels from the other end.
    fn numbers(&self, new: f64) -> [f64; 5] {
        let (start, step) = if self.flipped == Flip::Yes { (new - 0.5, -1.0) } else { (0.5, 1.0) };
        let (first, count) = (f64::from(self.first), f64::from(self.count));
        [first, first + count, count / new, start, step]
    }
}

/// What each of the old pixels of an axis gives to each of the new ones.
struct Coefficients {
    /// Whole numbers, [B, 1, new, old].
    whole: Tensor,
    /// What 1 became, a power of two: [B, 1, 1, 1].
    one: Tensor,
}

impl Coefficients {
    fn new(spans: &[Span], (old, new): (i64, i64), device: Device) -> Coefficients {
        let weights = weights(spans, (old, new), device);
        // The largest power of two at which the largest weight is below 2^15.
        let largest = weights.amax([1i64, 2].as_slice(), true);
        let one = (largest.reciprocal() * 32_767.5).log2().floor().clamp_max(21.0).exp2();
        let whole = (weights * &one + 0.5).floor().to_kind(Kind::Float);
        Coefficients { whole: whole.unsqueeze(1), one: one.to_kind(Kind::Float).unsqueeze(1) }
    }

    /// Levels from sums of them: half up, as integers are shifted.
    fn round(&self, sums: &Tensor) -> Tensor {
        (sums / &self.one + 0.5).floor().clamp_max(255.0)
    }
}

/// The triangle filter over an axis: [B, new, old] in fp64, rows that sum to 1.
fn weights(spans: &[Span], (old, new): (i64, i64), device: Device) -> Tensor {
    let numbers: Vec<f64> = spans.iter().flat_map(|span| span.numbers(new as f64)).collect();
    let numbers = sent(&numbers, device).reshape([-1, 5, 1, 1]);
    let [first, end, scale, start, step] = [0, 1, 2, 3, 4].map(|number| numbers.select(1, number)); // [B, 1, 1]
    let at = |count: i64| Tensor::arange(count, (Kind::Double, device));
    let centre = &first + (at(new).unsqueeze(1) * step + start) * &scale; // [B, new, 1]
    let old = at(old);
    let distance = (&old + 0.5 - centre) / scale.clamp_min(1.0);
    let within = old.ge_tensor(&first).logical_and(&old.lt_tensor(&end));
    let weights = (-distance.abs() + 1.0).clamp_min(0.0) * within.to_kind(Kind::Double);
    let sum = weights.sum_dim_intlist([-1i64].as_slice(), true, Kind::Double);
    weights / sum
}

#[cfg(test)]
mod tests {
    use super::super::{IMAGENET, plain_batch};
    use super::*;
    use crate::augment::Arrangement;
    use crate::engine::Precision;
    use smalti_data::Rgb;
    use smalti_data::mosaic::Layout;

    const SIDE: u32 = 24;

    /// Pictures with edges, slopes and noise.
    fn store() -> ImageStore {
        let picture = |number: u32| {
            let mut picture = Rgb::filled(SIDE, SIDE, [0; 3]);
            for y in 0..SIDE {
                for x in 0..SIDE {
                    let noise = (x * 7919 + y * 104_729 + number * 31).wrapping_mul(2_654_435_761) >> 24;
                    picture.set_pixel(x, y, [noise as u8, (x * 10) as u8, if x > y { 255 } else { 0 }]);
                }
            }
            (picture, 0)
        };
        ImageStore::from_images(&(0..3).map(picture).collect::<Vec<_>>(), &Layout { grid: 2, size: SIDE })
    }

    fn looks() -> Vec<Look> {
        let boxes = [
            (0, 0, 24, 24),
            (3, 5, 9, 14),
            (0, 12, 24, 12),
            (23, 0, 1, 24),
            (7, 7, 1, 1),
            (2, 0, 17, 23),
            (1, 0, 12, 24),
        ];
        let mut looks = Vec::new();
        for (left, top, width, height) in boxes {
            for flipped in [Flip::No, Flip::Yes] {
                for arrangement in [0, Arrangement::count(2) - 1] {
                    let region = PixelBox { left, top, width, height };
                    let view = Some(View { arrangement, region, flipped });
                    looks.push(Look { index: looks.len() as u32 % 3, view });
                }
            }
        }
        looks
    }

    /// The levels of a batch.
    fn levels(batch: &Tensor) -> Tensor {
        let (mean, std) = IMAGENET.tensors(Device::Cpu);
        (batch * std + mean) * 255.0
    }

    /// Against the loader of the processor, which is torchvision's to the byte: enlarged, shrunk up to twice, flipped and rearranged.
    #[test]
    fn views_are_those_of_the_processor_to_the_byte() {
        let engine = Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere");
        for side in [SIDE, 16, 12] {
            let here = super::super::fill(&store(), (&looks(), side), &IMAGENET, &engine).expect("in memory");
            let there = fill(&store(), (&looks(), side), &IMAGENET, &engine).expect("in memory");
            assert_eq!((there.size(), there.kind()), (vec![28, 3, i64::from(side), i64::from(side)], here.kind()));
            assert!(there.permute([0, 2, 3, 1]).is_contiguous());
            let off = (levels(&here) - levels(&there)).abs().max().double_value(&[]);
            assert!(off < 1e-3, "{off} levels at {side} px");
        }
    }

    #[test]
    fn whole_images_are_those_of_the_processor() {
        for precision in [Precision::F32, Precision::Bf16] {
            let Ok(engine) = Engine::cpu(precision, 1) else { continue };
            let here = plain_batch(&store(), &[2, 0], &IMAGENET, &engine).expect("in memory");
            let looks = [2, 0].map(|index| Look { index, view: None });
            let there = fill(&store(), (&looks, SIDE), &IMAGENET, &engine).expect("in memory");
            assert_eq!(there.kind(), engine.kind);
            let off = (here.to_kind(Kind::Float) - there.to_kind(Kind::Float)).abs().max().double_value(&[]);
            // One rounding of the format, of numbers up to 2.64.
            assert!(off < if engine.kind == Kind::Float { 1e-6 } else { 0.016 }, "{off}");
        }
    }
}
