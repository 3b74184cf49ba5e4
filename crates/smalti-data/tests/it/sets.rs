//! Written sets: what goes in comes out, in every format, on any number of threads, after any interruption.

use crate::util::{folder, open, png, put, read, refused, with_threads};
use smalti_data::manifest::{MANIFEST, Manifest};
use smalti_data::mosaic::{Layout, Plan, PlannedImage, group};
use smalti_data::scan::scan;
use smalti_data::store::{Budget, Fit, ImageStore};
use smalti_data::tables::Samples;
use smalti_data::write::{OutputFormat, SetSpec, State, clear, source_hash, state, write_set};
use smalti_data::{Result, Source, verify};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What lies in the folder of an unfinished set.
const PROMISE: &str = "manifest.json.partial";

/// A source of two classes with `each` images, scanned.
pub struct Given {
    pub dir: TempDir,
    source: Source,
    samples: Samples,
}

pub fn given(each: u32) -> Given {
    let paths: Vec<String> =
        (0..2 * each).map(|at| format!("in/{}/{at:03}.png", if at < each { "b: odd" } else { "c" })).collect();
    let dir = folder(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let source = open(&dir.path().join("in"));
    let samples = scan(&source, &|_| ()).expect("scanned");
    Given { dir, source, samples }
}

impl Given {
    /// The first samples of each class in mosaics of `grid`.
    pub fn plan(&self, ipc: u32, grid: u32) -> (Plan, SetSpec) {
        let layout = Layout::new(grid, 24).expect("fits");
        let of_class = |class_id: u32| {
            let ranked: Vec<u32> =
                self.samples.rows.iter().filter(|s| s.class_id == class_id).map(|s| s.sample).collect();
            let images = group(&ranked[..(ipc * grid * grid) as usize], ipc, &layout);
            (0..).zip(images).map(move |(index, samples)| PlannedImage { class_id, index, samples })
        };
        let spec = SetSpec {
            created_by: "smalti compress",
            name: "test".into(),
            classes: self.source.classes().to_vec(),
            ipc,
            layout,
            seed: 7,
            format: OutputFormat::Both,
            method: BTreeMap::from([("rule".into(), "first".into())]),
            skipped: vec![],
            source_kind: self.source.kind().into(),
            source_images: self.samples.rows.len() as u64,
            source_hash: source_hash(&self.samples),
            recipe_toml: "ipc = 2\n".into(),
            licence: None,
            notes: None,
        };
        (Plan { images: (0..2).flat_map(of_class).collect() }, spec)
    }

    pub fn out(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.path().join(name), self.dir.path().join(format!("{name}.run")))
    }

    pub fn write(&self, name: &str, plan: &Plan, spec: &SetSpec) -> Result<Manifest> {
        let (dir, run) = self.out(name);
        write_set(&dir, &run, &self.source, &self.samples, plan, spec, &|_| ())
    }
}

/// Every file below a folder with its bytes.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut open = vec![root.to_owned()];
    let mut files = BTreeMap::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("lists").map(|entry| entry.expect("an entry").path()));
        } else {
            files.insert(path.strip_prefix(root).expect("below").to_owned(), std::fs::read(&path).expect("reads"));
        }
    }
    files
}

#[test]
fn a_written_set_verifies_and_opens_in_every_format() {
    let given = given(9);
    let (plan, mut spec) = given.plan(2, 2);
    for (name, format) in [("f", OutputFormat::Folder), ("p", OutputFormat::Parquet), ("b", OutputFormat::Both)] {
        spec.format = format;
        let manifest = given.write(name, &plan, &spec).expect("written");
        let (dir, run) = given.out(name);
        assert_eq!(verify::verify(&dir).expect("verified"), manifest);
        assert_eq!(state(&dir, &run).expect("readable"), State::Finished);
        let source = open(&dir);
        assert_eq!(source.classes(), ["b: odd", "c"]);
        assert_eq!(
            (source.len(), source.kind()),
            (4, if format == OutputFormat::Parquet { "parquet" } else { "folder" })
        );
        assert_eq!(source.manifest().map(|m| (m.grid, m.size)), Some((2, 24)));
        assert_eq!((0..4).map(|row| source.class_id(row)).collect::<Vec<_>>(), [0, 0, 1, 1]);
        for ((row, bytes), image) in read(&source, &[0, 1, 2, 3]).into_iter().zip(&manifest.images) {
            assert_eq!(blake3::hash(&bytes.expect("there")).to_hex().to_string(), image.blake3, "row {row}");
        }
        // A reader that knows nothing of manifests sees the same.
        if format.has_folder() {
            let plain = open(&dir.join("train"));
            assert_eq!((plain.classes(), plain.len()), (["b_ odd", "c"].map(String::from).as_slice(), 4));
        }
        if format.has_parquet() {
            let plain = open(&dir.join("data"));
            assert_eq!((plain.classes(), plain.len()), (["b: odd", "c"].map(String::from).as_slice(), 4));
        }
        assert!(given.write(name, &plan, &spec).expect_err("finished").to_string().contains("finished set"));
    }
    assert_eq!(tree(&given.out("f").0)[Path::new("class_to_idx.txt")], b"b_ odd\nc\n");
}

