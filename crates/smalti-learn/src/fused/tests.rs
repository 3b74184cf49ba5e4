//! Against libtorch's own layers one after another.

use super::*;
use crate::nets::channels_last;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Scale, shift, running mean, running variance.
struct Layer([Tensor; 4]);

impl Layer {
    fn new(channels: i64) -> Layer {
        let ramp = Tensor::arange(channels, (Kind::Float, Device::Cpu));
        let [scale, shift] = [ramp.cos() * 4.0 + 0.2, ramp.sin() * 2.0].map(|t| t.set_requires_grad(true));
        Layer([scale, shift, ramp.sin(), ramp.cos().abs() + 0.1])
    }

    fn norm(&self) -> BatchNorm<'_> {
        let [scale, shift, mean, variance] = &self.0;
        BatchNorm { scale, shift, mean, variance, epsilon: EPSILON, momentum: MOMENTUM }
    }
}

/// Numbers with means that differ by channel, some of them far from 0.
fn images(size: [i64; 4], key: f64, kind: Kind) -> Tensor {
    let ramp = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu));
    let noise = ((ramp * 12.9898 + key).sin() * 43.7585).frac().reshape(size);
    let means = Tensor::arange(size[1], (Kind::Float, Device::Cpu)).sin().reshape([1, -1, 1, 1]);
    channels_last(&(noise + means)).to_kind(kind).set_requires_grad(true)
}

/// libtorch's layers, in fp32.
fn plain(x: &Tensor, layer: &Layer, form: usize, residual: &Tensor) -> Tensor {
    let [scale, shift, mean, variance] = &layer.0;
    let x = x.to_kind(Kind::Float);
    let y = x.batch_norm(Some(scale), Some(shift), Some(mean), Some(variance), true, MOMENTUM, EPSILON, false);
    match form {
        0 => y,
        1 => y.relu(),
        2 => y.relu().avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
        3 => (y + residual.to_kind(Kind::Float)).relu(),
        _ => y.relu6(),
    }
}

fn fused(x: &Tensor, layer: &Layer, form: usize, residual: &Tensor) -> Tensor {
    let after = [After::Nothing, After::Relu, After::ReluPool, After::AddRelu(residual), After::Relu6][form];
    batch_norm(x, &layer.norm(), after)
}

type Make = fn(&Tensor, &Layer, usize, &Tensor) -> Tensor;

/// Output, gradients and running statistics of one form on images of this size.
fn of(make: Make, size: [i64; 4], form: usize, kind: Kind) -> Vec<Tensor> {
    on(make, (&images(size, 0.1, kind), &images(size, 0.7, kind)), form)
}

/// The same of these images and this residual.
fn on(make: Make, (x, residual): (&Tensor, &Tensor), form: usize) -> Vec<Tensor> {
    let (kind, layer) = (x.kind(), Layer::new(x.size()[1]));
    let y = make(x, &layer, form, residual);
    let upstream = images([y.size()[0], y.size()[1], y.size()[2], y.size()[3]], 0.3, kind).detach();
    let loss = (y.to_kind(Kind::Float) * upstream.to_kind(Kind::Float)).sum(Kind::Float);
    let [scale, shift, mean, variance] = &layer.0;
    let mut wanted = vec![x, scale, shift];
    if form == 3 {
        wanted.push(residual);
    }
    let gradients = Tensor::run_backward(&[&loss], &wanted, false, false);
    [y.detach()].into_iter().chain(gradients).chain([mean, variance].map(Tensor::shallow_clone)).collect()
}

fn assert_alike(size: [i64; 4], form: usize, kind: Kind) {
    assert_same(
        &of(fused, size, form, kind),
        &of(plain, size, form, kind),
        &format!("{size:?} form {form} {kind:?}"),
        kind,
    );
}

fn assert_same(ours: &[Tensor], theirs: &[Tensor], what: &str, kind: Kind) {
    assert_eq!(ours.len(), theirs.len());
    // fp32 adds in another order; bf16 rounds each number once, 8 bits.
    let allowed = if kind == Kind::Float { 2e-5 } else { 1e-2 };
    for (which, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(a.size(), b.size(), "{what}: {which}");
        let (a, b) = (a.to_kind(Kind::Float), b.to_kind(Kind::Float));
        if a.numel() == 0 {
            continue;
        }
        // Gradients of a norm cancel: what is left is compared with what went in.
        let off = (&a - &b).abs().max().double_value(&[]) / b.abs().max().double_value(&[]).max(0.1);
        assert!(off < allowed, "{what}: part {which} is {off} off");
    }
}

