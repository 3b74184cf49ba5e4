//! Teachers and soft labels as a user meets them: train one, store what it says, learn from it; wrong ones are refused by name.

mod common;

use common::{arg, images, run};
use smalti_data::Manifest;
use std::path::{Path, PathBuf};

const SHORT: [&str; 7] = ["--protocol", "small-soft", "--images-seen", "200", "--batch", "20", "--quiet"];

struct Folder {
    dir: tempfile::TempDir,
    source: PathBuf,
    set: PathBuf,
    teacher: PathBuf,
}

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Images, a set of mosaics of them and a teacher on all of them.
fn folder() -> Folder {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, set) = (images(dir.path(), 8), dir.path().join("set"));
    let teacher = dir.path().join("teacher.safetensors");
    run(
        [
            "compress",
            arg(&source),
            "--ipc",
            "2",
            "--preset",
            "random-mosaic",
            "--size",
            "24",
            "--out",
            arg(&set),
            "--quiet",
        ],
        0,
    );
    let flags = ["--student", "convnet-2/8", "--protocol", "small", "--images-seen", "100", "--batch", "10", "--quiet"];
    let mut args =
        vec!["train", arg(&source), "--test", arg(&source), "--size", "24", "--seeds", "1", "--save", arg(&teacher)];
    args.extend(flags);
    run(args, 0);
    Folder { dir, source, set, teacher }
}

fn train(set: &Path, test: &Path, more: &[&str], status: i32) -> (serde_json::Value, String) {
    let mut args = vec!["train", arg(set), "--test", arg(test), "--student", "convnet-1/4", "--seeds", "2", "--json"];
    args.extend(SHORT);
    args.extend(more);
    let (stdout, stderr) = run(args, status);
    (serde_json::from_str(&stdout).unwrap_or_default(), stderr)
}

#[test]
fn students_learn_the_same_from_a_teacher_and_from_its_stored_labels() {
    let f = folder();
    let labels = f.path("labels");
    let mut args = vec!["relabel", arg(&f.set), "--teacher", arg(&f.teacher), "--out", arg(&labels), "--json"];
    args.extend(SHORT);
    let (stdout, _) = run(args.clone(), 0);
    let written: serde_json::Value = serde_json::from_str(&stdout).expect("JSON alone on standard output");
    assert_eq!((written["steps"].as_u64(), written["views"].as_u64()), (Some(10), Some(200)));
    let (online, _) = train(&f.set, &f.source, &["--teacher", arg(&f.teacher)], 0);
    let (stored, _) = train(&f.set, &f.source, &["--labels", arg(&labels)], 0);
    let curve = |summary: &serde_json::Value, run: usize| summary["runs"][run]["history"]["curve"].clone();
    assert_eq!(curve(&online, 0), curve(&stored, 0), "seed 0 is the seed of the labels");
    assert_ne!(curve(&online, 1), curve(&stored, 1), "another student sees the stored views");
    // Three classes at two bytes for each of 200 views; the files hold where each view is from, too.
    assert_eq!(online["label_bytes"].as_u64(), Some(1200));
    assert_eq!(stored["label_bytes"], written["label_bytes"]);
    let (again, _) = run(args, 0);
    assert_eq!(again, stdout, "a second run finds everything there");

    let part = f.path("part");
    let mut args = vec!["relabel", arg(&f.set), "--teacher", arg(&f.teacher), "--out", arg(&part), "--keep", "0.3"];
    args.extend(SHORT);
    let (stdout, _) = run(args, 0);
    assert!(stdout.contains("labels of 3 steps of 10"), "{stdout}");
    let (drawn, _) = train(&f.set, &f.source, &["--labels", arg(&part)], 0);
    assert_eq!(drawn["runs"][0]["history"]["steps"].as_u64(), Some(10));
    assert!(drawn["label_bytes"].as_u64() < stored["label_bytes"].as_u64());
}

