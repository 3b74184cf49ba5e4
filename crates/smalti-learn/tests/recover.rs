//! Recover against the same loop in plain PyTorch. The other side is scripts/reference_recover.py.

mod common;

use smalti_learn::batch::IMAGENET;
use smalti_learn::checkpoint;
use smalti_learn::engine::{Engine, Precision};
use smalti_learn::nets::{Network, Shape};
use smalti_learn::recover::{After, Batch, Curriculum, Jitter, Look, Nudge, RecoverSpec, Targets, recover};
use tch::{Kind, Tensor};

/// The numbers of the script; nothing is cropped, flipped or rolled.
const SRE2L: RecoverSpec = RecoverSpec {
    iterations: 3,
    learning_rate: 0.01,
    statistics: 1.0,
    first_norm: 10.0,
    variance: 1.0,
    look: Look { crop: Curriculum::None, jitter: Jitter::Forward { most: 0 } },
    nudge: None,
};

#[test]
fn the_pixels_after_a_few_steps_are_pytorchs() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    if common::python("scripts/reference_recover.py", &[dir.path()]).is_none() {
        return;
    }
    let engine = Engine::start(Precision::F32, 1).expect("fp32 runs anywhere");
    let network = Network::new("resnet18", Shape { classes: 10, size: 64 }, 0, &engine).expect("in the list");
    checkpoint::load(&network, &dir.path().join("weights.safetensors")).expect("torchvision's file loads");
    let expected = Tensor::read_safetensors(dir.path().join("expected.safetensors")).expect("written by the script");
    let named = |name: &str| &expected.iter().find(|(key, _)| key == name).expect("in the file").1;
    let targets = Targets::running(&network);
    let labels = [3, 0, 7, 7];
    let batch =
        Batch { stage: "recover", labels: &labels, targets: &targets, start: Some(named("start")), seed: 0, number: 0 };
    let dwa =
        RecoverSpec { variance: 11.0, nudge: Some(Nudge { steps: 3, radius: 0.015, after: After::PutBack }), ..SRE2L };
    // Adam divides a gradient by its size, so that rounding turns the step of a pixel whose gradient is small: PyTorch's own fp32 is 0.1 and 4 % of the way
    // from its fp64 here.
    let way = |a: &Tensor, b: &Tensor| (a - b).abs().mean(Kind::Double).double_value(&[]);
    for (name, spec) in [("sre2l", SRE2L), ("dwa", dwa)] {
        let exact = named(name);
        let of = |spec: &RecoverSpec| {
            let found = recover(&network, &batch, spec, &IMAGENET, &engine, &|_| ()).expect("recovered");
            way(&found, exact) / way(named("start"), exact)
        };
        let off = of(&spec);
        assert!(off < 5e-3, "{name}: {off} of the way off");
        // Another weight is a large distance beside that.
        for wrong in [RecoverSpec { first_norm: 5.0, ..spec }, RecoverSpec { variance: 1.5 * spec.variance, ..spec }] {
            let off = of(&wrong);
            assert!(off > 0.015, "{name}: {off} with another weight");
        }
    }
}