// The seed is fixed: a number within rounding of ReLU's edge is cut on one side and not on the other.
proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::with_cases(60) })]
    #[test]
    fn output_gradients_and_statistics_are_libtorchs(images in 2i64..5, channels in 1i64..40, height in 2i64..10, width in 2i64..10, form in 0usize..5) {
        assert_alike([images, channels, height, width], form, Kind::Float);
        assert_alike([images, channels, height, width], form, Kind::BFloat16);
    }
}

/// Several blocks, the last one shorter; rows that are blocks by themselves; one place per image.
#[test]
fn blocks_of_any_number_add_up() {
    for size in [[7, 96, 17, 15], [3, 300, 5, 64], [50, 512, 1, 1], [2, 5, 3, 40]] {
        for form in [0, 1, 3, 4] {
            assert_alike(size, form, Kind::Float);
        }
        if size[2] > 1 {
            assert_alike(size, 2, Kind::Float);
        }
    }
}

/// Sums of squares less squared sums would lose this variance to rounding; several blocks are put together.
#[test]
fn a_channel_far_from_zero_keeps_its_variance() {
    let size = [8, 3, 40, 40];
    let x = images(size, 0.1, Kind::Float).detach() + 1_000.0;
    let y = batch_norm(&x, &Layer::new(3).norm(), After::Nothing);
    let exact = x.to_kind(Kind::Double);
    let over = [0i64, 2, 3];
    let mean = exact.mean_dim(over.as_slice(), true, Kind::Double);
    let variance = (&exact - &mean).square().mean_dim(over.as_slice(), true, Kind::Double);
    let [scale, shift, ..] = Layer::new(3).0.map(|t| t.detach().to_kind(Kind::Double).reshape([1, -1, 1, 1]));
    let expected = (exact - mean) / (variance + EPSILON).sqrt() * scale + shift;
    let off = (y - expected).abs().max().double_value(&[]);
    assert!(off < 5e-3, "{off}");
}

/// Neither does the order of the storage change anything, nor where it begins, nor strides of dimensions of one.
#[test]
fn images_may_lie_in_memory_in_any_way() {
    type Lay = fn(&Tensor) -> Tensor;
    let lays: [(&str, Lay); 4] = [
        ("channels first", |x| x.contiguous()),
        ("some of more", |x| Tensor::cat(&[x, x], 0).narrow(0, x.size()[0], x.size()[0])),
        ("every second channel", |x| Tensor::stack(&[x, x], 2).flatten(1, 2).slice(1, 0, None, 2)),
        ("turned", |x| x.transpose(2, 3).contiguous().transpose(2, 3)),
    ];
    for size in [[3, 10, 6, 4], [2, 7, 1, 1], [1, 5, 6, 1]] {
        for (name, lay) in lays {
            for form in [0, 1, 3, 4].into_iter().chain((size[3] > 1).then_some(2)) {
                let expected = of(plain, size, form, Kind::Float);
                let [x, residual] =
                    [0.1, 0.7].map(|key| lay(&images(size, key, Kind::Float)).detach().set_requires_grad(true));
                let ours = on(fused, (&x, &residual), form);
                assert!(ours[0].permute([0, 2, 3, 1]).is_contiguous(), "{name}");
                assert_same(&ours, &expected, &format!("{name} {size:?} form {form}"), Kind::Float);
            }
        }
    }
}

/// A gradient that is one number everywhere has no storage of its own. (Without a cut all gradients but that of the shift are rounding errors of 0.)
#[test]
fn the_gradient_of_a_plain_sum_is_right() {
    for form in 1..5 {
        let gradients = [fused as Make, plain].map(|make| {
            let (x, layer) = (images([2, 4, 6, 6], 0.1, Kind::Float), Layer::new(4));
            let y = make(&x, &layer, form, &images([2, 4, 6, 6], 0.7, Kind::Float));
            Tensor::run_backward(&[y.sum(Kind::Float)], &[&x, &layer.0[0], &layer.0[1]], false, false)
        });
        assert_same(&gradients[0], &gradients[1], &format!("form {form}"), Kind::Float);
    }
}

