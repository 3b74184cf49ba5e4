//! AdamW as torch.optim.AdamW computes it: decoupled decay first, then the bias-corrected step; beta 0.9 and 0.999, epsilon 1e-8.

use super::{CHUNK, Decay, Rule};
use rayon::prelude::*;

pub(super) const BETA1: f64 = 0.9;
pub(super) const BETA2: f64 = 0.999;
pub(super) const EPSILON: f64 = 1e-8;

/// Moments of every parameter.
pub struct AdamW {
    weight_decay: f64,
    step: i32,
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl AdamW {
    /// Zero moments for parameters of the given sizes.
    pub fn new(sizes: &[usize], weight_decay: f64) -> AdamW {
        AdamW { weight_decay, step: 0, moments: sizes.iter().map(|&n| (vec![0.0; n], vec![0.0; n])).collect() }
    }
}

impl Rule for AdamW {
    fn begin_step(&mut self) {
        self.step += 1;
    }

    fn update(&mut self, index: usize, values: &mut [f32], gradient: &[f32], learning_rate: f64, decays: Decay) {
        let shrink = if decays == Decay::Yes { 1.0 - learning_rate * self.weight_decay } else { 1.0 } as f32;
        let step_size = (learning_rate / (1.0 - BETA1.powi(self.step))) as f32;
        let correction = (1.0 - BETA2.powi(self.step)).sqrt() as f32;
        // Rounded once, after the subtraction: 1 - 0.999 in f32 is off by 5e-5 of itself.
        let (keep, new_first, new_second) = (BETA2 as f32, (1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
        let (first, second) = &mut self.moments[index];
        let part = |values: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]| {
            for (((value, &g), m), s) in values.iter_mut().zip(gradient).zip(first).zip(second) {
                *m += (g - *m) * new_first;
                *s = *s * keep + g * g * new_second;
                *value = *value * shrink - step_size * *m / (s.sqrt() / correction + EPSILON as f32);
            }
        };
        if values.len() <= CHUNK {
            return part(values, gradient, first, second);
        }
        values
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((values, gradient), first), second)| part(values, gradient, first, second));
    }
}
