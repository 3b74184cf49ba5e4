//! Tar files: what is read, what is refused, what is written.

use crate::sets::given;
use crate::util::{open, png, read, refused, rows};
use smalti_data::tables::Split;
use smalti_data::verify::verify;
use smalti_data::write::OutputFormat;
use smalti_data::{Source, SourceOptions};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// A tar file with these members, in GNU form.
fn pack(path: &Path, members: &[(&str, &[u8])]) {
    std::fs::create_dir_all(path.parent().expect("inside a folder")).expect("created");
    let mut archive = Builder::new(std::fs::File::create(path).expect("created"));
    for (name, content) in members {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).expect("packed");
    }
    archive.finish().expect("written");
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("x.tar");
    (dir, path)
}

#[test]
fn samples_are_grouped_by_key_and_labelled_by_cls_or_json() {
    let (dir, _) = folder();
    let (a, b, c) = (png(1), png(2), png(3));
    pack(
        &dir.path().join("train-000000.tar"),
        &[("one.cls", b"2\n"), ("one.PNG", &a), ("one.json", b"{}"), ("sub/two.png", &b), ("sub/two.cls", b" 0 ")],
    );
    pack(
        &dir.path().join("val-000000.tar"),
        &[("three.json", br#"{"label": 1}"#), ("three.png", &c), (".x.png", b"hidden")],
    );
    let source = open(dir.path());
    assert_eq!((source.kind(), source.classes()), ("webdataset", ["0", "1", "2"].map(str::to_owned).as_slice()));
    let expected = [
        ("train-000000.tar/one.PNG", 2, Split::Train),
        ("train-000000.tar/sub/two.png", 0, Split::Train),
        ("val-000000.tar/three.png", 1, Split::Test),
    ];
    assert_eq!(rows(&source), expected.map(|(path, class, split)| (path.to_owned(), class, split)));
    let images = read(&source, &[0, 1, 2]);
    assert_eq!([&images[&0], &images[&1], &images[&2]], [&Ok(a), &Ok(b), &Ok(c)]);
}

#[test]
fn class_names_come_from_a_list_beside_the_files_or_a_class_map() {
    let (dir, path) = folder();
    let image = png(1);
    pack(&path, &[("a.png", &image), ("a.cls", b"1")]);
    std::fs::write(dir.path().join("classnames.txt"), "cat\ndog\n").expect("written");
    assert_eq!(open(&path).classes(), ["cat", "dog"]);
    std::fs::remove_file(dir.path().join("classnames.txt")).expect("removed");
    let map = dir.path().join("map.json");
    std::fs::write(&map, r#"{"0": "kit", "1": "pup", "2": "fox"}"#).expect("written");
    let options = SourceOptions { class_map: Some(map), ..SourceOptions::default() };
    assert_eq!(Source::open(&path, &options).expect("opens").classes(), ["kit", "pup", "fox"]);
}

#[test]
fn without_labels_the_folder_is_the_class() {
    let (_dir, path) = folder();
    let image = png(1);
    pack(
        &path,
        &[
            ("./set/train/b/v1.0.png", &image),
            ("./set/train/b/v1.1.png", &image),
            ("./set/val/a/x.png", &image),
            ("notes.txt", b""),
        ],
    );
    let source = open(&path);
    assert_eq!(source.classes(), ["a", "b"]);
    let found: Vec<(u32, Split)> = rows(&source).into_iter().map(|(_, class, split)| (class, split)).collect();
    assert_eq!(found, [(1, Split::Train), (1, Split::Train), (0, Split::Test)]);
}

#[test]
fn what_belongs_to_no_sample_is_passed_over() {
    let (dir, path) = folder();
    let image = png(1);
    // As archives made on a Mac have them, and as webdataset keeps for itself.
    pack(
        &path,
        &[
            ("._a.cls", b"x"),
            ("a.cls", b"0"),
            ("._a.png", b"x"),
            ("a.png", &image),
            ("__meta__/n.png", b""),
            ("notes.json", b"{}"),
        ],
    );
    assert_eq!(rows(&open(&path)).len(), 1);
    // Folders of classes count, and not the archive that somebody keeps beside them.
    crate::util::put(dir.path(), "kit/1.png", &image);
    assert_eq!(open(dir.path()).kind(), "folder");
}

#[test]
fn what_is_wrong_is_named() {
    let image = png(1);
    type Members<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Members, &str); 5] = [
        (&[("a.png", &image), ("b.cls", b"1"), ("b.png", &image)], "sample `a` of"),
        (&[("a.jpg", &image), ("a.mask.png", &image), ("a.cls", b"1")], "has two images"),
        (&[("a.png", &image), ("a.cls", b"-1")], "has the label -1"),
        (&[("a.png", &image), ("a.cls", b"1"), ("b.png", &image), ("b.cls", b"dog")], "unlike those before"),
        (&[("a.txt", b"")], "has no image"),
    ];
    for (members, expected) in cases {
        let (_dir, path) = folder();
        pack(&path, members);
        let (error, hint) = refused(&path);
        assert!(error.contains(expected) && !hint.is_empty(), "{expected}: {error}");
    }
    let (_dir, path) = folder();
    pack(&path, &[("a.jpg", &image), ("a.mask.png", b"mask"), ("a.cls", b"1")]);
    let options = SourceOptions { image_column: Some("mask.png".to_owned()), ..SourceOptions::default() };
    let source = Source::open(&path, &options).expect("the one image is named");
    assert_eq!(read(&source, &[0])[&0], Ok(b"mask".to_vec()));
}

#[test]
fn the_key_of_the_label_can_be_named() {
    let (_dir, path) = folder();
    let image = png(1);
    let json = br#"{"label": 3, "coarse_label": 1}"#;
    pack(&path, &[("a.png", &image), ("a.cls", b"2"), ("a.json", json)]);
    let by = |key: Option<&str>| {
        let options = SourceOptions { label_column: key.map(str::to_owned), ..SourceOptions::default() };
        Source::open(&path, &options).map(|source| source.class_id(0))
    };
    assert_eq!((by(None).expect("by .cls"), by(Some("coarse_label")).expect("by its key")), (2, 1));
    let error = by(Some("fine")).expect_err("no such key").to_string();
    assert!(error.contains("no label `fine` in its .json"), "{error}");
}

#[test]
fn samples_without_an_image_and_cut_archives_are_bad_rows() {
    let (_dir, path) = folder();
    let image = png(1);
    pack(&path, &[("a.cls", b"0"), ("b.cls", b"1"), ("b.png", &image)]);
    let error = |source: &Source, row: u32| read(source, &[row])[&row].clone().expect_err("bad");
    assert!(error(&open(&path), 0).contains("has no image"));
    let whole = std::fs::read(&path).expect("there");
    // Three headers, two labels of one block each: the image begins in block 5.
    std::fs::write(&path, &whole[..5 * 512 + 10]).expect("written");
    let source = open(&path);
    assert_eq!(source.len(), 2);
    assert!(error(&source, 1).contains("ends before the image does"));
}

#[test]
fn a_sample_without_a_readable_image_is_counted_whatever_holds_its_label() {
    let (_dir, path) = folder();
    let image = png(1);
    let labels: [(&str, &[u8]); 3] = [("cls", b"1"), ("json", br#"{"label": 1}"#), ("json", br#"{"class_id": 1}"#)];
    for (suffix, label) in labels {
        let names = [format!("a.{suffix}"), format!("b.{suffix}")];
        pack(&path, &[("a.png", &image), (&names[0], label), ("b.avif", b"x"), (&names[1], label)]);
        let source = open(&path);
        assert_eq!(rows(&source)[1], ("x.tar/b".to_owned(), 1, Split::Train), "{suffix}");
        let samples = smalti_data::scan::scan(&source, &|_| ()).expect("scanned");
        let bad: Vec<&str> = samples.bad().map(|(_, cause)| cause).collect();
        assert_eq!((samples.rows.len(), bad), (2, vec!["the sample has no image"]), "{suffix}");
    }
    pack(&path, &[("a.png", &image), ("a.json", br#"{"label": 1}"#), ("b.json", br#"{"label": [1]}"#)]);
    assert_eq!(open(&path).len(), 1, "no label, and no image");
}

#[test]
fn long_names_are_read_and_endless_ones_refused() {
    let (_dir, path) = folder();
    let image = png(1);
    let long = format!("{}/x", "very-long-name/".repeat(20));
    pack(&path, &[(&format!("{long}.png"), &image), (&format!("{long}.cls"), b"0")]);
    assert_eq!(rows(&open(&path))[0].0, format!("x.tar/{long}.png"));
    // A name of 2 MiB, and one that claims to be 8 exabytes.
    for (size, content) in [(2u64 << 20, vec![b'a'; 2 << 20]), (1 << 62, vec![b'a'; 4 << 20])] {
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink").expect("short");
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(content);
        std::fs::write(&path, &bytes).expect("written");
        let (error, _) = refused(&path);
        assert!(error.contains("longer than 1 MiB"), "{error}");
    }
}

#[test]
fn damage_anywhere_is_an_error_or_other_rows_never_a_panic() {
    let (_dir, path) = folder();
    let image = png(1);
    pack(&path, &[("a.png", &image), ("a.cls", b"0"), ("b.png", &image), ("b.cls", b"1")]);
    let whole = std::fs::read(&path).expect("there");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).expect("written");
        if let Ok(source) = Source::open(&path, &SourceOptions::default()) {
            read(&source, &(0..source.len() as u32).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_written_set_reads_back_in_the_order_of_its_manifest() {
    let given = given(8);
    let (plan, mut spec) = given.plan(2, 2);
    spec.format = OutputFormat::WebDataset;
    let manifest = given.write("tar", &plan, &spec).expect("written");
    assert_eq!(manifest.webdataset.len(), 1);
    assert_eq!((manifest.webdataset[0].file.as_str(), manifest.webdataset[0].rows), ("data/train-000000.tar", 4));
    let dir = given.out("tar").0;
    assert_eq!(verify(&dir).expect("whole"), manifest);
    let source = open(&dir);
    let images = read(&source, &[0, 1, 2, 3]);
    for (row, image) in (0..).zip(&manifest.images) {
        let bytes = images[&row].as_ref().expect("there");
        assert_eq!(blake3::hash(bytes).to_hex().as_str(), image.blake3);
        assert_eq!(source.class_id(row), image.class_id);
    }
    // The same images as a folder holds, and other bytes are noticed.
    spec.format = OutputFormat::Folder;
    let other = given.write("folder", &plan, &spec).expect("written");
    assert_eq!(other.images, manifest.images);
    let file = dir.join(&manifest.webdataset[0].file);
    let mut bytes = std::fs::read(&file).expect("there");
    bytes[700] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    assert!(verify(&dir).expect_err("damaged").to_string().contains("has other bytes"));
}
