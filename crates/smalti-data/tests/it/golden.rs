//! Agreement with Pillow and torchvision, on files made by tests/golden/make.py.

use smalti_data::crop::{CropRange, random_resized_crop};
use smalti_data::decode::{Detail, Orientation, Profile, decode};
use smalti_data::mix::{self, Shape};
use smalti_data::random::{Stage, Stream};
use smalti_data::{PixelBox, Rgb, resize};
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).expect("committed beside the tests")
}

fn picture(name: &str) -> Rgb {
    decode(&bytes(name)).expect("a plain PNG")
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&bytes(name)).expect("made by make.py")
}

/// Largest difference in levels, and how many of the channel values differ at all, against a part of a strip.
fn difference(ours: &Rgb, strip: &Rgb, top: u32) -> (u8, usize) {
    let expected = (0..ours.height).flat_map(|y| (0..ours.width).flat_map(move |x| strip.pixel(x, top + y)));
    let off: Vec<u8> = ours.data.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).filter(|&d| d > 0).collect();
    (off.iter().copied().max().unwrap_or(0), off.len())
}

/// 60,000 x 60,000 in a JPEG and 20,000 x 20,000 in a PGM of a few bytes.
#[test]
fn bombs_are_refused_from_their_header() {
    let mut jpeg = bytes("decode/grey.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a baseline frame");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
    for bomb in [jpeg, b"P5 20000 20000 255\n".to_vec()] {
        let whole = Profile::default();
        for error in [whole.decode(&bomb).err(), whole.dimensions(&bomb).err(), whole.check(&bomb).err()] {
            let error = error.expect("refused").to_string();
            assert!(error.contains("more than the limit of"), "{error}");
        }
    }
}

#[test]
fn resized_crops_are_torchvisions_of_tensors_and_within_one_level_those_of_pillow() {
    assert_eq!(differing_crops("crops-of-tensors.png"), 0.0);
    let share = differing_crops("crops.png");
    // Coefficients are rounded to 16 bits here and to 22 in Pillow: 0.36 % when this was written, on stripes and edges that are
    // meant to be hard.
    eprintln!("{:.3} % of the values differ by one level", share * 100.0);
    assert!(share < 0.005, "{share}");
}

/// The share of values that are not those of the strip; none may be off by more than one level.
fn differing_crops(strip: &str) -> f64 {
    let (source, strip) = (picture("source.png"), picture(strip));
    let boxes: Vec<[u32; 4]> = json("crops.json");
    let side = strip.width;
    assert_eq!(strip.height, side * boxes.len() as u32);
    let mut differing = 0;
    for (at, &[left, top, width, height]) in (0..).zip(&boxes) {
        let region = PixelBox { left, top, width, height };
        let ours = resize::resize_box(&source, region, side, side).expect("inside");
        let (largest, count) = difference(&ours, &strip, at * side);
        assert!(largest <= 1, "{region:?} is off by {largest} levels");
        differing += count;
    }
    differing as f64 / strip.data.len() as f64
}

#[test]
fn the_measuring_view_is_torchvisions_within_one_level() {
    let (source, strip) = (picture("source.png"), picture("validation.png"));
    let cases: Vec<[u32; 4]> = json("validation.json");
    let mut top = 0;
    for [width, height, side, crop] in cases {
        let region = PixelBox { left: 0, top: 0, width, height };
        let part = resize::resize_box(&source, region, width, height).expect("a plain crop");
        let ours = resize::validation(&part, side, crop).expect("valid");
        let (largest, _) = difference(&ours, &strip, top);
        assert!(largest <= 1, "{width} x {height} to {side}, {crop}: off by {largest} levels");
        top += crop;
    }
    assert_eq!(top, strip.height);
}

#[derive(serde::Deserialize)]
struct Boxes {
    draws: u32,
    entries: Vec<Distribution>,
}

/// Points (value, share of torchvision's draws at or below it).
#[derive(serde::Deserialize)]
struct Distribution {
    width: u32,
    height: u32,
    kind: String,
    points: Vec<(f64, f64)>,
}

#[test]
fn random_crops_are_spread_as_torchvisions() {
    let golden: Boxes = json("boxes.json");
    // The two-sample Kolmogorov-Smirnov bound that one seed in a thousand exceeds.
    let bound = 1.95 * (2.0 / f64::from(golden.draws)).sqrt();
    for entry in &golden.entries {
        let value = |draw: u32| {
            let mut stream = Stream::new(3, Stage::Augment, 0, u64::from(draw));
            let drawn = random_resized_crop(entry.width, entry.height, &CropRange::default(), &mut stream);
            match entry.kind.as_str() {
                "area" => f64::from(drawn.width * drawn.height),
                "ratio" => f64::from(drawn.width) / f64::from(drawn.height),
                "left" => f64::from(drawn.left),
                "top" => f64::from(drawn.top),
                other => panic!("make.py writes no `{other}`"),
            }
        };
        let mut ours: Vec<f64> = (0..golden.draws).map(value).collect();
        ours.sort_by(f64::total_cmp);
        for &(point, share) in &entry.points {
            let share_of_ours = ours.partition_point(|&x| x <= point) as f64 / f64::from(golden.draws);
            let distance = (share_of_ours - share).abs();
            let (width, height, kind) = (entry.width, entry.height, &entry.kind);
            assert!(distance < bound, "{kind} in {width} x {height}: {distance} at {point}, bound {bound}");
        }
    }
}

