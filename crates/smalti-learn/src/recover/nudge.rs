//! DWA's directed weight adjustment (arXiv 2409.17612): before each batch the network takes a few steps uphill on it, so that batches differ.

use crate::nets::Network;
use crate::optim::gradients;
use tch::{Kind, Tensor};

/// How far and in how many steps.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nudge {
    /// Steps.
    pub steps: u32,
    /// Length of all of them together, over all parameters at once.
    pub radius: f64,
    /// What becomes of the weights after the batch.
    pub after: After,
}

/// What becomes of weights that were moved for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// They are put back, as the paper says.
    PutBack,
    /// They stay, and the next batch moves them further: what the published code does until it loads the network anew.
    Stay,
}

/// The weights of a network as they were.
pub struct Weights(Vec<Tensor>);

impl Weights {
    /// A copy.
    pub fn of(network: &Network) -> Weights {
        Weights(network.params().iter().map(|param| param.tensor.detach().copy()).collect())
    }

    /// Makes those of the network what they were.
    pub fn put_back(&self, network: &Network) {
        tch::no_grad(|| {
            for (param, before) in network.params().iter().zip(&self.0) {
                param.tensor.shallow_clone().copy_(before);
            }
        });
    }
}

/// Weights that are put back when this goes.
pub(super) struct Moved<'a> {
    network: &'a Network,
    before: Option<Weights>,
}

impl Moved<'_> {
    /// They are not put back.
    pub fn stay(mut self) {
        self.before = None;
    }
}

impl Nudge {
    /// Moves every parameter up the cross-entropy of `images`; running statistics stay.
    pub(super) fn apply<'a>(&self, network: &'a Network, images: &Tensor, labels: &Tensor) -> Moved<'a> {
        let moved = Moved { network, before: Some(Weights::of(network)) };
        for _ in 0..self.steps {
            let logits = network.forward(images, crate::nets::Mode::Eval).logits;
            let slopes = gradients(&logits.log_softmax(-1, Kind::Float).nll_loss(labels), network);
            let known = || slopes.iter().filter(|slope| slope.defined());
            let length = known().map(|slope| slope.square().sum(Kind::Double).double_value(&[])).sum::<f64>().sqrt();
            let scale = self.radius / f64::from(self.steps) / length.max(1e-12);
            tch::no_grad(|| {
                for (param, slope) in network.params().iter().zip(&slopes).filter(|(_, slope)| slope.defined()) {
                    let _ = param.tensor.shallow_clone().g_add_(&(slope * scale));
                }
            });
        }
        moved
    }
}

/// They go back, even when libtorch refuses in the middle of a batch.
impl Drop for Moved<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            before.put_back(self.network);
        }
    }
}
