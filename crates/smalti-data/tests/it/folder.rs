//! Image folders by torchvision's rule.

use crate::util::{folder, open, png, put, read, refused, rows};
use smalti_data::scan::{scan, scan_again};
use smalti_data::tables::{ContentHash, Split, Status};
use smalti_data::{Source, SourceOptions};

fn paths(source: &Source) -> Vec<String> {
    rows(source).into_iter().map(|row| row.0).collect()
}

#[test]
fn classes_are_sorted_as_text_and_files_as_torchvision_walks() {
    let dir = folder(&[
        "10/a.png",
        "2/b.PNG",
        "1/z.jpeg",
        "1/sub/a.jpg",
        "1/sub-2/a.webp",
        "1/sub/deep/c.tif",
        "1/B.bmp",
        "1/a.ppm",
        "1/notes.txt",
        "1/animation.gif",
        ".hidden/x.png",
        "loose.png",
    ]);
    let source = open(dir.path());
    assert_eq!((source.classes(), source.kind()), (["1", "10", "2"].map(String::from).as_slice(), "folder"));
    // Python sorts the folders of its walk as text, and "sub-2" comes before "sub/deep" there.
    let expected =
        ["1/B.bmp", "1/a.ppm", "1/z.jpeg", "1/sub/a.jpg", "1/sub-2/a.webp", "1/sub/deep/c.tif", "10/a.png", "2/b.PNG"];
    assert_eq!(paths(&source), expected);
    assert_eq!(rows(&source).iter().map(|row| row.1).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 1, 2]);
    assert!(rows(&source).iter().all(|row| row.2 == Split::Train));
    assert_eq!(read(&source, &[0, 6])[&6], Ok(png(0)));
}

#[test]
fn what_a_person_should_know_of_a_folder_is_noted() {
    let notes = |files: &[&str], options: &SourceOptions| {
        Source::open(folder(files).path(), options).expect("opened").notes().join("\n")
    };
    let none = SourceOptions::default();
    assert_eq!(notes(&["train/cat/1.png", "val/cat/2.png", "train/cat/notes.txt"], &none), "");
    let found =
        notes(&["train/cat/1.png", "train/cat/2.HEIC", "val/cat/3.png", "test/cat/4.png", "test/cat/5.gif"], &none);
    assert!(found.contains("`test` and `val` together") && found.contains("passed over, 1 .gif, 1 .heic:"), "{found}");
    let named = SourceOptions { label_column: Some("coarse_label".into()), ..SourceOptions::default() };
    assert!(notes(&["cat/1.png"], &named).contains("names of columns have no use"));
}

