use super::*;
use crate::batch::{IMAGENET, label_tensor, plain_batch};
use crate::engine::Precision;
use crate::nets::{Layer, Mode, Moments, Seen, Shape};
use smalti_data::mosaic::Layout;
use smalti_data::store::ImageStore;

const SHAPE: Shape = Shape { classes: 3, size: 16 };

fn engine() -> Engine {
    Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere")
}

/// A network whose running statistics are those of a few passes over coloured noise.
fn network(engine: &Engine) -> Network {
    let network = Network::new("convnet-2/8", SHAPE, 3, engine).expect("in the list");
    let images = plain_batch(&store(), &(0..12).collect::<Vec<_>>(), &IMAGENET, engine).expect("in memory");
    for _ in 0..60 {
        tch::no_grad(|| network.forward(&images, Mode::Train));
    }
    network
}

fn store() -> ImageStore {
    let picture = |number: u32| {
        let mut stream = Stream::new(9, Stage::Demo, 7, u64::from(number));
        let mut picture = Rgb::filled(16, 16, [0; 3]);
        picture.data.iter_mut().for_each(|value| *value = stream.below(200) as u8);
        picture.data.iter_mut().skip((number % 3) as usize).step_by(3).for_each(|value| *value += 50);
        (picture, number % 3)
    };
    ImageStore::from_images(&(0..12).map(picture).collect::<Vec<_>>(), &Layout { grid: 1, size: 16 })
}

const GENERAL: RecoverSpec = RecoverSpec {
    generalised: Some(Generalised { cell: 4, memory: 0.8, skip: 0.4, density: 1.0, temperature: 4.0, measured: 5 }),
    ..SPEC
};

/// All of three images at once.
const NORMS: Hearing = Hearing::Norms { at_once: 3 };

const SPEC: RecoverSpec = RecoverSpec {
    iterations: 60,
    learning_rate: 0.1,
    statistics: 0.1,
    first_layer: 10.0,
    variance: 1.0,
    look: Look { crop: Curriculum::Fixed { least: 0.5 }, jitter: Jitter::Centred { most: 2 } },
    nudge: None,
    generalised: None,
};

fn made(network: &Network, spec: &RecoverSpec, seed: u64, engine: &Engine) -> Tensor {
    let targets = Targets::running(network);
    let pass = Pass { stage: "test", seed, batches: &[BATCH] };
    recover(&[backbone(network, &targets)], &pass, spec, engine, &|_| ()).expect("recovered")
}

fn backbone<'a>(network: &'a Network, targets: &'a Targets) -> Backbone<'a> {
    Backbone { network, targets, columns: &[0, 1, 2], constants: IMAGENET }
}

const BATCH: Batch<'static> = Batch { labels: &[0, 1, 2], start: None, number: 0 };
const PASS: Pass<'static> = Pass { stage: "test", seed: 0, batches: &[BATCH] };

fn moments(mean: [f32; 2], variance: [f32; 2]) -> Moments {
    Moments { mean: Tensor::from_slice(&mean), variance: Tensor::from_slice(&variance) }
}

/// Running mean (0, 0), variance (1, 1); batch mean (3, 4), variance (1, 1): 5, and ten times that for the first norm.
#[test]
fn the_distance_by_hand() {
    let expected = || moments([0.0, 0.0], [1.0, 1.0]);
    let seen = |layer| Seen { layer, channels: moments([3.0, 4.0], [1.0, 1.0]), cells: None };
    let targets = Targets::of(vec![expected(), expected()], vec![(expected(), expected())]);
    let of = |seen: &[Seen], spec: &RecoverSpec| distance(seen, &targets, spec, None).double_value(&[]);
    let [first, second] = [0, 1].map(Layer::Norm);
    assert_eq!(of(&[seen(second)], &SPEC), 5.0);
    assert_eq!(of(&[seen(first), seen(second)], &SPEC), 55.0);
    let wide = Seen { channels: moments([3.0, 4.0], [1.0, 3.0]), ..seen(second) };
    assert_eq!(of(&[wide], &RecoverSpec { variance: 11.0, ..SPEC }), 27.0);
    // The first convolution counts ten times, the first norm beside it once; cells are 2 off in the mean and 1 in the variance.
    let convolution = Seen { cells: Some(moments([0.0, 2.0], [2.0, 1.0])), ..seen(Layer::Convolution(0)) };
    assert_eq!(of(&[seen(first), convolution], &GENERAL), 5.0 + 10.0 * (5.0 + 2.0 + 1.0));
}

