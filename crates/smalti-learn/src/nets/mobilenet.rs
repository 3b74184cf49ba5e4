//! MobileNetV2 (Sandler et al., CVPR 2018) with torchvision's parameter names.

use super::builder::{Bias, Builder};
use super::layers::{ConvNorm, Geometry, Linear};
use super::noise::Dropout;
use super::{Body, Family, Mode, Shape};
use crate::fused::After;
use tch::{Kind, Tensor};

pub(super) const FAMILY: Family = Family {
    grammar: "mobilenet_v2",
    about: "torchvision's MobileNetV2: narrow blocks, widened inside, one filter per channel; dropout 0.2 before the last layer",
    paper: "arXiv 1801.04381",
    examples: &["mobilenet_v2"],
    build,
};

/// Factor of the widening, channels, blocks, stride of the first block.
const STAGES: [(i64, i64, usize, i64); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
/// Penultimate features.
const FEATURES: i64 = 1280;

struct Block {
    /// 1x1 to widen (where it widens) and one filter per channel, each with a ReLU that ends at 6.
    inner: Vec<ConvNorm>,
    /// 1x1 to narrow, linear.
    last: ConvNorm,
    adds: bool,
}

struct MobileNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    last: ConvNorm,
    dropout: Dropout,
    classifier: Linear,
}

fn build(name: &str, builder: &mut Builder, shape: Shape) -> Option<Box<dyn Body>> {
    if name != "mobilenet_v2" {
        return None;
    }
    let mut inputs = 32;
    let stem = builder.conv_kaiming(("features.0.0", "features.0.1"), (3, inputs), Geometry::centred(3, 2));
    let mut blocks = Vec::new();
    for (factor, outputs, count, first_stride) in STAGES {
        for index in 0..count {
            let stride = if index == 0 { first_stride } else { 1 };
            let path = format!("features.{}.conv", blocks.len() + 1);
            blocks.push(block(builder, &path, (inputs, outputs), factor, stride));
            inputs = outputs;
        }
    }
    let path = format!("features.{}", blocks.len() + 1);
    let names = (format!("{path}.0"), format!("{path}.1"));
    let last = builder.conv_kaiming((&names.0, &names.1), (inputs, FEATURES), Geometry::centred(1, 1));
    let dropout = builder.dropout(0.2);
    let classes = shape.classes as i64;
    let classifier =
        builder.linear_drawn("classifier.1", (FEATURES, classes), Bias::Zero, |stream| 0.01 * stream.normal());
    Some(Box::new(MobileNet { stem, blocks, last, dropout, classifier }))
}

fn block(builder: &mut Builder, path: &str, (inputs, outputs): (i64, i64), factor: i64, stride: i64) -> Block {
    let wide = inputs * factor;
    let mut inner = Vec::new();
    let mut layer = |builder: &mut Builder, channels, geometry| {
        let at = inner.len();
        let names = (format!("{path}.{at}.0"), format!("{path}.{at}.1"));
        inner.push(builder.conv_kaiming((&names.0, &names.1), channels, geometry));
    };
    if factor != 1 {
        layer(builder, (inputs, wide), Geometry::centred(1, 1));
    }
    layer(builder, (wide, wide), Geometry::depthwise(3, stride, wide));
    let names = (format!("{path}.{}", inner.len()), format!("{path}.{}", inner.len() + 1));
    let last = builder.conv_kaiming((&names.0, &names.1), (wide, outputs), Geometry::centred(1, 1));
    Block { inner, last, adds: stride == 1 && inputs == outputs }
}

impl Block {
    /// [B, I, H, W] to [B, O, H', W'].
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let y = self.inner.iter().fold(x.shallow_clone(), |y, layer| layer.then(&y, mode, After::Relu6));
        let mut y = self.last.forward(&y, mode);
        if self.adds { y.g_add_(x) } else { y }
    }
}

impl Body for MobileNet {
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let x = self.stem.then(images, mode, After::Relu6);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, mode));
        let x = self.last.then(&x, mode, After::Relu6);
        let features = x.to_kind(Kind::Float).mean_dim([2i64, 3].as_slice(), false, Kind::Float); // [B, F]
        self.dropout.numbers(&features, mode)
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.classifier.forward(features)
    }
}
