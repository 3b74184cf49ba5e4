//! The loop, students and proxies on a small set made here: repeatable, learning, and clear when something does not fit.

use arrow::array::{BooleanArray, StringArray, UInt32Array};
use arrow::datatypes::DataType;
use smalti_data::Rgb;
use smalti_data::crop::CropRange;
use smalti_data::mosaic::Layout;
use smalti_data::random::{Stage, Stream};
use smalti_data::resize::resize;
use smalti_data::store::ImageStore;
use smalti_data::tables::features::path_in;
use smalti_data::tables::{FeatureFile, column, read_table};
use smalti_learn::Error;
use smalti_learn::augment::Augment;
use smalti_learn::batch::{IMAGENET, Views};
use smalti_learn::distort::Distort;
use smalti_learn::engine::{Engine, Precision};
use smalti_learn::growth::Growth;
use smalti_learn::labels::Labels;
use smalti_learn::mix::Mix;
use smalti_learn::nets::{Network, Shape};
use smalti_learn::optim::OptimiserSpec;
use smalti_learn::proxy::{self, Leaves, ProxySpec, Task};
use smalti_learn::schedule::{Length, Rate};
use smalti_learn::student::{self, Checks, Every, StudentResult};
use smalti_learn::train::{StatisticsUpdate, TrainSpec};
use std::path::Path;
use std::sync::Mutex;

const SIZE: u32 = 16;
const ADAMW: OptimiserSpec = OptimiserSpec::AdamW { learning_rate: 3e-3, weight_decay: 0.01 };

fn store(per_class: u32, seed: u64) -> ImageStore {
    of(&pictures(per_class, seed))
}

fn of(pictures: &[(Rgb, u32)]) -> ImageStore {
    ImageStore::from_images(pictures, &Layout { grid: 1, size: SIZE })
}

/// `per_class` noisy pictures of each of three colours.
fn pictures(per_class: u32, seed: u64) -> Vec<(Rgb, u32)> {
    let picture = |number: u32| {
        let label = number % 3;
        let mut stream = Stream::new(seed, Stage::Demo, 0, u64::from(number));
        let mut picture = Rgb::filled(SIZE, SIZE, [0; 3]);
        for value in &mut picture.data {
            *value = stream.below(160) as u8;
        }
        for pixel in picture.data.chunks_exact_mut(3) {
            pixel[label as usize] = pixel[label as usize].saturating_add(60);
        }
        (picture, label)
    };
    (0..3 * per_class).map(picture).collect()
}

fn spec(seed: u64) -> TrainSpec {
    TrainSpec {
        stage: format!("student test seed {seed}"),
        optimiser: ADAMW,
        rate: Rate::Cosine,
        batch: 10,
        length: Length::ImagesSeen(600),
        views: Views { augment: Augment::Constrained, range: CropRange::default(), distort: Distort::None, seed },
        growth: Growth::None,
        mix: Mix::None,
        normalise: IMAGENET,
        statistics: StatisticsUpdate::Once,
        seed,
    }
}

fn engine(precision: Precision) -> Engine {
    Engine::cpu(precision, 0).expect("runs anywhere")
}

fn run(spec: &TrainSpec, train: &ImageStore, test: &ImageStore, precision: Precision) -> Result<StudentResult, Error> {
    let task = student::Task { network: "convnet-2/16", classes: 3, train, test, spec, checks: None };
    student::run(&task, &mut Labels::Hard, &engine(precision), &|_| ()).map(|(result, _)| result)
}

#[test]
fn a_student_learns_and_the_same_seed_gives_the_same_bits() {
    let (train, test) = (store(20, 1), store(30, 2));
    for precision in [Precision::F32, Precision::Auto] {
        let [first, again, other] = [1, 1, 2].map(|seed| run(&spec(seed), &train, &test, precision).expect("trained"));
        assert!(first.top1_percent > 80.0 && first.top5_percent == 100.0, "{first:?}");
        assert!(first.history.curve[0].1 > first.history.curve.last().expect("a curve").1, "the loss falls");
        assert_eq!((first.history.steps, first.history.images_seen), (60, 600));
        assert_eq!((&first.history.curve, first.top1_percent), (&again.history.curve, again.top1_percent));
        assert_ne!(first.history.curve, other.history.curve);
        let mean = first.class_top1_percent.iter().map(|c| c.expect("every class has test images")).sum::<f64>() / 3.0;
        assert!((mean - first.top1_percent).abs() < 1e-9, "classes of equal size");
    }
}

