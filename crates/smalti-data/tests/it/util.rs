//! What the tests build their inputs from.

use smalti_data::encode::{ImageFormat, encode};
use smalti_data::tables::Split;
use smalti_data::{Error, Rgb, Source, SourceOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A picture that differs for every `seed`.
pub fn picture(seed: u32, width: u32, height: u32) -> Rgb {
    let mut picture = Rgb::filled(width, height, [0; 3]);
    for y in 0..height {
        for x in 0..width {
            let colour = [x * 9 + seed * 31, y * 7 + seed * 17, (x ^ y) * 5 + seed].map(|value| (value % 256) as u8);
            picture.set_pixel(x, y, colour);
        }
    }
    picture
}

/// A PNG that differs for every `seed`.
pub fn png(seed: u32) -> Vec<u8> {
    encode(&picture(seed, 20 + seed % 7, 16 + seed % 5), ImageFormat::Png).expect("encoded")
}

/// A JPEG that differs for every `seed`.
pub fn jpeg(seed: u32) -> Vec<u8> {
    encode(&picture(seed, 40 + seed % 7, 30 + seed % 5), ImageFormat::Jpeg).expect("encoded")
}

pub fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("inside the root")).expect("created");
    std::fs::write(path, bytes).expect("written");
}

/// A new folder with one PNG under each path.
pub fn folder(paths: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    (0..).zip(paths).for_each(|(seed, path)| put(dir.path(), path, &png(seed)));
    dir
}

pub fn open(path: &Path) -> Source {
    Source::open(path, &SourceOptions::default()).expect("opens")
}

/// The error of opening `path`, as message and hint.
pub fn refused(path: &Path) -> (String, String) {
    let error = Source::open(path, &SourceOptions::default()).expect_err("refused");
    (error.to_string(), error.hint().unwrap_or_default().to_owned())
}

/// Path, class and split of every row.
pub fn rows(source: &Source) -> Vec<(String, u32, Split)> {
    (0..source.len() as u32).map(|row| (source.path(row), source.class_id(row), source.split(row))).collect()
}

/// The bytes, or the error, of some rows.
pub fn read(source: &Source, rows: &[u32]) -> BTreeMap<u32, Result<Vec<u8>, String>> {
    let all = Mutex::new(BTreeMap::new());
    source
        .for_each(rows, &|row, bytes: Result<Vec<u8>, Error>| {
            let before = all.lock().expect("no test panics in here").insert(row, bytes.map_err(|e| e.to_string()));
            assert!(before.is_none(), "row {row} was handed over twice");
        })
        .expect("the source reads");
    all.into_inner().expect("no test panics in here")
}

/// Runs `work` on a pool of so many threads.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(work)
}

/// A file of the shared data beside the checkout, or none with a word that `--nocapture` shows.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped: {name} of the shared data is not here");
    }
    path.exists().then_some(path)
}
