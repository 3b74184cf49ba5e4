//! `smalti train`, `bench`, `report` and `methods` as a user meets them.

mod common;

use common::{arg, images, run, smalti, tree};
use smalti_data::tables::scores::read_scores;
use smalti_data::tables::{Samples, Split};
use smalti_data::{Manifest, Source, SourceOptions};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

const TINY: [&str; 9] =
    ["--student", "convnet-1/4", "--protocol", "small", "--images-seen", "200", "--batch", "20", "--quiet"];

#[test]
fn train_prints_the_promised_json_and_repeats_to_the_bit() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 8), dir.path().join("set"));
    run(["compress", arg(&source), "--ipc", "2", "--preset", "random-mosaic", "--out", arg(&out), "--quiet"], 0);
    let weights = dir.path().join("student.safetensors");
    let mut args = vec!["train", arg(&out), "--test", arg(&source), "--seeds", "2", "--json", "--save", arg(&weights)];
    args.extend(TINY);
    let (stdout, _) = run(args.clone(), 0);
    let summary: serde_json::Value = serde_json::from_str(&stdout).expect("JSON alone on standard output");
    let tops: Vec<f64> = summary["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|r| r["top1_percent"].as_f64().expect("a number"))
        .collect();
    assert_eq!(tops.len(), 2);
    let mean = (tops[0] + tops[1]) / 2.0;
    assert!((summary["top1_percent"].as_f64().expect("a number") - mean).abs() < 1e-9);
    let sd = (tops[0] - tops[1]).abs() / 2f64.sqrt();
    assert!((summary["top1_sd"].as_f64().expect("a number") - sd).abs() < 1e-9);
    assert_eq!(summary["runs"][0]["history"]["steps"].as_u64(), Some(10));
    assert_eq!((summary["train_images"].as_u64(), summary["test_images"].as_u64()), (Some(6), Some(12)));
    assert!(weights.exists());
    let (again, _) = run(args, 0);
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    for run in 0..2 {
        assert_eq!(again["runs"][run]["history"]["curve"], summary["runs"][run]["history"]["curve"], "the same bits");
    }
}

#[test]
fn train_takes_plain_folders_and_refuses_other_classes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 4);
    let mut args = vec!["train", arg(&source), "--test", arg(&source), "--seeds", "1"];
    args.extend(TINY);
    run(args, 0);
    let (train, test) = (source.join("train"), source.join("test"));
    std::fs::rename(test.join("ring"), test.join("torus")).expect("renamed");
    let mut args = vec!["train", arg(&train), "--test", arg(&test), "--seeds", "1"];
    args.extend(TINY);
    let (_, stderr) = run(args, 1);
    assert!(stderr.contains("lacks `ring`") && stderr.contains("`torus`") && stderr.contains("hint:"), "{stderr}");
    let (_, stderr) = run(["train", arg(&train), "--test", arg(&train), "--student", "resnet19"], 2);
    assert!(stderr.contains("resnet19") && stderr.contains("resnet18"), "{stderr}");
}

fn recipe(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("small.toml");
    let text = r#"
name = "small"
source = "images"
size = 24
ipc = [1]
seeds = 2
holdout = 0.25
[training]
student = "convnet-1/4"
protocol = "small"
images-seen = 100
batch = 20
[crop]
min = [0.2, 0.6]
seeds = 1
[proxy]
network = "convnet-1/4"
size = 16
epochs = 2
seeds = 1
[[row]]
preset = "random"
[[row]]
preset = "pca"
"#;
    std::fs::write(&path, text).expect("written");
    path
}

/// The fields of a cell that must repeat: all but times.
fn results(out: &Path) -> Vec<serde_json::Value> {
    let cells = tree(&out.join("cells")).into_values();
    cells
        .map(|bytes| {
            let mut cell: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            let object = cell.as_object_mut().expect("an object");
            object.remove("seconds");
            object.remove("images_per_second");
            object["history"].as_object_mut().expect("an object").remove("seconds");
            cell
        })
        .collect()
}

