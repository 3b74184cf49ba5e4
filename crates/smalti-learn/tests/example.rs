//! examples/pytorch/smalti.py against us: the same boxes give the same crops, and both see the same set.

mod common;

use smalti_data::crop::{CropRange, constrained};
use smalti_data::encode::{ImageFormat, encode};
use smalti_data::mosaic::{Layout, Plan, PlannedImage, group};
use smalti_data::random::{Stage, Stream};
use smalti_data::resize::resized_crop_into;
use smalti_data::scan::scan;
use smalti_data::write::{OutputFormat, SetSpec, source_hash, write_set};
use smalti_data::{Manifest, Rgb, Source, SourceOptions};
use std::collections::BTreeMap;
use std::path::Path;

const LAYOUT: Layout = Layout { grid: 2, size: 48 };
const IPC: u32 = 3;
const CLASSES: [&str; 3] = ["blue sky", "green", "red"];

/// Noise over smooth colour; the class's own channel is brighter.
fn picture(class_id: u32, number: u32) -> Rgb {
    let mut stream = Stream::new(1, Stage::Demo, class_id, u64::from(number));
    let mut picture = Rgb::filled(40, 56, [0; 3]);
    for y in 0..56 {
        for x in 0..40 {
            let mut colour = [x, y, (x + y) / 2].map(|base| (base + stream.below(40)) as u8);
            // From 120 up, while the other channels stay below 96.
            colour[class_id as usize] += 120;
            picture.set_pixel(x, y, colour);
        }
    }
    picture
}

/// An ImageFolder of twelve pictures per class, and the compressed sets made of it: a folder, whose manifest is returned, and the
/// Parquet form.
fn make_sets(dir: &Path) -> Manifest {
    let per_class = IPC * LAYOUT.samples_per_image();
    for (class_id, class) in (0..).zip(CLASSES) {
        let folder = dir.join("source").join(class);
        std::fs::create_dir_all(&folder).expect("made");
        for number in 0..per_class {
            let bytes = encode(&picture(class_id, number), ImageFormat::Png).expect("encoded");
            std::fs::write(folder.join(format!("{number:03}.png")), bytes).expect("written");
        }
    }
    let source = Source::open(&dir.join("source"), &SourceOptions::default()).expect("a folder");
    let samples = scan(&source, &|_| ()).expect("readable");
    let images = (0..CLASSES.len() as u32).flat_map(|class_id| {
        let ranked: Vec<u32> = samples.rows.iter().filter(|s| s.class_id == class_id).map(|s| s.sample).collect();
        let named = move |(index, samples)| PlannedImage { class_id, index, samples };
        (0..).zip(group(&ranked, IPC, &LAYOUT)).map(named)
    });
    let plan = Plan { images: images.collect() };
    let [folder, _parquet] =
        [("folder", OutputFormat::Folder), ("parquet", OutputFormat::Parquet)].map(|(name, format)| {
            let spec = SetSpec {
                created_by: "smalti compress",
                name: name.into(),
                classes: source.classes().to_vec(),
                ipc: IPC,
                layout: LAYOUT,
                seed: 1,
                format,
                method: BTreeMap::new(),
                skipped: Vec::new(),
                source_kind: source.kind().into(),
                source_images: source.len() as u64,
                source_hash: source_hash(&samples),
                recipe_toml: String::new(),
                licence: None,
                notes: None,
            };
            write_set(&dir.join(name), &dir.join(format!("{name}.run")), &source, &samples, &plan, &spec, &|_| ())
                .expect("written")
        });
    folder
}

#[derive(serde::Serialize)]
struct Asked {
    image: String,
    #[serde(rename = "box")]
    place: [u32; 4],
    size: u32,
    flip: bool,
}

/// Crops inside one tile, from a few pixels to all of it, made larger and smaller.
fn views(manifest: &Manifest) -> Vec<Asked> {
    let mut views = Vec::new();
    for (at, image) in manifest.images.iter().enumerate() {
        for (number, size) in [48, 24, 31, 12, 48, 64].into_iter().enumerate() {
            let mut stream = Stream::new(2, Stage::Augment, number as u32, at as u64);
            let tile = image.tiles[(number + at) % image.tiles.len()].pixel_box();
            let crop = constrained(tile, &CropRange::default(), &mut stream);
            let place = [crop.left, crop.top, crop.width, crop.height];
            views.push(Asked { image: image.file.clone(), place, size, flip: number % 2 == 1 });
        }
    }
    views
}

/// Our own pixels of a view.
fn ours(dir: &Path, asked: &Asked) -> Vec<u8> {
    let bytes = std::fs::read(dir.join("folder").join(&asked.image)).expect("written");
    let stored = smalti_data::decode::decode(&bytes).expect("a PNG");
    let [left, top, width, height] = asked.place;
    let region = smalti_data::PixelBox { left, top, width, height };
    let mut pixels = vec![0; (asked.size * asked.size * 3) as usize];
    resized_crop_into(&stored.data, stored.width, stored.height, region, asked.size, &mut pixels).expect("inside");
    if asked.flip {
        for row in pixels.chunks_exact_mut(asked.size as usize * 3) {
            let mirrored: Vec<u8> = row.chunks_exact(3).rev().flatten().copied().collect();
            row.copy_from_slice(&mirrored);
        }
    }
    pixels
}

#[test]
fn the_pytorch_example_gives_the_same_crops_and_reads_both_forms() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let manifest = make_sets(dir.path());
    let views = views(&manifest);
    let work = serde_json::json!({"folder": "folder", "parquet": "parquet", "views": views});
    std::fs::write(dir.path().join("views.json"), work.to_string()).expect("written");
    let Some(report) = common::python("scripts/reference_crops.py", &[dir.path()]) else { return };

    let theirs = std::fs::read(dir.path().join("views.bin")).expect("written by the script");
    let mut rest = theirs.as_slice();
    for asked in &views {
        let ours = ours(dir.path(), asked);
        let (theirs, after) = rest.split_at(ours.len());
        rest = after;
        let off = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off <= Some(1), "{} box {:?} to {} px is {off:?} levels off", asked.image, asked.place, asked.size);
    }
    assert!(rest.is_empty());

    let rows: Vec<serde_json::Value> =
        report.lines().map(|row| serde_json::from_str(row).expect("a JSON row")).collect();
    assert_eq!(rows.len(), 2, "the folder and the Parquet form");
    for row in rows {
        let labels: Vec<u32> = manifest.images.iter().map(|image| image.class_id).collect();
        assert_eq!(row["shape"], serde_json::json!([9, 3, 20, 20]), "{row}");
        assert_eq!(row["labels"], serde_json::json!(labels), "{row}");
        assert_eq!(row["brightest"], row["labels"], "images and labels belong together: {row}");
        let visits: Vec<u64> = serde_json::from_value(row["visits"].clone()).expect("numbers");
        // Binomial(400, 1/4): 100 within five standard deviations of 8.7.
        assert!(visits.len() == 4 && visits.iter().all(|v| (57..=143).contains(v)), "{row}");
    }
}
