//! Recover against the same loop in plain PyTorch. The other side is scripts/reference_recover.py.

mod common;

use smalti_data::Rgb;
use smalti_data::mosaic::Layout;
use smalti_data::store::ImageStore;
use smalti_learn::batch::IMAGENET;
use smalti_learn::checkpoint;
use smalti_learn::engine::{Engine, Precision};
use smalti_learn::nets::{Network, Shape};
use smalti_learn::recover::{
    After, Backbone, Batch, Curriculum, Generalised, Jitter, Look, Nudge, Pass, RecoverSpec, Targets, recover,
};
use tch::{Kind, Tensor};

/// The numbers of the script; nothing is cropped, flipped or rolled.
const SRE2L: RecoverSpec = RecoverSpec {
    iterations: 3,
    learning_rate: 0.01,
    statistics: 1.0,
    first_layer: 10.0,
    variance: 1.0,
    look: Look { crop: Curriculum::None, jitter: Jitter::Forward { most: 0 } },
    nudge: None,
    generalised: None,
};

#[test]
fn the_pixels_after_a_few_steps_are_pytorchs() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    if common::python("scripts/reference_recover.py", &[dir.path()]).is_none() {
        return;
    }
    let engine = Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere");
    let network = Network::new("resnet18", Shape { classes: 10, size: 64 }, 0, &engine).expect("in the list");
    checkpoint::load(&network, &dir.path().join("weights.safetensors")).expect("torchvision's file loads");
    let expected = Tensor::read_safetensors(dir.path().join("expected.safetensors")).expect("written by the script");
    let named = |name: &str| &expected.iter().find(|(key, _)| key == name).expect("in the file").1;
    let start = named("start");
    let targets = Targets::running(&network);
    let labels = [3, 0, 7, 7];
    let batches = [Batch { labels: &labels, start: Some(start), number: 0 }];
    let pass = Pass { stage: "recover", seed: 0, batches: &batches };
    let columns: Vec<i64> = (0..10).collect();
    let backbone = Backbone { network: &network, targets: &targets, columns: &columns, constants: IMAGENET };
    let nudge = Nudge { steps: 3, radius: 0.0015, after: After::PutBack };
    let dwa = RecoverSpec { variance: 11.0, nudge: Some(nudge), ..SRE2L };
    let off = |backbones: &[Backbone], spec: &RecoverSpec, name: &str| {
        let found = recover(backbones, &pass, spec, &engine, &|_| ()).expect("recovered");
        way(&found, named(name)) / way(start, named(name))
    };
    for (name, spec) in [("sre2l", SRE2L), ("dwa", dwa)] {
        let one = std::slice::from_ref(&backbone);
        assert!(off(one, &spec, name) < 5e-3, "{name}: {} of the way off", off(one, &spec, name));
        // Another weight is a large distance beside that.
        for wrong in [RecoverSpec { first_layer: 5.0, ..spec }, RecoverSpec { variance: 1.5 * spec.variance, ..spec }] {
            assert!(off(one, &wrong, name) > 0.015, "{name}: {} with another weight", off(one, &wrong, name));
        }
    }
    for wrong in [None, Some(Nudge { radius: 0.003, ..nudge }), Some(Nudge { radius: -0.0015, ..nudge })] {
        let found = off(std::slice::from_ref(&backbone), &RecoverSpec { nudge: wrong, ..dwa }, "dwa");
        assert!(found > 0.015, "dwa: {found} with {wrong:?}");
    }

    let other = Network::new("mobilenet_v2", Shape { classes: 10, size: 64 }, 0, &engine).expect("in the list");
    checkpoint::load(&other, &dir.path().join("mobilenet.safetensors")).expect("torchvision's file loads");
    let generalised =
        Generalised { cell: 4, memory: 0.4, skip: 0.0, density: 1.0, temperature: 4.0, measured: u32::MAX };
    let spec = RecoverSpec { iterations: 4, generalised: Some(generalised), ..SRE2L };
    let (store, looks) = (store(named("photos")), (Curriculum::None, &generalised));
    let [first, second] = [&network, &other].map(|network| {
        Targets::with_convolutions(network, &store, looks, &IMAGENET, (0, &engine), &|_| ()).expect("measured")
    });
    let of = |network, targets| Backbone { network, targets, columns: &columns, constants: IMAGENET };
    let both = [of(&network, &first), of(&other, &second)];
    let found = off(&both, &spec, "gvbsm");
    assert!(found < 5e-3, "gvbsm: {found} of the way off");
    for wrong in [
        RecoverSpec { first_layer: 5.0, ..spec },
        RecoverSpec { generalised: Some(Generalised { memory: 0.2, ..generalised }), ..spec },
        RecoverSpec { generalised: Some(Generalised { density: 0.0, ..generalised }), ..spec },
    ] {
        let found = off(&both, &wrong, "gvbsm");
        assert!(found > 0.015, "gvbsm: {found} with other settings");
    }
}

/// How far pixels are from others. Adam divides a gradient by its size, so that rounding turns the step of a pixel whose gradient is small: PyTorch's own
/// fp32 is a few thousandths of the way from its fp64.
fn way(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().mean(Kind::Double).double_value(&[])
}

/// Pictures [N, H, W, 3] of whole numbers.
fn store(photos: &Tensor) -> ImageStore {
    let picture = |at: i64| {
        let bytes = photos.get(at).to_kind(Kind::Uint8).flatten(0, -1);
        (Rgb { width: 64, height: 64, data: Vec::<u8>::try_from(bytes).expect("bytes") }, 0)
    };
    let pictures: Vec<(Rgb, u32)> = (0..photos.size()[0]).map(picture).collect();
    ImageStore::from_images(&pictures, &Layout { grid: 1, size: 64 })
}
