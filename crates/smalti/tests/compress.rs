//! `smalti compress` as a user meets it: what it writes, what it refuses, and what survives a kill.

mod common;

use common::{TINY_PROXY, arg, images, run, tree};
use smalti_data::manifest::Manifest;
use smalti_data::tables::scores::{UNNAMED, read_scores, write_scores};
use smalti_data::tables::{Samples, Scored, Selection, Split};
use std::collections::BTreeMap;
use std::path::Path;

fn compress<'a>(source: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["compress", arg(source), "--out", arg(out), "--quiet"];
    args.extend(more);
    args
}

#[test]
fn pca_writes_mosaics_of_the_easiest_images_and_verifies() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 12), dir.path().join("set"));
    let mut args = compress(&source, &out, &["--ipc", "2", "--preset", "pca", "--json"]);
    args.extend(TINY_PROXY);
    let (stdout, _) = run(args, 0);
    let facts: serde_json::Value = serde_json::from_str(&stdout).expect("JSON alone on standard output");
    assert_eq!(
        (facts["images"].as_u64(), facts["grid"].as_u64(), facts["size"].as_u64()),
        (Some(6), Some(2), Some(24))
    );
    let manifest = Manifest::read(&out).expect("finished");
    for class_id in 0..3 {
        assert_eq!(manifest.images.iter().filter(|i| i.class_id == class_id).count(), 2);
    }
    // The tiles are the eight smallest scores of each class.
    let scores = read_scores(&dir.path().join("set.run/scores.parquet")).expect("scores");
    let samples = Samples::read(&dir.path().join("set.run/samples.parquet")).expect("samples");
    let score = |sample: u32| scores[0].rows.iter().find(|row| row.0 == sample).expect("scored").1;
    for class_id in 0..3 {
        let shown: Vec<u32> = manifest
            .images
            .iter()
            .filter(|i| i.class_id == class_id)
            .flat_map(|i| i.tiles.iter().map(|t| t.sample))
            .collect();
        let hardest_kept = shown.iter().map(|&s| score(s)).fold(f32::MIN, f32::max);
        let dropped = samples.usable(Split::Train).filter(|s| s.class_id == class_id && !shown.contains(&s.sample));
        assert_eq!(shown.len(), 8);
        assert!(dropped.into_iter().all(|s| score(s.sample) >= hardest_kept));
    }
    let tested: Vec<u32> = samples.usable(Split::Test).map(|s| s.sample).collect();
    assert!(scores[0].rows.iter().all(|row| !tested.contains(&row.0)), "no test image is scored");
    run(["verify", arg(&out)], 0);
}

#[test]
fn the_saved_recipe_repeats_the_set_and_so_do_given_scores_and_selections() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 10);
    let first = dir.path().join("set");
    let mut args = compress(&source, &first, &["--ipc", "2", "--seed", "7", "--format", "both"]);
    args.extend(TINY_PROXY);
    run(args, 0);
    let recipe = first.join("recipe.toml");
    let working = dir.path().join("set.run");
    let (scores, selection) = (working.join("scores.parquet"), working.join("selection.parquet"));
    let kept = working.join("kept.txt");
    let ways: [&[&str]; 4] =
        [&[], &["--scores", arg(&scores)], &["--selection", arg(&selection)], &["--selection", arg(&kept)]];
    for (number, way) in ways.into_iter().enumerate() {
        let again = dir.path().join(format!("{number}/set"));
        let mut args = compress(&source, &again, &["--recipe", arg(&recipe)]);
        args.extend(way);
        run(args, 0);
        assert_eq!(contents(&again), contents(&first), "way {number}");
        assert_eq!(Manifest::read(&again).expect("finished").images, Manifest::read(&first).expect("finished").images);
        assert_eq!(tree(&again) == tree(&first), way.is_empty(), "a set says what was given, way {number}");
    }
    let one_thread = dir.path().join("one/set");
    run(compress(&source, &one_thread, &["--recipe", arg(&recipe), "--scores", arg(&scores), "--threads", "1"]), 0);
    assert_eq!(tree(&one_thread), tree(&dir.path().join("1/set")), "threads change nothing");
}