/// Every golden file, decoded by `profile`, against the strip that Pillow made.
fn compare_all(profile: Profile, strip: &str) {
    let strip = picture(strip);
    let names: Vec<String> = json("decode/expected.json");
    let (mut top, mut wrong) = (0, Vec::new());
    for name in &names {
        let bytes = bytes(&format!("decode/{name}"));
        let ours = profile.decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (largest, count) = difference(&ours, &strip, top);
        if count > 0 {
            wrong.push(format!("{name}: {count} values off by up to {largest}"));
        }
        assert_eq!(profile.dimensions(&bytes).expect("a header"), (ours.width, ours.height), "{name}");
        top += ours.height;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(top, strip.height, "all of the strip is compared");
}

#[test]
fn pixels_are_pillows() {
    compare_all(Profile::default(), "decode/expected.png");
}

#[test]
fn pixels_turned_by_exif_are_those_of_hugging_face() {
    compare_all(Profile { orientation: Orientation::Exif, ..Profile::default() }, "decode/expected-exif.png");
}

#[test]
fn scaled_decoding_is_pillows_draft() {
    let strip = picture("scaled/expected.png");
    let source = bytes("scaled/source.jpg");
    let profile = Profile { detail: Detail::Scaled, ..Profile::default() };
    let cases: Vec<[u32; 2]> = json("scaled/expected.json");
    let mut top = 0;
    for [width, height] in cases {
        let ours = profile.decode_for(&source, width, height).expect("a JPEG");
        assert!(ours.width >= width && ours.height >= height, "never below what is asked");
        assert_eq!(difference(&ours, &strip, top), (0, 0), "{width} x {height}");
        top += ours.height;
    }
    assert_eq!(top, strip.height, "all of the strip is compared");
    // The effect that docs/formats.md states: how far the resized picture is from the one decoded in full.
    let resized = |profile: Profile| {
        let picture = profile.decode_for(&source, 48, 48).expect("a JPEG");
        resize::resize(&picture, 48, 48).expect("resized").data
    };
    let (exact, scaled) = (resized(Profile::default()), resized(profile));
    let off: Vec<u8> = exact.iter().zip(&scaled).map(|(a, b)| a.abs_diff(*b)).collect();
    let mean = off.iter().map(|&d| f64::from(d)).sum::<f64>() / off.len() as f64;
    eprintln!("a mean of {mean:.2} levels, at most {}", off.iter().max().expect("pixels"));
    assert!(mean > 0.0, "other pixels, or nothing was scaled");
}

#[derive(serde::Deserialize)]
struct Mixes {
    shape: [usize; 4],
    batch: Vec<u8>,
    cutmix: Vec<CutCase>,
    mixup: UpCase,
}

#[derive(serde::Deserialize)]
struct CutCase {
    lambda: f64,
    column: u32,
    row: u32,
    #[serde(rename = "box")]
    region: [u32; 4],
    kept: f64,
    pixels: Option<Vec<u8>>,
}

#[derive(serde::Deserialize)]
struct UpCase {
    lambda: f32,
    pixels: Vec<f32>,
}

#[test]
fn mixed_batches_are_torchvisions() {
    let golden: Mixes = json("mix.json");
    let [images, height, width, channels] = golden.shape;
    let shape = Shape { images, height: height as u32, width: width as u32, channels };
    // torchvision pairs each image with the one before it.
    let partner: Vec<u32> = (0..images as u32).map(|at| at.checked_sub(1).unwrap_or(images as u32 - 1)).collect();
    let mut compared = 0;
    for case in golden.cutmix {
        let cut = mix::cut(shape.width, shape.height, case.lambda, case.column, case.row);
        let region = [cut.region.left, cut.region.top, cut.region.width, cut.region.height];
        // A box without pixels has no place.
        let empty = region[2] * region[3] == 0 && case.region[2] * case.region[3] == 0;
        assert!(empty || region == case.region, "{region:?}, torchvision's {:?}", case.region);
        assert!((cut.kept - case.kept).abs() < 1e-12, "{} {}", cut.kept, case.kept);
        if let Some(pixels) = case.pixels {
            let mut batch = golden.batch.clone();
            mix::cutmix_batch(&mut batch, shape, cut.region, &partner).expect("a batch");
            assert_eq!(batch, pixels);
            compared += 1;
        }
    }
    assert_eq!(compared, 1);
    let mut batch: Vec<f32> = golden.batch.iter().map(|&value| f32::from(value)).collect();
    mix::mixup_batch(&mut batch, shape, golden.mixup.lambda, &partner).expect("a batch");
    let far = batch.iter().zip(&golden.mixup.pixels).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(far < 1e-4, "{far}");
}

#[test]
fn what_is_no_readable_image_is_refused_by_name() {
    let mut deep = bytes("decode/subsampled.jpg");
    let frame = deep.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a baseline frame");
    deep[frame + 4] = 12;
    let lossless = {
        let mut bytes = bytes("decode/grey.jpg");
        let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a baseline frame");
        bytes[frame + 1] = 0xC3;
        bytes
    };
    let cases: [(&[u8], &str); 9] = [
        (&deep, "12-bit JPEG"),
        (&lossless, "lossless JPEG"),
        (b"", "the file is empty"),
        (&[0; 100], "it holds zeros"),
        (b"\0\0\0\x20ftypavif", "it is AVIF"),
        (b"\0\0\0\x20ftypheic", "it is HEIC"),
        (b"<?xml version=\"1.0\"?><svg>", "it is SVG"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ];
    for (bytes, words) in cases {
        let error = decode(bytes).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}
