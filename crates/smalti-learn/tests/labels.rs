//! Soft labels: what a student learns from a teacher and from its stored words is the same, bit for bit.

use smalti_data::Rgb;
use smalti_data::crop::CropRange;
use smalti_data::mosaic::Layout;
use smalti_data::random::{Stage, Stream};
use smalti_data::store::ImageStore;
use smalti_data::tables::soft_labels::{LabelHeader, SoftLabels, epoch_path};
use smalti_learn::Error;
use smalti_learn::augment::Augment;
use smalti_learn::batch::{IMAGENET, Normalise, Views, plain_batch};
use smalti_learn::distort::Distort;
use smalti_learn::engine::{Engine, Precision};
use smalti_learn::growth::Growth;
use smalti_learn::labels::{Labels, Replay, SoftLoss, record};
use smalti_learn::mix::Mix;
use smalti_learn::nets::{Network, Shape};
use smalti_learn::optim::OptimiserSpec;
use smalti_learn::schedule::{Length, Rate};
use smalti_learn::student::{self, Task};
use smalti_learn::teacher::Teacher;
use smalti_learn::train::{StatisticsUpdate, TrainSpec, step_count};
use std::path::Path;
use tch::{Kind, Tensor};

const CLASSES: usize = 3;
const KL: SoftLoss = SoftLoss::Kl { temperature: 20.0, factor: 1.0 };

fn engine() -> Engine {
    Engine::cpu(Precision::Auto, 0).expect("runs anywhere")
}

/// Mosaics of 2 x 2 tiles of noise.
fn store(images: u32) -> ImageStore {
    let picture = |number: u32| {
        let mut stream = Stream::new(9, Stage::Demo, 0, u64::from(number));
        let mut picture = Rgb::filled(16, 16, [0; 3]);
        picture.data.iter_mut().for_each(|value| *value = stream.below(256) as u8);
        (picture, number % CLASSES as u32)
    };
    let pictures: Vec<(Rgb, u32)> = (0..images).map(picture).collect();
    ImageStore::from_images(&pictures, &Layout { grid: 2, size: 16 })
}

fn spec(length: Length, mix: Mix, augment: Augment, batch: u32) -> TrainSpec {
    TrainSpec {
        stage: "student test".into(),
        optimiser: OptimiserSpec::AdamW { learning_rate: 1e-2, weight_decay: 0.01 },
        rate: Rate::Cosine,
        batch,
        length,
        views: Views { augment, range: CropRange::default(), distort: Distort::None, seed: 5 },
        growth: Growth::None,
        mix,
        normalise: IMAGENET,
        statistics: StatisticsUpdate::Once,
        seed: 5,
    }
}

fn teacher() -> Teacher {
    let network =
        Network::new("convnet-2/8", Shape { classes: CLASSES, size: 16 }, 77, &engine()).expect("in the list");
    Teacher::new(network, vec![0, 1, 2])
}

fn header(store: &ImageStore, spec: &TrainSpec) -> LabelHeader {
    LabelHeader {
        version: LabelHeader::VERSION,
        teacher: "convnet-2/8".into(),
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        set: "set".into(),
        images: store.len() as u32,
        size: store.size(),
        decoding: None,
        views: "any".into(),
        batch: spec.batch,
        steps: step_count(store.len(), spec),
        seed: spec.seed,
    }
}

fn stored(dir: &Path, store: &ImageStore, spec: &TrainSpec, keep: u64) -> Result<SoftLabels, Error> {
    record(&teacher(), store, spec, (dir, &header(store, spec), keep), &engine(), &|_| ())
}

fn learn(store: &ImageStore, labels: &mut Labels, spec: &TrainSpec) -> (Vec<Tensor>, f64) {
    let task = Task { network: "convnet-1/8", classes: CLASSES, train: store, test: store, spec, checks: None };
    let (result, network) = student::run(&task, labels, &engine(), &|_| ()).expect("trained");
    (network.params().iter().map(|p| p.tensor.detach()).collect(), result.history.curve[0].1)
}

#[test]
fn a_replay_is_what_the_teacher_says_bit_for_bit() {
    let store = store(10);
    let cutmix = Mix::CutMix { alpha: 1.0 };
    for (length, mix, augment, batch) in [
        // A short last batch, mixed and rearranged.
        (Length::Epochs(3), cutmix, Augment::Shuffled, 4),
        (Length::Epochs(2), Mix::MixUp { alpha: 0.8 }, Augment::Constrained, 10),
        // Steps that hold several epochs each, so that no step begins in some of them.
        (Length::ImagesSeen(75), cutmix, Augment::Constrained, 25),
        (Length::ImagesSeen(30), Mix::None, Augment::None, 3),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let spec = spec(length, mix, augment, batch);
        let labels = stored(dir.path(), &store, &spec, u64::MAX).expect("stored");
        assert_eq!(labels.steps(), step_count(store.len(), &spec), "{spec:?}");
        let teacher = teacher();
        let online = learn(&store, &mut Labels::Online { teacher: &teacher, loss: KL }, &spec);
        let replay = Replay::new(labels, &store, CLASSES, &spec).expect("made for it");
        let replayed = learn(&store, &mut Labels::Stored { replay, loss: KL }, &spec);
        assert!(online == replayed, "{spec:?}");
        let hard = learn(&store, &mut Labels::Hard, &spec);
        assert!(hard.0 != online.0, "soft labels teach something else");
    }
}

