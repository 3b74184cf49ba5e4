//! EfficientNet-B0 (Tan and Le, ICML 2019) with torchvision's parameter names.

use super::builder::{Bias, Builder};
use super::layers::{Conv, ConvNorm, Geometry, Linear};
use super::noise::Dropout;
use super::{Body, Family, Mode, Shape};
use tch::{Kind, Tensor};

pub(super) const FAMILY: Family = Family {
    grammar: "efficientnet_b0",
    about: "torchvision's EfficientNet-B0: MobileNetV2's blocks with squeeze-and-excitation and SiLU; dropout and stochastic depth 0.2",
    paper: "arXiv 1905.11946",
    examples: &["efficientnet_b0"],
    build,
};

/// Factor of the widening, kernel, stride of the first block, channels, blocks.
const STAGES: [(i64, i64, i64, i64, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];
/// Penultimate features.
const FEATURES: i64 = 1280;
/// Of dropout, and of stochastic depth in a block past the last.
const RATE: f64 = 0.2;

/// Scales each channel by a number from all of them.
struct Squeeze {
    narrow: Conv,
    widen: Conv,
}

struct Block {
    /// 1x1 to widen (where it widens) and one filter per channel, each with SiLU.
    inner: Vec<ConvNorm>,
    squeeze: Squeeze,
    /// 1x1 to narrow, linear.
    last: ConvNorm,
    /// Where the input is added: stochastic depth of the rest.
    depth: Option<Dropout>,
}

struct EfficientNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    last: ConvNorm,
    dropout: Dropout,
    classifier: Linear,
}

fn build(name: &str, builder: &mut Builder, shape: Shape) -> Option<Box<dyn Body>> {
    if name != "efficientnet_b0" {
        return None;
    }
    let mut inputs = 32;
    let stem = builder.conv_kaiming(("features.0.0", "features.0.1"), (3, inputs), Geometry::centred(3, 2));
    let total: usize = STAGES.iter().map(|stage| stage.4).sum();
    let mut blocks = Vec::new();
    for (stage, (factor, kernel, first_stride, outputs, count)) in (1..).zip(STAGES) {
        for index in 0..count {
            let stride = if index == 0 { first_stride } else { 1 };
            let rate = RATE * blocks.len() as f64 / total as f64;
            let path = format!("features.{stage}.{index}.block");
            blocks.push(block(builder, &path, (inputs, outputs), factor, Geometry::centred(kernel, stride), rate));
            inputs = outputs;
        }
    }
    let last = builder.conv_kaiming(("features.8.0", "features.8.1"), (inputs, FEATURES), Geometry::centred(1, 1));
    let dropout = builder.dropout(RATE);
    let classes = shape.classes as i64;
    let bound = 1.0 / (classes as f64).sqrt();
    let classifier =
        builder.linear_drawn("classifier.1", (FEATURES, classes), Bias::Zero, |stream| stream.between(-bound, bound));
    Some(Box::new(EfficientNet { stem, blocks, last, dropout, classifier }))
}

fn block(
    builder: &mut Builder,
    path: &str,
    (inputs, outputs): (i64, i64),
    factor: i64,
    filter: Geometry,
    rate: f64,
) -> Block {
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
    layer(builder, (wide, wide), Geometry { groups: wide, ..filter });
    let at = inner.len();
    let (few, point) = ((inputs / 4).max(1), Geometry::centred(1, 1));
    let squeeze = Squeeze {
        narrow: builder.conv_kaiming_biased(&format!("{path}.{at}.fc1"), (wide, few), point),
        widen: builder.conv_kaiming_biased(&format!("{path}.{at}.fc2"), (few, wide), point),
    };
    let names = (format!("{path}.{}.0", at + 1), format!("{path}.{}.1", at + 1));
    let last = builder.conv_kaiming((&names.0, &names.1), (wide, outputs), point);
    let depth = (filter.stride == 1 && inputs == outputs).then(|| builder.dropout(rate));
    Block { inner, squeeze, last, depth }
}

impl Block {
    /// [B, I, H, W] to [B, O, H', W'].
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let y = self.inner.iter().fold(x.shallow_clone(), |y, layer| layer.forward(&y, mode).silu());
        let mean = y.mean_dim([2i64, 3].as_slice(), true, None); // [B, W, 1, 1]
        let scale = self.squeeze.widen.forward(&self.squeeze.narrow.forward(&mean).silu()).sigmoid();
        let y = self.last.forward(&(y * scale), mode);
        match &self.depth {
            Some(depth) => depth.images(&y, mode) + x,
            None => y,
        }
    }
}

impl Body for EfficientNet {
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let x = self.stem.forward(images, mode).silu();
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, mode));
        let x = self.last.forward(&x, mode).silu();
        let features = x.to_kind(Kind::Float).mean_dim([2i64, 3].as_slice(), false, Kind::Float); // [B, F]
        self.dropout.numbers(&features, mode)
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.classifier.forward(features)
    }
}
