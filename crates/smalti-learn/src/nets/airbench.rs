//! The network of CIFAR-10's speed records: a 2x2 convolution that whitens patches, then three blocks that begin as the identity.
//!
//! K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv 2404.00498). Kept: frozen whitening filters W and -W (eigenvectors of the patches'
//! covariance over the roots of its eigenvalues), maximum pooling inside a block, filters that start as the identity, GELU, the small head. Different: norms
//! have a scale and the usual momentum, and the last pooling takes all that is left, so that other sizes than 32 px fit.

use super::builder::{Bias, Builder};
use super::layers::{Conv, ConvNorm, Geometry, Linear};
use super::{Body, Family, Mode, Shape};
use crate::error::Result;
use tch::{Kind, Tensor};

pub(super) const FAMILY: Family = Family {
    grammar: "airbench[/WIDTH][-learnt], such as airbench (width 64); -learnt learns the first filters from a random start",
    about: "whitened 2x2 patches, three blocks of two 3x3 convolutions with maximum pooling, WIDTH and twice 4 x WIDTH channels; learns in few epochs",
    paper: "arXiv 2404.00498",
    examples: &["airbench", "airbench/32", "airbench/32-learnt"],
    build,
};

/// Numbers of a 2x2 patch.
const PATCH: i64 = 12;
/// Added to eigenvalues before their roots are divided by.
const EPSILON: f64 = 5e-4;
/// Images whose patches are taken at once.
const AT_ONCE: i64 = 500;
/// What logits are multiplied with.
const HEAD: f64 = 1.0 / 9.0;

/// Where the first filters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// The patches of training images.
    Whitened,
    /// PyTorch's default start, and then the gradient.
    Learnt,
}

struct Airbench {
    first: First,
    whiten: Conv,
    blocks: Vec<(ConvNorm, ConvNorm)>,
    head: Linear,
}

fn build(name: &str, builder: &mut Builder, shape: Shape) -> Option<Box<dyn Body>> {
    let rest = name.strip_prefix("airbench")?;
    let (rest, first) = rest.strip_suffix("-learnt").map_or((rest, First::Whitened), |rest| (rest, First::Learnt));
    let width: i64 = match rest {
        "" => 64,
        rest => rest.strip_prefix('/')?.parse().ok()?,
    };
    // The third pooling must leave a pixel.
    if !(1..=1024).contains(&width) || shape.size < 9 {
        return None;
    }
    let patches = Geometry { kernel: 2, stride: 1, padding: 0, groups: 1 };
    let whiten = match first {
        First::Whitened => builder.conv_frozen("whiten", 3, 2 * PATCH, patches),
        First::Learnt => builder.conv_default("whiten", 3, 2 * PATCH, patches),
    };
    let mut inputs = 2 * PATCH;
    let mut blocks = Vec::new();
    for (number, outputs) in [width, 4 * width, 4 * width].into_iter().enumerate() {
        let mut layer = |place: u32, inputs: i64| ConvNorm {
            conv: builder.conv_identity(&format!("blocks.{number}.conv{place}"), inputs, outputs),
            norm: builder.batch_norm(&format!("blocks.{number}.norm{place}"), outputs),
        };
        blocks.push((layer(1, inputs), layer(2, outputs)));
        inputs = outputs;
    }
    let bound = 1.0 / (inputs as f64).sqrt();
    let head = builder.linear_drawn("head", (inputs, shape.classes as i64), Bias::None, |s| s.between(-bound, bound));
    Some(Box::new(Airbench { first, whiten, blocks, head }))
}

impl Body for Airbench {
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let mut x = self.whiten.forward(images).gelu("none");
        for (first, second) in &self.blocks {
            let pooled = first.conv.forward(&x).max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
            x = first.norm.forward(&pooled, mode).gelu("none");
            x = second.forward(&x, mode).gelu("none");
        }
        x.amax([2i64, 3].as_slice(), false).to_kind(Kind::Float) // [B, 4 * WIDTH]
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.head.forward(features) * HEAD
    }

    fn look_first(&self, images: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        if self.first == First::Whitened {
            self.whiten.weight.shallow_clone().copy_(&whitening(&images()?));
        }
        Ok(())
    }
}

