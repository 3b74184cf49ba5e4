//! Layers: forward passes over parameters that the builder made.

use super::Mode;
use super::taps::Tap;
use crate::fused::{self, After, BatchNorm};
use tch::{Device, Kind, Tensor};

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Kernel, stride and zero padding of a convolution, equal in both directions, and into how many groups its channels fall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub kernel: i64,
    pub stride: i64,
    pub padding: i64,
    pub groups: i64,
}

impl Geometry {
    /// An odd kernel that keeps the size, over all channels, at every `stride`-th place.
    pub fn centred(kernel: i64, stride: i64) -> Geometry {
        Geometry { kernel, stride, padding: (kernel - 1) / 2, groups: 1 }
    }

    /// The same for each channel on its own.
    pub fn depthwise(kernel: i64, stride: i64, channels: i64) -> Geometry {
        Geometry { groups: channels, ..Geometry::centred(kernel, stride) }
    }

    /// Whether the kernel covers an image of this height and width from wherever it stands, as 3 x 3 does one of 2 x 2.
    fn sees_all_everywhere(self, height: i64, width: i64) -> bool {
        let Geometry { kernel, stride, padding, groups } = self;
        let side = height.max(width);
        groups == 1 && stride == 1 && kernel > 1 && kernel == 2 * padding + 1 && side <= padding + 1
    }
}

/// A convolution. Weight [O, I / groups, K, K] and bias `[O]` are fp32 masters, cast to `kind` at each use.
pub(super) struct Conv {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub geometry: Geometry,
    pub kind: Kind,
    pub tap: Tap,
}

impl Conv {
    /// [B, I, H, W] to [B, O, H', W'], in the engine's kind.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.tap.hear(x);
        self.apply(x, &self.weight, self.bias.as_ref())
    }

    fn apply(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let Geometry { stride, padding, groups, .. } = self.geometry;
        let kind = self.fastest(x);
        let (x, weight, bias) = (x.to_kind(kind), weight.to_kind(kind), bias.map(|b| b.to_kind(kind)));
        let y = if x.device() == Device::Cpu && self.geometry.sees_all_everywhere(x.size()[2], x.size()[3]) {
            as_product(&x, &weight, padding, bias)
        } else {
            x.conv2d(&weight, bias, [stride; 2], [padding; 2], [1, 1], groups)
        };
        y.to_kind(self.kind)
    }

    /// The kind of number to compute in. On a CPU oneDNN has no good 16-bit gradients for grouped convolutions with strides, with kernels above 3 x 3 or of images
    /// smaller than the kernel: fp32, casts included, takes a half to a fortieth of their time.
    fn fastest(&self, x: &Tensor) -> Kind {
        let Geometry { kernel, stride, groups, .. } = self.geometry;
        let slow = groups > 1 && (stride > 1 || kernel > 3 || x.size()[3] < kernel);
        if slow && x.requires_grad() && x.device() == Device::Cpu { Kind::Float } else { self.kind }
    }
}

/// A convolution that [sees all everywhere](Geometry::sees_all_everywhere) as one product of matrices: a row for each image with all of its numbers, a column for
/// each number of the output with the weights that meet them there. oneDNN has only kernels for larger images, which compute mostly zeros.
fn as_product(x: &Tensor, weight: &Tensor, padding: i64, bias: Option<Tensor>) -> Tensor {
    let (images, _, height, width) = x.size4().expect("an image has four dimensions");
    let (channels, _, kernel, _) = weight.size4().expect("a kernel has four dimensions");
    let places = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
    let meeting: Vec<i64> = places
        .clone()
        .flat_map(|(row, column)| places.clone().map(move |(r, c)| (padding - row + r) * kernel + padding - column + c))
        .collect();
    let weight = weight.permute([0, 2, 3, 1]).reshape([channels, kernel * kernel, -1]); // [O, K K, I]
    let matrix = weight.index_select(1, &Tensor::from_slice(&meeting)); // [O, (H W) (H W), I]
    let pixels = x.permute([0, 2, 3, 1]).reshape([images, -1]); // [B, H W I]
    let y = pixels.matmul(&matrix.reshape([channels * height * width, -1]).tr());
    let y = channels_last(&y.reshape([images, channels, height, width]));
    match bias {
        Some(bias) => y + bias.reshape([1, -1, 1, 1]),
        None => y,
    }
}