fn each_seed_draws_anew_and_from_training_images_alone(out: &Path) {
    let samples = Samples::read(&out.join("work/samples.parquet")).expect("samples");
    assert!(samples.usable(Split::Holdout).count() > 0);
    let train: BTreeSet<u32> = samples.usable(Split::Train).map(|sample| sample.sample).collect();
    let shown = |row: &str, seed: u32| -> BTreeSet<u32> {
        let set = Manifest::read(&out.join(format!("work/sets/{row}-ipc1-seed{seed}"))).expect("finished");
        set.images.iter().flat_map(|image| &image.tiles).map(|tile| tile.sample).collect()
    };
    let scored = |seed: u32| read_scores(&out.join(format!("scores/seed={seed}/el2n.parquet"))).expect("scores");
    for seed in [0, 1] {
        assert!(["random", "pca"].iter().all(|row| shown(row, seed).is_subset(&train)));
        assert!(scored(seed)[0].rows.iter().all(|row| train.contains(&row.0)));
    }
    assert_ne!(shown("random", 0), shown("random", 1));
    assert_ne!(scored(0), scored(1));
}

#[test]
fn a_bench_is_resumed_after_a_kill_repeats_without_proxies_and_is_reported() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 16);
    let recipe = recipe(dir.path());
    let whole = dir.path().join("whole");
    let (stdout, _) = run(["bench", arg(&recipe), "--out", arg(&whole), "--quiet"], 0);
    assert!(stdout.contains("random") && stdout.contains("pca") && stdout.contains("n=2"), "{stdout}");
    assert_eq!(results(&whole).len(), 4);
    assert_eq!(tree(&whole.join("holdout")).len(), 4);
    each_seed_draws_anew_and_from_training_images_alone(&whole);

    // Killed when the second cell has appeared: the rest is done by the same command, and nothing finished is done again.
    let broken = dir.path().join("broken");
    let mut child = smalti(["bench", arg(&recipe), "--out", arg(&broken), "--quiet"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(120)
        && !std::fs::read_dir(broken.join("cells")).is_ok_and(|d| d.count() >= 2)
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("killed or ended");
    child.wait().expect("it ends");
    let before = tree(&broken.join("cells"));
    run(["bench", arg(&recipe), "--out", arg(&broken), "--quiet"], 0);
    let after = tree(&broken.join("cells"));
    for (name, bytes) in before.iter().filter(|(name, _)| name.ends_with(".json")) {
        assert_eq!(after.get(name), Some(bytes), "{name} was finished and stays");
    }
    assert_eq!(results(&broken), results(&whole));

    // A new machine with the scores alone: the same students, no proxy.
    let repeat = dir.path().join("repeat");
    std::fs::create_dir_all(&repeat).expect("created");
    copy(&whole.join("scores"), &repeat.join("scores"));
    run(["bench", arg(&recipe), "--out", arg(&repeat), "--quiet"], 0);
    assert!(!repeat.join("work/trace").exists(), "no proxy was trained");
    assert_eq!(results(&repeat), results(&whole));

    std::fs::remove_file(whole.join("report.html")).expect("removed");
    run(["report", arg(&whole), "--quiet"], 0);
    let page = std::fs::read_to_string(whole.join("report.html")).expect("written");
    assert!(
        page.contains("<svg") && page.contains("data:image/") && page.contains("random"),
        "a page with plots and pictures"
    );

    // Other settings are not mixed into the same folder.
    let text = std::fs::read_to_string(&recipe).expect("there").replace("images-seen = 100", "images-seen = 120");
    std::fs::write(&recipe, text).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&whole), "--quiet"], 1);
    assert!(stderr.contains("other settings"), "{stderr}");
}

#[test]
fn seeds_that_are_not_there_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 2);
    let last = u64::MAX.to_string();
    let (_, stderr) = run(["train", arg(&source), "--test", arg(&source), "--seed", &last], 2);
    assert!(stderr.contains("past the largest number"), "{stderr}");
}

