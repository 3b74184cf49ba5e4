//! ResNet-AP: residual networks that halve the resolution by average pooling instead of strides, the student of IDC (arXiv 2205.14959) and of
//! Minimax diffusion (arXiv 2311.15529), whose ResNetAP-10 has one block per stage and instance norm.
//!
//! The stem depends on the size, as in their code: up to 64 px a 3x3 convolution, up to 128 px the same and 2x2 pooling, above a 7x7 convolution
//! and 4x4 pooling.

use super::builder::Builder;
use super::layers::{Conv, Geometry, Linear, Norm};
use super::{Body, Family, Mode, Shape};
use crate::fused::After;
use tch::{Kind, Tensor};

pub(super) const FAMILY: Family = Family {
    grammar: "resnet10-ap, resnet18-ap, each with -bn for batch norm instead of instance norm",
    about: "residual networks with average pooling instead of strides, for evaluation as IDC and Minimax diffusion do it",
    paper: "arXiv 2205.14959",
    examples: &["resnet10-ap", "resnet18-ap-bn"],
    build,
};

/// A convolution, pooling where the resolution falls, and a norm.
struct Layer {
    conv: Conv,
    norm: Norm,
}

struct Block {
    first: Layer,
    second: Layer,
    /// Side of the pooling windows between the two convolutions.
    stride: i64,
    downsample: Option<Layer>,
}

struct ResNetAp {
    stem: Layer,
    /// Side of the pooling windows after the stem.
    stem_pool: i64,
    blocks: Vec<Block>,
    fc: Linear,
}

type MakeNorm = fn(&mut Builder, &str, i64) -> Norm;

fn build(name: &str, builder: &mut Builder, shape: Shape) -> Option<Box<dyn Body>> {
    let (base, norm): (&str, MakeNorm) =
        name.strip_suffix("-bn").map_or((name, Builder::instance_norm), |base| (base, Builder::batch_norm));
    let depth = match base {
        "resnet10-ap" => 1,
        "resnet18-ap" => 2,
        _ => return None,
    };
    let (kernel, stem_pool) = match shape.size {
        // Three halvings follow.
        0..=7 => return None,
        8..=64 => (3, 1),
        65..=128 => (3, 2),
        _ => (7, 4),
    };
    let stem = layer(builder, ("layer0.conv1", "layer0.bn1"), (3, 64), kernel, norm);
    let mut inputs = 64;
    let mut blocks = Vec::new();
    for stage in 0..4 {
        let width = 64 << stage;
        for index in 0..depth {
            let stride = if index == 0 && stage > 0 { 2 } else { 1 };
            blocks.push(block(builder, &format!("layer{}.{index}", stage + 1), (inputs, width), stride, norm));
            inputs = width;
        }
    }
    let fc = builder.linear("fc", inputs, shape.classes as i64);
    Some(Box::new(ResNetAp { stem, stem_pool, blocks, fc }))
}

fn layer(
    builder: &mut Builder,
    (conv, norm): (&str, &str),
    (inputs, outputs): (i64, i64),
    kernel: i64,
    make: MakeNorm,
) -> Layer {
    let conv = builder.conv_kaiming_bare(conv, (inputs, outputs), Geometry::centred(kernel, 1));
    Layer { conv, norm: make(builder, norm, outputs) }
}

fn block(builder: &mut Builder, path: &str, (inputs, width): (i64, i64), stride: i64, norm: MakeNorm) -> Block {
    let mut layer = |names: [&str; 2], from: i64, kernel: i64| {
        let [conv, norm_name] = names.map(|name| format!("{path}.{name}"));
        layer(builder, (&conv, &norm_name), (from, width), kernel, norm)
    };
    let first = layer(["conv1", "bn1"], inputs, 3);
    let second = layer(["conv2", "bn2"], width, 3);
    let downsample = (stride != 1 || inputs != width).then(|| layer(["downsample.0", "downsample.2"], inputs, 1));
    Block { first, second, stride, downsample }
}

/// Means of windows of `side` x `side`.
fn pool(x: Tensor, side: i64) -> Tensor {
    if side == 1 { x } else { x.avg_pool2d([side, side], [side, side], [0, 0], false, true, None) }
}

impl Block {
    /// [B, I, H, W] to [B, O, H / stride, W / stride].
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let y = self.first.norm.then(&self.first.conv.forward(x), mode, After::Relu);
        let identity = match &self.downsample {
            Some(layer) => layer.norm.forward(&pool(layer.conv.forward(x), self.stride), mode),
            None => x.shallow_clone(),
        };
        let y = self.second.conv.forward(&pool(y, self.stride));
        self.second.norm.then(&y, mode, After::AddRelu(&identity))
    }
}

impl Body for ResNetAp {
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let mut x = pool(self.stem.norm.then(&self.stem.conv.forward(images), mode, After::Relu), self.stem_pool);
        for block in &self.blocks {
            x = block.forward(&x, mode);
        }
        x.to_kind(Kind::Float).mean_dim([2i64, 3].as_slice(), false, Kind::Float) // [B, F]
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.fc.forward(features)
    }
}
