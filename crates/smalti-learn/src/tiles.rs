//! How hard a network finds pictures that are smaller than what it looks at.

use crate::batch::Normalise;
use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::inference::at_once;
use crate::nets::{Mode, Network};
use smalti_data::Rgb;
use tch::{Device, Kind, Tensor};

/// The cross-entropy of `class` for each square tile, which is shown in the middle of the network's image with the mean colour around it (arXiv
/// 2312.03526, its code). Only the set's classes count: `columns[c]` is the network's logit of class c.
///
/// # Errors
/// [`Error::Input`] for tiles that are not square, of several sizes, or larger than the network's image.
pub fn tile_losses(
    network: &Network,
    tiles: &[&Rgb],
    (columns, class): (&[i64], u32),
    normalise: &Normalise,
    engine: &Engine,
) -> Result<Vec<f32>> {
    let (size, side) = (network.shape.size, tiles.first().map_or(1, |tile| tile.width));
    if side > size || tiles.iter().any(|tile| (tile.width, tile.height) != (side, side)) {
        return Err(Error::input(
            format!("tiles of one size up to {size} px are judged; one of {side} px or another one is among them"),
            "crop them to squares of one size first",
        ));
    }
    let (mean, std) = normalise.tensors(engine.device);
    let columns = Tensor::from_slice(columns).to_device(engine.device);
    let (before, after) = ((size - side) / 2, (size - side).div_ceil(2));
    let padding = [before, after, before, after].map(i64::from);
    let mut losses = Vec::with_capacity(tiles.len());
    for part in tiles.chunks(at_once(size)) {
        let bytes: Vec<u8> = part.iter().flat_map(|tile| tile.data.iter().copied()).collect();
        let said = guard("tiles", || {
            Ok(tch::no_grad(|| {
                let shape = [part.len() as i64, side.into(), side.into(), 3];
                let pixels = Tensor::from_slice(&bytes).to_device(engine.device).reshape(shape).to_kind(Kind::Float);
                let images = ((pixels.permute([0, 3, 1, 2]) / 255.0 - &mean) / &std).constant_pad_nd(padding);
                let logits = network.forward(&images, Mode::Eval).logits.index_select(1, &columns);
                -logits.log_softmax(-1, Kind::Float).select(1, class.into())
            }))
        })?;
        let mut values = vec![0f32; part.len()];
        said.to_device(Device::Cpu).contiguous().copy_data(&mut values, part.len());
        losses.append(&mut values);
    }
    Ok(losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::IMAGENET;
    use crate::engine::Precision;
    use crate::nets::Shape;

    /// A tile is the picture that has the mean colour around it; of that the loss is taken over the columns asked for.
    #[test]
    fn a_tile_is_shown_in_the_middle_and_judged_among_its_classes() {
        let engine = Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere");
        let network = Network::new("convnet-2/8", Shape { classes: 4, size: 9 }, 3, &engine).expect("in the list");
        let shades = |n: u32| Rgb { width: 4, height: 4, data: (0..48).map(|b| (b * 5 + n * 11) as u8).collect() };
        let tiles = [shades(0), shades(7)];
        let columns = [3i64, 0, 1];
        let found = tile_losses(&network, &tiles.iter().collect::<Vec<_>>(), (&columns, 2), &IMAGENET, &engine);
        let found = found.expect("tiles of one size");
        for (tile, loss) in tiles.iter().zip(&found) {
            let mut values = vec![0f32; 3 * 81];
            for (c, y, x) in (0..3).flat_map(|c| (0..4).flat_map(move |y| (0..4).map(move |x| (c, y, x)))) {
                let pixel = f32::from(tile.data[(y * 4 + x) * 3 + c]) / 255.0;
                // 5 px are over: 2 before and 3 behind.
                values[c * 81 + (y + 2) * 9 + x + 2] = (pixel - IMAGENET.mean[c]) / IMAGENET.std[c];
            }
            let image = Tensor::from_slice(&values).reshape([1, 3, 9, 9]);
            let logits = tch::no_grad(|| network.forward(&image, Mode::Eval)).logits;
            let at = |column: i64| logits.double_value(&[0, column]);
            let expected = (at(3).exp() + at(0).exp() + at(1).exp()).ln() - at(1);
            assert!((f64::from(*loss) - expected).abs() < 1e-5, "{loss} and {expected}");
        }
        assert!((found[0] - found[1]).abs() > 1e-4, "the two tiles differ");
        let wide = Rgb::filled(5, 4, [0; 3]);
        assert!(tile_losses(&network, &[&wide], (&columns, 2), &IMAGENET, &engine).is_err());
    }
}
