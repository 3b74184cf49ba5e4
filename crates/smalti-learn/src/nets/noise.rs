//! What layers leave out at random while training: dropout (Srivastava et al., JMLR 2014) and stochastic depth (arXiv 1603.09382).

use super::Mode;
use smalti_data::random::{Stage, Stream};
use std::cell::Cell;
use std::rc::Rc;
use tch::Tensor;

/// Whether a network leaves anything out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseStrength {
    /// As published.
    Full,
    /// Nothing: for comparisons with another implementation, whose draws are others.
    None,
}

/// The draws of one network, keyed by (seed, number of the training pass, layer).
pub(super) struct Noise {
    seed: u64,
    passes: Cell<u32>,
    layers: Cell<u64>,
    strength: Cell<NoiseStrength>,
}

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise { seed, passes: Cell::new(0), layers: Cell::new(0), strength: Cell::new(NoiseStrength::Full) }
    }

    /// Called before each training pass.
    pub fn next_pass(&self) {
        self.passes.set(self.passes.get().wrapping_add(1));
    }

    pub fn set(&self, strength: NoiseStrength) {
        self.strength.set(strength);
    }
}

/// A layer that leaves out a part of what it sees, and scales the rest so that the mean stays.
pub(super) struct Dropout {
    rate: f64,
    layer: u64,
    noise: Rc<Noise>,
}

impl Dropout {
    pub fn new(rate: f64, noise: &Rc<Noise>) -> Dropout {
        let layer = noise.layers.replace(noise.layers.get() + 1);
        Dropout { rate, layer, noise: noise.clone() }
    }

    /// Dropout: each number of [B, F] on its own.
    pub fn numbers(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.apply(x, mode, &x.size())
    }

    /// Stochastic depth: all of an image, or nothing.
    pub fn images(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut shape = vec![1; x.dim()];
        shape[0] = x.size()[0];
        self.apply(x, mode, &shape)
    }

    fn apply(&self, x: &Tensor, mode: Mode, shape: &[i64]) -> Tensor {
        if mode == Mode::Eval || self.rate == 0.0 || self.noise.strength.get() == NoiseStrength::None {
            return x.shallow_clone();
        }
        let mut stream = Stream::new(self.noise.seed, Stage::Drop, self.noise.passes.get(), self.layer);
        let kept = (1.0 / (1.0 - self.rate)) as f32;
        let count = shape.iter().product::<i64>() as usize;
        let factors: Vec<f32> = (0..count).map(|_| if stream.uniform() < self.rate { 0.0 } else { kept }).collect();
        x * Tensor::from_slice(&factors).reshape(shape).to_device(x.device()).to_kind(x.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_mean_stays_draws_repeat_and_evaluation_sees_everything() {
        let noise = Rc::new(Noise::new(3));
        let (first, second) = (Dropout::new(0.2, &noise), Dropout::new(0.2, &noise));
        let x = Tensor::ones([200, 100], (Kind::Float, Device::Cpu));
        noise.next_pass();
        let numbers = first.numbers(&x, Mode::Train);
        // 20,000 draws of 0 or 1.25 with a standard deviation of 0.5 each: five standard errors are 0.018.
        assert!((numbers.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.018);
        assert_eq!(numbers, first.numbers(&x, Mode::Train), "one pass has one draw per layer");
        assert_ne!(numbers, second.numbers(&x, Mode::Train), "another layer has another");
        let images = first.images(&x, Mode::Train);
        let per_image = images.std_dim([1i64].as_slice(), false, false);
        assert_eq!(per_image.max().double_value(&[]), 0.0, "an image is kept or left out as a whole");
        noise.next_pass();
        assert_ne!(numbers, first.numbers(&x, Mode::Train), "another pass has another draw");
        assert_eq!(first.numbers(&x, Mode::Eval), x);
        noise.set(NoiseStrength::None);
        assert_eq!(first.numbers(&x, Mode::Train), x);
    }
}
