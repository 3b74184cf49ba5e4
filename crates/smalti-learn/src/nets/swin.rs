//! Swin-T (Liu et al., ICCV 2021) with torchvision's parameter names.

use super::builder::{Bias, Builder};
use super::layers::{Conv, Geometry, LayerNorm, Linear};
use super::noise::Dropout;
use super::{Body, Family, Mode, Shape};
use smalti_data::random::Stream;
use tch::{Kind, Tensor};

pub(super) const FAMILY: Family = Family {
    grammar: "swin_t",
    about: "torchvision's Swin-T: attention within shifted windows of 7x7 patches of 4 px; stochastic depth 0.2",
    paper: "arXiv 2103.14030",
    examples: &["swin_t"],
    build,
};

const PATCH: i64 = 4;
const WINDOW: i64 = 7;
const WIDTH: i64 = 96;
/// Blocks and heads of each stage.
const STAGES: [(usize, i64); 4] = [(2, 3), (2, 6), (6, 12), (2, 24)];
/// Of stochastic depth in the last block.
const RATE: f64 = 0.2;
/// Width of the initial weights.
const SD: f64 = 0.02;

struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    widen: Linear,
    narrow: Linear,
    /// Stochastic depth of the two branches, each with draws of its own.
    depths: [Dropout; 2],
}

struct Attention {
    qkv: Linear,
    project: Linear,
    /// What a head adds for each of the 13 x 13 offsets between two patches of a window.
    offsets: Tensor,
    /// Which offset lies between patch i and j, [49 * 49].
    index: Tensor,
    heads: i64,
    /// By how many patches the windows are moved.
    shift: i64,
}

/// Four neighbours become one with twice their width.
struct Merge {
    norm: LayerNorm,
    reduction: Linear,
}

struct Stage {
    merge: Option<Merge>,
    blocks: Vec<Block>,
}

struct Swin {
    patches: Conv,
    norm: LayerNorm,
    stages: Vec<Stage>,
    last_norm: LayerNorm,
    head: Linear,
}

fn weights(stream: &mut Stream) -> f64 {
    SD * stream.normal()
}

fn build(name: &str, builder: &mut Builder, shape: Shape) -> Option<Box<dyn Body>> {
    if name != "swin_t" || i64::from(shape.size) < PATCH {
        return None;
    }
    let geometry = Geometry { kernel: PATCH, stride: PATCH, padding: 0, groups: 1 };
    let patches = builder.conv_default("features.0.0", 3, WIDTH, geometry);
    let norm = builder.layer_norm("features.0.2", WIDTH);
    let total: usize = STAGES.iter().map(|stage| stage.0).sum();
    let (mut before, mut width) = (0, WIDTH);
    let mut stages = Vec::new();
    for (number, (count, heads)) in STAGES.into_iter().enumerate() {
        let merge = (number > 0).then(|| {
            let path = format!("features.{}", 2 * number);
            width *= 2;
            let reduction = builder.linear_drawn(&format!("{path}.reduction"), (2 * width, width), Bias::None, weights);
            Merge { reduction, norm: builder.layer_norm(&format!("{path}.norm"), 2 * width) }
        });
        let mut blocks = Vec::new();
        for index in 0..count {
            let path = format!("features.{}.{index}", 2 * number + 1);
            let shift = if index % 2 == 0 { 0 } else { WINDOW / 2 };
            let rate = RATE * (before + index) as f64 / (total - 1) as f64;
            blocks.push(block(builder, &path, width, (heads, shift), rate));
        }
        before += count;
        stages.push(Stage { merge, blocks });
    }
    let last_norm = builder.layer_norm("norm", width);
    let head = builder.linear_drawn("head", (width, shape.classes as i64), Bias::Zero, weights);
    Some(Box::new(Swin { patches, norm, stages, last_norm, head }))
}

fn block(builder: &mut Builder, path: &str, width: i64, (heads, shift): (i64, i64), rate: f64) -> Block {
    let norm1 = builder.layer_norm(&format!("{path}.norm1"), width);
    let sides = 2 * WINDOW - 1;
    let offsets = builder.table(&format!("{path}.attn.relative_position_bias_table"), [sides * sides, heads], SD);
    let index = builder.constant(&format!("{path}.attn.relative_position_index"), &offset_index());
    let mut linear = |name: &str, inputs, outputs| {
        builder.linear_drawn(&format!("{path}.{name}"), (inputs, outputs), Bias::Zero, weights)
    };
    let qkv = linear("attn.qkv", width, 3 * width);
    let project = linear("attn.proj", width, width);
    let (widen, narrow) = (linear("mlp.0", width, 4 * width), linear("mlp.3", 4 * width, width));
    let norm2 = builder.layer_norm(&format!("{path}.norm2"), width);
    let attention = Attention { qkv, project, offsets, index, heads, shift };
    Block { norm1, attention, norm2, widen, narrow, depths: [builder.dropout(rate), builder.dropout(rate)] }
}

/// The number of the offset from patch j to patch i of a window, for all i and j.
fn offset_index() -> Tensor {
    let patches = || (0..WINDOW * WINDOW).map(|at| (at / WINDOW, at % WINDOW));
    let number =
        |(i, j): ((i64, i64), (i64, i64))| (i.0 - j.0 + WINDOW - 1) * (2 * WINDOW - 1) + (i.1 - j.1 + WINDOW - 1);
    let numbers: Vec<i64> = patches().flat_map(|i| patches().map(move |j| number((i, j)))).collect();
    Tensor::from_slice(&numbers)
}

