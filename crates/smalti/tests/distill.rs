//! `smalti distill`: every method makes a whole set from a small teacher, goes on where it was cut off, and refuses what it cannot match.

mod common;

use common::{arg, images, run};
use std::path::{Path, PathBuf};

fn teacher(dir: &Path, source: &Path, network: &str) -> PathBuf {
    let path = dir.join(format!("{network}.safetensors").replace('/', "_"));
    run(
        [
            "train",
            arg(source),
            "--test",
            arg(source),
            "--student",
            network,
            "--size",
            "16",
            "--protocol",
            "small",
            "--images-seen",
            "120",
            "--batch",
            "20",
            "--seeds",
            "1",
            "--threads",
            "1",
            "--save",
            arg(&path),
            "-q",
        ],
        0,
    );
    path
}

fn made(method: &str, source: &Path, teacher: &Path, out: &Path, more: &[&str], status: i32) -> (String, String) {
    let mut plain = vec![
        "distill",
        method,
        arg(source),
        "--teacher",
        arg(teacher),
        "--ipc",
        "2",
        "--threads",
        "1",
        "--out",
        arg(out),
    ];
    if method != "rded" {
        plain.extend(["--iterations", "6"]);
    }
    run(plain.into_iter().chain(more.iter().copied()), status)
}

/// A run that fails when it writes the pictures of a class: a file is in the way of their folder, and gone afterwards.
fn cut_off(method: &str, source: &Path, teacher: &Path, out: &Path, class: u32, more: &[&str]) {
    let wall = out.with_extension("run").join(format!("distilled/train/{class:06}"));
    std::fs::create_dir_all(wall.parent().expect("a folder")).expect("created");
    std::fs::write(&wall, "").expect("written");
    std::fs::write(out.with_extension("run").join("lock"), "").expect("written");
    made(method, source, teacher, out, more, 1);
    std::fs::remove_file(&wall).expect("removed");
}

fn pictures(out: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(out.join("train"))
        .expect("classes")
        .flat_map(|class| std::fs::read_dir(class.expect("an entry").path()).expect("a class"))
        .map(|file| file.expect("an entry").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("there")).collect()
}

#[test]
fn every_method_makes_a_set_that_trains_and_repeats() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let teacher = teacher(dir.path(), &source, "convnet-2/8");
    let mut sets = Vec::new();
    for method in ["sre2l", "cda", "gvbsm", "lpld", "dwa", "rded"] {
        let out = dir.path().join(method);
        let (stdout, _) = made(method, &source, &teacher, &out, &["--json"], 0);
        let found: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!((found["images"].as_u64(), found["label_bytes"].as_u64()), (Some(6), Some(48)), "{method}");
        run(["verify", arg(&out)], 0);
        let card = std::fs::read_to_string(out.join("README.md")).expect("written");
        assert!(card.contains("smalti distill "), "who made it: {card}");
        let again = dir.path().join(format!("{method}-again"));
        made(method, &source, &teacher, &again, &[], 0);
        assert!(pictures(&out) == pictures(&again), "{method}: the same seed gives the same bytes");
        sets.push(pictures(&out));
    }
    for (at, set) in sets.iter().enumerate() {
        assert!(set.len() == 6 && sets[..at].iter().all(|other| other != set), "each method makes images of its own");
    }
    let (stdout, _) = run(
        [
            "train",
            arg(&dir.path().join("sre2l")),
            "--test",
            arg(&source),
            "--student",
            "convnet-2/8",
            "--protocol",
            "small",
            "--images-seen",
            "100",
            "--seeds",
            "1",
            "--json",
            "-q",
        ],
        0,
    );
    assert!(stdout.contains("\"train_images\": 6"), "{stdout}");
}

