//! By hand on small images; the affine and colour groups against PyTorch, whose numbers are in tests/golden/distortions.json.

use super::*;
use crate::batch::IMAGENET;

fn column<const N: usize>(values: [f64; N]) -> [Tensor; N] {
    values.map(|value| Tensor::from_slice(&[value as f32]).reshape([1, 1, 1, 1]))
}

fn ramp(side: i64) -> Tensor {
    (Tensor::arange(3 * side * side, (Kind::Float, Device::Cpu)) + 1.0).reshape([1, 3, side, side])
}

fn rows(x: &Tensor, channel: i64) -> Vec<Vec<f32>> {
    let side = x.size()[3];
    (0..side).map(|row| Vec::try_from(x.get(0).get(channel).get(row).contiguous()).expect("numbers")).collect()
}

#[test]
fn shifts_holes_and_flips_by_hand() {
    let x = ramp(3);
    assert_eq!(rows(&x, 0), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]);
    let moved = shift(&x, &column([1.0, -1.0]));
    assert_eq!(rows(&moved, 0), [[0.0, 4.0, 5.0], [0.0, 7.0, 8.0], [0.0, 0.0, 0.0]]);
    assert_eq!(rows(&flip(&x, &column([1.0])), 1)[0], [12.0, 11.0, 10.0]);
    assert_eq!(flip(&x, &column([0.0])), x);
    // A hole of 2 x 2 in 4 x 4, its middle at (1, 4): rows 0 and 1, column 3.
    let holed = hole(&ramp(4), &column([1.0, 4.0]));
    assert_eq!(rows(&holed, 0)[0], [1.0, 2.0, 3.0, 0.0]);
    assert_eq!(rows(&holed, 0)[1], [5.0, 6.0, 7.0, 0.0]);
    assert_eq!(rows(&holed, 0)[2], [9.0, 10.0, 11.0, 12.0]);
}

/// scripts/reference_distortions.py
#[test]
fn pytorchs_formulas_give_the_same() {
    let text = include_str!("../../tests/golden/distortions.json");
    let golden: std::collections::BTreeMap<String, Vec<f32>> = serde_json::from_str(text).expect("the script's output");
    let x = (Tensor::arange(75, (Kind::Double, Device::Cpu)) * 1.3).sin().to_kind(Kind::Float).reshape([1, 3, 5, 5]);
    let bright = (&x + 1.0) / 2.0;
    let ordered = |order: f64, amounts: [f64; 3]| in_order(&bright, &column(amounts), &column([order])[0]);
    let found = [
        ("scale", affine(&x, &column(scaling(0.8, 0.1)))),
        ("rotate", affine(&x, &column(turning(0.9)))),
        ("colour", colour(&x, &column([0.9, 0.2, 0.7]))),
        ("jitter 0 2 1", ordered(1.0, [0.3, -0.2, 0.35])),
        ("jitter 2 1 0", ordered(5.0, [-0.1, 0.4, -0.3])),
    ];
    assert_eq!(found.len(), golden.len());
    for (name, found) in found {
        let expected = Tensor::from_slice(&golden[name]).reshape([1, 3, 5, 5]);
        let off = (found - expected).abs().max().double_value(&[]);
        assert!(off < 2e-6, "{name}: {off}");
    }
}

/// A row 1 2 3 4 moved by one to the right shows 2 1 2 3: the border pixel is not repeated.
#[test]
fn what_comes_in_is_mirrored_at_the_border() {
    let moved = |by: f64| rows(&shift_mirrored(&ramp(4), &column([0.0, by])), 0)[0].clone();
    assert_eq!(moved(-1.0), [2.0, 1.0, 2.0, 3.0]);
    assert_eq!(moved(-2.0), [3.0, 2.0, 1.0, 2.0]);
    assert_eq!(moved(1.0), [2.0, 3.0, 4.0, 3.0]);
    assert_eq!(rows(&shift_mirrored(&ramp(4), &column([1.0, 0.0])), 0)[3], [9.0, 10.0, 11.0, 12.0]);
}