pub(super) struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

impl Linear {
    /// [.., F] to [.., C], in the kind of `x`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), self.bias.as_ref().map(|bias| bias.to_kind(kind)))
    }
}

/// What a normalisation averages over.
pub(super) enum Statistics {
    /// The batch in training, these running statistics `[C]` in evaluation.
    Batch { mean: Tensor, variance: Tensor, tap: Tap },
    /// Each image and channel on its own.
    Instance { channels: i64 },
}

/// A normalisation. Scale, shift and statistics `[C]` are fp32 whatever the input is.
pub(super) struct Norm {
    pub scale: Tensor,
    pub shift: Tensor,
    pub statistics: Statistics,
}

impl Norm {
    /// [B, C, H, W] to the same; in training it moves the running statistics.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.then(x, mode, After::Nothing)
    }

    /// The same, and what follows.
    pub fn then(&self, x: &Tensor, mode: Mode, after: After<'_>) -> Tensor {
        let (scale, shift) = (&self.scale, &self.shift);
        let y = match &self.statistics {
            Statistics::Batch { mean, variance, tap } => {
                tap.hear(x);
                let train = mode == Mode::Train;
                assert!(
                    !train || x.numel() as i64 > x.size()[1],
                    "a batch of one image leaves batch norm with one value per channel"
                );
                if train && fused::fits(x) {
                    let norm = BatchNorm { scale, shift, mean, variance, momentum: MOMENTUM, epsilon: EPSILON };
                    return fused::batch_norm(x, &norm, after);
                }
                x.batch_norm(Some(scale), Some(shift), Some(mean), Some(variance), train, MOMENTUM, EPSILON, false)
            }
            // CUDA's kernel wants all in one kind, and returns what is not channels-last.
            Statistics::Instance { channels } if x.device() != Device::Cpu => {
                let y = x.to_kind(Kind::Float).group_norm(*channels, Some(scale), Some(shift), EPSILON, false);
                channels_last(&y.to_kind(x.kind()))
            }
            Statistics::Instance { channels } => x.group_norm(*channels, Some(scale), Some(shift), EPSILON, false),
        };
        followed(y, after)
    }
}

/// What follows a norm whose output is `y`, which is overwritten: no gradient needs it.
fn followed(mut y: Tensor, after: After<'_>) -> Tensor {
    match after {
        After::Nothing => y,
        After::Relu => y.relu_(),
        After::Relu6 => y.relu6_(),
        After::AddRelu(identity) => y.g_add_(identity).relu_(),
        After::ReluPool if !y.requires_grad() && fused::fits(&y) => fused::relu_pool(&y),
        After::ReluPool => y.relu_().avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
    }
}

/// Normalisation over the last dimension. Scale and shift `[C]` are fp32, and so is the arithmetic.
pub(super) struct LayerNorm {
    pub scale: Tensor,
    pub shift: Tensor,
}

impl LayerNorm {
    /// [.., C] to the same.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let plain = x.to_kind(Kind::Float);
        plain.layer_norm(self.scale.size(), Some(&self.scale), Some(&self.shift), EPSILON, false).to_kind(x.kind())
    }
}

/// A convolution and its normalisation.
pub(super) struct ConvNorm {
    pub conv: Conv,
    pub norm: Norm,
}

impl ConvNorm {
    /// [B, I, H, W] to [B, O, H', W'], in the engine's kind.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.then(x, mode, After::Nothing)
    }

    /// The same, and what follows.
    pub fn then(&self, x: &Tensor, mode: Mode, after: After<'_>) -> Tensor {
        match (mode, &self.norm.statistics) {
            (Mode::Eval, Statistics::Batch { mean, variance, tap }) if !tap.is_open() => {
                followed(self.folded(x, mean, variance), after)
            }
            _ => self.norm.then(&self.conv.forward(x), mode, after),
        }
    }

    /// Running statistics are constants, so the norm is a factor on the weights and a bias: one pass over the images less.
    fn folded(&self, x: &Tensor, mean: &Tensor, variance: &Tensor) -> Tensor {
        let factor = &self.norm.scale / (variance + EPSILON).sqrt(); // [O]
        let weight = &self.conv.weight * factor.reshape([-1, 1, 1, 1]); // [O, I, K, K]
        let centre = self.conv.bias.as_ref().map_or_else(|| -mean, |bias| bias - mean); // [O]
        self.conv.apply(x, &weight, Some(&(&self.norm.shift + centre * factor)))
    }
}

