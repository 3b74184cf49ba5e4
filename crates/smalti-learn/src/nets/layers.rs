//! Layers: forward passes over parameters that the builder made.

use super::Mode;
use super::taps::Tap;
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
        let bias = bias.map(|b| b.to_kind(kind));
        let y = x.to_kind(kind).conv2d(&weight.to_kind(kind), bias, [stride; 2], [padding; 2], [1, 1], groups);
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
        let (scale, shift) = (Some(&self.scale), Some(&self.shift));
        match &self.statistics {
            Statistics::Batch { mean, variance, tap } => {
                tap.hear(x);
                let train = mode == Mode::Train;
                assert!(
                    !train || x.numel() as i64 > x.size()[1],
                    "a batch of one image leaves batch norm with one value per channel"
                );
                x.batch_norm(scale, shift, Some(mean), Some(variance), train, MOMENTUM, EPSILON, false)
            }
            Statistics::Instance { channels } => x.group_norm(*channels, scale, shift, EPSILON, false),
        }
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
        match (mode, &self.norm.statistics) {
            (Mode::Eval, Statistics::Batch { mean, variance, tap }) if !tap.is_open() => self.folded(x, mean, variance),
            _ => self.norm.forward(&self.conv.forward(x), mode),
        }
    }

    /// The same, then ReLU. The norm's output is overwritten: no gradient needs it.
    pub fn forward_relu(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.forward(x, mode).relu_()
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
        [Precision::F32, Precision::Bf16].into_iter().filter_map(|p| Engine::start(p, 0).ok()).collect()
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
                    let y = layer.forward_relu(&input, mode);
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

    /// Output and gradients of depthwise convolutions, whatever they are computed in, against libtorch's own in the engine's kind, odd sides included.
    #[test]
    fn depthwise_gradients_are_those_of_the_plain_convolution() {
        for engine in engines() {
            for (kernel, stride, side) in [(3, 2, 6), (3, 2, 7), (5, 2, 8), (5, 1, 4), (3, 1, 2), (3, 1, 6)] {
                let mut builder = Builder::new(1, &engine);
                let conv = builder.conv_kaiming_bare("conv", (8, 8), Geometry::depthwise(kernel, stride, 8));
                let ramp = Tensor::arange(2 * 8 * side * side, (Kind::Float, engine.device)).sin();
                let x = channels_last(&ramp.reshape([2, 8, side, side])).to_kind(engine.kind).set_requires_grad(true);
                let y = conv.forward(&x);
                let padding = (kernel - 1) / 2;
                let weight = conv.weight.to_kind(engine.kind);
                let plain = x.conv2d(&weight, None::<Tensor>, [stride; 2], [padding; 2], [1, 1], 8);
                let of = |y: &Tensor| {
                    let upstream = Tensor::arange(y.numel() as i64, (Kind::Float, engine.device)).cos();
                    let loss = (y.to_kind(Kind::Float) * upstream.reshape(y.size())).sum(Kind::Float);
                    Tensor::run_backward(&[&loss], &[&x, &conv.weight], true, false)
                };
                // fp32 rounds sums in another order; bf16 has eight bits, and its products of weights and pixels are rounded once or twice.
                let allowed = if engine.kind == Kind::Float { 1e-5 } else { 2e-2 };
                let close = |what: &str, a: &Tensor, b: &Tensor| {
                    let (a, b) = (a.to_kind(Kind::Float), b.to_kind(Kind::Float));
                    let off = (&a - &b).abs().max().double_value(&[]) / b.abs().max().double_value(&[]);
                    assert!(
                        off < allowed,
                        "{engine:?} kernel {kernel} stride {stride} side {side}: {what} is {off} off"
                    );
                };
                assert_eq!((y.size(), y.kind(), is_channels_last(&y)), (plain.size(), engine.kind, true));
                close("the output", &y, &plain);
                for (what, (ours, expected)) in
                    ["of pixels", "of weights"].into_iter().zip(of(&y).iter().zip(&of(&plain)))
                {
                    close(&format!("the gradient {what}"), ours, expected);
                }
            }
        }
    }

    #[test]
    fn a_folded_norm_gives_what_the_two_layers_give() {
        let engine = Engine::start(Precision::F32, 0).expect("fp32 runs anywhere");
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
        let engine = Engine::start(Precision::F32, 0).expect("fp32 runs anywhere");
        let (layer, _) = layer(&engine, Builder::batch_norm);
        let one = Tensor::ones([1, 8, 1, 1], (Kind::Float, engine.device));
        let error = crate::error::guard("student", || Ok(layer.forward(&one, Mode::Train))).expect_err("no variance");
        assert!(error.to_string().contains("one value per channel"), "{error}");
        assert!(error.hint().expect("a way out").contains("--batch"));
    }
}
