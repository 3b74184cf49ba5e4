//! Weights that nobody moves for a while need not be cast at each use.

use super::Network;
use tch::Tensor;

/// Kernels of a network that are in its kind until this goes, when the fp32 masters are back.
pub(crate) struct AtRest(Vec<(Tensor, Tensor)>);

impl Network {
    /// Casts the kernels of its convolutions once: every pass gives the same bits as before, sooner where batches are small. Depthwise ones stay, since some are
    /// [computed in fp32](super::layers::Conv). For passes in which norms are [heard](Network::forward_heard): else they are folded into fp32 kernels.
    pub(crate) fn at_rest(&self) -> AtRest {
        // Those that rest already are left alone: of two that ask, the first puts the masters back.
        let kernels = self.params.iter().map(|param| &param.tensor).filter(|tensor| {
            let size = tensor.size();
            size.len() == 4 && size[1] > 1 && tensor.kind() != self.kind
        });
        AtRest(kernels.map(|tensor| exchange(tensor, &tensor.detach().to_kind(self.kind))).collect())
    }
}

/// Gives a parameter, which layers share, other numbers; returns it and those that it had.
fn exchange(tensor: &Tensor, new: &Tensor) -> (Tensor, Tensor) {
    let mut shared = tensor.shallow_clone();
    let before = tensor.detach();
    shared.set_data(new);
    (shared, before)
}

/// They are back even when libtorch refuses in the middle of a batch.
impl Drop for AtRest {
    fn drop(&mut self) {
        for (shared, before) in &self.0 {
            let _ = exchange(shared, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hearing, Shape};
    use super::*;
    use crate::engine::{Engine, Precision};
    use tch::Kind;

    #[test]
    fn nothing_changes_but_the_kind_and_the_masters_come_back() {
        for engine in [Precision::F32, Precision::Bf16].into_iter().filter_map(|p| Engine::cpu(p, 0).ok()) {
            for name in ["resnet18", "mobilenet_v2"] {
                let net = Network::new(name, Shape { classes: 10, size: 64 }, 1, &engine).expect("in the list");
                let images = Tensor::arange(2 * 3 * 64 * 64, (Kind::Float, engine.device)).sin();
                let images = images.reshape([2, 3, 64, 64]).set_requires_grad(true);
                let pass = || {
                    let (output, seen) = net.forward_heard(&images, Hearing::Norms { at_once: 2 });
                    let loss = output.logits.square().sum(Kind::Float) + seen[1].channels.variance.sum(Kind::Float);
                    let gradient = Tensor::run_backward(&[&loss], &[&images], false, false).remove(0);
                    [output.logits, gradient].map(|tensor| tensor.detach())
                };
                let masters: Vec<Tensor> = net.params().iter().map(|param| param.tensor.detach().copy()).collect();
                let before = pass();
                // A network may be asked twice in turn: as a vector, what came first goes first.
                let resting = vec![net.at_rest(), net.at_rest()];
                assert_eq!(net.params()[0].tensor.kind(), engine.kind, "{name}");
                assert_eq!(pass(), before, "{engine:?} {name}");
                drop(resting);
                for (param, master) in net.params().iter().zip(&masters) {
                    assert!(param.tensor.requires_grad() && &param.tensor == master, "{name}: {}", param.name);
                }
                assert_eq!(pass(), before, "{engine:?} {name}");
            }
        }
    }
}