/// What is heard is the mean and biased variance of a norm's own input, and nothing is folded away meanwhile.
#[test]
fn norms_are_heard_in_order() {
    let engine = engine();
    let network = network(&engine);
    let images = plain_batch(&store(), &[0, 5, 7], &IMAGENET, &engine).expect("in memory");
    let (output, seen) = network.forward_heard(&images, NORMS);
    assert_eq!(seen.iter().map(|s| s.layer).collect::<Vec<_>>(), [0, 1].map(Layer::Norm));
    let weight = network.params().iter().find(|p| p.name == "features.0.weight").expect("the first convolution");
    let bias = network.params().iter().find(|p| p.name == "features.0.bias").expect("its bias");
    let input = images.conv2d(&weight.tensor, Some(&bias.tensor), [1, 1], [1, 1], [1, 1], 1);
    let (variance, mean) = input.var_mean_dim(&[0i64, 2, 3][..], false, false);
    let off = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    assert!(off(&seen[0].channels.mean, &mean) < 1e-5 && off(&seen[0].channels.variance, &variance) < 1e-5);
    let plain = network.forward(&images, Mode::Eval).logits;
    assert!(off(&output.logits, &plain) < 1e-4, "listening changes nothing");
}

/// Those of convolutions over all images at once are exact; over a few at a time means stay and variances shrink.
#[test]
fn statistics_of_convolutions_are_those_of_the_training_images() {
    let engine = engine();
    let (network, store) = (network(&engine), store());
    let all = plain_batch(&store, &(0..12).collect::<Vec<_>>(), &IMAGENET, &engine).expect("in memory");
    let (_, seen) = tch::no_grad(|| network.forward_heard(&all, Hearing::Convolutions { cell: 4, skipped: vec![] }));
    let convolutions: Vec<Seen> = seen.into_iter().filter(|seen| seen.cells.is_some()).collect();
    assert_eq!(convolutions.len(), 2);
    let off = |measured: u32, variance: f64| {
        let settings = Generalised { measured, ..GENERAL.generalised.expect("set above") };
        let plain = (Curriculum::None, &settings);
        let targets = Targets::with_convolutions(&network, &store, plain, &IMAGENET, (3, &engine), &|_| ());
        let spec = RecoverSpec { variance, ..GENERAL };
        distance(&convolutions, &targets.expect("measured"), &spec, None).double_value(&[])
    };
    assert!(off(12, 1.0) < 1e-4, "{}", off(12, 1.0));
    assert!(off(5, 0.0) < 1e-4 && off(5, 1.0) > 1e-3, "{} {}", off(5, 0.0), off(5, 1.0));
}

/// The border of a padded real image is black: the moments of black images do not know where they were moved.
#[test]
fn black_images_stay_black_where_their_statistics_are_measured() {
    let engine = engine();
    let network = network(&engine);
    let pictures: Vec<_> = (0..12).map(|_| (Rgb::filled(16, 16, [0; 3]), 0)).collect();
    let black = ImageStore::from_images(&pictures, &Layout { grid: 1, size: 16 });
    let all = plain_batch(&black, &(0..12).collect::<Vec<_>>(), &IMAGENET, &engine).expect("in memory");
    let (_, seen) = tch::no_grad(|| network.forward_heard(&all, Hearing::Convolutions { cell: 4, skipped: vec![] }));
    let convolutions: Vec<Seen> = seen.into_iter().filter(|seen| seen.cells.is_some()).collect();
    let settings = Generalised { measured: 12, ..GENERAL.generalised.expect("set above") };
    let moved = (Curriculum::Padded { by: 2 }, &settings);
    let targets = Targets::with_convolutions(&network, &black, moved, &IMAGENET, (3, &engine), &|_| ());
    let off = distance(&convolutions, &targets.expect("measured"), &GENERAL, None).double_value(&[]);
    assert!(off < 1e-4, "{off}");
}

