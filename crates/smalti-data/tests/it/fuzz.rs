//! Damaged input for every reader: an error or a result, never a panic, an abort or a hang.
//!
//! Input i of a target is made from (target, i) alone, so a failure is repeated by its number. `make test` runs a few of each; `make soak`
//! sets SMALTI_FUZZ_INPUTS to millions (docs/soak.md has the last run).

use crate::util::{folder, png};
use smalti_data::decode::{Detail, Orientation, Profile, dimensions};
use smalti_data::random::{Stage, Stream};
use smalti_data::source::{Source, SourceOptions};
use smalti_data::tables::scores::read_scores;
use smalti_data::tables::{Samples, Selection};
use smalti_data::{Manifest, scan, verify};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest that one small input may take; a hang is minutes.
const SLOWEST: Duration = Duration::from_secs(20);

/// One reader, and good inputs for it.
struct Target {
    name: &'static str,
    corpus: Vec<Vec<u8>>,
    /// Reads one input; the folder is this thread's own.
    read: fn(&[u8], &Path),
    /// Inputs for each one of a run: slow readers take fewer.
    share: u64,
}

fn golden(endings: &[&str]) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("committed beside the tests")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !name.starts_with("expected") && endings.iter().any(|ending| name.ends_with(ending))
    };
    files.iter().filter(|path| wanted(path)).map(|path| std::fs::read(path).expect("reads")).collect()
}

fn picture(bytes: &[u8], _: &Path) {
    let both = Profile { orientation: Orientation::Exif, detail: Detail::Scaled };
    for profile in [Profile::default(), both] {
        let whole = profile.decode(bytes).map(|picture| (picture.width, picture.height));
        assert_eq!(
            profile.check(bytes).map_err(|error| error.to_string()),
            whole.map_err(|error| error.to_string()),
            "a check finds what decoding finds"
        );
    }
    if let (Ok(size), Ok(picture)) = (dimensions(bytes), Profile::default().decode(bytes)) {
        assert_eq!(size, (picture.width, picture.height));
        assert_eq!(picture.data.len() as u64, u64::from(size.0) * u64::from(size.1) * 3);
    }
    if let Ok(picture) = both.decode_for(bytes, 9, 9) {
        assert_eq!(picture.data.len() as u64, u64::from(picture.width) * u64::from(picture.height) * 3);
    }
}