#[test]
fn fewer_labels_are_drawn_from_and_a_killed_run_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = store(10);
    let spec = spec(Length::Epochs(6), Mix::CutMix { alpha: 1.0 }, Augment::Constrained, 4);
    let whole = stored(dir.path(), &store, &spec, 5).expect("stored");
    assert_eq!((whole.steps(), whole.header.steps), (5, 18));
    let bytes = |epoch| std::fs::read(epoch_path(dir.path(), epoch)).expect("there");
    let (first, second) = (bytes(0), bytes(1));
    std::fs::remove_file(epoch_path(dir.path(), 1)).expect("removed");
    let seen = std::cell::Cell::new(0);
    let count = |views| seen.set(seen.get() + views);
    let place = (dir.path(), &header(&store, &spec), 5);
    let again = record(&teacher(), &store, &spec, place, &engine(), &count).expect("goes on");
    assert_eq!(seen.get(), 8, "two steps of four: the first epoch is not asked again");
    assert!(bytes(0) == first && bytes(1) == second);
    assert_eq!(again.step(4).expect("stored").rows.len(), 4, "two of the second epoch");

    let run = || {
        let labels = SoftLabels::open(dir.path()).expect("there");
        let replay = Replay::new(labels, &store, CLASSES, &spec).expect("made for it");
        let task =
            Task { network: "convnet-1/8", classes: CLASSES, train: &store, test: &store, spec: &spec, checks: None };
        let (result, network) =
            student::run(&task, &mut Labels::Stored { replay, loss: KL }, &engine(), &|_| ()).expect("trained");
        (result.history.steps, result.history.images_seen, network.params()[0].tensor.detach())
    };
    let (steps, images, weights) = run();
    assert_eq!((steps, images), (18, 72), "the short step of an epoch gives way to a full one");
    assert_eq!(weights, run().2);

    let fourth = again.step(4).expect("stored");
    let more = stored(dir.path(), &store, &spec, 10).expect("grows");
    assert_eq!(
        (more.steps(), bytes(0) == first, bytes(1) == second),
        (10, true, false),
        "the short epoch is made again"
    );
    assert_eq!(more.step(4).expect("stored"), fourth, "and says the same");
    let error = stored(dir.path(), &store, &spec, 5).expect_err("there are ten").to_string();
    assert!(error.contains("10 steps, more than the 5"), "{error}");
}

/// A step of a set that is smaller than the batch is whole, so every stored one is drawn.
#[test]
fn every_stored_step_of_a_small_set_is_drawn() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = store(6);
    let spec = spec(Length::Epochs(40), Mix::None, Augment::Constrained, 128);
    let curve = |keep: u64| {
        let folder = dir.path().join(keep.to_string());
        let replay = Replay::new(stored(&folder, &store, &spec, keep).expect("stored"), &store, CLASSES, &spec);
        let labels = &mut Labels::Stored { replay: replay.expect("made for it"), loss: KL };
        let task =
            Task { network: "convnet-1/8", classes: CLASSES, train: &store, test: &store, spec: &spec, checks: None };
        student::run(&task, labels, &engine(), &|_| ()).expect("trained").0.history.curve
    };
    assert_ne!(curve(1), curve(2), "the second step is drawn too");
}

#[test]
fn labels_of_something_else_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ten, twelve) = (store(10), store(12));
    let plan = spec(Length::Epochs(2), Mix::None, Augment::None, 4);
    stored(dir.path(), &ten, &plan, u64::MAX).expect("stored");
    let replay = |store: &ImageStore, plan: &TrainSpec| {
        let labels = SoftLabels::open(dir.path()).expect("there");
        Replay::new(labels, store, CLASSES, plan).map(|_| ()).expect_err("made for something else").to_string()
    };
    assert!(replay(&twelve, &plan).contains("10 images of 16 px in 3 classes, 4 a step, not for 12 images"));
    assert!(replay(&ten, &TrainSpec { batch: 5, ..plan.clone() }).contains("5 a step"));
    let other = TrainSpec { seed: 6, ..plan.clone() };
    let error = stored(dir.path(), &ten, &other, u64::MAX).expect_err("another seed").to_string();
    assert!(error.contains("labels of something else"), "{error}");

    let path = epoch_path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).expect("there");
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    assert!(replay(&ten, &plan).contains("epoch=1.parquet"));
}