#[test]
fn what_does_not_fit_is_said_before_the_training() {
    let (train, test) = (store(2, 1), store(2, 2));
    let fails = |spec: &TrainSpec, train: &ImageStore, test: &ImageStore| {
        let error = run(spec, train, test, Precision::F32).expect_err("refused");
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    };
    let large = ImageStore::from_images(&[(Rgb::filled(32, 32, [9; 3]), 0)], &Layout { grid: 1, size: 32 });
    assert!(fails(&spec(1), &train, &large).contains("the test set: the images are 32 x 32 px"));
    let foreign = of(&[(Rgb::filled(SIZE, SIZE, [9; 3]), 3)]);
    assert!(fails(&spec(1), &train, &foreign).contains("the test set: there is an image of class 3"));
    assert!(fails(&spec(1), &foreign, &test).contains("student test seed 1: there is an image of class 3"));
    let empty = of(&[]);
    assert!(fails(&spec(1), &empty, &test).contains("no images to train on"));
    assert!(fails(&spec(1), &train, &empty).contains("the test set has no images"));
    assert!(fails(&TrainSpec { batch: 0, ..spec(1) }, &train, &test).contains("a batch of 0"));
    assert!(fails(&TrainSpec { length: Length::Epochs(0), ..spec(1) }, &train, &test).contains("a length of 0"));
    let deep =
        student::Task { network: "convnet-5", classes: 3, train: &train, test: &test, spec: &spec(1), checks: None };
    let error = student::run(&deep, &mut Labels::Hard, &engine(Precision::F32), &|_| ()).err();
    assert!(error.expect("five halvings of 16 px").to_string().contains("no network `convnet-5` for 16 px"));
}

/// The images of half the side come first; a network with a head of one size is told so before the first step.
#[test]
fn views_can_grow_for_a_network_that_pools_over_all_places() {
    let larger = |pictures: Vec<(Rgb, u32)>| {
        let pictures = pictures.into_iter().map(|(picture, label)| (resize(&picture, 32, 32).expect("valid"), label));
        ImageStore::from_images(&pictures.collect::<Vec<_>>(), &Layout { grid: 1, size: 32 })
    };
    let (train, test) = (larger(pictures(20, 1)), larger(pictures(30, 2)));
    let engine = engine(Precision::F32);
    let run = |network: &str, growth| {
        let spec = TrainSpec { growth, length: Length::ImagesSeen(300), ..spec(1) };
        let task = student::Task { network, classes: 3, train: &train, test: &test, spec: &spec, checks: None };
        student::run(&task, &mut Labels::Hard, &engine, &|_| ()).map(|(result, _)| result)
    };
    let growth = Growth::From { part: 0.5, until: 0.5 };
    let [grown, again] = [(); 2].map(|()| run("airbench/8", growth).expect("trained"));
    assert!(grown.top1_percent > 60.0, "{grown:?}");
    assert_eq!(grown.history.curve, again.history.curve);
    assert_ne!(grown.history.curve, run("airbench/8", Growth::None).expect("trained").history.curve);
    let error = run("convnet-2/8", growth).expect_err("its head sees 8 x 8 places");
    assert!(error.to_string().contains("cannot see views of 16 px") && error.hint().is_some(), "{error}");
    // The refusal leaves nothing behind.
    assert_eq!(run("airbench/8", growth).expect("trained").history.curve, grown.history.curve);
}

/// 600 images of 16 px are two forward passes: none is lost or counted twice between them.
#[test]
fn an_evaluation_counts_every_image_once() {
    let pictures = pictures(200, 3);
    // Weights as drawn: right sometimes, so that a lost image shows.
    let engine = engine(Precision::F32);
    let network = Network::new("convnet-1/8", Shape { classes: 3, size: 16 }, 1, &engine).expect("in the list");
    let right = |part: &[(Rgb, u32)]| {
        let accuracy = student::evaluate(&network, &of(part), &IMAGENET, &engine).expect("measured");
        accuracy.top1_percent / 100.0 * part.len() as f64
    };
    let whole = right(&pictures);
    let parts: f64 = pictures.chunks(150).map(right).sum();
    assert!((whole - parts).abs() < 1e-6 && whole > 0.0 && whole < 600.0, "{whole} {parts}");
}