#[test]
fn the_same_bytes_on_one_thread_and_on_two() {
    let given = given(160);
    // 80 mosaics are two shards, and four images meet in each.
    let (plan, mut spec) = given.plan(40, 2);
    for format in [OutputFormat::Both, OutputFormat::Parquet, OutputFormat::WebDataset] {
        spec.format = format;
        let [one, two] = [1, 2].map(|threads| {
            let name = format!("{format:?}-{threads}");
            with_threads(threads, || given.write(&name, &plan, &spec)).expect("written");
            tree(&given.out(&name).0)
        });
        assert!(one == two, "{format:?}");
    }
}

#[test]
fn a_set_that_was_cut_off_is_finished_with_the_bytes_of_an_unbroken_run() {
    let given = given(40);
    let (plan, spec) = given.plan(40, 1);
    given.write("whole", &plan, &spec).expect("written");

    // 80 images are two shards; the second one fails.
    let late = given.dir.path().join("in/c/079.png");
    let bytes = std::fs::read(&late).expect("there");
    std::fs::remove_file(&late).expect("removed");
    let error = given.write("cut", &plan, &spec).expect_err("a source image is gone").to_string();
    assert!(error.contains("c/079.png` no longer reads"), "{error}");
    let (dir, run) = given.out("cut");
    assert_eq!(state(&dir, &run).expect("readable"), State::Begun);
    assert!(!dir.join(MANIFEST).exists() && Manifest::read(&dir).is_err(), "an unfinished set is refused");

    // What a killed process may leave: a file less, a damaged one, half a file, a stray of another plan.
    std::fs::write(&late, bytes).expect("restored");
    std::fs::remove_file(dir.join("train/b_ odd/b_ odd_00003.png")).expect("removed");
    put(&dir, "train/c/c_00001.png", b"damaged");
    put(&dir, "train/c/c_00039.png.partial", b"half");
    put(&dir, "train/c/c_00123.png", b"stray");
    let files = std::cell::Cell::new(0);
    let shards = std::fs::read_dir(run.join("shards")).expect("listed").inspect(|_| files.set(files.get() + 1)).count();
    assert_eq!((shards, files.get()), (1, 1), "the first shard is on record");
    given.write("cut", &plan, &spec).expect("finished");
    assert_eq!(tree(&dir), tree(&given.out("whole").0));
}

#[test]
fn an_unfinished_set_is_no_source() {
    let given = given(8);
    let (plan, mut spec) = given.plan(2, 2);
    for format in [OutputFormat::Folder, OutputFormat::Parquet, OutputFormat::WebDataset] {
        spec.format = format;
        let name = format!("{format:?}");
        given.write(&name, &plan, &spec).expect("written");
        let (dir, run) = given.out(&name);
        // As a process leaves it that is killed between the last image and the manifest.
        std::fs::remove_file(dir.join(MANIFEST)).expect("removed");
        put(&run, "begun", b"");
        put(&dir, PROMISE, b"half a mani");
        for path in [&dir, &dir.join(""), &dir.join("../").join(&name)] {
            let (error, hint) = refused(path);
            assert!(error.contains("is not finished") && hint.contains("same command again"), "{error} {hint}");
        }
        given.write(&name, &plan, &spec).expect("finished");
        assert_eq!(open(&dir).manifest().map(|manifest| manifest.grid), Some(2));
    }
}