/// Without memory and density the whole loss of G-VBSM is a plain function of the pixels.
#[test]
fn the_gradient_through_convolutions_is_the_slope_of_the_loss() {
    let engine = engine();
    let (network, store) = (network(&engine), store());
    let settings = Generalised { memory: 0.0, density: 0.0, ..GENERAL.generalised.expect("set above") };
    let spec = RecoverSpec { generalised: Some(settings), ..GENERAL };
    let plain = (Curriculum::None, &settings);
    let targets = Targets::with_convolutions(&network, &store, plain, &IMAGENET, (3, &engine), &|_| ());
    let targets = targets.expect("measured");
    let (backbone, batches) = (backbone(&network, &targets), [Batch { labels: &[1, 2], ..BATCH }]);
    let pass = Pass { batches: &batches, ..PASS };
    let images = plain_batch(&store, &[1, 2], &IMAGENET, &engine).expect("in memory");
    let loss = |images: &Tensor| Judge::new(&backbone, &pass, &spec, &engine).loss(images, &IMAGENET, &pass, 1);
    is_the_slope(&images, &loss);
}

#[test]
fn backbones_are_asked_in_turn() {
    let engine = engine();
    let (one, other) = (network(&engine), Network::new("convnet-2/16", SHAPE, 5, &engine).expect("in the list"));
    let [first, second] = [&one, &other].map(|network| {
        let plain = (Curriculum::None, GENERAL.generalised.as_ref().expect("set above"));
        Targets::with_convolutions(network, &store(), plain, &IMAGENET, (3, &engine), &|_| ()).expect("measured")
    });
    let made = |backbones: &[Backbone], iterations: u32, number: u32| {
        let spec = RecoverSpec { iterations, ..GENERAL };
        let batches = [Batch { number, ..BATCH }];
        recover(backbones, &Pass { batches: &batches, ..PASS }, &spec, &engine, &|_| ()).expect("recovered")
    };
    let both = [backbone(&one, &first), backbone(&other, &second)];
    assert_eq!(made(&both, 1, 0), made(&both[..1], 1, 0));
    assert_ne!(made(&both, 2, 0), made(&both[..1], 2, 0));
    // One step of each batch: the second batch begins where the first one stopped.
    assert_eq!(made(&both, 1, 1), made(&both[1..], 1, 1));
    assert_eq!(made(&both, 5, 0), made(&both, 5, 0));
}

/// The gradient of a loss of pixels, against central differences in a few directions.
fn is_the_slope(images: &Tensor, loss: &dyn Fn(&Tensor) -> Tensor) {
    let pixels = images.copy().set_requires_grad(true);
    let gradient = Tensor::run_backward(&[loss(&pixels)], &[&pixels], false, false).remove(0);
    for direction in 0..5u64 {
        let mut stream = Stream::new(direction, Stage::Demo, 3, 0);
        let numbers: Vec<f32> = (0..images.numel()).map(|_| stream.normal() as f32).collect();
        let along = Tensor::from_slice(&numbers).reshape_as(images);
        let h = 2e-3;
        let value = |sign: f64| tch::no_grad(|| loss(&(images + &along * (sign * h)))).double_value(&[]);
        let slope = (value(1.0) - value(-1.0)) / (2.0 * h);
        let found = (&gradient * &along).sum(Kind::Double).double_value(&[]);
        assert!((slope - found).abs() < 0.02 * slope.abs().max(0.5), "{direction}: {slope} against {found}");
    }
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let engine = engine();
    let (network, labels) = (network(&engine), label_tensor(&[0, 2], engine.device));
    let targets = Targets::running(&network);
    let images = plain_batch(&store(), &[1, 2], &IMAGENET, &engine).expect("in memory");
    let view = View::draw(&SPEC.look, 16, 0.5, Stream::new(4, Stage::Recover, 1, 0));
    let loss = |images: &Tensor| {
        let (output, seen) = network.forward_heard(&view.of(images), Hearing::Norms { at_once: 2 });
        output.logits.log_softmax(-1, Kind::Float).nll_loss(&labels)
            + distance(&seen, &targets, &SPEC, None) * SPEC.statistics
    };
    is_the_slope(&images, &loss);
}