impl Attention {
    /// [B, H, W, C] to the same: windows of 7 x 7 patches attend to themselves; what the shift brings together from opposite borders
    /// does not.
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (images, height, width, channels) = (size[0], size[1], size[2], size[3]);
        let padded = |side: i64| (side + WINDOW - 1) / WINDOW * WINDOW;
        let (high, wide) = (padded(height), padded(width));
        let shift = |side: i64| if side <= WINDOW { 0 } else { self.shift };
        let shifts = [shift(high), shift(wide)];
        let mut x = x.constant_pad_nd([0, 0, 0, wide - width, 0, high - height]);
        if shifts != [0, 0] {
            x = x.roll([-shifts[0], -shifts[1]], [1, 2]);
        }
        let (rows, columns) = (high / WINDOW, wide / WINDOW);
        let windows = x
            .reshape([images, rows, WINDOW, columns, WINDOW, channels])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([images * rows * columns, WINDOW * WINDOW, channels]);
        let mask = (shifts != [0, 0]).then(|| mask([high, wide], shifts).to_device(x.device()));
        let seen = self.within(&windows, mask.as_ref());
        let mut x = seen
            .reshape([images, rows, columns, WINDOW, WINDOW, channels])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([images, high, wide, channels]);
        if shifts != [0, 0] {
            x = x.roll([shifts[0], shifts[1]], [1, 2]);
        }
        x.narrow(1, 0, height).narrow(2, 0, width).contiguous()
    }

    /// [B * windows, 49, C] to the same.
    fn within(&self, windows: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let size = windows.size();
        let (count, patches, channels) = (size[0], size[1], size[2]);
        let each = channels / self.heads;
        let qkv = self.qkv.forward(windows).reshape([count, patches, 3, self.heads, each]).permute([2, 0, 3, 1, 4]);
        let (q, k, v) = (qkv.get(0) * (each as f64).powf(-0.5), qkv.get(1), qkv.get(2));
        let offsets = self.offsets.index_select(0, &self.index).reshape([patches, patches, self.heads]);
        let mut attention = q.matmul(&k.transpose(-2, -1)).to_kind(Kind::Float) + offsets.permute([2, 0, 1]);
        if let Some(mask) = mask {
            let per_image = mask.size()[0];
            attention = attention.reshape([count / per_image, per_image, self.heads, patches, patches])
                + mask.reshape([1, per_image, 1, patches, patches]);
            attention = attention.reshape([count, self.heads, patches, patches]);
        }
        let seen = attention.softmax(-1, Kind::Float).to_kind(v.kind()).matmul(&v);
        self.project.forward(&seen.transpose(1, 2).reshape([count, patches, channels]))
    }
}

/// -100 between patches of a shifted window that are no neighbours in the image, 0 elsewhere: [windows, 49, 49].
fn mask([high, wide]: [i64; 2], shifts: [i64; 2]) -> Tensor {
    // In each direction: what stays, what is left of the border in the last window, and what came around.
    let part = |at: i64, side: i64, shift: i64| i64::from(at >= side - WINDOW) + i64::from(at >= side - shift);
    let region = |row: i64, column: i64| 3 * part(row, high, shifts[0]) + part(column, wide, shifts[1]);
    let mut values = Vec::new();
    for (top, left) in
        (0..high).step_by(WINDOW as usize).flat_map(|t| (0..wide).step_by(WINDOW as usize).map(move |l| (t, l)))
    {
        let window: Vec<i64> = (0..WINDOW * WINDOW).map(|at| region(top + at / WINDOW, left + at % WINDOW)).collect();
        values.extend(window.iter().flat_map(|i| window.iter().map(move |j| if i == j { 0f32 } else { -100.0 })));
    }
    Tensor::from_slice(&values).reshape([-1, WINDOW * WINDOW, WINDOW * WINDOW])
}

impl Merge {
    /// [B, H, W, C] to [B, H / 2, W / 2, 2 C].
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let x = x.constant_pad_nd([0, 0, 0, size[2] % 2, 0, size[1] % 2]);
        let quarter = |row: i64, column: i64| x.slice(1, row, None, 2).slice(2, column, None, 2);
        let four = Tensor::cat(&[quarter(0, 0), quarter(1, 0), quarter(0, 1), quarter(1, 1)], -1);
        self.reduction.forward(&self.norm.forward(&four))
    }
}

impl Block {
    /// [B, H, W, C] to the same.
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let x = x + self.depths[0].images(&self.attention.forward(&self.norm1.forward(x)), mode);
        let wide = self.widen.forward(&self.norm2.forward(&x)).gelu("none");
        &x + self.depths[1].images(&self.narrow.forward(&wide), mode)
    }
}

impl Body for Swin {
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let mut x = self.norm.forward(&self.patches.forward(images).permute([0, 2, 3, 1]));
        for stage in &self.stages {
            if let Some(merge) = &stage.merge {
                x = merge.forward(&x);
            }
            x = stage.blocks.iter().fold(x, |x, block| block.forward(&x, mode));
        }
        let x = self.last_norm.forward(&x);
        x.to_kind(Kind::Float).mean_dim([1i64, 2].as_slice(), false, Kind::Float) // [B, F]
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.head.forward(features)
    }
}
