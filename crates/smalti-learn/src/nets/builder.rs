//! Parameters with PyTorch's initial distributions, drawn from our own generator.

use super::layers::{Conv, ConvNorm, Geometry, Linear, Norm, Statistics, channels_last};
use crate::engine::Engine;
use rayon::prelude::*;
use smalti_data::random::{Stage, Stream};
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

/// Collects parameters while a network is put together.
pub(super) struct Builder {
    params: Vec<Param>,
    buffers: Vec<(String, Tensor)>,
    seed: u64,
    device: Device,
    kind: Kind,
}

impl Builder {
    pub fn new(seed: u64, engine: &Engine) -> Builder {
        Builder { params: Vec::new(), buffers: Vec::new(), seed, device: engine.device, kind: engine.kind }
    }

    pub fn finish(self) -> (Vec<Param>, Vec<(String, Tensor)>) {
        (self.params, self.buffers)
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
        let fan_out = outputs * geometry.kernel * geometry.kernel;
        let sd = (2.0 / fan_out as f64).sqrt();
        let values = self.draw((inputs * fan_out) as usize, |stream| sd * stream.normal());
        let shape = [outputs, inputs, geometry.kernel, geometry.kernel];
        let weight = self.add(format!("{conv}.weight"), values, &shape, Role::Weight);
        let conv = Conv { weight, bias: None, geometry, kind: self.kind };
        ConvNorm { conv, norm: self.batch_norm(norm, outputs) }
    }

    /// A convolution with bias and PyTorch's default initialisation.
    pub fn conv_default(&mut self, name: &str, inputs: i64, outputs: i64, geometry: Geometry) -> Conv {
        let fan_in = inputs * geometry.kernel * geometry.kernel;
        let shape = [outputs, inputs, geometry.kernel, geometry.kernel];
        let (weight, bias) = self.default_pair(name, fan_in, outputs, &shape);
        Conv { weight, bias: Some(bias), geometry, kind: self.kind }
    }

    /// A linear layer with PyTorch's default initialisation.
    pub fn linear(&mut self, name: &str, inputs: i64, outputs: i64) -> Linear {
        let (weight, bias) = self.default_pair(name, inputs, outputs, &[outputs, inputs]);
        Linear { weight, bias }
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
        Norm { scale, shift, statistics: Statistics::Batch { mean, variance } }
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
