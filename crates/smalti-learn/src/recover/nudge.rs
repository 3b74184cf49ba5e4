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
}

/// What the parameters were before; they are put back when this goes.
pub(super) struct Moved<'a> {
    network: &'a Network,
    before: Vec<Tensor>,
}

impl Nudge {
    /// Moves every parameter up the cross-entropy of `images`; running statistics stay.
    pub(super) fn apply<'a>(&self, network: &'a Network, images: &Tensor, labels: &Tensor) -> Moved<'a> {
        let moved = Moved { network, before: network.params().iter().map(|p| p.tensor.detach().copy()).collect() };
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

/// The parameters go back, even when libtorch refuses in the middle of a batch.
impl Drop for Moved<'_> {
    fn drop(&mut self) {
        tch::no_grad(|| {
            for (param, before) in self.network.params().iter().zip(&self.before) {
                param.tensor.shallow_clone().copy_(before);
            }
        });
    }
}