#[test]
fn pixels_move_towards_classes_and_statistics_and_a_seed_repeats_them() {
    let engine = engine();
    let network = network(&engine);
    let targets = Targets::running(&network);
    // Without crops, so that what is measured here is what was matched.
    let plain = Look { crop: Curriculum::None, jitter: Jitter::Centred { most: 2 } };
    let spec = RecoverSpec { look: plain, statistics: 1.0, iterations: 100, ..SPEC };
    let first = made(&network, &RecoverSpec { iterations: 1, learning_rate: 1e-9, ..spec }, 1, &engine);
    let last = made(&network, &spec, 1, &engine);
    let labels = label_tensor(&[0, 1, 2], engine.device);
    let losses = |images: &Tensor| {
        let (output, seen) = tch::no_grad(|| network.forward_heard(images, NORMS));
        let entropy = output.logits.log_softmax(-1, Kind::Float).nll_loss(&labels).double_value(&[]);
        (entropy, distance(&seen, &targets, &SPEC, None).double_value(&[]))
    };
    let (before, after) = (losses(&first), losses(&last));
    assert!(after.0 < 0.6 * before.0 && after.1 < 0.8 * before.1, "{before:?} to {after:?}");
    let cropped = made(&network, &SPEC, 1, &engine);
    assert!(cropped != last && cropped == made(&network, &SPEC, 1, &engine));
    assert_ne!(cropped, made(&network, &SPEC, 2, &engine));
    let (low, high) = (-0.485 / 0.229, (1.0 - 0.406) / 0.225);
    assert!(last.min().double_value(&[]) > low - 0.2 && last.max().double_value(&[]) < high + 0.2);
}

/// A few steps, before rounding is amplified; the classes have statistics of their own.
#[test]
fn batches_side_by_side_are_moved_as_if_each_were_alone() {
    let engine = engine();
    let network = network(&engine);
    let statistics = ClassStatistics::measure(&network, &store(), Curriculum::None, &IMAGENET, (0, &engine), &|_| ())
        .expect("measured");
    let photos = plain_batch(&store(), &[3, 6, 9], &IMAGENET, &engine).expect("in memory");
    let batches = [
        Batch { labels: &[0, 0, 0], start: Some(&photos), number: 4 },
        Batch { labels: &[1, 1, 1], start: None, number: 5 },
        Batch { labels: &[2, 2, 2], start: None, number: 6 },
    ];
    let spec = RecoverSpec { iterations: 4, learning_rate: 0.02, ..SPEC };
    let made = |batches: &[Batch]| {
        let classes: Vec<u32> = batches.iter().map(|batch| batch.labels[0]).collect();
        let targets = statistics.targets(&classes).expect("they have images");
        let pass = Pass { batches, ..PASS };
        recover(&[backbone(&network, &targets)], &pass, &spec, &engine, &|_| ()).expect("recovered")
    };
    let together = made(&batches);
    assert_eq!(together.size(), [9, 3, 16, 16]);
    let way = |a: &Tensor, b: &Tensor| (a - b).abs().mean(Kind::Double).double_value(&[]);
    for (at, batch) in (0..).zip(&batches) {
        let own = together.narrow(0, 3 * at, 3);
        let alone = made(std::slice::from_ref(batch));
        assert!(way(&own, &alone) < 1e-4, "batch {at}: {}", way(&own, &alone));
        let other = made(&[Batch { number: batch.number + 1, ..*batch }]);
        assert!(way(&own, &other) > 1e-2, "batch {at} has views of its own: {}", way(&own, &other));
    }
}