#[test]
fn a_teacher_of_other_classes_and_labels_of_another_set_are_refused_by_name() {
    let f = folder();
    let refuse_as = |(protocol, batch): (&str, &str), set: &Path, more: &[&str], words: &[&str]| {
        let mut args =
            vec!["train", arg(set), "--test", arg(&f.source), "--student", "convnet-1/4", "--images-seen", "200"];
        args.extend(["--protocol", protocol, "--batch", batch, "--quiet"]);
        args.extend(more);
        let output = common::smalti(args).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "`{word}` is missing from:\n{stderr}");
        }
    };
    let refuse = |set: &Path, more: &[&str], words: &[&str]| refuse_as(("small-soft", "20"), set, more, words);
    refuse(&f.set, &[], &["`small-soft` needs a teacher", "smalti relabel"]);
    refuse(&f.set, &["--teacher", arg(&f.path("none.safetensors"))], &["none.safetensors"]);
    refuse_as(("small", "20"), &f.set, &["--teacher", arg(&f.teacher)], &["hard labels and needs no teacher"]);
    let classes = f.path("classes.txt");
    std::fs::write(&classes, "disc\ntorus\nstripes\n").expect("written");
    let listed = ["--teacher", arg(&f.teacher), "--teacher-classes", arg(&classes)];
    refuse(&f.set, &listed, &["does not know the class `", "teacher.safetensors"]);
    refuse(
        &f.set,
        &["--teacher", arg(&f.teacher), "--teacher-network", "convnet-2/16"],
        &["does not fit convnet-2/16-bn"],
    );

    let (labels, other) = (f.path("labels"), f.path("other"));
    let mut args = vec!["relabel", arg(&f.set), "--teacher", arg(&f.teacher), "--out", arg(&labels)];
    args.extend(SHORT);
    run(args, 0);
    let seed = ["--seed", "9", "--quiet"];
    let mut args = vec![
        "compress",
        arg(&f.source),
        "--ipc",
        "2",
        "--preset",
        "random-mosaic",
        "--size",
        "24",
        "--out",
        arg(&other),
    ];
    args.extend(seed);
    run(args, 0);
    refuse(&other, &["--labels", arg(&labels)], &["made for other images"]);
    // The images of a set are as `compress` stored them, however those of the test are to be turned.
    let mut args = vec!["train", arg(&f.set), "--test", arg(&f.source), "--student", "convnet-1/4", "--seeds", "1"];
    args.extend(SHORT);
    args.extend(["--labels", arg(&labels), "--orientation", "exif"]);
    run(args, 0);
    let plain = f.path("plain");
    let mut args = vec!["relabel", arg(&f.source), "--teacher", arg(&f.teacher), "--size", "24", "--out", arg(&plain)];
    args.extend(SHORT);
    run(args, 0);
    refuse(
        &f.source,
        &["--size", "24", "--labels", arg(&plain), "--orientation", "exif"],
        &["decoded as pillow-rgb,", "--orientation"],
    );
    // The list that names a teacher's logits is part of who it is, and names each class once.
    std::fs::write(&classes, "disc\ndisc\n").expect("written");
    refuse(&f.set, &listed, &["names the class `disc` twice"]);
    let own = Manifest::read(&f.set).expect("finished").classes;
    let relabel = |out: &str, status| {
        let out = f.path(out);
        let mut args = vec!["relabel", arg(&f.set), "--out", arg(&out), "--keep", "0.5"];
        args.extend(listed);
        args.extend(SHORT);
        run(args, status).1
    };
    std::fs::write(&classes, own.iter().rev().cloned().collect::<Vec<_>>().join("\n")).expect("written");
    relabel("listed", 0);
    std::fs::write(&classes, own.join("\n")).expect("written");
    let stderr = relabel("listed", 1);
    assert!(stderr.contains("holds labels of something else"), "{stderr}");
    refuse_as(("small-soft", "10"), &f.set, &["--labels", arg(&labels)], &["20 a step", "not for 6 images"]);
    let path = labels.join("epoch=0.parquet");
    let mut bytes = std::fs::read(&path).expect("there");
    bytes[30] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    refuse(&f.set, &["--labels", arg(&labels)], &["epoch=0.parquet"]);
}

#[test]
fn sets_are_observed_as_stored_and_under_crops() {
    let f = folder();
    let args = [
        "observe",
        arg(&f.set),
        arg(&f.source),
        "--teacher",
        arg(&f.teacher),
        "--size",
        "24",
        "--crops",
        "1,0.25",
        "--json",
        "-q",
    ];
    let (stdout, _) = run(args, 0);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout).expect("JSON alone on standard output");
    assert_eq!(rows.len(), 6, "two sets, as stored and under two crops");
    for row in &rows {
        let entropy = row["entropy"].as_f64().expect("a number");
        assert!(entropy > 0.0 && entropy <= 3f64.ln() + 1e-6, "three classes: {row}");
        let (images, views) = (row["images"].as_u64(), row["views"].as_u64().expect("a number"));
        assert_eq!(images.map(|n| if row["crop_min"].is_null() { n } else { 10 * n }), Some(views));
    }
    // A crop of the whole area is the image as stored, but for the flip.
    let (stored, whole) = (rows[0]["nll"].as_f64().expect("a number"), rows[1]["nll"].as_f64().expect("a number"));
    assert!((stored - whole).abs() < 0.5, "{stored} {whole}");
    let (_, stderr) = run(["observe", arg(&f.set), "--teacher", arg(&f.teacher), "--crops", "2", "-q"], 2);
    assert!(stderr.contains("a crop of 2 of the area"), "{stderr}");
    run(["observe", arg(&f.set)], 2);
}