/// Everything in a set but what it says of itself.
fn contents(set: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(set);
    files.retain(|name, _| !["README.md", "manifest.json", "recipe.toml"].contains(&name.as_str()));
    files
}

#[test]
fn a_set_says_what_decided_and_not_the_default() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    run(compress(&source, &out, &["--ipc", "2", "--preset", "random", "--grid", "1"]), 0);
    let kept = dir.path().join("set.run/kept.txt");
    let map = dir.path().join("map.txt");
    let (given, named) = (dir.path().join("given"), dir.path().join("named"));
    let more = ["--ipc", "2", "--grid", "1", "--selection", arg(&kept)];
    run(compress(&source, &given, &more), 0);
    let hash = blake3::hash(&std::fs::read(&kept).expect("there")).to_hex().to_string();
    let method = Manifest::read(&given).expect("finished").method;
    assert_eq!(method, BTreeMap::from([("selection".to_owned(), format!("made elsewhere, BLAKE3 {hash}"))]));
    let recipe = std::fs::read_to_string(given.join("recipe.toml")).expect("written");
    assert!(recipe.contains(&format!("# It takes --selection too: the file whose BLAKE3 is {hash}.")), "{recipe}");
    assert!(["metric", "preset", "rule", "[proxy]"].iter().all(|claim| !recipe.contains(claim)), "{recipe}");
    let again = dir.path().join("again/given");
    run(compress(&source, &again, &["--recipe", arg(&given.join("recipe.toml")), "--selection", arg(&kept)]), 0);
    assert_eq!(tree(&again), tree(&given));
    let mut args = compress(&source, &named, &more);
    args.extend(["--rule", "random", "--class-map", arg(&map)]);
    let classes = Manifest::read(&given).expect("finished").classes;
    std::fs::write(&map, classes.join("\n")).expect("written");
    run(args, 0);
    let method = Manifest::read(&named).expect("finished").method;
    assert_eq!(method.keys().map(String::as_str).collect::<Vec<_>>(), ["class-map", "rule", "selection"]);
    let recipe = std::fs::read_to_string(named.join("recipe.toml")).expect("written");
    assert!(recipe.contains("# It takes --class-map too: the file whose BLAKE3 is "), "{recipe}");
}