/// Two epochs show both sides of every image, and about half of the images begin with either. 8 px are moved by one at most, so a flat image tells
/// nothing of it and a step from dark to bright tells the side.
#[test]
fn every_second_epoch_shows_the_other_side() {
    let step =
        (Tensor::arange(8, (Kind::Float, Device::Cpu)).ge(4.0)).to_kind(Kind::Float).expand([64, 3, 8, 8], false);
    let sides_of = |distort: Distort, epoch| {
        let items: Vec<Item> = (0..64).map(|index| Item { index, epoch }).collect();
        let seen = distort.apply(&step.contiguous(), &items, &IMAGENET, 3, 0);
        Vec::<f32>::try_from(seen.select(3, 7).select(2, 0).select(1, 0).contiguous()).expect("numbers")
    };
    let sides = |epoch| sides_of(Distort::Alternating, epoch);
    let (first, second) = (sides(0), sides(1));
    assert!(first.iter().zip(&second).all(|(a, b)| a + b == 1.0), "{first:?} {second:?}");
    assert_eq!(first, sides(2));
    // Binomial(64, 1/2) stays within 32 ± 5 * 4.
    assert!((12.0..=52.0).contains(&first.iter().sum::<f32>()));
    // At random, as many images show the same side twice as both.
    let random: Vec<Vec<f32>> = (0..2).map(|epoch| sides_of(Distort::Mirrored, epoch)).collect();
    let both = random[0].iter().zip(&random[1]).filter(|(a, b)| a != b).count();
    assert!((12..=52).contains(&both), "{random:?}");
    assert!(random.iter().all(|sides| (12.0..=52.0).contains(&sides.iter().sum::<f32>())));
}

#[test]
fn numbers_in_the_middle_change_nothing() {
    let x = ramp(4) / 50.0;
    let same = |y: &Tensor| assert!((y - &x).abs().max().double_value(&[]) < 1e-5);
    same(&colour(&x, &column([0.5, 0.5, 0.5])));
    same(&affine(&x, &column(turning(0.5))));
    same(&affine(&x, &column([1.0, 0.0, 0.0, 1.0])));
    let [wide, _, _, _] = scaling(1.0, 0.0);
    assert!((wide - 1.2).abs() < 1e-12 && (scaling(1.0, 0.0)[3] - 1.0 / 1.2).abs() < 1e-12);
}

#[test]
fn draws_are_keyed_and_every_distortion_keeps_shape_and_kind() {
    let items: Vec<Item> = (0..4).map(|index| Item { index, epoch: 2 }).collect();
    let x = Tensor::cat(&[ramp(8), ramp(8) / 2.0, ramp(8) / 3.0, ramp(8) / 4.0], 0) / 200.0;
    for row in DISTORTS {
        assert_eq!((Distort::parse(row.name), row.distort.name()), (Some(row.distort), row.name));
        for kind in [Kind::Float, Kind::BFloat16] {
            let apply = |seed, step| row.distort.apply(&x.to_kind(kind), &items, &IMAGENET, seed, step);
            let found = apply(1, 0);
            assert_eq!((found.size(), found.kind()), (x.size(), kind), "{}", row.name);
            assert_eq!(found, apply(1, 0), "{}", row.name);
            assert_eq!(row.distort == Distort::None, found == apply(7, 3) && found == apply(8, 5), "{}", row.name);
        }
        // An image's draw does not depend on its batch.
        let alone = row.distort.apply(&x.narrow(0, 2, 1), &items[2..3], &IMAGENET, 1, 0);
        let all = row.distort.apply(&x, &items, &IMAGENET, 1, 0);
        assert!((alone.get(0) - all.get(2)).abs().max().double_value(&[]) < 1e-6, "{}", row.name);
    }
}