#[test]
fn threads_change_no_bit() {
    let test = "fused::tests::threads_change_no_bit_in_a_process_of_its_own";
    let program = std::env::current_exe().expect("this program");
    let run = std::process::Command::new(program).args([test, "--exact", "--ignored"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

/// Blocks and the order of their sums follow from the shape alone.
#[test]
#[ignore = "the test above runs it: the number of threads is that of the whole process"]
fn threads_change_no_bit_in_a_process_of_its_own() {
    let bits = |threads| {
        tch::set_num_threads(threads);
        (0..5).flat_map(|form| of(fused, [7, 96, 18, 16], form, Kind::BFloat16)).collect::<Vec<_>>()
    };
    let (one, four) = (bits(1), bits(4));
    assert!(one.iter().zip(&four).all(|(a, b)| a == b) && one.len() == 31);
}

#[test]
fn an_infinite_number_is_not_cut_where_nothing_cuts() {
    let x = images([2, 3, 4, 4], 0.1, Kind::Float);
    let residual = Tensor::full([2, 3, 4, 4], f64::INFINITY, (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let y = batch_norm(&x, &Layer::new(3).norm(), After::AddRelu(&residual));
    let gradient = Tensor::run_backward(&[y.sum(Kind::Float)], &[&residual], false, false);
    assert_eq!(gradient[0].sum(Kind::Float).double_value(&[]), 96.0);
}

/// Gradients would be those of other numbers.
#[test]
fn what_was_kept_must_not_change() {
    let x = images([2, 3, 4, 4], 0.1, Kind::Float) * 1.0;
    let y = batch_norm(&x, &Layer::new(3).norm(), After::Relu);
    drop(x.detach().fill_(1.0));
    let failed = Tensor::f_run_backward(&[y.sum(Kind::Float)], &[&x], false, false);
    assert!(failed.expect_err("it changed").to_string().contains("changed in place"));
}

#[test]
fn a_number_that_is_none_is_not_hidden_by_relu() {
    let x = images([2, 3, 4, 4], 0.1, Kind::BFloat16).detach();
    drop(x.select(0, 0).select(0, 1).select(0, 2).select(0, 2).fill_(f64::NAN));
    for form in 0..5 {
        let y = fused(&x, &Layer::new(3), form, &images([2, 3, 4, 4], 0.7, Kind::BFloat16).detach());
        assert!(y.isnan().any().int64_value(&[]) == 1, "form {form}");
    }
    assert!(relu_pool(&x).isnan().any().int64_value(&[]) == 1);
}

#[test]
fn pooling_for_evaluation_is_the_two_layers() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let x = images([3, 21, 9, 7], 0.1, kind).detach() - 0.4;
        let two = x.to_kind(Kind::Float).relu().avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        let off = (relu_pool(&x).to_kind(Kind::Float) - two).abs().max().double_value(&[]);
        assert!(off < if kind == Kind::Float { 1e-6 } else { 5e-3 }, "{kind:?}: {off}");
    }
}

/// Where no gradient is wanted none is kept, and a graph is used once.
#[test]
fn a_graph_is_kept_where_it_is_wanted_and_used_once() {
    let (x, layer) = (images([2, 4, 4, 4], 0.1, Kind::Float), Layer::new(4));
    assert!(!tch::no_grad(|| batch_norm(&x, &layer.norm(), After::Relu)).requires_grad());
    assert!(batch_norm(&x.detach(), &layer.norm(), After::Relu).requires_grad());
    let frozen = Layer(layer.0.each_ref().map(Tensor::detach));
    assert!(!batch_norm(&x.detach(), &frozen.norm(), After::Relu).requires_grad());
    assert!(batch_norm(&x.detach(), &frozen.norm(), After::AddRelu(&x)).requires_grad());
    let loss = batch_norm(&x, &frozen.norm(), After::Relu).sum(Kind::Float);
    drop(Tensor::run_backward(&[&loss], &[&x], false, false));
    let again = Tensor::f_run_backward(&[&loss], &[&x], false, false);
    assert!(again.expect_err("it was freed").to_string().contains("freed"));
}