#[test]
fn scores_from_elsewhere_decide_and_their_direction_is_asked_for() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    let path = dir.path().join("mine.parquet");
    let rows: Vec<(u32, f32)> = (0..100).map(|sample| (sample, -(sample as f32))).collect();
    // A table without a column `metric`, as others write it.
    let unnamed = dir.path().join("unnamed.parquet");
    write_scores(&unnamed, vec![Scored { metric: UNNAMED.into(), rows: rows.clone() }]).expect("written");
    let plain = ["--ipc", "1", "--grid", "1", "--rule", "easy-first", "--scores", arg(&unnamed)];
    let (_, stderr) = run(compress(&source, &out, &plain), 2);
    assert!(stderr.contains("of which metric") && stderr.contains("--metric el2n"), "{stderr}");
    write_scores(&path, vec![Scored { metric: "mine".into(), rows }]).expect("written");
    let more = ["--ipc", "1", "--grid", "1", "--rule", "easy-first", "--metric", "mine", "--scores", arg(&path)];
    let (_, stderr) = run(compress(&source, &out, &more), 1);
    assert!(stderr.contains("which end of `mine` is hard?") && stderr.contains("--hard-end"), "{stderr}");
    let mut args = compress(&source, &out, &more);
    args.extend(["--hard-end", "high"]);
    run(args, 0);
    let kept = Selection::read(&dir.path().join("set.run/selection.parquet"), |_| Some(0)).expect("a selection");
    let samples = Samples::read(&dir.path().join("set.run/samples.parquet")).expect("samples");
    for class_id in 0..3 {
        let last = samples.usable(Split::Train).filter(|s| s.class_id == class_id).map(|s| s.sample).max();
        let shown: Vec<u32> = kept.rows.iter().filter(|r| r.verdict.is_kept()).map(|r| r.sample).collect();
        assert!(shown.contains(&last.expect("a sample")), "the lowest score is the easiest");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_way_out_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    let refuse = |more: &[&str], status: i32, words: &[&str]| {
        let (_, stderr) = run(compress(&source, &out, more), status);
        for word in words {
            assert!(stderr.contains(word), "`{word}` is missing from:\n{stderr}");
        }
        assert!(!out.exists(), "nothing is written");
    };
    refuse(
        &["--ipc", "7", "--preset", "random"],
        1,
        &["the 7 samples needed", "`disc` has 6", "--ipc", "--grid", "--on-small-class fewer"],
    );
    refuse(&["--ipc", "1", "--preset", "pac"], 2, &["no preset `pac`", "did you mean `pca`?"]);
    refuse(&["--ipc", "1", "--rule", "esay-first"], 2, &["esay-first", "easy-first"]);
    refuse(&["--preset", "random"], 2, &["how many images per class?", "--ipc 10"]);
    refuse(&["--ipc", "1", "--holdout", "1.5"], 2, &["hold-out of 1.5", "--holdout 0.1"]);
    let recipe = dir.path().join("bad.toml");
    std::fs::write(&recipe, "ipc = 2\nmetrik = \"el2n\"\n").expect("written");
    refuse(&["--recipe", arg(&recipe)], 2, &["unknown key `metrik`", "did you mean `metric`?"]);
    std::fs::create_dir(source.join("train/empty")).expect("created");
    std::fs::create_dir(source.join("test/empty")).expect("created");
    refuse(&["--ipc", "1", "--preset", "random"], 1, &["empty", "hint:"]);
}

#[test]
fn an_output_that_exists_is_kept_unless_force_replaces_our_own() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    let random = ["--ipc", "2", "--preset", "random"];
    std::fs::create_dir_all(&out).expect("created");
    std::fs::write(out.join("thesis.txt"), "years of work").expect("written");
    let (_, stderr) = run(compress(&source, &out, &random), 1);
    assert!(stderr.contains("was not written by smalti"), "{stderr}");
    let mut forced = compress(&source, &out, &random);
    forced.push("--force");
    run(forced.clone(), 1);
    assert_eq!(std::fs::read_to_string(out.join("thesis.txt")).expect("still there"), "years of work");
    std::fs::remove_dir_all(&out).expect("removed");

    // A working folder that is none of ours, or that is a set.
    let (other, beside) = (dir.path().join("other"), dir.path().join("other.run"));
    std::fs::create_dir_all(&beside).expect("created");
    std::fs::write(beside.join("recipe.toml"), "butter").expect("written");
    let mut args = compress(&source, &other, &random);
    args.push("--force");
    let (_, stderr) = run(args.clone(), 1);
    assert!(stderr.contains("other.run` would hold the working tables"), "{stderr}");
    assert_eq!(std::fs::read_to_string(beside.join("recipe.toml")).expect("still there"), "butter");
    std::fs::remove_dir_all(&beside).expect("removed");
    run(compress(&source, &beside, &random), 0);
    let set = tree(&beside);
    run(args, 1);
    assert_eq!(tree(&beside), set);

    run(compress(&source, &out, &random), 0);
    let before = tree(&out);
    let (_, stderr) = run(compress(&source, &out, &random), 1);
    assert!(stderr.contains("holds a finished set") && stderr.contains("--force"), "{stderr}");
    let (_, stderr) = run(compress(&source, &out, &["--ipc", "1", "--preset", "random"]), 1);
    assert!(stderr.contains("holds a finished set"), "{stderr}");
    let working = || tree(&out.with_extension("run"));
    let tables = working();
    let ids = dir.path().join("ids.txt");
    std::fs::write(&ids, "no such image\n").expect("written");
    for more in [
        &["--ipc", "7", "--preset", "random", "--holdout", "0.3"][..],
        &["--ipc", "1", "--selection", arg(&ids)],
        &["--ipc", "1", "--metric", "el2n", "--scores", arg(&ids)],
        &["--ipc", "1", "--preset", "pca", "--device", "cuda:63"],
        &["--ipc", "1", "--preset", "pca", "--proxy", "convnet-3", "--proxy-protocol", "fast-growing"],
    ] {
        run(compress(&source, &out, more).into_iter().chain(["--force"]), 1);
        assert!(tree(&out) == before && working() == tables, "what cannot be made replaces nothing: {more:?}");
    }
    for more in [
        &["--ipc", "1", "--preset", "pca", "--proxy", "resnet188"][..],
        &["--ipc", "1", "--preset", "pca", "--proxy", "convnet-4", "--proxy-size", "8"],
        &["--ipc", "1", "--preset", "pca", "--proxy", "resnet18", "--proxy-size", "100000"],
        &["--ipc", "1", "--preset", "random", "--metric", "el2n"],
    ] {
        run(compress(&source, &out, more).into_iter().chain(["--force"]), 2);
        assert!(tree(&out) == before && working() == tables, "what is called wrongly replaces nothing: {more:?}");
    }
    assert_eq!(tree(&out), before);
    run(forced, 0);
    assert_eq!(tree(&out), before, "the same settings give the same set");
    let mut other = compress(&source, &out, &["--ipc", "1", "--preset", "random"]);
    other.push("--force");
    run(other, 0);
    assert_eq!(Manifest::read(&out).expect("finished").images.len(), 3);
}