/// Opens what lies at `path` and reads all of it.
fn source(path: &Path) {
    if let Ok(source) = Source::open(path, &SourceOptions::default()) {
        let _ = scan::scan(&source, &|_| ());
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// A set of ours with its files, and the bytes of one of them.
fn of_set(name: &str) -> Vec<u8> {
    let given = crate::sets::given(4);
    let (plan, mut spec) = given.plan(1, 2);
    spec.format = if name.ends_with(".tar") { smalti_data::write::OutputFormat::WebDataset } else { spec.format };
    given.write("set", &plan, &spec).expect("written");
    std::fs::read(given.out("set").0.join(name)).expect("written")
}

fn samples_table() -> Vec<u8> {
    let dir = folder(&["a/1.png", "b/2.png"]);
    let samples = scan::scan(&crate::util::open(dir.path()), &|_| ()).expect("scanned");
    let path = dir.path().join("samples.parquet");
    samples.write(&path).expect("written");
    std::fs::read(path).expect("written")
}

fn targets() -> Vec<Target> {
    let pictures = |name, endings: &[&str], share| Target { name, corpus: golden(endings), read: picture, share };
    vec![
        pictures("jpeg", &[".jpg"], 30),
        pictures("png", &[".png"], 30),
        pictures("webp", &[".webp"], 30),
        pictures("gif", &[".gif"], 30),
        pictures("bmp", &[".bmp"], 30),
        pictures("tiff", &[".tif"], 30),
        pictures("pnm", &[".ppm", ".pgm", ".pbm"], 30),
        Target {
            name: "parquet",
            corpus: vec![of_set("data/train-00000-of-00001.parquet")],
            read: |bytes, folder| source(&put(folder, "x.parquet", bytes)),
            share: 1,
        },
        Target {
            name: "tar",
            corpus: vec![of_set("data/train-000000.tar")],
            read: |bytes, folder| source(&put(folder, "x.tar", bytes)),
            share: 5,
        },
        Target {
            name: "tables",
            corpus: vec![samples_table()],
            read: |bytes, folder| {
                let path = put(folder, "t.parquet", bytes);
                let _ = (
                    Samples::read(&path).is_ok(),
                    Selection::read(&path, |_| Some(0)).is_ok(),
                    read_scores(&path).is_ok(),
                );
            },
            share: 1,
        },
        Target {
            name: "manifest",
            corpus: vec![of_set("manifest.json")],
            read: |bytes, folder| {
                put(folder, "manifest.json", bytes);
                let _ = (Manifest::read(folder).is_ok(), verify::verify(folder).is_ok());
                source(folder);
            },
            share: 2,
        },
        Target {
            name: "class map",
            corpus: vec![
                b"b\na\n".to_vec(),
                br#"{"a": 1, "b": 0}"#.to_vec(),
                br#"{"0": ["b"], "1": ["a", "x"]}"#.to_vec(),
            ],
            read: |bytes, folder| {
                let map = put(folder, "map", bytes);
                std::fs::create_dir_all(folder.join("in/a")).expect("created");
                put(folder, "in/a/1.png", &png(1));
                let options = SourceOptions { class_map: Some(map), ..SourceOptions::default() };
                let _ = Source::open(&folder.join("in"), &options).is_ok();
            },
            share: 2,
        },
    ]
}

/// One damaged input: one to eight changes to a good one.
fn damaged(corpus: &[Vec<u8>], stream: &mut Stream) -> Vec<u8> {
    let pick = |stream: &mut Stream| &corpus[stream.below(corpus.len() as u32) as usize];
    let mut bytes = pick(stream).clone();
    for _ in 0..=stream.below(8) {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len() as u32;
        let at = stream.below(length) as usize;
        // Half of all changes fall into the first bytes, where headers are.
        let at = if stream.below(2) == 0 { at } else { at % 64 };
        let run = (stream.below(64) as usize + 1).min(bytes.len() - at);
        match stream.below(8) {
            0 => bytes[at] ^= 1 << stream.below(8),
            1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][stream.below(5) as usize],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + run)),
            4 => {
                let copy = bytes[at..at + run].to_vec();
                let to = stream.below(length) as usize;
                bytes.splice(to..to, copy);
            }
            5 => bytes[at..at + run].iter_mut().for_each(|byte| *byte = stream.next_u32() as u8),
            6 => {
                let value = [0u32, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX, 0xFFFF, 0x1_0000][stream.below(7) as usize];
                let value = if stream.below(2) == 0 { value.to_be_bytes() } else { value.to_le_bytes() };
                bytes[at..at + run.min(4)].copy_from_slice(&value[..run.min(4)]);
            }
            _ => {
                let other = pick(stream);
                let from = stream.below(other.len() as u32) as usize;
                let copy = other[from..(from + run).min(other.len())].to_vec();
                bytes.splice(at..at + run, copy);
            }
        }
    }
    bytes
}

#[test]
fn damaged_input_is_an_error_or_a_result() {
    let run: u64 = std::env::var("SMALTI_FUZZ_INPUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let targets = targets();
    let mut total = 0;
    for (number, target) in (0..).zip(&targets) {
        let inputs = run * target.share;
        let slowest = AtomicU64::new(0);
        let began = Instant::now();
        let next = AtomicU64::new(0);
        // Threads of their own: a worker of the pool would take another input while it waits inside a reader, and the clock would run.
        let work = || {
            let dir = tempfile::tempdir().expect("a temporary folder");
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= inputs {
                    break;
                }
                let bytes = damaged(&target.corpus, &mut Stream::new(20_261_124, Stage::Demo, number, at));
                let began = Instant::now();
                let outcome = std::panic::catch_unwind(|| (target.read)(&bytes, dir.path()));
                let seconds = began.elapsed();
                slowest.fetch_max(seconds.as_micros() as u64, Ordering::Relaxed);
                assert!(outcome.is_ok() && seconds < SLOWEST, "input {at} of `{}`: {seconds:?}", target.name);
            }
        };
        std::thread::scope(|scope| {
            (0..std::thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work)));
        });
        total += inputs;
        let slowest = Duration::from_micros(slowest.into_inner());
        eprintln!("{}: {inputs} inputs in {:.1?}, the slowest took {slowest:.1?}", target.name, began.elapsed());
    }
    eprintln!("{total} inputs in all");
}