/// A reader of the remarks that has gone away is no failure.
#[test]
fn a_closed_standard_error_stops_no_run() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 4), dir.path().join("set"));
    let mut child = smalti(["compress", arg(&source), "--ipc", "1", "--preset", "random", "--out", arg(&out)])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn an_image_that_is_left_out_shows_in_status_and_json() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 8);
    std::fs::write(source.join("train/disc/zz_bad.png"), b"no image").expect("written");
    let mut args = vec!["train", arg(&source), "--test", arg(&source), "--seeds", "1", "--json"];
    args.extend(TINY);
    let (stdout, stderr) = run(args, 3);
    let summary: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(stderr.contains("zz_bad.png") && summary["skipped_images"].as_u64() > Some(0), "{stdout}{stderr}");
}

/// A network that there is not is named before a proxy trains, and so is a class that is too small for a row.
#[test]
fn a_bench_says_at_once_what_cannot_be() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 20);
    let (recipe, out) = (recipe(dir.path()), dir.path().join("out"));
    let text = std::fs::read_to_string(&recipe).expect("written");
    for (key, wrong) in [("student", "convnett-1/4"), ("network", "resnet188")] {
        let wrong = text.replace(&format!("{key} = \"convnet-1/4\""), &format!("{key} = \"{wrong}\""));
        std::fs::write(&recipe, wrong).expect("written");
        let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 2);
        assert!(stderr.contains("there is no network"), "{stderr}");
        assert!(!out.join("scores").exists() && !out.join("cells").exists(), "{key}");
        std::fs::remove_dir_all(&out).expect("removed");
    }
    let large = text.replace("ipc = [1]", "ipc = [50]").replace("[[row]]\npreset = \"pca\"\n", "");
    std::fs::write(&recipe, large).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("warning: the row `random` cannot be made at 50 images per class: "), "{stderr}");
}

/// A bench reads its images as `compress` can.
#[test]
fn a_bench_takes_columns_and_classes_from_its_recipe() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 8);
    let (recipe, out) = (recipe(dir.path()), dir.path().join("out"));
    let text = std::fs::read_to_string(&recipe).expect("written").replace("[[row]]\npreset = \"pca\"\n", "");
    let classes = {
        let source = Source::open(&dir.path().join("images"), &SourceOptions::default()).expect("a folder");
        source.classes().iter().rev().cloned().collect::<Vec<String>>()
    };
    std::fs::write(dir.path().join("map.txt"), classes.join("\n")).expect("written");
    let reading = "[reading]\nclass-map = \"map.txt\"\norientation = \"exif\"\n";
    std::fs::write(&recipe, text.replace("[training]", &format!("{reading}[training]"))).expect("written");
    run(["bench", arg(&recipe), "--out", arg(&out), "-q"], 0);
    assert_eq!(Samples::read(&out.join("work/samples.parquet")).expect("scanned").classes, classes);
    let set = std::fs::read_to_string(out.join("work/sets/random-ipc1-seed0/recipe.toml")).expect("a set");
    assert!(set.contains("orientation = \"exif\""), "{set}");
    // Other classes are another bench.
    std::fs::write(&recipe, text).expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("with other settings"), "{stderr}");
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(path, bytes).expect("written");
    }
}

