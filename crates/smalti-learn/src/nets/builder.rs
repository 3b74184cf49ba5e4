//! Parameters with PyTorch's initial distributions, drawn from our own generator.

use super::layers::{Conv, ConvNorm, Geometry, LayerNorm, Linear, Norm, Statistics, channels_last};
use super::noise::{Dropout, Noise};
use super::taps::{Tap, Taps};
use crate::engine::Engine;
use rayon::prelude::*;
use smalti_data::random::{Stage, Stream};
use std::rc::Rc;
use tch::{Device, Kind, Tensor};

/// What a parameter is, which decides weight decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or linear layer.
    Weight,
    /// Bias of any layer.
    Bias,
    /// Scale of a normalisation layer.
    Scale,
}

/// Whether a linear layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    /// One that starts at 0.
    Zero,
    /// None.
    None,
}

/// A trainable fp32 tensor.
pub struct Param {
    /// torchvision's name.
    pub name: String,
    /// Leaf tensor; convolution weights [O, I, K, K] in channels-last storage.
    pub tensor: Tensor,
    /// What it is.
    pub role: Role,
}

/// Numbers of a parameter that share one stream. Part of the format of a seed: another value gives other weights.
const DRAWN_TOGETHER: usize = 1 << 14;

/// What a network is made of besides its layers.
pub(super) struct Parts {
    pub params: Vec<Param>,
    pub buffers: Vec<(String, Tensor)>,
    pub noise: Rc<Noise>,
    pub taps: Rc<Taps>,
}

/// Collects parameters while a network is put together.
pub(super) struct Builder {
    params: Vec<Param>,
    buffers: Vec<(String, Tensor)>,
    noise: Rc<Noise>,
    taps: Rc<Taps>,
    seed: u64,
    device: Device,
    kind: Kind,
}

impl Builder {
    pub fn new(seed: u64, engine: &Engine) -> Builder {
        let noise = Rc::new(Noise::new(seed));
        let taps = Rc::new(Taps::default());
        Builder { params: Vec::new(), buffers: Vec::new(), noise, taps, seed, device: engine.device, kind: engine.kind }
    }

    pub fn finish(self) -> Parts {
        Parts { params: self.params, buffers: self.buffers, noise: self.noise, taps: self.taps }
    }

    /// Numbers for the next parameter; its streams are keyed by (seed, part, number of the parameter).
    fn draw(&self, count: usize, sample: impl Fn(&mut Stream) -> f64 + Sync) -> Vec<f32> {
        let (seed, parameter) = (self.seed, self.params.len() as u64);
        let mut values = vec![0.0; count];
        values.par_chunks_mut(DRAWN_TOGETHER).enumerate().for_each(|(part, values)| {
            let mut stream = Stream::new(seed, Stage::Init, part as u32, parameter);
            values.fill_with(|| sample(&mut stream) as f32);
        });
        values
    }

    fn add(&mut self, name: String, values: Vec<f32>, shape: &[i64], role: Role) -> Tensor {
        let tensor = Tensor::from_slice(&values).reshape(shape).to_device(self.device);
        let tensor = if shape.len() == 4 { channels_last(&tensor) } else { tensor };
        let tensor = tensor.set_requires_grad(true);
        self.params.push(Param { name, tensor: tensor.shallow_clone(), role });
        tensor
    }

    /// A convolution without bias, weights N(0, 2 / fan_out) as torchvision's ResNets have them, and batch normalisation.
    pub fn conv_kaiming(
        &mut self,
        (conv, norm): (&str, &str),
        (inputs, outputs): (i64, i64),
        geometry: Geometry,
    ) -> ConvNorm {
        let conv = self.conv_kaiming_bare(conv, (inputs, outputs), geometry);
        ConvNorm { conv, norm: self.batch_norm(norm, outputs) }
    }

    /// The same weights without bias and norm.
    pub fn conv_kaiming_bare(&mut self, name: &str, (inputs, outputs): (i64, i64), geometry: Geometry) -> Conv {
        let weight = self.kaiming(name, (inputs, outputs), geometry);
        self.conv(weight, None, geometry)
    }

    /// The same weights with a bias of 0 and no norm.
    pub fn conv_kaiming_biased(&mut self, name: &str, (inputs, outputs): (i64, i64), geometry: Geometry) -> Conv {
        let weight = self.kaiming(name, (inputs, outputs), geometry);
        let bias = Some(self.zeros(format!("{name}.bias"), outputs));
        self.conv(weight, bias, geometry)
    }

    fn conv(&self, weight: Tensor, bias: Option<Tensor>, geometry: Geometry) -> Conv {
        Conv { weight, bias, geometry, kind: self.kind, tap: Tap::of_convolution(&self.taps) }
    }

    fn kaiming(&mut self, name: &str, (inputs, outputs): (i64, i64), geometry: Geometry) -> Tensor {
        let Geometry { kernel, groups, .. } = geometry;
        let fan_out = outputs * kernel * kernel;
        let sd = (2.0 / fan_out as f64).sqrt();
        let inputs = inputs / groups;
        let values = self.draw((inputs * fan_out) as usize, |stream| sd * stream.normal());
        self.add(format!("{name}.weight"), values, &[outputs, inputs, kernel, kernel], Role::Weight)
    }

    fn zeros(&mut self, name: String, count: i64) -> Tensor {
        self.add(name, vec![0.0; count as usize], &[count], Role::Bias)
    }