/// From 0 one pass moves a running mean to 0.1 m, a second pass over the same batch with the same weights to 0.19 m.
#[test]
fn statistics_move_twice_where_the_protocol_says_so() {
    let (train, engine) = (store(4, 1), engine(Precision::F32));
    let means = |statistics| {
        let spec = TrainSpec { statistics, batch: 12, length: Length::ImagesSeen(12), ..spec(1) };
        let task = student::Task {
            network: "convnet-1/8",
            classes: 3,
            train: &train,
            test: &train,
            spec: &spec,
            checks: None,
        };
        let (_, network) = student::run(&task, &mut Labels::Hard, &engine, &|_| ()).expect("trained");
        let found = network.buffers().iter().find(|(name, _)| name.ends_with("running_mean")).expect("a batch norm");
        found.1.shallow_clone()
    };
    let (once, twice) = (means(StatisticsUpdate::Once), means(StatisticsUpdate::Twice));
    assert!((&twice - &once * 1.9).abs().max().double_value(&[]) < 1e-6);
    assert!(once.abs().max().double_value(&[]) > 1e-3, "they have moved");
}

/// At a constant rate a run of a few epochs is the beginning of a longer one, so what the checks of the longer one must find is known.
#[test]
fn checks_find_the_best_and_change_nothing_and_the_last_step_counts() {
    let (train, test, engine) = (store(20, 1), store(30, 2), engine(Precision::F32));
    let optimiser = OptimiserSpec::AdamW { learning_rate: 5e-2, weight_decay: 0.01 };
    let run = |epochs, checks| {
        let spec = TrainSpec { rate: Rate::Constant, optimiser, length: Length::Epochs(epochs), ..spec(1) };
        let task =
            student::Task { network: "convnet-2/16", classes: 3, train: &train, test: &test, spec: &spec, checks };
        student::run(&task, &mut Labels::Hard, &engine, &|_| ()).expect("trained").0
    };
    let ends: Vec<f64> = (1..=6).map(|epochs| run(epochs, None).top1_percent).collect();
    let watched = run(6, Some(Checks { every: Every::Epochs(1), from: 0.0 }));
    assert_eq!(watched.top1_percent, ends[5]);
    assert_eq!(watched.best_top1_percent, Some(ends.iter().copied().fold(0.0, f64::max)), "{ends:?}");
    assert_eq!(run(6, None).best_top1_percent, None);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let wild = OptimiserSpec::Sgd { learning_rate: 1e30, momentum: 0.9, weight_decay: 0.0 };
    let error = run(&TrainSpec { optimiser: wild, ..spec(1) }, &store(5, 1), &store(5, 2), Precision::F32);
    assert!(matches!(error, Err(Error::Diverged { .. })), "{error:?}");
}

/// The loss of the last step is that before its update, which no step looks at.
#[test]
fn an_update_that_leaves_no_number_is_found_after_the_last_step() {
    for rate in [1e30, 1e50] {
        let optimiser = OptimiserSpec::Sgd { learning_rate: rate, momentum: 0.9, weight_decay: 0.0 };
        let wild = TrainSpec { optimiser, length: Length::ImagesSeen(10), ..spec(1) };
        let error = run(&wild, &store(5, 1), &store(1, 2), Precision::F32).expect_err("one step of such a length");
        assert!(error.hint().is_some_and(|hint| hint.contains("--learning-rate")), "{error}");
    }
}

/// ResNet-18 sees 16 px at one place in the end: a last batch of one image leaves its norms without a spread.
#[test]
fn a_last_batch_of_one_image_is_found_before_the_first_step() {
    let (train, spec) = (store(7, 1), TrainSpec { batch: 10, length: Length::Epochs(100_000), ..spec(1) });
    let task =
        student::Task { network: "resnet18", classes: 3, train: &train, test: &train, spec: &spec, checks: None };
    let stepped = Mutex::new(0);
    let count = |images| *stepped.lock().expect("no panic") += images;
    let error = student::run(&task, &mut Labels::Hard, &engine(Precision::F32), &count).err().expect("21 = 2 x 10 + 1");
    assert!(error.to_string().contains("one image"), "{error}");
    assert_eq!(*stepped.lock().expect("no panic"), 0, "no step was taken");
}

