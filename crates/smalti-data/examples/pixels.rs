//! Images per second from stored JPEGs to pixels, on one core: our side of benches/data_speed.py.
//!
//! `pixels crops|crops-scaled|tiles|tiles-scaled FOLDER SECONDS OUT` works on FOLDER/NUMBER.jpg and FOLDER/boxes.json (left, top, width, height of each) for about SECONDS and
//! prints one JSON row. One pass before the clock starts writes the pixels to OUT, so that both sides can be compared: the crops at 224 px, or mosaics of
//! four whole images at 224 px before they are encoded.

use smalti_data::Rgb;
use smalti_data::decode::{Detail, Profile};
use smalti_data::encode::{ImageFormat, encode};
use smalti_data::mosaic::{Layout, compose};
use smalti_data::pixels::PixelBox;
use smalti_data::resize::{resize, resized_crop_into};
use std::path::Path;
use std::time::Instant;

const SIDE: u32 = 224;

type Failure = Box<dyn std::error::Error>;

struct Photo {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    region: PixelBox,
}

fn photos(folder: &Path) -> Result<Vec<Photo>, Failure> {
    let boxes: Vec<[u32; 4]> = serde_json::from_slice(&std::fs::read(folder.join("boxes.json"))?)?;
    let photo = |(number, [left, top, width, height]): (usize, [u32; 4])| {
        let bytes = std::fs::read(folder.join(format!("{number}.jpg")))?;
        let (stored_width, stored_height) = Profile::default().dimensions(&bytes)?;
        let region = PixelBox { left, top, width, height };
        Ok(Photo { bytes, width: stored_width, height: stored_height, region })
    };
    boxes.into_iter().enumerate().map(photo).collect()
}

/// A region of a photograph at 224 px.
fn crop(photo: &Photo, detail: Detail, out: &mut [u8]) -> Result<(), Failure> {
    let profile = Profile { detail, ..Profile::default() };
    // The picture may be so small that the region still has 224 px.
    let needed = |whole: u32, part: u32| (u64::from(whole) * u64::from(SIDE)).div_ceil(u64::from(part)) as u32;
    let region = photo.region;
    let (width, height) = (needed(photo.width, region.width), needed(photo.height, region.height));
    let picture = profile.decode_for(&photo.bytes, width, height)?;
    let scaled = |at: u32, stored: u32, now: u32| (u64::from(at) * u64::from(now) / u64::from(stored)) as u32;
    let region = PixelBox {
        left: scaled(region.left, photo.width, picture.width),
        top: scaled(region.top, photo.height, picture.height),
        width: scaled(region.width, photo.width, picture.width).max(1),
        height: scaled(region.height, photo.height, picture.height).max(1),
    };
    Ok(resized_crop_into(&picture.data, picture.width, picture.height, region, SIDE, out)?)
}

/// Four whole photographs in one.
fn tiles(four: &[Photo], detail: Detail, layout: &Layout) -> Result<Rgb, Failure> {
    let profile = Profile { detail, ..Profile::default() };
    let tile = |photo: &Photo| resize(&profile.decode_for(&photo.bytes, SIDE / 2, SIDE / 2)?, SIDE / 2, SIDE / 2);
    let tiles: Vec<Rgb> = four.iter().map(tile).collect::<Result<_, _>>()?;
    Ok(compose(&tiles, layout)?)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, folder, seconds, out] = arguments.as_slice() else {
        return Err("usage: pixels crops|crops-scaled|tiles|tiles-scaled FOLDER SECONDS OUT".into());
    };
    let (photos, seconds) = (photos(Path::new(folder))?, seconds.parse::<f64>()?);
    let layout = Layout::new(2, SIDE)?;
    let mut pixels = vec![0u8; (3 * SIDE * SIDE) as usize];
    let detail = if work.ends_with("scaled") { Detail::Scaled } else { Detail::Exact };
    let mut pass = |keep: &mut dyn FnMut(&[u8])| -> Result<usize, Failure> {
        match work.as_str() {
            "crops" | "crops-scaled" => {
                for photo in &photos {
                    crop(photo, detail, &mut pixels)?;
                    keep(&pixels);
                }
                Ok(photos.len())
            }
            "tiles" | "tiles-scaled" => {
                for four in photos.chunks_exact(4) {
                    let mosaic = tiles(four, detail, &layout)?;
                    keep(&mosaic.data);
                    std::hint::black_box(encode(&mosaic, ImageFormat::Jpeg)?);
                }
                Ok(photos.len() / 4 * 4)
            }
            other => Err(format!("there is no work `{other}`").into()),
        }
    };
    let mut all = Vec::new();
    pass(&mut |pixels| all.extend_from_slice(pixels))?;
    std::fs::write(out, all)?;
    let (start, mut images) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        images += pass(&mut |pixels| {
            std::hint::black_box(pixels);
        })?;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "images_per_second": images as f64 / seconds, "seconds": seconds }));
    Ok(())
}