/// G-VBSM asks several networks in turn, their labels are one mean, and whoever asks one refuses more.
#[test]
fn several_teachers_take_turns_and_speak_as_one() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let (first, second) = (teacher(dir.path(), &source, "convnet-2/8"), teacher(dir.path(), &source, "convnet-1/8"));
    let (one, both) = (dir.path().join("one"), dir.path().join("both"));
    made("gvbsm", &source, &first, &one, &[], 0);
    made("gvbsm", &source, &first, &both, &["--teacher", arg(&second)], 0);
    assert!(pictures(&one) != pictures(&both));
    let manifest = std::fs::read_to_string(both.join("manifest.json")).expect("written");
    assert!(manifest.contains("convnet-2/8-bn ") && manifest.contains(" + convnet-1/8-bn "), "{manifest}");
    // Blocks of three images, cut off in the second: it goes on with what the first left.
    let (whole, halves) = (dir.path().join("whole"), dir.path().join("halves"));
    let small = ["--teacher", arg(&second), "--block", "3"];
    made("gvbsm", &source, &first, &whole, &small, 0);
    cut_off("gvbsm", &source, &first, &halves, 2, &small);
    made("gvbsm", &source, &first, &halves, &small, 0);
    assert!(pictures(&whole) == pictures(&halves));

    let (_, stderr) = made("sre2l", &source, &first, &dir.path().join("no"), &["--teacher", arg(&second)], 2);
    assert!(stderr.contains("`sre2l` asks one teacher, and 2 are given"), "{stderr}");
    let names =
        ["--teacher", arg(&second), "--teacher-network", "a", "--teacher-network", "b", "--teacher-network", "c"];
    let (_, stderr) = made("gvbsm", &source, &first, &dir.path().join("no"), &names, 2);
    assert!(stderr.contains("--teacher-network is given 3 times for 2 teachers"), "{stderr}");

    let labels = |teachers: &[&Path], out: &Path| {
        let mut args =
            vec!["relabel", arg(&both), "--protocol", "small-soft", "--images-seen", "60", "--out", arg(out), "--json"];
        teachers.iter().for_each(|teacher| args.extend(["--teacher", arg(teacher)]));
        run(args, 0).0
    };
    let said = labels(&[&first, &second], &dir.path().join("labels"));
    assert!(said.contains(" + convnet-1/8-bn "), "{said}");
    let epoch = |labels: &str| std::fs::read(dir.path().join(labels).join("epoch=0.parquet")).expect("an epoch");
    labels(&[&first], &dir.path().join("labels-of-one"));
    assert_ne!(epoch("labels"), epoch("labels-of-one"));
}

#[test]
fn a_run_that_was_cut_off_goes_on_with_the_next_block() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let teacher = teacher(dir.path(), &source, "convnet-2/8");
    let (whole, cut) = (dir.path().join("whole"), dir.path().join("cut"));
    made("dwa", &source, &teacher, &whole, &["--block", "1"], 0);
    cut_off("dwa", &source, &teacher, &cut, 1, &["--block", "1"]);
    let first = dir.path().join("cut.run/blocks/block=0.json");
    let before = std::fs::metadata(&first).and_then(|file| file.modified()).expect("the first block is finished");
    let (_, stderr) = made("dwa", &source, &teacher, &cut, &["--block", "1", "--iterations", "7"], 2);
    assert!(stderr.contains("cannot be used multiple times"), "{stderr}");
    let (_, stderr) = made("dwa", &source, &teacher, &cut, &["--block", "1", "--seed", "5"], 1);
    assert!(stderr.contains("other settings") && stderr.contains("seed = 0"), "{stderr}");
    made("dwa", &source, &teacher, &cut, &["--block", "1"], 0);
    assert_eq!(std::fs::metadata(&first).and_then(|file| file.modified()).expect("there"), before);
    assert!(pictures(&whole) == pictures(&cut));
    let (_, stderr) = made("dwa", &source, &teacher, &cut, &["--block", "1"], 1);
    assert!(stderr.contains("finished set"), "{stderr}");
    made("dwa", &source, &teacher, &cut, &["--block", "1", "--force", "--seed", "5"], 0);
    assert!(pictures(&whole) != pictures(&cut), "another seed makes other images");
}

/// Under --compat a block of DWA depends on the blocks before it, and blocks of LPLD share their passes: a run that was cut off makes those of its turn again.
#[test]
fn blocks_that_share_a_turn_are_made_again_together() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let teacher = teacher(dir.path(), &source, "convnet-2/8");
    for (method, more) in [("dwa", &["--compat", "--block", "1"][..]), ("lpld", &[])] {
        let (whole, cut) = (dir.path().join(method), dir.path().join(format!("{method}-cut")));
        made(method, &source, &teacher, &whole, more, 0);
        cut_off(method, &source, &teacher, &cut, 2, more);
        assert!(
            cut.with_extension("run").join("blocks/block=0.json").exists(),
            "{method}: the first block is finished"
        );
        made(method, &source, &teacher, &cut, more, 0);
        assert!(pictures(&whole) == pictures(&cut), "{method}");
    }
}