#[test]
fn a_finished_shard_is_not_made_again() {
    let given = given(40);
    let (plan, spec) = given.plan(40, 1);
    let late = given.dir.path().join("in/c/079.png");
    let bytes = std::fs::read(&late).expect("there");
    std::fs::remove_file(&late).expect("removed");
    given.write("cut", &plan, &spec).expect_err("a source image is gone");
    std::fs::write(&late, bytes).expect("restored");
    // An image of the first shard changes in the source: nobody looks at it again.
    put(given.dir.path(), "in/b: odd/000.png", &png(99));
    given.write("cut", &plan, &spec).expect("finished from the record");
}

#[test]
fn a_source_image_that_changed_is_refused_by_name() {
    let given = given(4);
    let (plan, spec) = given.plan(2, 1);
    put(given.dir.path(), "in/c/005.png", &png(99));
    let error = given.write("out", &plan, &spec).expect_err("refused");
    assert!(error.to_string().contains("`c/005.png` has other bytes than at the scan"), "{error}");
    assert!(error.hint().expect("a way out").contains("--force"));
    assert!(!given.out("out").0.join(MANIFEST).exists());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let given = given(4);
    let (plan, spec) = given.plan(2, 1);
    let (dir, run) = given.out("out");
    put(&dir, "thesis.txt", b"years of work");
    assert_eq!(state(&dir, &run).expect("readable"), State::Foreign);
    assert!(given.write("out", &plan, &spec).expect_err("refused").to_string().contains("not written by smalti"));
    assert!(clear(&dir, &run).is_err());
    assert_eq!(tree(&dir).len(), 1);

    let (dir, run) = given.out("set");
    given.write("set", &plan, &spec).expect("written");
    let first = tree(&dir);
    put(&dir, "notes.txt", b"mine");
    clear(&dir, &run).expect("ours");
    assert_eq!(tree(&dir).into_keys().collect::<Vec<_>>(), [PathBuf::from(PROMISE), PathBuf::from("notes.txt")]);
    given.write("set", &plan, &spec).expect("written again beside the notes");
    std::fs::remove_file(dir.join("notes.txt")).expect("removed");
    assert_eq!(tree(&dir), first);
}

#[test]
fn a_folder_in_the_place_of_an_unfinished_set_is_its_owners() {
    let given = given(40);
    let (plan, spec) = given.plan(40, 1);
    std::fs::remove_file(given.dir.path().join("in/c/079.png")).expect("removed");
    given.write("out", &plan, &spec).expect_err("a source image is gone");
    let (dir, run) = given.out("out");
    assert_eq!(state(&dir, &run).expect("readable"), State::Begun);
    // A person removes it, and puts images there, named as ours are.
    std::fs::remove_dir_all(&dir).expect("removed");
    put(&dir, "train/c/c_00123.png", b"a photograph");
    assert_eq!(state(&dir, &run).expect("readable"), State::Foreign);
    assert!(given.write("out", &plan, &spec).expect_err("refused").to_string().contains("not written by smalti"));
    assert!(clear(&dir, &run).is_err());
    assert_eq!(tree(&dir).len(), 1);
}

#[test]
fn damage_to_a_finished_set_is_found_and_named() {
    let given = given(4);
    let (plan, mut spec) = given.plan(2, 1);
    for (set, format, extra) in
        [("set", OutputFormat::Both, "train/c/extra.png"), ("tar", OutputFormat::WebDataset, "data/extra.tar")]
    {
        spec.format = format;
        given.write(set, &plan, &spec).expect("written");
        let (dir, _) = given.out(set);
        let whole = tree(&dir);
        for path in whole.keys() {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let file = dir.join(path);
            if name != MANIFEST {
                let mut other = whole[path].clone();
                let middle = other.len() / 2;
                other[middle] ^= 1;
                std::fs::write(&file, other).expect("written");
                assert!(verify::verify(&dir).expect_err("found").to_string().contains(&name), "{name}");
            }
            std::fs::remove_file(&file).expect("removed");
            assert!(verify::verify(&dir).expect_err("found").to_string().contains(&name), "{name}");
            std::fs::write(&file, &whole[path]).expect("restored");
        }
        verify::verify(&dir).expect("whole again");
        put(&dir, extra, b"x");
        assert!(verify::verify(&dir).expect_err("found").to_string().contains("extra."));
    }
}

