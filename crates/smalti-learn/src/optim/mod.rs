//! Optimisers over plain f32 slices: one pass per parameter, state in plain vectors. On a GPU, the same over tensors.

mod adamw;
mod muon;
mod sgd;
mod tensors;

pub use adamw::AdamW;
pub use sgd::Sgd;

use crate::nets::{Network, Param, Role};
use muon::Muon;
use tch::{Device, Kind, Tensor};
use tensors::Tensors;

/// Numbers that one core updates at a time; a parameter longer than this is worth the other cores.
const CHUNK: usize = 1 << 15;

/// Which optimiser, with its constants.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
pub enum OptimiserSpec {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).
    AdamW {
        /// Peak learning rate.
        learning_rate: f64,
        /// Decay, on weight tensors of more than one dimension only.
        weight_decay: f64,
    },
    /// Momentum SGD with L2 in the gradient, as torch.optim.SGD.
    Sgd {
        /// Peak learning rate.
        learning_rate: f64,
        /// Momentum, without dampening.
        momentum: f64,
        /// L2 factor, on every parameter.
        weight_decay: f64,
    },
    /// Muon for the weights of hidden layers, in steps as long as AdamW's; AdamW for all else: the first and the last layer, filters
    /// of single channels, biases and norms.
    Muon {
        /// Peak learning rate of both.
        learning_rate: f64,
        /// Momentum, in Nesterov's form.
        momentum: f64,
        /// Decay, as AdamW's.
        weight_decay: f64,
    },
}

impl OptimiserSpec {
    /// The peak learning rate.
    pub fn learning_rate(&self) -> f64 {
        match *self {
            OptimiserSpec::AdamW { learning_rate, .. }
            | OptimiserSpec::Sgd { learning_rate, .. }
            | OptimiserSpec::Muon { learning_rate, .. } => learning_rate,
        }
    }

    /// The same optimiser with another peak learning rate.
    pub fn with_learning_rate(self, learning_rate: f64) -> OptimiserSpec {
        match self {
            OptimiserSpec::AdamW { weight_decay, .. } => OptimiserSpec::AdamW { learning_rate, weight_decay },
            OptimiserSpec::Sgd { momentum, weight_decay, .. } => {
                OptimiserSpec::Sgd { learning_rate, momentum, weight_decay }
            }
            OptimiserSpec::Muon { momentum, weight_decay, .. } => {
                OptimiserSpec::Muon { learning_rate, momentum, weight_decay }
            }
        }
    }
}

/// An update rule for one parameter slice; `index` says which parameter, so that state is found again.
pub trait Rule: Send {
    /// Called once per step, before the parameters.
    fn begin_step(&mut self);
    /// Updates `values` in place from `gradient`. `decays` says whether weight decay applies to this parameter.
    fn update(&mut self, index: usize, values: &mut [f32], gradient: &[f32], learning_rate: f64, decays: Decay);
}

/// Whether weight decay applies to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// It does.
    Yes,
    /// It does not: biases and norms under AdamW.
    No,
}

/// Where the numbers of parameters are updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In this machine's memory, in one pass.
    Slices,
    /// Where the tensors are, by libtorch's operations.
    Tensors,
}

/// A rule in either form.
enum Rules {
    Slices(Box<dyn Rule>),
    Tensors(Tensors),
}

/// An optimiser bound to the shapes of one network.
pub struct Optimiser {
    rule: Rules,
    decay_all: bool,
    /// For hidden matrices, where they have a rule of their own.
    muon: Option<Muon>,
}

impl Optimiser {
    /// Fresh state for `network`, in the form that is fastest where its parameters are.
    pub fn new(spec: &OptimiserSpec, network: &Network) -> Optimiser {
        let here = network.params().iter().all(|param| param.tensor.device() == Device::Cpu);
        Optimiser::in_form(if here { Form::Slices } else { Form::Tensors }, spec, network)
    }

    /// Fresh state for `network`. Slices need parameters in this machine's memory.
    pub fn in_form(form: Form, spec: &OptimiserSpec, network: &Network) -> Optimiser {
        let sizes: Vec<usize> = network.params().iter().map(|p| p.tensor.numel()).collect();
        let rule = match (form, *spec) {
            (Form::Tensors, _) => Rules::Tensors(Tensors::new(spec)),
            (Form::Slices, OptimiserSpec::AdamW { weight_decay, .. } | OptimiserSpec::Muon { weight_decay, .. }) => {
                Rules::Slices(Box::new(AdamW::new(&sizes, weight_decay)))
            }
            (Form::Slices, OptimiserSpec::Sgd { momentum, weight_decay, .. }) => {
                Rules::Slices(Box::new(Sgd::new(&sizes, momentum, weight_decay)))
            }
        };
        let muon = match *spec {
            OptimiserSpec::Muon { momentum, weight_decay, .. } => {
                Some(Muon::new(momentum, weight_decay, network.kind()))
            }
            _ => None,
        };
        Optimiser { rule, decay_all: matches!(spec, OptimiserSpec::Sgd { .. }), muon }
    }

