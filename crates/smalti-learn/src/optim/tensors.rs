//! AdamW and SGD as operations on whole tensors, for parameters whose numbers lie on a GPU. The same formulas as beside.

use super::adamw::{BETA1, BETA2, EPSILON};
use super::{Decay, OptimiserSpec};
use std::collections::HashMap;
use tch::Tensor;

/// State of every parameter that had a gradient.
pub(super) struct Tensors {
    spec: OptimiserSpec,
    step: i32,
    kept: HashMap<usize, [Tensor; 2]>,
}

impl Tensors {
    /// Without state. The matrices that Muon moves never come here; the others have AdamW.
    pub fn new(spec: &OptimiserSpec) -> Tensors {
        Tensors { spec: *spec, step: 0, kept: HashMap::new() }
    }

    pub fn begin_step(&mut self) {
        self.step += 1;
    }

    /// Updates `param` in place from a gradient of its shape; `index` says which it is.
    pub fn update(&mut self, index: usize, param: &Tensor, gradient: &Tensor, learning_rate: f64, decays: Decay) {
        tch::no_grad(|| {
            let step = self.step;
            let mut values = param.detach();
            let kept = self.kept.entry(index).or_insert_with(|| [values.zeros_like(), values.zeros_like()]);
            let factor = |weight_decay: f64| if decays == Decay::Yes { weight_decay } else { 0.0 };
            match self.spec {
                OptimiserSpec::AdamW { weight_decay, .. } | OptimiserSpec::Muon { weight_decay, .. } => {
                    let _ = values.g_mul_scalar_(1.0 - learning_rate * factor(weight_decay));
                    let _ = values.g_sub_(&(adam(kept, gradient, step) * learning_rate));
                }
                OptimiserSpec::Sgd { momentum, weight_decay, .. } => {
                    let pull = gradient + &values * factor(weight_decay);
                    let _ = kept[0].g_mul_scalar_(momentum).g_add_(&pull);
                    let _ = values.g_sub_(&(&kept[0] * learning_rate));
                }
            }
        });
    }
}

/// The bias-corrected step at a learning rate of 1.
fn adam([first, second]: &mut [Tensor; 2], gradient: &Tensor, step: i32) -> Tensor {
    let _ = first.lerp_(gradient, 1.0 - BETA1);
    let _ = second.g_mul_scalar_(BETA2).g_add_(&(gradient.square() * (1.0 - BETA2)));
    let root = (&*second / (1.0 - BETA2.powi(step))).sqrt() + EPSILON;
    &*first / (root * (1.0 - BETA1.powi(step)))
}
