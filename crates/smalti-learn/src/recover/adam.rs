//! Adam over the pixels of one batch (arXiv 1412.6980), with the constants of the SRe2L family.

use tch::Tensor;

const BETA1: f64 = 0.5;
const BETA2: f64 = 0.9;
const EPSILON: f64 = 1e-8;

pub(super) struct Adam {
    step: i32,
    first: Tensor,
    second: Tensor,
}

impl Adam {
    pub fn new(pixels: &Tensor) -> Adam {
        Adam { step: 0, first: pixels.detach().zeros_like(), second: pixels.detach().zeros_like() }
    }

    /// Moves `pixels` against `gradient`, in place.
    pub fn step(&mut self, pixels: &mut Tensor, gradient: &Tensor, learning_rate: f64) {
        self.step += 1;
        let _ = self.first.g_mul_scalar_(BETA1).g_add_(&(gradient * (1.0 - BETA1)));
        let _ = self.second.g_mul_scalar_(BETA2).g_add_(&(gradient.square() * (1.0 - BETA2)));
        let root = (&self.second / (1.0 - BETA2.powi(self.step))).sqrt() + EPSILON;
        let size = learning_rate / (1.0 - BETA1.powi(self.step));
        let _ = pixels.g_sub_(&(&self.first / root * size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch.optim.Adam, lr 0.1, betas (0.5, 0.9), x = 1, gradients 2 then -1: by hand.
    #[test]
    fn two_steps_by_hand() {
        let mut x = Tensor::from_slice(&[1f64]);
        let mut adam = Adam::new(&x);
        adam.step(&mut x, &Tensor::from_slice(&[2f64]), 0.1);
        // Bias-corrected moments are 2 and 4, so the step is the learning rate.
        assert!((x.double_value(&[0]) - 0.9).abs() < 1e-9);
        adam.step(&mut x, &Tensor::from_slice(&[-1f64]), 0.1);
        // First: 0.5 * 1 - 0.5 = 0. The second moment does not matter.
        assert!((x.double_value(&[0]) - 0.9).abs() < 1e-9);
        adam.step(&mut x, &Tensor::from_slice(&[4f64]), 0.1);
        // First 2 / 0.875; second 0.9 * (0.9 * 0.4 + 0.1) + 1.6 = 2.014, over 0.271.
        let expected = 0.9 - 0.1 * (2.0 / 0.875) / (2.014f64 / 0.271).sqrt();
        assert!((x.double_value(&[0]) - expected).abs() < 1e-8);
    }
}