#[test]
fn an_unreadable_image_is_named_and_the_exit_status_says_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    std::fs::write(source.join("train/disc/zz_bad.png"), b"no image").expect("written");
    let (stdout, stderr) = run(compress(&source, &out, &["--ipc", "2", "--preset", "random", "--json"]), 3);
    assert!(stderr.contains("train/disc/zz_bad.png"), "{stderr}");
    let facts: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(facts["skipped"][0]["path"].as_str(), Some("train/disc/zz_bad.png"));
    assert_eq!(Manifest::read(&out).expect("finished").skipped.len(), 1);
    let (stdout, _) = run(["inspect", arg(&source), "--json", "--quiet"], 3);
    let found: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(found["unreadable"][0]["path"].as_str(), Some("train/disc/zz_bad.png"));
    assert_eq!(found["images"].as_u64(), Some(3 * (6 + 4) + 1));
}

/// Links that lead nowhere, or round in a circle, are bad images of any run, the one that goes on too.
#[test]
fn links_that_lead_nowhere_stop_no_run() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    std::os::unix::fs::symlink("/nowhere/at/all.png", source.join("train/disc/gone.png")).expect("linked");
    std::os::unix::fs::symlink("round.png", source.join("train/disc/round.png")).expect("linked");
    std::fs::create_dir(&out).expect("created");
    let random = ["--ipc", "1", "--preset", "random"];
    let (_, stderr) = run(compress(&source, &out, &random), 3);
    assert!(stderr.contains("gone.png") && stderr.contains("round.png"), "{stderr}");
    std::os::unix::fs::symlink(out.join("train/disc/later.png"), source.join("train/disc/in.png")).expect("linked");
    let (_, stderr) = run(compress(&source, &out, &random).into_iter().chain(["--force"]), 1);
    assert!(stderr.contains("lies in the output"), "{stderr}");
}

