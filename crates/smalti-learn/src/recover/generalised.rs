//! What G-VBSM adds (arXiv 2311.17950): averages that remember earlier steps, convolutions that are left out of a step, and images of a class that are
//! kept apart.

use super::Pass;
use crate::nets::{Hearing, Layer, Network};
use smalti_data::random::Stage;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Generalised {
    /// Side of the cells into which the input of a convolution is cut.
    pub cell: u32,
    /// Part of a statistic's average that each step keeps (the paper's α). Averages start at 0 with each batch of images.
    pub memory: f64,
    /// Probability that a step leaves a convolution out (the paper's β_dr).
    pub skip: f64,
    /// Weight of the density of each class.
    pub density: f64,
    /// Its temperature (the paper's τ).
    pub temperature: f64,
    /// Training images over which the statistics of convolutions are taken at once, before these are averaged.
    pub measured: u32,
}

impl Generalised {
    /// What a step listens to. Averages are kept of one batch, so that a pass has no other.
    pub(super) fn hearing(&self, network: &Network, pass: &Pass, iteration: u32) -> Hearing {
        let mut stream = pass.batches[0].stream(Stage::Skip, pass.seed, iteration);
        let skipped = (0..network.convolutions()).filter(|_| stream.uniform() < self.skip).collect();
        Hearing::Convolutions { cell: i64::from(self.cell), skipped }
    }

    /// Density of a batch [B, 3, S, S] of some classes: for each class the Kullback-Leibler divergence of softmax(λ) from softmax(λ / τ), λ the eigenvalues of
    /// the Gram matrix of its images, each pooled to 32 x 32. The softer one is a constant.
    pub(super) fn density(&self, images: &Tensor, labels: &[u32]) -> Tensor {
        let flat = images.to_kind(Kind::Float).adaptive_avg_pool2d([32, 32]).flatten(1, -1); // [B, 3 * 32²]
        let of = |class: u32| {
            let own: Vec<i64> =
                (0..).zip(labels).filter(|&(_, &label)| label == class).map(|(image, _)| image).collect();
            let own = flat.index_select(0, &Tensor::from_slice(&own).to_device(flat.device()));
            let eigenvalues = own.matmul(&own.transpose(0, 1)).linalg_eigvalsh("L");
            let log = eigenvalues.log_softmax(-1, Kind::Float);
            let soft = (eigenvalues.detach() / self.temperature).log_softmax(-1, Kind::Float);
            (soft.exp() * (&soft - log)).sum(Kind::Float)
        };
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        Tensor::stack(&classes.into_iter().map(of).collect::<Vec<_>>(), 0).sum(Kind::Float) * self.density
    }
}

/// Averages of what one network saw in earlier steps.
pub(super) struct Averages {
    memory: f64,
    kept: HashMap<(Layer, usize), Tensor>,
}

impl Averages {
    pub fn new(memory: f64) -> Averages {
        Averages { memory, kept: HashMap::new() }
    }

    /// The average with what a step found, with the gradient of what it found alone.
    pub fn with(&mut self, place: (Layer, usize), found: &Tensor) -> Tensor {
        let own = found.detach() * (1.0 - self.memory);
        let average = self.kept.get(&place).map_or_else(|| own.shallow_clone(), |before| before * self.memory + &own);
        let value = &average + found - found.detach();
        self.kept.insert(place, average);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    const SETTINGS: Generalised =
        Generalised { cell: 4, memory: 0.8, skip: 0.4, density: 1.0, temperature: 4.0, measured: 64 };

    /// α = 0.8: 0.2 * 5 = 1, then 0.8 * 1 + 0.2 * 10 = 2.8; slope 1.
    #[test]
    fn averages_start_at_zero_and_pass_the_gradient_on() {
        let mut averages = Averages::new(0.8);
        let found = Tensor::from_slice(&[5f32]).set_requires_grad(true);
        let value = averages.with((Layer::Norm(0), 0), &found);
        assert!((value.double_value(&[0]) - 1.0).abs() < 1e-6);
        let slope = Tensor::run_backward(&[value], &[&found], false, false);
        assert_eq!(slope[0].double_value(&[0]), 1.0);
        let next = averages.with((Layer::Norm(0), 0), &Tensor::from_slice(&[10f32]));
        assert!((next.double_value(&[0]) - 2.8).abs() < 1e-6);
        let other = averages.with((Layer::Norm(0), 1), &Tensor::from_slice(&[10f32]));
        assert!((other.double_value(&[0]) - 2.0).abs() < 1e-6);
    }

    /// Two images of a class at right angles with squared lengths 4 and 2: softmax (4, 2) against softmax (1, 0.5). The second class has one image, whose
    /// share is 1 at any temperature.
    #[test]
    fn density_by_hand() {
        let images = Tensor::zeros([3, 3, 32, 32], (Kind::Float, Device::Cpu));
        for (image, channel, value) in [(0, 0, 2.0), (1, 1, 2f64.sqrt()), (2, 0, 3.0)] {
            let _ = images.get(image).get(channel).get(5).get(6).fill_(value);
        }
        let found = SETTINGS.density(&images, &[7, 7, 2]).double_value(&[]);
        let share = |a: f64, b: f64| a.exp() / (a.exp() + b.exp());
        let (soft, hard) = (share(1.0, 0.5), share(4.0, 2.0));
        let expected = soft * (soft / hard).ln() + (1.0 - soft) * ((1.0 - soft) / (1.0 - hard)).ln();
        assert!((found - expected).abs() < 1e-5, "{found} against {expected}");
    }

    /// Against central differences along a direction; the softer distribution is held.
    #[test]
    fn the_gradient_of_density_is_its_slope() {
        let wave = |shift: f64| {
            (Tensor::arange(2 * 3 * 32 * 32, (Kind::Float, Device::Cpu)) * 0.37 + shift).sin().reshape([2, 3, 32, 32])
        };
        let (images, along) = (wave(0.0) * 0.05, wave(1.0));
        let pixels = images.copy().set_requires_grad(true);
        let slope = Tensor::run_backward(&[SETTINGS.density(&pixels, &[1, 1])], &[&pixels], false, false).remove(0);
        let found = (slope * &along).sum(Kind::Double).double_value(&[]);
        let share = |images: &Tensor, temperature: f64| {
            let flat = images.flatten(1, -1).to_kind(Kind::Double);
            (flat.matmul(&flat.transpose(0, 1)).linalg_eigvalsh("L") / temperature).softmax(-1, Kind::Double)
        };
        let held = share(&images, 4.0);
        let value = |h: f64| -(&held * share(&(&images + &along * h), 1.0).log()).sum(Kind::Double).double_value(&[]);
        let expected = (value(1e-4) - value(-1e-4)) / 2e-4;
        assert!((found - expected).abs() < 0.01 * expected.abs(), "{found} against {expected}");
        assert!(expected.abs() > 1e-3, "{expected}");
    }
}