/// Colours move by at most 40 % of the way to black, grey or the mean; noise has a standard deviation of about 0.1 x 0.22 x 0.57 per channel.
#[test]
fn jitter_stays_within_its_bounds() {
    let items: Vec<Item> = (0..200).map(|index| Item { index, epoch: 0 }).collect();
    let grey = Tensor::full([200, 3, 4, 4], 0.0, (Kind::Float, Device::Cpu));
    // The mean colour is no grey, but nearly: red 0.485, green 0.456, blue 0.406.
    let found = Distort::Jitter.apply(&grey, &items, &IMAGENET, 3, 0);
    let red = found.narrow(1, 0, 1) * 0.229 + 0.485;
    let (low, high) = (red.min().double_value(&[]), red.max().double_value(&[]));
    assert!(low > 0.485 * 0.6 - 0.1 && high < 0.485 * 1.4 + 0.1 && high - low > 0.2, "{low} {high}");
}

/// Flat pictures far from black keep only the brightness, 0.6 to 1.4; black ones only the noise, 0.1 times the principal axes of ImageNet's colours with their
/// spreads (Krizhevsky et al. 2012).
#[test]
fn jitter_has_the_strength_and_the_noise_that_it_names() {
    let items: Vec<Item> = (0..4000).map(|index| Item { index, epoch: 0 }).collect();
    let (mean, std) = IMAGENET.tensors(Device::Cpu);
    let of = |level: f64| {
        let flat = (Tensor::full([4000, 3, 2, 2], level, (Kind::Float, Device::Cpu)) - &mean) / &std;
        let found = Distort::Jitter.apply(&flat, &items, &IMAGENET, 3, 0) * &std + &mean;
        found.select(3, 0).select(2, 0).contiguous()
    };
    let factor = of(100.0) / 100.0;
    let (low, high) = (factor.min().double_value(&[]), factor.max().double_value(&[]));
    assert!((0.595..0.61).contains(&low) && (1.39..1.405).contains(&high), "{low} {high}");
    let noise = of(0.0);
    for (axis, spread) in [
        ([-0.5675f32, -0.5808, -0.5836], 0.2175),
        ([0.7192, -0.0045, -0.6948], 0.0188),
        ([0.4009, -0.8140, 0.4203], 0.0045),
    ] {
        let along = noise.matmul(&Tensor::from_slice(&axis)).std(false).double_value(&[]);
        // Five standard errors of a deviation from 4,000 draws are 6 %.
        assert!((along / (0.1 * spread) - 1.0).abs() < 0.06, "{axis:?}: {along}");
    }
}

/// Each view is one of the 18 crops of 8 x 8 from a picture of 10 x 10 with a border of black, mirrored or not, and all of them are drawn.
#[test]
fn padded_views_are_crops_of_a_picture_with_a_black_border() {
    let pixels = Tensor::arange(3 * 64, (Kind::Float, Device::Cpu)).reshape([1, 3, 8, 8]) / 200.0;
    let (mean, std) = IMAGENET.tensors(Device::Cpu);
    let normal = |x: &Tensor| (x - &mean) / &std;
    let bordered = pixels.constant_pad_nd([1, 1, 1, 1]);
    let mut crops = Vec::new();
    for (row, column) in (0..3).flat_map(|row| (0..3).map(move |column| (row, column))) {
        let crop = normal(&bordered.narrow(2, row, 8).narrow(3, column, 8));
        crops.extend([crop.shallow_clone(), crop.flip([3])]);
    }
    let items: Vec<Item> = (0..300).map(|epoch| Item { index: 4, epoch }).collect();
    let batch = normal(&pixels).expand([300, 3, 8, 8], false).contiguous();
    let views = Distort::Padded.apply(&batch, &items, &IMAGENET, 1, 0);
    let mut drawn = vec![0; crops.len()];
    for view in 0..300 {
        let view = views.narrow(0, view, 1);
        let is = |crop: &Tensor| (crop - &view).abs().max().double_value(&[]) < 1e-5;
        drawn[crops.iter().position(is).expect("it is one of them")] += 1;
    }
    assert!(drawn.iter().all(|&times| times > 0), "{drawn:?}");
}