#[test]
fn the_hold_out_is_in_no_set_and_can_be_measured_on() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 20), dir.path().join("set"));
    run(compress(&source, &out, &["--ipc", "3", "--preset", "random", "--holdout", "0.3"]), 0);
    let samples = Samples::read(&dir.path().join("set.run/samples.parquet")).expect("samples");
    let held: Vec<u32> = samples.usable(Split::Holdout).map(|s| s.sample).collect();
    assert!((5..=32).contains(&held.len()), "{}", held.len());
    let manifest = Manifest::read(&out).expect("finished");
    assert!(manifest.images.iter().flat_map(|i| &i.tiles).all(|t| !held.contains(&t.sample)));
    let tiny = [
        "--student",
        "convnet-1/4",
        "--protocol",
        "small",
        "--images-seen",
        "100",
        "--seeds",
        "1",
        "--json",
        "--quiet",
    ];
    let mut args = vec!["train", arg(&out), "--test", arg(&source), "--split", "holdout"];
    args.extend(tiny);
    let (stdout, _) = run(args, 0);
    let summary: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(summary["test_images"].as_u64(), Some(held.len() as u64));
    std::fs::remove_dir_all(dir.path().join("set.run")).expect("removed");
    let (_, stderr) = run(["train", arg(&out), "--test", arg(&source), "--split", "holdout"], 1);
    assert!(stderr.contains("set.run/samples.parquet") && stderr.contains("bring that folder along"), "{stderr}");
}

/// Test images may show anything: neither scores nor the set depend on them.
#[test]
fn what_the_test_images_show_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 10);
    let made = |name: &str| {
        let out = dir.path().join(name).join("set");
        std::fs::create_dir(dir.path().join(name)).expect("created");
        let mut args = compress(&source, &out, &["--ipc", "1", "--preset", "pca", "--holdout", "0.1"]);
        args.extend(TINY_PROXY);
        run(args, 0);
        let scores = read_scores(&out.with_extension("run").join("scores.parquet")).expect("scores");
        let mut set = tree(&out);
        // They hold the hash of the whole source.
        set.retain(|name, _| !["README.md", "manifest.json"].contains(&name.as_str()));
        (set, scores)
    };
    let before = made("before");
    let files = tree(&source);
    let image = files.iter().find(|(name, _)| name.starts_with("train/")).expect("a training image").1;
    for name in files.keys().filter(|name| name.starts_with("test/")) {
        std::fs::write(source.join(name), image).expect("written");
    }
    assert!(made("after") == before);
}

/// Images that a set was chosen from are no test: a source without a test part is not offered as one.
#[test]
fn the_next_command_measures_on_images_that_are_none_of_the_set() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = images(dir.path(), 6);
    let next = |source: &Path, more: &[&str]| {
        let out = dir.path().join("my set");
        let mut args = compress(source, &out, &["--ipc", "1", "--preset", "random", "--force"]);
        args.extend(more);
        run(args, 0).0
    };
    let quoted = format!("next: smalti train '{}' --test", dir.path().join("my set").display());
    let whole = next(&source, &[]);
    assert!(whole.contains(&format!("{quoted} {}\n", source.display())), "{whole}");
    let train = source.join("train");
    let alone = next(&train, &[]);
    assert!(alone.contains(&format!("{quoted} OTHER\n")) && alone.contains("has no test part"), "{alone}");
    let held = next(&train, &["--holdout", "0.4"]);
    assert!(held.contains(&format!("{quoted} {} --split holdout\n", train.display())), "{held}");
}

/// What names of columns decide is on record, so that the recipe of a set tells all that made it.
#[test]
fn the_column_that_labels_came_from_is_on_record() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (packed, out) = (dir.path().join("packed"), dir.path().join("set"));
    let source = images(dir.path(), 4);
    run(compress(&source, &packed, &["--ipc", "4", "--preset", "random", "--format", "parquet"]), 0);
    let table = packed.join("data/train-00000-of-00001.parquet");
    run(compress(&table, &out, &["--ipc", "1", "--preset", "random", "--label-column", "label"]), 0);
    let recipe = std::fs::read_to_string(out.join("recipe.toml")).expect("written");
    assert!(recipe.contains("# It takes --label-column too: \"label\"\n"), "{recipe}");
    let method = Manifest::read(&out).expect("finished").method;
    assert_eq!(method.get("label-column").map(String::as_str), Some("label"));
}

