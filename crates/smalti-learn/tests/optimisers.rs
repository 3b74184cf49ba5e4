//! AdamW, SGD and Muon against torch.optim, step by step. The numbers come from scripts/reference_optimisers.py.

use smalti_learn::engine::{Engine, Precision};
use smalti_learn::nets::{Network, Shape};
use smalti_learn::optim::{Form, Optimiser, OptimiserSpec};
use tch::Tensor;

#[derive(serde::Deserialize)]
struct Golden {
    names: Vec<String>,
    initial: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    adamw: Option<Run>,
    sgd: Option<Run>,
    muon: Option<Run>,
}

#[derive(serde::Deserialize)]
struct Run {
    learning_rate: f64,
    weight_decay: f64,
    momentum: Option<f64>,
    after: Vec<Vec<f32>>,
}

fn golden(text: &str) -> Golden {
    serde_json::from_str(text).expect("the file is committed")
}

const OPTIMISERS: &str = include_str!("golden/optimisers.json");
const MUON: &str = include_str!("golden/muon.json");

/// A network with the golden parameters.
fn network((name, size): (&str, u32), golden: &Golden) -> Network {
    let engine = Engine::cpu(Precision::F32, 0).expect("fp32 runs anywhere");
    let net = Network::new(name, Shape { classes: 2, size }, 0, &engine).expect("a tiny network");
    let names: Vec<&str> = net.params().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, golden.names);
    for (param, value) in net.params().iter().zip(like_params(&net, &golden.initial)) {
        tch::no_grad(|| param.tensor.detach().copy_(&value));
    }
    net
}

/// Flat numbers in PyTorch's order as one tensor per parameter.
fn like_params(net: &Network, flat: &[f32]) -> Vec<Tensor> {
    let mut at = 0;
    let mut part = |tensor: &Tensor| {
        let from = at;
        at += tensor.numel();
        Tensor::from_slice(&flat[from..at]).reshape(tensor.size())
    };
    net.params().iter().map(|p| part(&p.tensor)).collect()
}

fn flat(net: &Network) -> Vec<f32> {
    let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().contiguous().flatten(0, -1)).expect("fp32");
    net.params().iter().flat_map(|p| values(&p.tensor)).collect()
}

/// In both forms: slices of this machine's memory, and tensors as on a GPU.
fn follow(spec: &OptimiserSpec, tiny: (&str, u32), golden: &Golden, run: (&Run, f32)) {
    for form in [Form::Slices, Form::Tensors] {
        follow_in(form, spec, tiny, golden, run);
    }
}

fn follow_in(form: Form, spec: &OptimiserSpec, tiny: (&str, u32), golden: &Golden, (run, tolerance): (&Run, f32)) {
    let net = network(tiny, golden);
    let mut optimiser = Optimiser::in_form(form, spec, &net);
    let steps = golden.gradients.len();
    assert_eq!((steps, run.after.len()), (20, 20));
    for (step, (gradients, expected)) in golden.gradients.iter().zip(&run.after).enumerate() {
        let rate = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos());
        optimiser.step(&net, &like_params(&net, gradients), spec.learning_rate() * rate);
        for (i, (found, expected)) in flat(&net).into_iter().zip(expected).enumerate() {
            // A few roundings of f32; SGD's values reach the hundreds.
            let close = tolerance * expected.abs().max(1.0);
            assert!((found - expected).abs() < close, "{form:?}, step {step}, number {i}: {found} and not {expected}");
        }
    }
}

#[test]
fn adamw_follows_torch_optim() {
    let golden = golden(OPTIMISERS);
    let run = golden.adamw.as_ref().expect("in the file");
    let spec = OptimiserSpec::AdamW { learning_rate: run.learning_rate, weight_decay: run.weight_decay };
    follow(&spec, ("convnet-1/1-bn", 2), &golden, (run, 1e-6));
}

#[test]
fn sgd_follows_torch_optim() {
    let golden = golden(OPTIMISERS);
    let run = golden.sgd.as_ref().expect("in the file");
    let momentum = run.momentum.expect("in the file");
    let spec = OptimiserSpec::Sgd { learning_rate: run.learning_rate, momentum, weight_decay: run.weight_decay };
    follow(&spec, ("convnet-1/1-bn", 2), &golden, (run, 1e-6));
}

/// The iteration magnifies small singular values, and with them roundings of fp32.
#[test]
fn muon_follows_torch_optim() {
    let golden = golden(MUON);
    let run = golden.muon.as_ref().expect("in the file");
    let momentum = run.momentum.expect("in the file");
    let spec = OptimiserSpec::Muon { learning_rate: run.learning_rate, momentum, weight_decay: run.weight_decay };
    follow(&spec, ("convnet-2/3-bn", 4), &golden, (run, 2e-5));
}

/// A parameter long enough for several cores and a remainder gives what a short one gives, number by number.
#[test]
fn long_parameters_are_updated_as_short_ones() {
    use smalti_learn::optim::{AdamW, Decay, Rule, Sgd};
    let count = 70_001usize;
    let gradient: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
    let adamw = |sizes: &[usize]| Box::new(AdamW::new(sizes, 0.1)) as Box<dyn Rule>;
    let sgd = |sizes: &[usize]| Box::new(Sgd::new(sizes, 0.9, 0.1)) as Box<dyn Rule>;
    for (mut long, mut short) in [(adamw(&[70_001]), adamw(&[1])), (sgd(&[70_001]), sgd(&[1]))] {
        let mut values = vec![1.0; count];
        let mut last = [1.0];
        for _ in 0..3 {
            long.begin_step();
            long.update(0, &mut values, &gradient, 0.01, Decay::Yes);
            short.begin_step();
            short.update(0, &mut last, &gradient[count - 1..], 0.01, Decay::Yes);
        }
        assert_eq!(values[count - 1], last[0]);
        assert_eq!(values[0], values[101 * 600], "the same gradients give the same values in every part");
    }
}