#[test]
fn a_dry_run_lists_the_cells_and_writes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 4);
    let (recipe, out) = (recipe(dir.path()), dir.path().join("out"));
    let (stdout, _) = run(["bench", arg(&recipe), "--out", arg(&out), "--dry-run"], 0);
    let row = stdout.lines().find(|line| line.contains("convnet-1/4-bn")).expect("a row of the table");
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    // Student, protocol, budget, cells, to do, steps and images of each.
    assert_eq!(cells[1..8], ["convnet-1/4-bn", "small", "1", "4", "4", "5", "100"], "{stdout}");
    assert!(stdout.contains("in all about") && stdout.contains("2 proxy runs"), "{stdout}");
    assert!(stdout.contains("and 4 students on the hold-out, to choose crop ranges: "), "{stdout}");
    // Metrics that no row needs are computed all the same, and what crops nothing chooses nothing.
    let text = std::fs::read_to_string(&recipe).expect("there");
    let uncut = "name = \"uncut\"\npreset = \"random\"\naugment = \"none\"";
    let text = text.replace("preset = \"pca\"", uncut).replace("seeds = 2\n", "seeds = 2\nmetrics = [\"el2n\"]\n");
    std::fs::write(&recipe, text).expect("written");
    let (stdout, _) = run(["bench", arg(&recipe), "--out", arg(&out), "--dry-run", "--json"], 0);
    let found: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let of = |place: &str| found.pointer(place).and_then(serde_json::Value::as_u64);
    assert_eq!((of("/students/0/to_do"), of("/students/0/choices"), of("/proxies/0")), (Some(4), Some(2), Some(2)));
    assert!(!out.exists());
}

#[test]
fn methods_lists_every_family() {
    let (stdout, _) = run(["methods"], 0);
    for word in ["## Presets", "| pca |", "| el2n |", "| easy-first |", "| constrained |", "| hard |", "convnet-"] {
        assert!(stdout.contains(word), "{word} is missing");
    }
    let (stdout, _) = run(["methods", "--json"], 0);
    assert!(
        serde_json::from_str::<serde_json::Value>(&stdout)
            .expect("JSON")
            .as_array()
            .is_some_and(|list| list.len() == 10)
    );
    let (stdout, _) = run(["methods", "--protocols"], 0);
    assert!(
        stdout.contains("| rded |") && stdout.contains("KL divergence") && !stdout.contains("## Rules"),
        "{stdout}"
    );
}

/// The demo up to its first proxy; all of it takes minutes, and is `make demo`.
#[test]
fn the_demo_paints_its_images_and_begins() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("demo");
    let begin = || {
        let mut demo = smalti(["demo", "--out", arg(&out), "--quiet"]).spawn().expect("it starts");
        let start = Instant::now();
        while !out.join("work/samples.parquet").exists() && start.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let works = demo.try_wait().expect("asked").is_none();
        demo.kill().expect("killed");
        demo.wait().expect("it ends");
        assert!(
            works && out.join("work/samples.parquet").exists(),
            "it reached its proxies, and did not end by itself"
        );
    };
    begin();
    let painted = tree(&out.join("images"));
    assert!(painted.len() > 1000);
    std::fs::remove_dir_all(out.join("work")).expect("removed");
    begin();
    assert!(painted == tree(&out.join("images")), "the same images, painted once");
    std::fs::write(out.join("images.json"), "{}").expect("written");
    let (_, stderr) = run(["demo", "--out", arg(&out)], 1);
    assert!(stderr.contains("other images than this version paints"), "{stderr}");
    let mine = dir.path().join("mine");
    std::fs::create_dir_all(&mine).expect("made");
    std::fs::write(mine.join("thesis.txt"), "years of work").expect("written");
    let (_, stderr) = run(["demo", "--out", arg(&mine)], 1);
    assert!(stderr.contains("exists and is not a demo") && tree(&mine).len() == 1, "{stderr}");
}

#[test]
fn help_is_kept_by_a_snapshot() {
    for command in [
        "inspect", "compress", "train", "verify", "bench", "report", "demo", "methods", "relabel", "observe", "cache",
        "distill",
    ] {
        let (stdout, _) = run([command, "--help"], 0);
        insta::assert_snapshot!(format!("help_{command}"), stdout);
    }
    let (stdout, _) = run(["--help"], 0);
    insta::assert_snapshot!("help", stdout);
    let (_, stderr) = run(["compres"], 2);
    assert!(stderr.contains("compress"), "{stderr}");
}
