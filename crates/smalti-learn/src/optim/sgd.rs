//! SGD with momentum as torch.optim.SGD computes it: L2 added to the gradient, no dampening, no Nesterov.

use super::{CHUNK, Decay, Rule};
use rayon::prelude::*;

/// Momentum buffers of every parameter.
pub struct Sgd {
    momentum: f32,
    weight_decay: f32,
    buffers: Vec<Vec<f32>>,
}

impl Sgd {
    /// Empty buffers for parameters of the given sizes.
    pub fn new(sizes: &[usize], momentum: f64, weight_decay: f64) -> Sgd {
        Sgd {
            momentum: momentum as f32,
            weight_decay: weight_decay as f32,
            buffers: sizes.iter().map(|&n| vec![0.0; n]).collect(),
        }
    }
}

impl Rule for Sgd {
    fn begin_step(&mut self) {}

    fn update(&mut self, index: usize, values: &mut [f32], gradient: &[f32], learning_rate: f64, decays: Decay) {
        let decay = if decays == Decay::Yes { self.weight_decay } else { 0.0 };
        let (momentum, rate) = (self.momentum, learning_rate as f32);
        // The first gradient fills the buffer undamped, which zero-initialised buffers give as well.
        let part = |values: &mut [f32], gradient: &[f32], buffer: &mut [f32]| {
            for ((value, &g), buffer) in values.iter_mut().zip(gradient).zip(buffer) {
                *buffer = *buffer * momentum + (g + decay * *value);
                *value -= rate * *buffer;
            }
        };
        let buffer = &mut self.buffers[index];
        if values.len() <= CHUNK {
            return part(values, gradient, buffer);
        }
        values
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(buffer.par_chunks_mut(CHUNK))
            .for_each(|((values, gradient), buffer)| part(values, gradient, buffer));
    }
}