#[test]
fn a_broken_off_run_with_other_settings_is_not_mixed_up() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 8), dir.path().join("set"));
    // What came to nothing leaves no claim on the folder.
    run(compress(&source, &out, &["--ipc", "9", "--preset", "random"]), 1);
    // The working folder of a set that was moved away still holds its scores.
    let mut args = compress(&source, &out, &["--ipc", "1"]);
    args.extend(TINY_PROXY);
    run(args.clone(), 0);
    std::fs::remove_dir_all(&out).expect("removed");
    let mut other = compress(&source, &out, &["--ipc", "2"]);
    other.extend(TINY_PROXY);
    let (_, stderr) = run(other.clone(), 1);
    assert!(stderr.contains("other settings") && stderr.contains("ipc = 1") && stderr.contains("--scores"), "{stderr}");
    run(args, 0);
    other.push("--force");
    run(other, 0);
}

#[test]
fn scores_of_a_broken_off_run_are_not_laid_on_other_images() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    let mut args = compress(&source, &out, &["--ipc", "1"]);
    args.extend(TINY_PROXY);
    run(args.clone(), 0);
    std::fs::remove_dir_all(&out).expect("removed");
    // As many images as before, of which some have other rows now.
    let disc = source.join("train/disc");
    let first =
        std::fs::read_dir(&disc).expect("a class").map(|e| e.expect("an entry").path()).min().expect("an image");
    std::fs::rename(&first, disc.join("zz.png")).expect("renamed");
    let (_, stderr) = run(args.clone(), 1);
    assert!(stderr.contains("other settings") && stderr.contains("training images"), "{stderr}");
    std::fs::rename(disc.join("zz.png"), &first).expect("renamed");
    // Another image under a known name.
    let before = std::fs::read(&first).expect("there");
    let last = std::fs::read_dir(&disc).expect("a class").map(|e| e.expect("an entry").path()).max().expect("an image");
    std::fs::copy(last, &first).expect("copied");
    let (_, stderr) = run(args.clone(), 1);
    assert!(stderr.contains("other settings") && stderr.contains("training images"), "{stderr}");
    std::fs::write(&first, before).expect("written");
    run(args, 0);
}

#[test]
fn source_and_output_do_not_lie_in_each_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, set) = (images(dir.path(), 6), dir.path().join("set"));
    run(compress(&source, &set, &["--ipc", "2", "--preset", "random"]), 0);
    let before = tree(dir.path());
    let inside = source.join("train/small");
    let linked = dir.path().join("linked");
    std::os::unix::fs::symlink(&source, &linked).expect("linked");
    for (source, out) in
        [(&set, &set), (&set.join("train"), &set), (&source, &inside), (&source, &linked.join("train/small"))]
    {
        let mut args = compress(source, out, &["--ipc", "1", "--preset", "random"]);
        args.push("--force");
        let (_, stderr) = run(args, 1);
        assert!(stderr.contains("lies in") && stderr.contains("beside the source"), "{stderr}");
    }
    // A class, or an image, that is a link into the output.
    for link in ["train/a/of-a-set", "train/a/one.png"] {
        let mixed = dir.path().join("mixed");
        let place = mixed.join(link);
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("created");
        let there = set.join("train").read_dir().expect("classes").next().expect("a class").expect("an entry").path();
        let image = there.read_dir().expect("images").next().expect("an image").expect("an entry").path();
        std::os::unix::fs::symlink(if link.ends_with("png") { &image } else { &there }, &place).expect("linked");
        let mut args = compress(&mixed, &set, &["--ipc", "1", "--preset", "random", "--grid", "1"]);
        args.push("--force");
        let (_, stderr) = run(args, 1);
        assert!(stderr.contains("lies in the output"), "{stderr}");
        std::fs::remove_dir_all(&mixed).expect("removed");
    }
    std::fs::remove_file(&linked).expect("removed");
    assert_eq!(tree(dir.path()), before);
    // Folders beside Parquet files are none of its classes.
    let tables = dir.path().join("tables");
    run(compress(&source, &tables, &["--ipc", "2", "--preset", "random", "--format", "parquet"]), 0);
    let repository = dir.path().join("repository/data");
    std::fs::create_dir_all(&repository).expect("created");
    let table = "train-00000-of-00001.parquet";
    std::fs::copy(tables.join("data").join(table), repository.join(table)).expect("copied");
    let (repository, inside) = (dir.path().join("repository"), dir.path().join("repository/small"));
    run(compress(&repository, &inside, &["--ipc", "1", "--preset", "random"]), 0);
}