#[test]
fn a_nudge_goes_uphill_by_its_radius_and_is_undone() {
    let engine = engine();
    let network = network(&engine);
    let before: Vec<Tensor> = network.params().iter().map(|p| p.tensor.detach().copy()).collect();
    let (images, labels) = (
        plain_batch(&store(), &[0, 1, 2], &IMAGENET, &engine).expect("in memory"),
        label_tensor(&[0, 1, 2], engine.device),
    );
    let entropy = || {
        let logits = tch::no_grad(|| network.forward(&images, Mode::Eval)).logits;
        logits.log_softmax(-1, Kind::Float).nll_loss(&labels).double_value(&[])
    };
    let low = entropy();
    let moved = Nudge { steps: 12, radius: 0.015, after: After::PutBack }.apply(&network, &images, &labels);
    let squares =
        network.params().iter().zip(&before).map(|(p, b)| (&p.tensor.detach() - b).square().sum(Kind::Double));
    let length = squares.map(|s| s.double_value(&[])).sum::<f64>().sqrt();
    assert!(length > 0.012 && length < 0.01501, "{length}");
    assert!(entropy() > low);
    drop(moved);
    assert!(network.params().iter().zip(&before).all(|(p, b)| p.tensor.detach() == *b));
    let spec =
        RecoverSpec { nudge: Some(Nudge { steps: 3, radius: 0.5, after: After::PutBack }), iterations: 5, ..SPEC };
    assert_ne!(made(&network, &spec, 1, &engine), made(&network, &RecoverSpec { nudge: None, ..spec }, 1, &engine));
    // Where weights stay, the second batch starts from where the first one left them.
    let (weights, first) = (Weights::of(&network), made(&network, &spec, 1, &engine));
    let drifting = RecoverSpec { nudge: spec.nudge.map(|nudge| Nudge { after: After::Stay, ..nudge }), ..spec };
    assert_eq!(made(&network, &drifting, 1, &engine), first);
    assert_ne!(made(&network, &drifting, 1, &engine), first);
    weights.put_back(&network);
    assert_eq!(made(&network, &drifting, 1, &engine), first);
    weights.put_back(&network);
    assert!(network.params().iter().zip(&before).all(|(p, b)| p.tensor.detach() == *b), "the network is as it was");
}

/// Against the moments of all activations of a class, computed in one batch.
#[test]
fn class_statistics_are_exact() {
    let engine = engine();
    let network = network(&engine);
    let store = store();
    let measured = |crop, seed| {
        ClassStatistics::measure(&network, &store, crop, &IMAGENET, (seed, &engine), &|_| ()).expect("measured")
    };
    let found = measured(Curriculum::None, 0);
    for class in 0..3u32 {
        let own: Vec<u32> = (0..12).filter(|&i| store.label(i) == class).collect();
        let images = plain_batch(&store, &own, &IMAGENET, &engine).expect("in memory");
        let hearing = Hearing::Norms { at_once: own.len() as i64 };
        let (_, seen) = tch::no_grad(|| network.forward_heard(&images, hearing));
        let targets = found.targets(&[class]).expect("it has images");
        let distance = distance(&seen, &targets, &SPEC, None).double_value(&[]);
        assert!(distance < 1e-4, "class {class}: {distance}");
        let off = |seed| {
            let cropped = measured(Curriculum::Fixed { least: 0.08 }, seed).targets(&[class]).expect("it has images");
            super::distance(&seen, &cropped, &SPEC, None).double_value(&[])
        };
        assert!(off(1) > 0.01 && off(1) == off(1) && off(1) != off(2), "views are cropped, by the seed: {}", off(1));
    }
    assert!(found.targets(&[0, 3]).expect_err("no such class").hint().is_some());
}