#[test]
fn rded_puts_the_easiest_crops_of_different_images_into_tiles() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let teacher = teacher(dir.path(), &source, "convnet-2/8");
    let (one, four) = (dir.path().join("one"), dir.path().join("four"));
    made("rded", &source, &teacher, &one, &["--pool", "9"], 0);
    made("rded", &source, &teacher, &four, &["--pool", "9", "--grid", "2"], 0);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(four.join("manifest.json")).expect("written")).expect("JSON");
    assert_eq!((manifest["grid"].as_u64(), manifest["images"].as_array().map(Vec::len)), (Some(2), Some(6)));
    // Ranks 0, 2 | 4, 6 of the class lie in its first image, 1, 3 | 5, 7 in the second.
    let tiles: Vec<u64> = manifest["images"]
        .as_array()
        .expect("images")
        .iter()
        .take(2)
        .flat_map(|image| image["tiles"].as_array().expect("tiles"))
        .map(|tile| tile["sample"].as_u64().expect("a row of the pictures of the class"))
        .collect();
    assert_eq!(tiles, [0, 2, 4, 6, 1, 3, 5, 7]);
    let (_, stderr) = made("rded", &source, &teacher, &one, &["--pool", "7", "--grid", "2", "--force"], 1);
    assert!(stderr.contains("needs crops of 8 images and 7 of its") && stderr.contains("--pool"), "{stderr}");
    let huge =
        ["distill", "rded", arg(&source), "--teacher", arg(&teacher), "--out", arg(&one), "--force", "--grid", "16"];
    let (_, stderr) = run(huge.into_iter().chain(["--ipc", "1000000"]), 1);
    assert!(stderr.contains("needs crops of 256000000 images"), "{stderr}");
    let (_, stderr) = run(huge.into_iter().chain(["--ipc", "4000000000"]), 2);
    assert!(stderr.contains("choose 1 to 1000000"), "{stderr}");
    let (_, stderr) = made("rded", &source, &teacher, &one, &["--grid", "3", "--force"], 2);
    assert!(stderr.contains("do not fill an image of 16 px"), "{stderr}");
    let (_, stderr) = made("rded", &source, &teacher, &one, &["--compat", "--force"], 2);
    assert!(stderr.contains("--compat means nothing to `rded`"), "{stderr}");
    let (_, stderr) = made("rded", &source, &teacher, &one, &["--crops", "4000000000", "--force"], 2);
    assert!(stderr.contains("give --crops up to 1000"), "{stderr}");
    let (_, stderr) = made("sre2l", &source, &teacher, &one, &["--pool", "7", "--force"], 2);
    assert!(stderr.contains("--pool means nothing to `sre2l`"), "{stderr}");
    // Whatever was asked with --force, the set is still there.
    run(["verify", arg(&one)], 0);
}

/// Blocks of one source are never finished with those of another: what was a picture of one class would be one of the next.
#[test]
fn a_run_that_was_cut_off_is_not_finished_from_another_source() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let (teacher, out) = (teacher(dir.path(), &source, "convnet-2/8"), dir.path().join("out"));
    cut_off("sre2l", &source, &teacher, &out, 2, &["--block", "1"]);
    let first = source.join("train/disc").read_dir().expect("a class").next().expect("an image").expect("an entry");
    std::fs::remove_file(first.path()).expect("removed");
    let (_, stderr) = made("sre2l", &source, &teacher, &out, &["--block", "1"], 1);
    assert!(stderr.contains("run with other settings") && stderr.contains("source = "), "{stderr}");
    assert!(!out.exists());
}