#[test]
fn a_set_from_before_its_documents_were_pinned_verifies() {
    let given = given(4);
    let (plan, spec) = given.plan(2, 1);
    let manifest = given.write("set", &plan, &spec).expect("written");
    assert_eq!(manifest.documents.keys().map(String::as_str).collect::<Vec<_>>(), ["README.md", "recipe.toml"]);
    let (dir, _) = given.out("set");
    put(&dir, "README.md", b"# Mine");
    let error = verify::verify(&dir).expect_err("another card").to_string();
    assert!(error.contains("README.md` has other bytes than were written"), "{error}");
    let old = Manifest { documents: BTreeMap::new(), ..manifest };
    old.write(&dir).expect("written");
    assert!(!std::fs::read_to_string(dir.join(MANIFEST)).expect("text").contains("documents"));
    assert_eq!(verify::verify(&dir).expect("as before"), old);
}

#[test]
fn a_plan_that_does_not_fit_is_refused_before_anything_is_written() {
    let given = given(4);
    let (plan, spec) = given.plan(2, 1);
    let (dir, _) = given.out("out");
    type Change = (&'static str, fn(&mut Plan));
    let changes: [Change; 6] = [
        ("the plan has no image", |plan| plan.images.clear()),
        ("planned twice", |plan| plan.images[1].samples = plan.images[0].samples.clone()),
        ("of class 1", |plan| plan.images[0].samples = vec![7]),
        ("out of order", |plan| plan.images.swap(0, 1)),
        ("names row 99", |plan| plan.images[0].samples = vec![99]),
        ("has 2 tiles", |plan| plan.images[0].samples = vec![0, 1]),
    ];
    for (word, change) in changes {
        let mut wrong = plan.clone();
        change(&mut wrong);
        let error = given.write("out", &wrong, &spec).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
        assert!(!dir.exists());
    }
}

#[test]
fn a_store_holds_the_same_pixels_in_memory_and_spooled() {
    let given = given(5);
    let wanted: Vec<(u32, u32)> = given.samples.rows.iter().step_by(3).map(|s| (s.sample, s.class_id)).collect();
    let layout = Layout::new(2, 16).expect("fits");
    let load = |memory_bytes, fit| {
        let budget = Budget { memory_bytes, spool: &given.dir.path().join("spool") };
        ImageStore::load(&given.source, &wanted, &layout, fit, &budget, &|_| ()).expect("loaded")
    };
    for fit in [Fit::Whole, Fit::Centre] {
        let (memory, spooled) = (load(1 << 20, fit), load(0, fit));
        assert_eq!((memory.len(), memory.tiles().len()), (4, 4));
        for at in 0..4 {
            assert_eq!(memory.image(at).expect("read"), spooled.image(at).expect("read"));
            assert_eq!((memory.label(at), memory.sample(at)), (wanted[at as usize].1, wanted[at as usize].0));
        }
        assert_eq!(
            std::fs::read_dir(given.dir.path().join("spool")).expect("made").count(),
            0,
            "no spool file is left"
        );
    }
    put(given.dir.path(), "in/c/006.png", b"no image");
    let budget = Budget { memory_bytes: 1 << 20, spool: given.dir.path() };
    let error = ImageStore::load(&given.source, &wanted, &layout, Fit::Whole, &budget, &|_| ()).err().expect("refused");
    assert!(error.to_string().contains("c/006.png"), "{error}");
}

#[test]
fn a_store_of_scanned_images_holds_what_was_scanned() {
    let given = given(3);
    let (wanted, layout) = ([(0, 0), (4, 1)], Layout::new(1, 16).expect("fits"));
    let budget = Budget { memory_bytes: 1 << 20, spool: given.dir.path() };
    let scanned = (&given.source, &given.samples);
    let load = || ImageStore::load_scanned(scanned, &wanted, &layout, Fit::Whole, &budget, &|_| ());
    let plain = || ImageStore::load(&given.source, &wanted, &layout, Fit::Whole, &budget, &|_| ());
    let (store, same) = (load().expect("as scanned"), plain().expect("loaded"));
    assert_eq!(store.image(1).expect("in memory"), same.image(1).expect("in memory"));
    // Another image under a known name.
    put(given.dir.path(), "in/c/004.png", &png(77));
    let error = load().err().expect("refused").to_string();
    assert!(error.contains("`c/004.png` of") && error.ends_with("has other bytes than at the scan"), "{error}");
    plain().expect("it decodes");
}
