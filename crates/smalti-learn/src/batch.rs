//! From stored bytes to a batch: crop, resize, flip, normalise, channels-last; and mixing.

mod on_device;

use crate::augment::{Arrangement, Augment, Flip, View};
use crate::distort::Distort;
use crate::engine::Engine;
use crate::error::Result;
use crate::mix::Mixed;
use crate::sight::Sight;
use rayon::prelude::*;
use smalti_data::crop::CropRange;
use smalti_data::resize::resized_crop_into;
use smalti_data::store::ImageStore;
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

/// Mean and standard deviation per channel, for pixels in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Normalise {
    /// Subtracted.
    pub mean: [f32; 3],
    /// Divided by.
    pub std: [f32; 3],
}

/// ImageNet's constants, used by the field for every data set unless it says otherwise.
pub const IMAGENET: Normalise = Normalise { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

impl Normalise {
    /// Mean and standard deviation, [1, 3, 1, 1] each.
    pub(crate) fn tensors(&self, device: Device) -> (Tensor, Tensor) {
        let of = |values: [f32; 3]| Tensor::from_slice(&values).reshape([1, 3, 1, 1]).to_device(device);
        (of(self.mean), of(self.std))
    }

    /// Images [B, 3, S, S] under `other` constants, as they are under these.
    pub fn instead_of(&self, other: &Normalise, images: &Tensor) -> Tensor {
        let of = |at: fn(&Normalise, &Normalise, usize) -> f32| {
            let values = [0, 1, 2].map(|channel| at(self, other, channel));
            Tensor::from_slice(&values).reshape([1, 3, 1, 1]).to_device(images.device()).to_kind(images.kind())
        };
        let factor = of(|own, other, channel| other.std[channel] / own.std[channel]);
        let shift = of(|own, other, channel| (other.mean[channel] - own.mean[channel]) / own.std[channel]);
        images * factor + shift
    }
}

/// How views are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Views {
    /// The way.
    pub augment: Augment,
    /// Area and aspect of a crop, relative to its frame.
    pub range: CropRange,
    /// What happens to a view then.
    pub distort: Distort,
    /// Key of the draws.
    pub seed: u64,
}

/// One image in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Number in the store.
    pub index: u32,
    /// Pass over the store, from 0.
    pub epoch: u32,
}

/// What a step sees: images [B, 3, side, side] of the engine's kind in channels-last storage.
///
/// # Errors
/// When a spooled image cannot be read back.
pub(crate) fn viewed_batch(
    store: &ImageStore,
    sight: &Sight,
    normalise: &Normalise,
    engine: &Engine,
) -> Result<Tensor> {
    let looks: Vec<Look> = sight
        .items
        .iter()
        .zip(&sight.views)
        .map(|(item, &view)| Look { index: item.index, view: Some(view) })
        .collect();
    fill(store, (&looks, sight.side), normalise, engine)
}

/// A batch of `indices` as stored: images [B, 3, S, S] of the engine's kind in channels-last storage.
///
/// # Errors
/// When a spooled image cannot be read back.
pub fn plain_batch(store: &ImageStore, indices: &[u32], normalise: &Normalise, engine: &Engine) -> Result<Tensor> {
    let looks: Vec<Look> = indices.iter().map(|&index| Look { index, view: None }).collect();
    fill(store, (&looks, store.size()), normalise, engine)
}

/// Labels as an int64 tensor `[B]`.
pub fn label_tensor(labels: &[u32], device: Device) -> Tensor {
    let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    Tensor::from_slice(&labels).to_device(device)
}

/// One image of a batch: a view of it, or the whole as it is, at the stored side.
#[derive(Clone, Copy)]
struct Look {
    index: u32,
    view: Option<View>,
}

/// Looks that all have one side, in pixels.
type Looks<'a> = (&'a [Look], u32);

fn fill(store: &ImageStore, looks: Looks, normalise: &Normalise, engine: &Engine) -> Result<Tensor> {
    if engine.device != Device::Cpu {
        return on_device::fill(store, looks, normalise, engine);
    }
    // Rounded to the engine's kind here, in the table, rather than in a pass of its own over the batch. bf16 travels as its bits:
    // tch takes `half::bf16` for fp16.
    let bits = |value: f32| half::bf16::from_f32(value).to_bits().cast_signed();
    match engine.kind {
        Kind::BFloat16 => Ok(fill_with(store, looks, &lookup(normalise, bits))?.view_dtype(Kind::BFloat16)),
        _ => fill_with(store, looks, &lookup(normalise, std::convert::identity)),
    }
}