#[test]
fn a_teacher_answers_in_the_order_of_the_sets_classes() {
    let (engine, shape) = (engine(), Shape { classes: 3, size: 16 });
    let network = || Network::new("convnet-1/8", shape, 4, &engine).expect("in the list");
    let images = plain_batch(&store(2), &[0, 1], &IMAGENET, &engine).expect("in memory");
    let plain = Teacher::new(network(), vec![0, 1, 2]).says(&images, &IMAGENET);
    let two = Teacher::new(network(), vec![2, 0]).says(&images, &IMAGENET);
    assert_eq!(two.size(), [2, 2]);
    assert_eq!(
        (two.get(0).double_value(&[0]), two.get(0).double_value(&[1])),
        (plain.double_value(&[0, 2]), plain.double_value(&[0, 0]))
    );
    assert_eq!(plain, plain.to_kind(Kind::Half).to_kind(Kind::Float), "rounded to 16 bits");
}

#[test]
fn several_teachers_speak_as_one_and_none_is_louder() {
    let (engine, shape) = (engine(), Shape { classes: 3, size: 16 });
    let network = |seed| Network::new("convnet-1/8", shape, seed, &engine).expect("in the list");
    let teacher = |seed, columns: &[i64]| Teacher::new(network(seed), columns.to_vec());
    let images = plain_batch(&store(2), &[0, 1], &IMAGENET, &engine).expect("in memory");
    let says = |teacher: Teacher| teacher.says(&images, &IMAGENET);
    let [one, other] = [says(teacher(4, &[0, 1, 2])), says(teacher(5, &[2, 1, 0]))];
    let both = says(Teacher::together([teacher(4, &[0, 1, 2]), teacher(5, &[2, 1, 0])].into_iter()));
    let norm = |logits: &Tensor| logits.square().sum(Kind::Double).sqrt().double_value(&[]);
    let mean = (norm(&one) + norm(&other)) / 2.0;
    let expected = (&one * (mean / norm(&one)) + &other * (mean / norm(&other))) / 2.0;
    assert!((both - expected).abs().max().double_value(&[]) < 2e-3, "16-bit rounding at most");
    assert_eq!(says(Teacher::together(std::iter::once(teacher(4, &[0, 1, 2])))), one, "a single one is left as it is");
}

#[test]
fn a_teacher_sees_the_pixels_under_the_constants_that_it_was_trained_with() {
    let (engine, shape) = (engine(), Shape { classes: 3, size: 16 });
    let wide = Normalise { mean: [0.3; 3], std: [0.6, 0.5, 0.4] };
    let network = || Network::new("convnet-1/8", shape, 4, &engine).expect("in the list");
    let under = |constants: &Normalise| plain_batch(&store(2), &[0, 1], constants, &engine).expect("in memory");
    let own = Teacher::new(network(), vec![0, 1, 2]).trained_with(wide);
    let right = own.says(&under(&wide), &wide);
    let off = |said: Tensor| (said - &right).abs().max().double_value(&[]);
    assert!(off(own.says(&under(&IMAGENET), &IMAGENET)) < 2e-3, "16-bit rounding at most");
    let unknown = Teacher::new(network(), vec![0, 1, 2]);
    assert!(off(unknown.says(&under(&IMAGENET), &IMAGENET)) > 1e-2, "without them it sees what is shown");
}

/// Central differences in fp64 against the gradient, for each loss.
#[test]
fn gradients_are_the_slopes_of_the_losses() {
    let numbers =
        |phase: f64| (Tensor::arange(12, (Kind::Double, tch::Device::Cpu)) * 1.7 + phase).sin().reshape([4, 3]);
    let teacher = numbers(0.3) * 3.0;
    for loss in [KL, SoftLoss::Kl { temperature: 2.0, factor: 4.0 }, SoftLoss::Mse { cross_entropy: 0.1 }] {
        let of = |student: &Tensor| loss.of(student, &teacher, &[0, 1, 2, 0]);
        let student = numbers(1.0).set_requires_grad(true);
        let gradient = Tensor::run_backward(&[of(&student)], &[&student], false, false).remove(0);
        for (row, column) in [(0, 0), (1, 2), (3, 1)] {
            let slope = |step: f64| {
                let moved = student.detach().copy();
                let value = moved.double_value(&[row, column]);
                let _ = moved.get(row).get(column).fill_(value + step);
                of(&moved).double_value(&[])
            };
            let measured = (slope(1e-4) - slope(-1e-4)) / 2e-4;
            let found = gradient.double_value(&[row, column]);
            assert!((measured - found).abs() < 1e-6, "{loss:?}: {measured} {found}");
        }
    }
}