#[test]
fn what_cannot_be_matched_is_refused_and_a_loss_that_is_no_number_stops() {
    let engine = engine();
    let bare = Network::new("convnet-2/8-in", SHAPE, 1, &engine).expect("in the list");
    let (network, targets) = (network(&engine), Targets::running(&network(&engine)));
    let batch = Batch { labels: &[0], ..BATCH };
    let refused = |network: &Network, batches: &[Batch], spec: &RecoverSpec| {
        let pass = Pass { stage: "sre2l", seed: 0, batches };
        recover(&[backbone(network, &targets)], &pass, spec, &engine, &|_| ()).expect_err("refused")
    };
    let error = refused(&bare, &[batch], &SPEC);
    assert!(error.to_string().contains("has no batch norm"), "{error}");
    let wide = Network::new("convnet-2/16", SHAPE, 1, &engine).expect("in the list");
    let error = refused(&wide, &[batch], &SPEC);
    assert!(error.to_string().contains("another network"), "{error}");
    let start = Tensor::full([1, 3, 16, 16], f64::NAN, (Kind::Float, engine.device));
    let error = refused(&network, &[Batch { start: Some(&start), ..batch }], &SPEC);
    assert!(error.to_string().contains("sre2l: the loss is NaN at step 0"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("train the teacher again")), "it is fp32 already");
    // The loss before the last step is a number, the pixels after it are none.
    let boundless = RecoverSpec { iterations: 1, learning_rate: f64::NAN, ..SPEC };
    let error = refused(&network, &[batch], &boundless);
    assert!(error.to_string().contains("sre2l: pixels are no numbers at step 0"), "{error}");
    let error = refused(&network, &[batch], &GENERAL);
    assert!(error.to_string().contains("another network"), "convolutions were not measured: {error}");
    assert!(recover(&[], &PASS, &SPEC, &engine, &|_| ()).is_err());
    let nudged = RecoverSpec { nudge: Some(Nudge { steps: 1, radius: 0.1, after: After::PutBack }), ..SPEC };
    for (batches, spec) in
        [(&[][..], SPEC), (&[batch, BATCH], SPEC), (&[batch, batch], nudged), (&[batch, batch], GENERAL)]
    {
        let error = refused(&network, batches, &spec);
        assert!(error.to_string().contains("cannot be moved side by side"), "{error}");
    }
    let two = ClassStatistics::measure(&network, &store(), Curriculum::None, &IMAGENET, (0, &engine), &|_| ())
        .expect("measured");
    let two = two.targets(&[0, 1]).expect("they have images");
    let error = recover(&[backbone(&network, &two)], &PASS, &SPEC, &engine, &|_| ()).expect_err("one batch");
    assert!(error.to_string().contains("the statistics belong to another"), "{error}");
}

#[test]
fn pictures_round_or_truncate() {
    let value = |pixel: f32| (pixel / 255.0 - IMAGENET.mean[0]) / IMAGENET.std[0];
    let numbers: Vec<f32> = [10.6, 10.4, -5.0, 300.0].iter().map(|&pixel| value(pixel)).collect();
    let red = Tensor::from_slice(&numbers).reshape([1, 1, 2, 2]);
    let images = Tensor::cat(&[&red, &red, &red], 1);
    let reds =
        |rounding| pictures(&images, &IMAGENET, rounding)[0].data.iter().step_by(3).copied().collect::<Vec<u8>>();
    assert_eq!((reds(Rounding::Nearest), reds(Rounding::Truncated)), (vec![11, 10, 0, 255], vec![10, 10, 0, 255]));
}