/// Each image with a box of its partner, or weighted with it. The batch is overwritten where a box is pasted.
pub(crate) fn mix_in(batch: &Tensor, Mixed { partner, region, own }: &Mixed) -> Tensor {
    let partner = label_tensor(partner, batch.device());
    match region {
        Some(region) => {
            let [left, top, width, height] = [region.left, region.top, region.width, region.height].map(i64::from);
            let mut own = batch.narrow(2, top, height).narrow(3, left, width);
            // Gathered first, since partners change too.
            own.copy_(&own.index_select(0, &partner));
            batch.shallow_clone()
        }
        None => {
            let plain = batch.to_kind(Kind::Float);
            (plain.index_select(0, &partner) * (1.0 - own) + plain * *own).to_kind(batch.kind())
        }
    }
}

fn fill_with<T: Element + Copy + Send + Sync>(
    store: &ImageStore,
    (looks, side): Looks,
    table: &Table<T>,
) -> Result<Tensor> {
    let each = side as usize * side as usize * 3;
    let mut batch = vec![T::ZERO; looks.len() * each];
    batch.par_chunks_mut(each).zip(looks).try_for_each_init(
        || vec![0u8; each],
        |pixels, (out, look)| {
            let stored = store.image(look.index)?;
            match look.view {
                None => spread(&stored, table, out),
                Some(View { arrangement, region, flipped }) => {
                    let stored = match arrangement {
                        0 => stored,
                        number => rearranged(&stored, store, number).into(),
                    };
                    resized_crop_into(&stored, store.size(), store.size(), region, side, pixels)?;
                    if flipped == Flip::Yes {
                        mirror(pixels, side as usize);
                    }
                    spread(pixels, table, out);
                }
            }
            Ok::<_, crate::Error>(())
        },
    )?;
    let side = i64::from(side);
    let batch = Tensor::from_slice(&batch);
    Ok(batch.reshape([looks.len() as i64, side, side, 3]).permute([0, 3, 1, 2])) // [B, 3, side, side], NHWC storage
}

/// The image with the rows and columns of its tiles in another order.
fn rearranged(stored: &[u8], store: &ImageStore, number: u32) -> Vec<u8> {
    let tiles = store.tiles();
    let grid = tiles.len().isqrt() as u32;
    let Arrangement { rows, columns } = Arrangement::numbered(number, grid);
    let side = store.size() as usize;
    // Tiles of one row have one height and those of one column one width, which they take along.
    let lines: Vec<usize> = rows
        .iter()
        .map(|&row| tiles[(row * grid) as usize])
        .flat_map(|t| t.top..t.top + t.height)
        .map(|y| y as usize)
        .collect();
    let places: Vec<usize> = columns
        .iter()
        .map(|&column| tiles[column as usize])
        .flat_map(|t| t.left..t.left + t.width)
        .map(|x| x as usize)
        .collect();
    let mut out = Vec::with_capacity(stored.len());
    for &y in &lines {
        for &x in &places {
            let at = 3 * (y * side + x);
            out.extend_from_slice(&stored[at..at + 3]);
        }
    }
    out
}

/// The normalised value of each byte in each channel.
type Table<T> = [[T; 256]; 3];

fn lookup<T: Element + Copy>(normalise: &Normalise, round: fn(f32) -> T) -> Table<T> {
    let mut table = [[T::ZERO; 256]; 3];
    for (channel, row) in table.iter_mut().enumerate() {
        for (byte, value) in row.iter_mut().enumerate() {
            *value = round((byte as f32 / 255.0 - normalise.mean[channel]) / normalise.std[channel]);
        }
    }
    table
}

fn spread<T: Copy>(pixels: &[u8], [red, green, blue]: &Table<T>, out: &mut [T]) {
    for (pixel, out) in pixels.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
        out[0] = red[usize::from(pixel[0])];
        out[1] = green[usize::from(pixel[1])];
        out[2] = blue[usize::from(pixel[2])];
    }
}