    /// Moves every parameter of `network` against its gradient. `gradients` holds one fp32 tensor per parameter, in their order and of
    /// their shapes, as [`gradients`] returns them; a parameter whose gradient is undefined stays.
    pub fn step(&mut self, network: &Network, gradients: &[Tensor], learning_rate: f64) {
        match &mut self.rule {
            Rules::Slices(rule) => rule.begin_step(),
            Rules::Tensors(rule) => rule.begin_step(),
        }
        let is_weight = |param: &Param| param.role == Role::Weight;
        let first = network.params().iter().position(is_weight);
        let last = network.params().iter().rposition(is_weight);
        for (index, (param, gradient)) in network.params().iter().zip(gradients).enumerate() {
            if !gradient.defined() {
                continue;
            }
            let hidden = ![first, last].contains(&Some(index));
            if let Some(muon) = self.muon.as_mut().filter(|_| hidden && is_matrix(param)) {
                muon.update(index, &param.tensor, gradient, learning_rate);
                continue;
            }
            let decays = if self.decay_all || decayed(param) { Decay::Yes } else { Decay::No };
            match &mut self.rule {
                Rules::Slices(rule) => {
                    update_slices(&mut **rule, index, (&param.tensor, gradient), learning_rate, decays)
                }
                Rules::Tensors(rule) => rule.update(index, &param.tensor, gradient, learning_rate, decays),
            }
        }
    }
}

/// Hands the numbers of a parameter and its gradient to a rule.
fn update_slices(
    rule: &mut dyn Rule,
    index: usize,
    (param, gradient): (&Tensor, &Tensor),
    learning_rate: f64,
    decays: Decay,
) {
    let gradient = same_layout(gradient, param);
    #[allow(
        unsafe_code,
        reason = "the optimiser works on libtorch's own memory; copying out and in would double the traffic"
    )]
    // SAFETY: both tensors are dense, of one shape and with equal strides (`same_layout`), so their storages are slices of
    // `numel` floats in the same order; they are two storages, and nothing else reads or writes them during the update.
    let (values, gradient) = unsafe {
        let (values, count) = floats(param);
        let (from, _) = floats(&gradient);
        (std::slice::from_raw_parts_mut(values, count), std::slice::from_raw_parts(from, count))
    };
    rule.update(index, values, gradient, learning_rate, decays);
}

/// The gradient of the scalar `loss` for every parameter of `network`, in their order. The graph is freed. Nothing accumulates in the
/// parameters, so there is nothing to clear.
pub fn gradients(loss: &Tensor, network: &Network) -> Vec<Tensor> {
    let params: Vec<&Tensor> = network.params().iter().map(|p| &p.tensor).collect();
    Tensor::run_backward(&[loss], &params, false, false)
}

/// The field's grouping (methods as published): weights of more than one dimension are decayed, biases and norms are not.
fn decayed(param: &Param) -> bool {
    param.role == Role::Weight && param.tensor.dim() > 1
}

/// Whether a parameter turns several channels into others.
fn is_matrix(param: &Param) -> bool {
    decayed(param) && param.tensor.size()[1] > 1
}

/// `gradient` with the strides of `param`, copied only where they differ.
fn same_layout(gradient: &Tensor, param: &Tensor) -> Tensor {
    assert_eq!(gradient.size(), param.size(), "a gradient has the shape of its parameter");
    if gradient.kind() == Kind::Float && gradient.stride() == param.stride() {
        return gradient.shallow_clone();
    }
    let mut copy = param.detach().zeros_like();
    copy.copy_(gradient);
    copy
}

/// First float and number of floats of a dense fp32 tensor on the CPU.
fn floats(tensor: &Tensor) -> (*mut f32, usize) {
    assert!(tensor.kind() == Kind::Float && tensor.device() == Device::Cpu, "parameters are fp32 on the CPU");
    (tensor.data_ptr().cast(), tensor.numel())
}