#[test]
fn a_repaired_image_is_seen_by_the_command_that_failed_for_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    let disc = source.join("train/disc");
    let image =
        std::fs::read_dir(&disc).expect("a class").map(|e| e.expect("an entry").path()).min().expect("an image");
    let whole = std::fs::read(&image).expect("there");
    std::fs::write(&image, &whole[..40]).expect("written");
    let args = compress(&source, &out, &["--ipc", "6", "--preset", "random"]);
    let (_, stderr) = run(args.clone(), 1);
    assert!(stderr.contains("disc"), "{stderr}");
    std::fs::write(&image, whole).expect("written");
    run(args, 0);
}

#[test]
fn a_proxy_that_another_run_trained_comes_from_the_cache_with_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, cache) = (images(dir.path(), 6), dir.path().join("cache"));
    let run_with = |out: &Path, more: &[&str]| {
        let mut args = vec!["compress", arg(&source), "--out", arg(out), "--ipc", "1", "--preset", "el2n-easy"];
        args.extend(TINY_PROXY);
        args.extend(more);
        common::check(&common::smalti(args).env("SMALTI_CACHE", &cache).output().expect("it starts"), 0).1
    };
    let (first, second, other) = (dir.path().join("a/set"), dir.path().join("b/set"), dir.path().join("c/set"));
    run_with(&first, &[]);
    let said = run_with(&second, &[]);
    assert_eq!(said.matches("from the cache").count(), 2, "{said}");
    assert_eq!(tree(&dir.path().join("b/set.run/trace")), tree(&dir.path().join("a/set.run/trace")));
    assert_eq!(tree(&second), tree(&first));
    assert!(!run_with(&other, &["--seed", "3"]).contains("from the cache"), "other proxies");
    let turned = dir.path().join("d/set");
    assert!(!run_with(&turned, &["--orientation", "exif"]).contains("from the cache"), "other pixels");
    let listed = |more: &[&str]| {
        let args = ["cache", "--json"].iter().chain(more);
        let output = common::smalti(args).env("SMALTI_CACHE", &cache).output().expect("it starts");
        serde_json::from_str::<Vec<serde_json::Value>>(&common::check(&output, 0).0).expect("JSON").len()
    };
    // An entry that lost a file is as good as none.
    for entry in std::fs::read_dir(cache.join("artifacts")).expect("a cache").map(|e| e.expect("an entry").path()) {
        let report = entry.join("files/report.json");
        if report.exists() {
            std::fs::rename(&report, report.with_extension("lost")).expect("renamed");
        }
    }
    let said = run_with(&dir.path().join("e/set"), &[]);
    assert!(said.contains("the cache lost a proxy") && !said.contains("from the cache"), "{said}");
    assert_eq!(tree(&dir.path().join("e/set")), tree(&first));
    assert_eq!((listed(&[]), listed(&["--clean"]), listed(&[])), (6, 6, 0));
    assert_eq!(tree(&second), tree(&first), "what was made from it is its owner's");
}