/// Filters [24, 3, 2, 2] whose answers to the patches of `images` [B, 3, S, S] have second moments 1 and are not correlated; each with its opposite, the
/// direction of the largest eigenvalue first.
fn whitening(images: &Tensor) -> Tensor {
    let mut covariance = Tensor::zeros([PATCH, PATCH], (Kind::Double, images.device()));
    let mut count = 0;
    for part in images.split(AT_ONCE, 0) {
        let patches = part.to_kind(Kind::Float).unfold(2, 2, 1).unfold(3, 2, 1); // [B, 3, S-1, S-1, 2, 2]
        let patches = patches.permute([0, 2, 3, 1, 4, 5]).reshape([-1, PATCH]);
        covariance += patches.tr().matmul(&patches).to_kind(Kind::Double);
        count += patches.size()[0];
    }
    let (values, vectors) = (covariance / count as f64).linalg_eigh("L");
    let filters = vectors.tr() / (values + EPSILON).sqrt().unsqueeze(1);
    let filters = filters.flip([0]).to_kind(Kind::Float).reshape([PATCH, 3, 2, 2]);
    Tensor::cat(&[&filters, &-&filters], 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::IMAGENET;
    use crate::engine::{Engine, Precision};
    use crate::nets::Network;
    use smalti_data::Rgb;
    use smalti_data::mosaic::Layout;
    use smalti_data::store::ImageStore;
    use tch::Device;

    /// Frozen filters are kept with the weights, are none of what is learnt, and come from images of the whole store.
    #[test]
    fn training_images_set_the_filters_and_nothing_else() {
        let engine = Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere");
        let network = Network::new("airbench/4", Shape { classes: 2, size: 16 }, 1, &engine).expect("in the list");
        let pictures: Vec<(Rgb, u32)> = (0..3u8).map(|n| (Rgb::filled(16, 16, [80 * n; 3]), 0)).collect();
        let store = ImageStore::from_images(&pictures, &Layout { grid: 1, size: 16 });
        let filters = || network.buffers().iter().find(|(name, _)| name == "whiten.weight").expect("kept").1.copy();
        assert_eq!(filters().abs().max().double_value(&[]), 0.0);
        let before: Vec<Tensor> = network.params().iter().map(|param| param.tensor.detach().copy()).collect();
        assert!(network.params().iter().all(|param| param.name != "whiten.weight"));
        network.look_first(&store, &IMAGENET, &engine).expect("in memory");
        // Flat grey images have one direction, whose filter answers with 1 in the mean square; all others see nothing but what is added.
        let first = filters().get(0);
        let each =
            |n: u8| IMAGENET.mean.iter().zip(IMAGENET.std).map(move |(m, s)| (f32::from(80 * n) / 255.0 - m) / s);
        let answers: Vec<f32> = (0..3)
            .map(|n| each(n).zip(0..).map(|(x, c)| x * first.get(c).sum(Kind::Float).double_value(&[]) as f32).sum())
            .collect();
        let square = answers.iter().map(|a| a * a).sum::<f32>() / 3.0;
        assert!((square - 1.0).abs() < 0.01, "{answers:?}");
        assert!(network.params().iter().zip(before).all(|(param, before)| param.tensor.detach() == before));
        // Filters that are learnt start as they were drawn.
        let learnt = Network::new("airbench/4-learnt", network.shape, 1, &engine).expect("in the list");
        let first = || learnt.params().iter().find(|p| p.name == "whiten.weight").expect("learnt").tensor.copy();
        let before = first();
        learnt.look_first(&store, &IMAGENET, &engine).expect("in memory");
        assert!(first() == before && before.abs().max().double_value(&[]) > 0.0);
    }

    /// Neighbours of a smooth image are alike; after the filters they are not, and every direction counts as much.
    #[test]
    fn patches_are_white_after_the_filters() {
        let plain = (Tensor::arange(4 * 3 * 16 * 16, (Kind::Float, Device::Cpu)).square() * 0.013).sin();
        let smooth = plain.reshape([4, 3, 16, 16]).avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None) * 3.0;
        let filters = whitening(&smooth);
        let answers = smooth.conv2d(&filters, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1); // [4, 24, 15, 15]
        let rows = answers.permute([1, 0, 2, 3]).reshape([24, -1]);
        let own = rows.narrow(0, 0, PATCH);
        let moments = own.matmul(&own.tr()) / own.size()[1] as f64;
        let off = (moments - Tensor::eye(PATCH, (Kind::Float, Device::Cpu))).abs().max().double_value(&[]);
        // What is added to the eigenvalues takes its part of the smallest.
        assert!(off < 0.1, "{off}");
        assert_eq!((own + rows.narrow(0, PATCH, PATCH)).abs().max().double_value(&[]), 0.0);
    }
}