#[test]
fn what_is_too_large_or_no_file_is_named_and_not_read() {
    let dir = folder(&["a/1.png"]);
    let large = std::fs::File::create(dir.path().join("a/2.png")).expect("created");
    large.set_len((1 << 30) + 1).expect("sparse");
    let pipe = dir.path().join("a/3.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let samples = scan(&open(dir.path()), &|_| ()).expect("scanned");
    let causes: Vec<&str> = samples.bad().map(|(_, cause)| cause).collect();
    assert_eq!(causes.len(), 2, "{causes:?}");
    assert!(causes[0].contains("larger than 1 GiB") && causes[1].contains("no plain file"), "{causes:?}");
}

#[test]
fn packed_files_one_folder_too_deep_are_named() {
    let dir = folder(&["train/0000.parquet", "test/0000.parquet"]);
    let (message, hint) = refused(dir.path());
    assert!(message.contains("no class folder") && hint.contains("`0000.parquet`"), "{message} {hint}");
}

#[test]
fn split_levels_are_told_by_their_names() {
    let dir = folder(&["val/cat/1.png", "val/dog/2.png", "train/dog/3.png", "train/cat/4.png", "readme.txt", ".git/x"]);
    let source = open(dir.path());
    let expected = [
        ("train/cat/4.png", 0, Split::Train),
        ("train/dog/3.png", 1, Split::Train),
        ("val/cat/1.png", 0, Split::Test),
        ("val/dog/2.png", 1, Split::Test),
    ];
    assert_eq!(rows(&source), expected.map(|(path, class, split)| (path.to_owned(), class, split)));
    assert_eq!(source.classes(), ["cat", "dog"]);

    // One folder that is no split makes all of them classes.
    let dir = folder(&["train/a.png", "plane/b.png"]);
    assert_eq!(open(dir.path()).classes(), ["plane", "train"]);
}

#[test]
fn a_folder_beside_splits_is_named() {
    for beside in ["docs/figure.png", "docs/notes.txt"] {
        let dir = folder(&["train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png", beside]);
        let (message, hint) = refused(dir.path());
        assert!(
            message.contains("the splits `test` and `train`") && message.contains("the folder `docs`"),
            "{message}"
        );
        assert!(hint.contains("move that folder out of the data set"), "{hint}");
    }
    // Vehicles: what holds images itself is a class, and so is one folder of folders alone.
    let vehicles: [(&[&str], &[&str]); 3] = [
        (&["train/1.png", "test/2.png", "bus/3.png"], &["bus", "test", "train"]),
        (&["train/old/1.png", "car/2.png", "bus/3.png"], &["bus", "car", "train"]),
        (&["train/old/1.png", "test/2.png", "test/old/3.png", "bus/4.png"], &["bus", "test", "train"]),
    ];
    for (paths, classes) in vehicles {
        assert_eq!(open(folder(paths).path()).classes(), classes);
    }
}

#[test]
fn classes_that_only_one_split_has_are_named() {
    let dir = folder(&["train/cat/1.png", "train/dog/2.png", "test/cat/3.png"]);
    let (message, hint) = refused(dir.path());
    assert!(message.contains("`dog` is in `train` and not in `test`"), "{message}");
    assert!(hint.contains("same class folders"), "{hint}");
    let dir = folder(&["train/cat/1.png", "test/cat/3.png", "test/cow/4.png"]);
    assert!(refused(dir.path()).0.contains("`cow` is in `test` and not in `train`"));
}

#[test]
fn folders_that_are_no_source_are_refused_with_a_remedy() {
    let dir = folder(&["cat/1.png", "dog/notes.txt", "eel/2.gif"]);
    let (message, hint) = refused(dir.path());
    assert!(message.contains("`dog`, `eel`"), "{message}");
    assert!(hint.contains(".jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp"), "{hint}");

    let dir = folder(&["1.png", "2.png"]);
    let (message, hint) = refused(dir.path());
    assert!(message.contains("no class folder") && hint.contains("<class>"), "{message} {hint}");
    let dir = folder(&["train/cat/1.png", "test/1.png"]);
    assert!(refused(dir.path()).0.contains("test` has no class folder"));

    let (message, _) = refused(&dir.path().join("nothing"));
    assert!(message.contains("there is no `"), "{message}");
    put(dir.path(), "set.zip", b"PK");
    let (message, hint) = refused(&dir.path().join("set.zip"));
    assert!(
        message.contains("neither a folder nor a Parquet or tar file") && hint.contains("unpack"),
        "{message} {hint}"
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_are_not() {
    use std::os::unix::fs::symlink;
    let dir = folder(&["real/cat/1.png", "set/dog/2.png"]);
    symlink(dir.path().join("real/cat"), dir.path().join("set/cat")).expect("linked");
    symlink(dir.path().join("set/dog"), dir.path().join("set/dog/again")).expect("linked");
    symlink(dir.path().join("gone.png"), dir.path().join("set/dog/gone.png")).expect("linked");
    let source = open(&dir.path().join("set"));
    assert_eq!(paths(&source), ["cat/1.png", "dog/2.png", "dog/gone.png"]);
    let read = read(&source, &[0, 1, 2]);
    assert!(read[&0].is_ok() && read[&1].is_ok());
    assert!(read[&2].as_ref().expect_err("a broken link").contains("gone.png"));
}

#[cfg(unix)]
#[test]
fn names_that_are_not_text_are_read_all_the_same() {
    use std::os::unix::ffi::OsStrExt;
    let dir = folder(&["cat/1.png"]);
    let name = std::ffi::OsStr::from_bytes(b"\xFF.png");
    if std::fs::write(dir.path().join("cat").join(name), png(5)).is_err() {
        eprintln!("skipped: this file system takes no such names");
        return;
    }
    let source = open(dir.path());
    assert_eq!(paths(&source), ["cat/1.png", "cat/\u{FFFD}.png"]);
    assert_eq!(read(&source, &[1])[&1], Ok(png(5)));
}

#[cfg(unix)]
#[test]
fn class_folders_that_read_as_one_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let dir = folder(&["set/cat/1.png"]);
    let root = dir.path().join("set");
    for name in [b"\xFE", b"\xFF"] {
        let class = root.join(std::ffi::OsStr::from_bytes(name));
        if std::fs::create_dir(&class).is_err() {
            eprintln!("skipped: this file system takes no such names");
            return;
        }
        std::fs::write(class.join("1.png"), png(5)).expect("written");
    }
    let (message, hint) = refused(&root);
    assert!(message.contains("both read as `\u{FFFD}`") && hint.contains("rename"), "{message} {hint}");
    std::fs::remove_dir_all(root.join(std::ffi::OsStr::from_bytes(b"\xFE"))).expect("removed");
    assert_eq!(open(&root).classes(), ["cat", "\u{FFFD}"]);
}

#[test]
fn rows_that_are_not_there_or_out_of_order_are_refused() {
    let dir = folder(&["a/1.png", "a/2.png"]);
    let source = open(dir.path());
    for rows in [[0, 2], [1, 0], [1, 1]] {
        assert!(source.for_each(&rows, &|_, _| panic!("nothing is read")).is_err(), "{rows:?}");
    }
}

#[test]
fn a_scan_names_bad_images_and_does_not_depend_on_threads() {
    let dir = folder(&["a/1.png", "a/2.png", "b/3.png"]);
    let cut = png(9)[..100].to_vec();
    put(dir.path(), "b/cut.png", &cut);
    put(dir.path(), "b/empty.jpg", b"");
    put(dir.path(), "b/page.jpg", b"<!DOCTYPE html><html></html>");
    let source = Source::open(dir.path(), &SourceOptions::default()).expect("opens");
    let counted = std::sync::atomic::AtomicU64::new(0);
    let count = |n| {
        counted.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
    };
    let samples = crate::util::with_threads(1, || scan(&source, &count)).expect("scanned");
    assert_eq!(counted.into_inner(), 6);
    assert_eq!(samples, crate::util::with_threads(4, || scan(&source, &|_| ())).expect("scanned"));
    assert_eq!(samples.usable(Split::Train).count(), 3);
    let paths: Vec<_> = samples.bad().map(|(sample, _)| samples.path(sample.sample)).collect();
    let bad: Vec<(&str, &str)> = paths.iter().zip(samples.bad()).map(|(path, (_, cause))| (&**path, cause)).collect();
    assert_eq!(bad.iter().map(|b| b.0).collect::<Vec<_>>(), ["b/cut.png", "b/empty.jpg", "b/page.jpg"]);
    assert!(bad[1].1.contains("empty") && bad[2].1.contains("web page"), "{bad:?}");
    let sample = &samples.rows[3];
    assert_eq!((sample.content_hash, sample.bytes, sample.width, sample.height), (ContentHash::of(&cut), 100, 22, 20));
    assert_eq!(samples.rows[0].status, Status::Ok);
    assert_eq!((samples.rows[0].width, samples.rows[0].height), (20, 16));
}

#[test]
fn a_second_look_describes_anew_what_changed_and_nothing_else() {
    let dir = folder(&["a/1.png", "a/2.png", "b/3.png", "b/4.png"]);
    put(dir.path(), "b/bad.png", b"");
    let source = open(dir.path());
    let mut samples = scan(&source, &|_| ()).expect("scanned");
    // Known only from the table: that such an image is not looked into again.
    samples.rows[0].width = 7;
    put(dir.path(), "a/2.png", &png(40));
    put(dir.path(), "b/3.png", b"no image");
    std::fs::remove_file(dir.path().join("b/4.png")).expect("removed");
    put(dir.path(), "b/bad.png", &png(41));
    let counted = std::sync::atomic::AtomicU64::new(0);
    let count = |n| {
        counted.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
    };
    scan_again(&source, &mut samples, &count).expect("scanned again");
    assert_eq!((counted.into_inner(), samples.rows[0].width), (5, 7));
    samples.rows[0].width = 20;
    assert_eq!(samples, scan(&source, &|_| ()).expect("scanned"));
    let bad: Vec<u32> = samples.bad().map(|(sample, _)| sample.sample).collect();
    assert_eq!(bad, [2, 3]);
    assert_eq!(samples.rows[1].content_hash, ContentHash::of(&png(40)));
    samples.rows.pop();
    let error = scan_again(&source, &mut samples, &|_| ()).expect_err("another number of rows").to_string();
    assert!(error.contains("has 5 images, and the table of its samples 4"), "{error}");
}
