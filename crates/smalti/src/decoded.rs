//! Decoded images, from the cache where the same ones were decoded before.

use crate::cache::{self, Cache, Kind};
use crate::ui::Ui;
use anyhow::Result;
use smalti_data::mosaic::Layout;
use smalti_data::source::Source;
use smalti_data::store::{Budget, Fit, ImageStore};
use smalti_data::tables::Samples;

/// Fewer bytes are decoded in a second or less.
const WORTH_KEEPING: u64 = 64 << 20;
/// More bytes would fill a disk.
const TOO_LARGE: u64 = 4 << 30;

/// Which images, and how they are fitted.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Source row and label of each, sorted by row.
    pub rows: &'a [(u32, u32)],
    /// Size and tiles.
    pub layout: &'a Layout,
    /// How a picture becomes a square.
    pub fit: Fit,
}

/// As [`ImageStore::load_scanned`]; `progress` hears of every image.
///
/// # Errors
/// As [`ImageStore::load_scanned`].
pub fn load(
    (source, samples): (&Source, &Samples),
    wanted: Wanted,
    budget: &Budget,
    progress: &(dyn Fn(u64) + Sync),
    ui: &Ui,
) -> Result<ImageStore> {
    let Wanted { rows, layout, fit } = wanted;
    let bytes = u64::from(layout.size).pow(2) * 3 * rows.len() as u64;
    let decode = || Ok(ImageStore::load_scanned((source, samples), rows, layout, fit, budget, progress)?);
    if !(WORTH_KEEPING..TOO_LARGE.min(budget.memory_bytes)).contains(&bytes) {
        return decode();
    }
    let cache = Cache::open();
    let key = key(source, samples, wanted);
    match known(&cache, &key, wanted) {
        Some(store) => {
            progress(rows.len() as u64);
            Ok(store)
        }
        None => {
            let store = decode()?;
            keep(&cache, &key, &store, ui);
            Ok(store)
        }
    }
}

/// What the cache has; damaged pixels are as good as none.
fn known(cache: &Cache, key: &str, wanted: Wanted) -> Option<ImageStore> {
    let files = cache.find(Kind::Decoded, key)?;
    ImageStore::open(&files.join(FILE), wanted.rows, wanted.layout).ok()
}

const FILE: &str = "pixels.rgb";

/// The hash of everything that the pixels depend on: contents in their order, size, fit, and the decoder.
fn key(source: &Source, samples: &Samples, wanted: Wanted) -> String {
    let mut contents = blake3::Hasher::new();
    for &(row, _) in wanted.rows {
        contents.update(&samples.rows[row as usize].content_hash.bytes());
    }
    let contents = contents.finalize().to_hex().to_string();
    let profile = format!("{:?}", source.profile());
    cache::key(&("decoded 3", env!("CARGO_PKG_VERSION"), contents, wanted.layout.size, wanted.fit, profile))
}

fn keep(cache: &Cache, key: &str, store: &ImageStore, ui: &Ui) {
    let about = format!("{} images of {} px", store.len(), store.size());
    cache.keep(Kind::Decoded, key, &about, ui, |folder| Ok(store.write(&folder.join(FILE))?));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Volume;
    use smalti_data::Rgb;
    use smalti_data::encode::{ImageFormat, encode};
    use smalti_data::source::SourceOptions;

    #[test]
    fn pixels_are_kept_by_contents_and_size_and_damaged_ones_are_no_pixels() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (cache, ui) = (Cache::at(&dir.path().join("cache")), Ui { volume: Volume::Quiet });
        let photos = dir.path().join("photos");
        for (class, shade) in [("a", 10), ("b", 200)] {
            let png = encode(&Rgb::filled(8, 8, [shade; 3]), ImageFormat::Png).expect("encoded");
            smalti_data::files::write_bytes(&photos.join(class).join("1.png"), &png).expect("written");
        }
        let source = Source::open(&photos, &SourceOptions::default()).expect("a folder of classes");
        let samples = smalti_data::scan::scan(&source, &|_| ()).expect("scanned");
        let (rows, eight, four) = ([(0, 0), (1, 1)], Layout { grid: 1, size: 8 }, Layout { grid: 1, size: 4 });
        let wanted = Wanted { rows: &rows, layout: &eight, fit: Fit::Whole };
        let own = key(&source, &samples, wanted);
        assert_ne!(own, key(&source, &samples, Wanted { layout: &four, ..wanted }));
        assert_ne!(own, key(&source, &samples, Wanted { rows: &rows[..1], ..wanted }));

        let budget = Budget { memory_bytes: 1 << 20, spool: dir.path() };
        let store = ImageStore::load(&source, &rows, &eight, Fit::Whole, &budget, &|_| ()).expect("decoded");
        assert!(known(&cache, &own, wanted).is_none());
        keep(&cache, &own, &store, &ui);
        let found = known(&cache, &own, wanted).expect("kept");
        assert_eq!(found.image(1).expect("in memory"), store.image(1).expect("in memory"));
        let file = cache.find(Kind::Decoded, &own).expect("kept").join(FILE);
        let mut bytes = std::fs::read(&file).expect("there");
        bytes[0] ^= 1;
        std::fs::write(&file, bytes).expect("written");
        assert!(known(&cache, &own, wanted).is_none());
    }
}