fn mirror(pixels: &mut [u8], side: usize) {
    for row in pixels.chunks_exact_mut(side * 3) {
        for x in 0..side / 2 {
            for channel in 0..3 {
                row.swap(x * 3 + channel, (side - 1 - x) * 3 + channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Mix;
    use smalti_data::Rgb;
    use smalti_data::mix::{Shape, cutmix_batch, mixup_batch};
    use smalti_data::mosaic::Layout;

    fn store() -> ImageStore {
        let mut picture = Rgb::filled(4, 4, [0; 3]);
        for x in 0..4 {
            for y in 0..4 {
                picture.set_pixel(x, y, [(x * 60) as u8, (y * 60) as u8, (x * 16 + y) as u8]);
            }
        }
        ImageStore::from_images(&[(picture, 0), (Rgb::filled(4, 4, [255; 3]), 1)], &Layout { grid: 1, size: 4 })
    }

    fn engine(kind: Kind) -> Engine {
        Engine { device: Device::Cpu, kind, threads: 1 }
    }

    #[test]
    fn a_batch_is_normalised_rgb_in_channels_last_storage() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let batch = plain_batch(&store(), &[1, 0], &IMAGENET, &engine(kind)).expect("in memory");
            assert_eq!((batch.size(), batch.kind()), (vec![2, 3, 4, 4], kind));
            assert!(batch.permute([0, 2, 3, 1]).is_contiguous());
            let tolerance = if kind == Kind::Float { 1e-6 } else { 1e-2 };
            for (channel, y, x, byte) in [(0, 1, 3, 180.0), (1, 2, 0, 120.0), (2, 3, 2, 35.0)] {
                let expected = (byte / 255.0 - IMAGENET.mean[channel]) / IMAGENET.std[channel];
                let found = batch.double_value(&[1, channel as i64, y, x]);
                assert!(
                    (found - f64::from(expected)).abs() < tolerance,
                    "{kind:?} {channel} {y} {x}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_view_depends_on_seed_epoch_and_image_and_on_nothing_else() {
        let views =
            |seed| Views { augment: Augment::Standard, range: CropRange::default(), distort: Distort::None, seed };
        let batch = |seed, items: &[Item]| {
            let sight = Sight::draw(&store(), items.to_vec(), (&views(seed), 4), Mix::None, 0).expect("drawn");
            sight.images(&store(), &IMAGENET, &engine(Kind::Float)).expect("in memory")
        };
        let item = |index, epoch| Item { index, epoch };
        let base = batch(1, &[item(0, 3)]);
        assert_eq!(batch(1, &[item(1, 3), item(0, 3)]).get(1), base.get(0));
        assert_ne!(batch(2, &[item(0, 3)]), base);
        assert_ne!(batch(1, &[item(0, 4)]), base);
    }

    #[test]
    fn mixing_replaces_the_box_or_averages_in_either_kind() {
        let plain = Sight::draw(
            &store(),
            vec![Item { index: 0, epoch: 0 }, Item { index: 1, epoch: 0 }],
            (&Views { augment: Augment::None, range: CropRange::default(), distort: Distort::None, seed: 0 }, 4),
            Mix::None,
            0,
        )
        .expect("drawn");
        let region = smalti_data::PixelBox { left: 1, top: 2, width: 2, height: 1 };
        for kind in [Kind::Float, Kind::BFloat16] {
            let images = |mixed: Option<Mixed>| {
                let sight = Sight { mixed, ..plain.clone() };
                sight.images(&store(), &IMAGENET, &engine(kind)).expect("in memory")
            };
            let before = images(None);
            let cut = images(Some(Mixed { partner: vec![1, 0], region: Some(region), own: 0.875 }));
            assert!(cut.permute([0, 2, 3, 1]).is_contiguous());
            let flat = |batch: &Tensor| -> Vec<f32> {
                Vec::try_from(batch.permute([0, 2, 3, 1]).to_kind(Kind::Float).contiguous().view(-1)).expect("numbers")
            };
            let shape = Shape { images: 2, height: 4, width: 4, channels: 3 };
            let mut expected = flat(&before);
            cutmix_batch(&mut expected, shape, region, &[1, 0]).expect("a batch");
            assert_eq!(flat(&cut), expected);

            let averaged = images(Some(Mixed { partner: vec![1, 0], region: None, own: 0.25 }));
            let mut expected = flat(&before);
            mixup_batch(&mut expected, shape, 0.25, &[1, 0]).expect("a batch");
            let off = flat(&averaged).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < if kind == Kind::Float { 1e-6 } else { 1e-2 }, "{off}");
        }
    }

    #[test]
    fn a_mirrored_picture_has_its_columns_in_reverse() {
        let mut pixels: Vec<u8> = (0..18).collect();
        mirror(&mut pixels[..9], 3);
        assert_eq!(pixels[..9], [6, 7, 8, 3, 4, 5, 0, 1, 2]);
        assert_eq!(pixels[9..], [9, 10, 11, 12, 13, 14, 15, 16, 17]);
    }
}