/// The teacher with `value` as the first variance of its last batch norm.
fn with_variance(teacher: &Path, value: f32) -> PathBuf {
    let mut bytes = std::fs::read(teacher).expect("there");
    let (length, rest) = bytes.split_at(8);
    let start = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&rest[..start]).expect("JSON");
    let names = header.as_object().expect("tensors").keys().filter(|name| name.ends_with("running_var"));
    let at = header[names.max().expect("a batch norm")]["data_offsets"][0].as_u64().expect("a place") as usize;
    bytes[8 + start + at..][..4].copy_from_slice(&value.to_le_bytes());
    let path = teacher.with_file_name(format!("{value}.safetensors"));
    std::fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn numbers_that_are_none_leave_no_set_and_replace_none() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let teacher = teacher(dir.path(), &source, "convnet-2/8");
    let (broken, huge) = (with_variance(&teacher, f32::NAN), with_variance(&teacher, 3e38));
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    made("sre2l", &source, &teacher, &old, &[], 0);
    let before = pictures(&old);
    for method in ["sre2l", "cda", "gvbsm", "lpld", "dwa", "rded"] {
        for (out, more) in [(&new, &[][..]), (&old, &["--force"])] {
            let (_, stderr) = made(method, &source, &broken, out, more, 1);
            assert!(
                stderr.contains("running_var` that are no numbers") && stderr.contains("train the network again"),
                "{stderr}"
            );
        }
        assert!(!new.exists() && !new.with_extension("run").exists(), "{method}");
    }
    run(["verify", arg(&old)], 0);
    assert!(pictures(&old) == before, "a set that --force would have replaced");
    // Finite, and its square is not: the first loss tells. (LPLD matches statistics of its own.)
    for method in ["sre2l", "cda", "gvbsm"] {
        let (_, stderr) = made(method, &source, &huge, &new, &[], 1);
        assert!(stderr.contains("at step 0") && stderr.contains("train the teacher again"), "{method}: {stderr}");
        assert!(!new.exists(), "{method}");
        std::fs::remove_dir_all(new.with_extension("run")).expect("a working folder");
    }
}

/// Steps and draws are the same; only what becomes of fractions of a level is not.
#[test]
fn compat_truncates_what_is_rounded_otherwise() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let teacher = teacher(dir.path(), &source, "convnet-2/8");
    let (plain, compat) = (dir.path().join("plain"), dir.path().join("compat"));
    made("sre2l", &source, &teacher, &plain, &[], 0);
    made("sre2l", &source, &teacher, &compat, &["--compat"], 0);
    let recipe = std::fs::read_to_string(compat.join("recipe.toml")).expect("written");
    assert!(recipe.contains("truncated"), "{recipe}");
    let decoded = |out: &Path| -> Vec<Vec<u8>> {
        pictures(out).iter().map(|png| smalti_data::decode::decode(png).expect("a picture").data).collect()
    };
    let (mut same, mut below) = (0, 0);
    for (rounded, cut) in decoded(&plain).iter().flatten().zip(decoded(&compat).iter().flatten()) {
        match i16::from(*rounded) - i16::from(*cut) {
            0 => same += 1,
            1 => below += 1,
            other => panic!("{other} levels apart"),
        }
    }
    assert!(same > below / 2 && below > same / 2, "fractions lie evenly: {same} are the same, {below} a level lower");
}

#[test]
fn what_a_method_cannot_do_is_said() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 16);
    let bare = teacher(dir.path(), &source, "convnet-2/8-in");
    let out = dir.path().join("out");
    let (_, stderr) = made("sre2l", &source, &bare, &out, &[], 1);
    assert!(stderr.contains("has no batch norm") && stderr.contains("resnet18"), "{stderr}");
    assert!(!out.exists());
    let (_, stderr) = made("srel", &source, &bare, &out, &[], 2);
    assert!(stderr.contains("did you mean `sre2l`"), "{stderr}");
    let good = teacher(dir.path(), &source, "convnet-2/8");
    let (_, stderr) =
        run(["distill", "dwa", arg(&source), "--teacher", arg(&good), "--ipc", "999", "--out", arg(&out)], 1);
    assert!(stderr.contains("starts from training images") && stderr.contains("999"), "{stderr}");
    for file in std::fs::read_dir(source.join("train/disc")).expect("a class") {
        std::fs::write(file.expect("an entry").path(), "no image").expect("written");
    }
    let (_, stderr) = made("lpld", &source, &good, &out, &[], 1);
    assert!(stderr.contains("class `disc` has no training image") && stderr.contains("choose sre2l"), "{stderr}");
    assert!(!out.exists());
    let other = dir.path().join("renamed");
    std::fs::rename(&source, &other).expect("renamed");
    for split in ["train", "test"] {
        std::fs::rename(other.join(split).join("ring"), other.join(split).join("torus")).expect("renamed");
    }
    let (_, stderr) = made("sre2l", &other, &good, &out, &[], 2);
    assert!(stderr.contains("torus"), "{stderr}");
}