    /// A convolution with bias and PyTorch's default initialisation.
    pub fn conv_default(&mut self, name: &str, inputs: i64, outputs: i64, geometry: Geometry) -> Conv {
        let fan_in = inputs * geometry.kernel * geometry.kernel;
        let shape = [outputs, inputs, geometry.kernel, geometry.kernel];
        let (weight, bias) = self.default_pair(name, fan_in, outputs, &shape);
        self.conv(weight, Some(bias), geometry)
    }

    /// A 3x3 convolution without bias: PyTorch's default initialisation, but the first filters hand on one channel each (torch.nn.init.dirac_).
    pub fn conv_identity(&mut self, name: &str, inputs: i64, outputs: i64) -> Conv {
        let geometry = Geometry::centred(3, 1);
        let each = inputs as usize * 9;
        let bound = 1.0 / (each as f64).sqrt();
        let mut values = self.draw(each * outputs as usize, |stream| stream.between(-bound, bound));
        for (channel, filter) in values.chunks_mut(each).take(inputs as usize).enumerate() {
            filter.fill(0.0);
            filter[channel * 9 + 4] = 1.0;
        }
        let weight = self.add(format!("{name}.weight"), values, &[outputs, inputs, 3, 3], Role::Weight);
        self.conv(weight, None, geometry)
    }

    /// A convolution whose weights are kept with the network and never learnt, 0 until they are set, with a bias of 0.
    pub fn conv_frozen(&mut self, name: &str, inputs: i64, outputs: i64, geometry: Geometry) -> Conv {
        let shape = [outputs, inputs / geometry.groups, geometry.kernel, geometry.kernel];
        let weight = channels_last(&Tensor::zeros(shape, (Kind::Float, self.device)));
        let weight = self.constant(&format!("{name}.weight"), &weight);
        let bias = Some(self.zeros(format!("{name}.bias"), outputs));
        self.conv(weight, bias, geometry)
    }

    /// A linear layer with PyTorch's default initialisation.
    pub fn linear(&mut self, name: &str, inputs: i64, outputs: i64) -> Linear {
        let (weight, bias) = self.default_pair(name, inputs, outputs, &[outputs, inputs]);
        Linear { weight, bias: Some(bias) }
    }

    /// A linear layer whose weights are drawn by `sample`, with a bias of 0 or none.
    pub fn linear_drawn(
        &mut self,
        name: &str,
        (inputs, outputs): (i64, i64),
        bias: Bias,
        sample: impl Fn(&mut Stream) -> f64 + Sync,
    ) -> Linear {
        let values = self.draw((inputs * outputs) as usize, sample);
        let weight = self.add(format!("{name}.weight"), values, &[outputs, inputs], Role::Weight);
        let bias = match bias {
            Bias::Zero => Some(self.zeros(format!("{name}.bias"), outputs)),
            Bias::None => None,
        };
        Linear { weight, bias }
    }

    /// A table of learned numbers that are no weights of a layer, N(0, sd²).
    pub fn table(&mut self, name: &str, shape: [i64; 2], sd: f64) -> Tensor {
        let values = self.draw((shape[0] * shape[1]) as usize, |stream| sd * stream.normal());
        self.add(name.to_owned(), values, &shape, Role::Bias)
    }

    /// A tensor that is kept with the weights and never changes.
    pub fn constant(&mut self, name: &str, tensor: &Tensor) -> Tensor {
        let tensor = tensor.to_device(self.device);
        self.buffers.push((name.to_owned(), tensor.shallow_clone()));
        tensor
    }

    /// Normalisation over the last dimension.
    pub fn layer_norm(&mut self, name: &str, channels: i64) -> LayerNorm {
        let (scale, shift) = self.affine(name, channels);
        LayerNorm { scale, shift }
    }

    /// A layer that leaves out a part of what it sees while training.
    pub fn dropout(&mut self, rate: f64) -> Dropout {
        Dropout::new(rate, &self.noise)
    }

    fn default_pair(&mut self, name: &str, fan_in: i64, outputs: i64, shape: &[i64]) -> (Tensor, Tensor) {
        let bound = 1.0 / (fan_in as f64).sqrt();
        let values = self.draw((fan_in * outputs) as usize, |stream| stream.between(-bound, bound));
        let weight = self.add(format!("{name}.weight"), values, shape, Role::Weight);
        let values = self.draw(outputs as usize, |stream| stream.between(-bound, bound));
        let bias = self.add(format!("{name}.bias"), values, &[outputs], Role::Bias);
        (weight, bias)
    }

    /// Batch normalisation with running statistics 0 and 1.
    pub fn batch_norm(&mut self, name: &str, channels: i64) -> Norm {
        let (scale, shift) = self.affine(name, channels);
        let options = (Kind::Float, self.device);
        let mean = Tensor::zeros([channels], options);
        let variance = Tensor::ones([channels], options);
        self.buffers.push((format!("{name}.running_mean"), mean.shallow_clone()));
        self.buffers.push((format!("{name}.running_var"), variance.shallow_clone()));
        Norm { scale, shift, statistics: Statistics::Batch { mean, variance, tap: Tap::of_norm(&self.taps) } }
    }

    /// Normalisation of each image and channel on its own, with scale and shift (GroupNorm with one channel per group).
    pub fn instance_norm(&mut self, name: &str, channels: i64) -> Norm {
        let (scale, shift) = self.affine(name, channels);
        Norm { scale, shift, statistics: Statistics::Instance { channels } }
    }

    fn affine(&mut self, name: &str, channels: i64) -> (Tensor, Tensor) {
        let ones = vec![1.0; channels as usize];
        let zeros = vec![0.0; channels as usize];
        let scale = self.add(format!("{name}.weight"), ones, &[channels], Role::Scale);
        let shift = self.add(format!("{name}.bias"), zeros, &[channels], Role::Bias);
        (scale, shift)
    }
}