/// The same [N, C, H, W] tensor with its storage in N, H, W, C order, in which oneDNN's kernels are fastest.
pub(crate) fn channels_last(tensor: &Tensor) -> Tensor {
    tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::super::builder::Builder;
    use super::*;
    use crate::engine::{Engine, Precision};

    const PLAIN: Geometry = Geometry { kernel: 3, stride: 1, padding: 1, groups: 1 };

    fn engines() -> Vec<Engine> {
        [Precision::F32, Precision::Bf16].into_iter().filter_map(|p| Engine::cpu(p, 0).ok()).collect()
    }

    fn images(engine: &Engine) -> Tensor {
        let ramp = Tensor::arange(2 * 8 * 6 * 6, (Kind::Float, engine.device)).sin();
        channels_last(&ramp.reshape([2, 8, 6, 6])).to_kind(engine.kind)
    }

    type MakeNorm = fn(&mut Builder, &str, i64) -> Norm;

    fn layer(engine: &Engine, norm: MakeNorm) -> (ConvNorm, Vec<Tensor>) {
        let mut builder = Builder::new(1, engine);
        let conv = builder.conv_default("conv", 8, 16, PLAIN);
        let norm = norm(&mut builder, "norm", 16);
        let params = builder.finish().params.into_iter().map(|p| p.tensor).collect();
        (ConvNorm { conv, norm }, params)
    }

    fn is_channels_last(tensor: &Tensor) -> bool {
        tensor.permute([0, 2, 3, 1]).is_contiguous()
    }

    /// A format conversion between two layers would cost more than the norm itself and show nowhere else.
    #[test]
    fn channels_last_is_kept_forwards_and_backwards() {
        for engine in engines() {
            let norms: [(&str, MakeNorm); 2] = [("batch", Builder::batch_norm), ("instance", Builder::instance_norm)];
            for (norm, make) in norms {
                let (layer, params) = layer(&engine, make);
                let input = images(&engine).set_requires_grad(true);
                for mode in [Mode::Train, Mode::Eval] {
                    let y = layer.then(&input, mode, After::Relu);
                    assert_eq!(y.kind(), engine.kind);
                    assert!(is_channels_last(&y), "{engine:?} {norm} {mode:?}");
                    let pooled = y.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
                    assert!(
                        is_channels_last(&pooled)
                            && is_channels_last(&y.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false))
                    );
                    let wanted: Vec<&Tensor> = params.iter().chain([&input]).collect();
                    let gradients = Tensor::run_backward(&[pooled.sum(Kind::Float)], &wanted, false, false);
                    assert!(is_channels_last(&gradients[params.len()]), "{engine:?} {norm} {mode:?}");
                    assert_eq!(gradients[0].stride(), params[0].stride(), "{engine:?} {norm} {mode:?}");
                    assert!(gradients[..params.len()].iter().all(|g| g.kind() == Kind::Float));
                }
            }
        }
    }

    /// Output and gradients of a convolution of 8 channels at each [height, width], whatever it is computed in, against libtorch's own in the engine's kind.
    fn assert_is_plain(engine: &Engine, geometry: Geometry, [height, width]: [i64; 2]) {
        let Geometry { stride, padding, groups, .. } = geometry;
        let conv = Builder::new(1, engine).conv_kaiming_bare("conv", (8, 8), geometry);
        let bias = Tensor::arange(8, (Kind::Float, engine.device)).set_requires_grad(true);
        let conv = Conv { bias: Some(bias.shallow_clone()), ..conv };
        let ramp = Tensor::arange(2 * 8 * height * width, (Kind::Float, engine.device)).sin();
        let x = channels_last(&ramp.reshape([2, 8, height, width])).to_kind(engine.kind).set_requires_grad(true);
        let y = conv.forward(&x);
        let [weight, bias] = [&conv.weight, &bias].map(|tensor| tensor.to_kind(engine.kind));
        let plain = x.conv2d(&weight, Some(bias), [stride; 2], [padding; 2], [1, 1], groups);
        let of = |y: &Tensor| {
            let upstream = Tensor::arange(y.numel() as i64, (Kind::Float, engine.device)).cos();
            let loss = (y.to_kind(Kind::Float) * upstream.reshape(y.size())).sum(Kind::Float);
            Tensor::run_backward(&[&loss], &[&x, &conv.weight, conv.bias.as_ref().expect("given")], true, false)
        };
        // fp32 rounds sums in another order; bf16 has eight bits, and its products of weights and pixels are rounded once or twice.
        let allowed = if engine.kind == Kind::Float { 1e-5 } else { 2e-2 };
        let close = |what: &str, a: &Tensor, b: &Tensor| {
            let (a, b) = (a.to_kind(Kind::Float), b.to_kind(Kind::Float));
            let off = (&a - &b).abs().max().double_value(&[]) / b.abs().max().double_value(&[]);
            assert!(off < allowed, "{engine:?} {geometry:?} at {height} x {width}: {what} is {off} off");
        };
        assert_eq!((y.size(), y.kind(), is_channels_last(&y)), (plain.size(), engine.kind, true));
        close("the output", &y, &plain);
        for (what, (ours, expected)) in ["pixels", "weights", "bias"].iter().zip(of(&y).iter().zip(&of(&plain))) {
            close(&format!("the gradient of {what}"), ours, expected);
        }
    }

    #[test]
    fn depthwise_convolutions_and_their_gradients_are_the_plain_ones_odd_sides_included() {
        for engine in engines() {
            for (kernel, stride, side) in [(3, 2, 6), (3, 2, 7), (5, 2, 8), (5, 1, 4), (3, 1, 2), (3, 1, 6)] {
                assert_is_plain(&engine, Geometry::depthwise(kernel, stride, 8), [side; 2]);
            }
        }
    }

    #[test]
    fn convolutions_of_images_below_the_kernel_and_their_gradients_are_the_plain_ones() {
        for engine in engines() {
            let products = [(3, [1, 1]), (3, [2, 2]), (3, [1, 2]), (3, [2, 1]), (5, [3, 3]), (5, [2, 3]), (7, [4, 4])];
            for (kernel, sides @ [height, width]) in products {
                assert!(Geometry::centred(kernel, 1).sees_all_everywhere(height, width), "{kernel} {sides:?}");
                assert_is_plain(&engine, Geometry::centred(kernel, 1), sides);
            }
            for (kernel, stride, sides @ [height, width]) in
                [(3, 1, [3, 3]), (3, 1, [2, 3]), (3, 2, [2, 2]), (1, 1, [1, 1]), (5, 1, [4, 3])]
            {
                assert!(!Geometry::centred(kernel, stride).sees_all_everywhere(height, width), "{kernel} {sides:?}");
                assert_is_plain(&engine, Geometry::centred(kernel, stride), sides);
            }
        }
    }

    #[test]
    fn a_folded_norm_gives_what_the_two_layers_give() {
        let engine = Engine::cpu(Precision::F32, 0).expect("fp32 runs anywhere");
        let (layer, _) = layer(&engine, Builder::batch_norm);
        let x = images(&engine);
        for _ in 0..20 {
            drop(layer.forward(&x, Mode::Train));
        }
        let two = layer.norm.forward(&layer.conv.forward(&x), Mode::Eval);
        let off = (layer.forward(&x, Mode::Eval) - &two).abs().max().double_value(&[]);
        assert!(off < 1e-5, "{off}");
        assert!(two.abs().max().double_value(&[]) > 0.5, "the statistics have moved");
    }

    #[test]
    fn one_value_per_channel_is_refused() {
        let engine = Engine::cpu(Precision::F32, 0).expect("fp32 runs anywhere");
        let (layer, _) = layer(&engine, Builder::batch_norm);
        let one = Tensor::ones([1, 8, 1, 1], (Kind::Float, engine.device));
        let error = crate::error::guard("student", || Ok(layer.forward(&one, Mode::Train))).expect_err("no variance");
        assert!(error.to_string().contains("one value per channel"), "{error}");
        assert!(error.hint().expect("a way out").contains("--batch"));
    }
}
