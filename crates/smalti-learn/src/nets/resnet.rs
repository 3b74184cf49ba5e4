//! ResNet-18/34/50/101 (He et al., CVPR 2016) with torchvision's parameter names, and the stem for small images.
//!
//! `-small` replaces the 7x7 stride-2 convolution and the max-pool by one 3x3 stride-1 convolution, as the field does at 32 and 64 px.

use super::builder::Builder;
use super::layers::{ConvNorm, Geometry, Linear};
use super::{Body, Family, Mode, Shape};
use crate::fused::After;
use tch::{Kind, Tensor};

pub(super) const FAMILY: Family = Family {
    grammar: "resnet18, resnet34, resnet50, resnet101, each with -small for a 3x3 stem without max-pool",
    about: "torchvision's residual networks; -small keeps the resolution of 32 and 64 px images in the stem",
    paper: "arXiv 1512.03385",
    examples: &["resnet18", "resnet18-small", "resnet34", "resnet50", "resnet101"],
    build,
};

struct Block {
    /// Two 3x3 layers, or 1x1, 3x3, 1x1.
    layers: Vec<ConvNorm>,
    downsample: Option<ConvNorm>,
}

struct ResNet {
    stem: ConvNorm,
    pool_after_stem: bool,
    blocks: Vec<Block>,
    fc: Linear,
}

fn build(name: &str, builder: &mut Builder, shape: Shape) -> Option<Box<dyn Body>> {
    let (base, small) = name.strip_suffix("-small").map_or((name, false), |base| (base, true));
    let (depths, expansion) = match base {
        "resnet18" => ([2, 2, 2, 2], 1),
        "resnet34" => ([3, 4, 6, 3], 1),
        "resnet50" => ([3, 4, 6, 3], 4),
        "resnet101" => ([3, 4, 23, 3], 4),
        _ => return None,
    };
    let stem_geometry = if small { Geometry::centred(3, 1) } else { Geometry::centred(7, 2) };
    let stem = builder.conv_kaiming(("conv1", "bn1"), (3, 64), stem_geometry);
    let mut inputs = 64;
    let mut blocks = Vec::new();
    for (stage, depth) in depths.into_iter().enumerate() {
        let width = 64 << stage;
        for index in 0..depth {
            let stride = if index == 0 && stage > 0 { 2 } else { 1 };
            let path = format!("layer{}.{index}", stage + 1);
            blocks.push(block(builder, &path, inputs, width, expansion, stride));
            inputs = width * expansion;
        }
    }
    let fc = builder.linear("fc", inputs, shape.classes as i64);
    Some(Box::new(ResNet { stem, pool_after_stem: !small, blocks, fc }))
}

fn block(builder: &mut Builder, path: &str, inputs: i64, width: i64, expansion: i64, stride: i64) -> Block {
    let outputs = width * expansion;
    let plain = Geometry::centred(3, 1);
    let point = Geometry::centred(1, 1);
    // torchvision puts the stride of a bottleneck on its 3x3 convolution (ResNet v1.5).
    let plan = if expansion == 1 {
        vec![(inputs, width, Geometry { stride, ..plain }), (width, width, plain)]
    } else {
        vec![(inputs, width, point), (width, width, Geometry { stride, ..plain }), (width, outputs, point)]
    };
    let mut layers = Vec::new();
    for (i, (from, to, geometry)) in plan.into_iter().enumerate() {
        let (conv, norm) = (format!("{path}.conv{}", i + 1), format!("{path}.bn{}", i + 1));
        layers.push(builder.conv_kaiming((&conv, &norm), (from, to), geometry));
    }
    let downsample = (stride != 1 || inputs != outputs).then(|| {
        let (conv, norm) = (format!("{path}.downsample.0"), format!("{path}.downsample.1"));
        builder.conv_kaiming((&conv, &norm), (inputs, outputs), Geometry { stride, ..point })
    });
    Block { layers, downsample }
}

impl Block {
    /// [B, I, H, W] to [B, O, H', W'].
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let (last, inner) = self.layers.split_last().expect("a block is built with two or three layers");
        let y = inner.iter().fold(x.shallow_clone(), |y, layer| layer.then(&y, mode, After::Relu));
        let identity = self.downsample.as_ref().map_or_else(|| x.shallow_clone(), |d| d.forward(x, mode));
        last.then(&y, mode, After::AddRelu(&identity))
    }
}

impl Body for ResNet {
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let mut x = self.stem.then(images, mode, After::Relu);
        if self.pool_after_stem {
            x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        }
        for block in &self.blocks {
            x = block.forward(&x, mode);
        }
        x.to_kind(Kind::Float).mean_dim([2i64, 3].as_slice(), false, Kind::Float) // [B, F]
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.fc.forward(features)
    }
}