#[test]
fn a_proxy_records_every_sample_of_every_epoch() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let trace = dir.path().join("trace");
    let set = store(7, 1);
    let proxy = ProxySpec {
        network: "convnet-2/16-in".into(),
        train: TrainSpec { batch: 5, length: Length::Epochs(3), ..spec(0) },
        eval_epochs: vec![2],
    };
    let seen = Mutex::new(0);
    let engine = engine(Precision::Auto);
    let task = Task { seed: 4, trace: &trace, leaves: Leaves::Trace };
    let record =
        || proxy::record(&set, 3, &proxy, &task, &engine, &|images| *seen.lock().expect("one thread") += images);
    let report = record().expect("recorded");
    assert_eq!((report.seed, *seen.lock().expect("one thread")), (4, 63));
    assert!(!trace.join("seed=4.partial").exists());

    let rows = |trace: &Path, epoch: u32| {
        let path = trace.join(format!("seed=4/epoch={epoch}.parquet"));
        let table = read_table(&path).expect("a trace");
        let samples: UInt32Array = column(&table, "sample", &DataType::UInt32, &path).expect("there");
        let pass: StringArray = column(&table, "pass", &DataType::Utf8, &path).expect("there");
        let correct: BooleanArray = column(&table, "correct", &DataType::Boolean, &path).expect("there");
        let before: BooleanArray = column(&table, "was_correct", &DataType::Boolean, &path).expect("there");
        (0..table.num_rows())
            .map(|i| {
                let before = before.iter().nth(i).expect("as long");
                (pass.value(i).to_owned(), samples.value(i), correct.value(i), before)
            })
            .collect::<Vec<_>>()
    };
    let (first, second, third) = (rows(&trace, 0), rows(&trace, 1), rows(&trace, 2));
    for table in [&first, &second] {
        assert_eq!(table.iter().map(|r| r.1).collect::<Vec<_>>(), (0..21).collect::<Vec<_>>());
    }
    assert!(first.iter().all(|row| row.3.is_none()), "nothing came before the first epoch");
    assert!(
        second.iter().zip(&first).all(|(now, before)| now.3 == Some(before.2)),
        "the train pass follows the train pass"
    );
    let (eval, train): (Vec<_>, Vec<_>) = third.iter().partition(|row| row.0 == "eval");
    assert_eq!((eval.len(), train.len()), (21, 21));
    assert!(eval.iter().all(|row| row.3.is_none()), "the first eval pass");
    let right = eval.iter().filter(|row| row.2).count() as f64;
    assert!((report.train_top1_percent - 100.0 * right / 21.0).abs() < 1e-9);

    // Later views of training do not take the place of the last look at the images themselves.
    let early = dir.path().join("early");
    let spec = ProxySpec { eval_epochs: vec![1], ..proxy.clone() };
    let report = proxy::record(&set, 3, &spec, &Task { trace: &early, ..task }, &engine, &|_| ()).expect("recorded");
    let right = rows(&early, 1).iter().filter(|row| row.0 == "eval" && row.2).count() as f64;
    assert!((report.train_top1_percent - 100.0 * right / 21.0).abs() < 1e-9);

    // A run that was cut off leaves `.partial`; the next one replaces it and gives the same numbers.
    let again = dir.path().join("again");
    std::fs::create_dir_all(again.join("seed=4.partial")).expect("made");
    std::fs::write(again.join("seed=4.partial/epoch=9.parquet"), "half").expect("made");
    let task = Task { trace: &again, leaves: Leaves::TraceAndFeatures, ..task };
    proxy::record(&set, 3, &proxy, &task, &engine, &|_| ()).expect("recorded");
    assert!(!again.join("seed=4/epoch=9.parquet").exists());
    for epoch in 0..3 {
        let file = format!("seed=4/epoch={epoch}.parquet");
        let [a, b] = [&trace, &again].map(|dir| std::fs::read(dir.join(&file)).expect("written"));
        assert_eq!(a, b, "epoch {epoch} is the same bytes");
    }
    let features = FeatureFile::open(&path_in(&again.join("seed=4"))).expect("features");
    for label in 0..3 {
        let class = features.class(label).expect("read");
        assert_eq!(class.samples, (0..21).filter(|&i| set.label(i) == label).collect::<Vec<_>>());
        assert!(class.width > 1 && class.values.iter().any(|&x| x != class.values[0]));
    }
}
