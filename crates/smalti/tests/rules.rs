//! Rules and metrics beyond the preset, as a user meets them.

mod common;

use common::{TINY_PROXY, arg, images, run, tree};
use smalti_data::manifest::Manifest;
use std::path::Path;

fn compress<'a>(source: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["compress", arg(source), "--out", arg(out), "--quiet", "--grid", "1"];
    args.extend(more);
    args
}

#[test]
fn a_rule_that_compares_features_and_a_metric_of_ones_own_are_repeated_by_the_saved_recipe() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 8), dir.path().join("set"));
    let mine = ["--metric", "mine=avg(loss) filter (where epoch < 1)", "--hard-end", "high"];
    let mut args = compress(&source, &out, &["--ipc", "2", "--rule", "facility-location-easy:0.75"]);
    args.extend(mine);
    args.extend(TINY_PROXY);
    run(args.clone(), 0);
    let card = std::fs::read_to_string(out.join("README.md")).expect("a card");
    for words in ["facility-location-easy:0.75", "mine=avg(loss)", "| hard end of the metric | high |"] {
        assert!(card.contains(words), "{words} is missing from:\n{card}");
    }
    assert!(!card.contains("ccs-mosaic"), "nobody named a preset:\n{card}");
    let first = tree(&out);

    let again = dir.path().join("again/set");
    run(compress(&source, &again, &["--recipe", arg(&out.join("recipe.toml"))]), 0);
    assert_eq!(tree(&again), first);

    // A run that lost its features trains its proxies again, to the same choice.
    std::fs::remove_dir_all(&out).expect("removed");
    for seed in std::fs::read_dir(dir.path().join("set.run/trace")).expect("a trace") {
        std::fs::remove_file(seed.expect("a folder").path().join("features.parquet")).expect("features were kept");
    }
    run(args, 0);
    assert_eq!(tree(&out), first);
}

#[test]
fn a_global_rule_starves_classes_says_so_and_can_be_given_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 8), dir.path().join("set"));
    // Nearly all of the pool is kept by the row's number alone, so classes differ.
    let scores = dir.path().join("scores.parquet");
    let scored =
        smalti_data::tables::Scored { metric: "el2n".into(), rows: (0..100).map(|row| (row, row as f32)).collect() };
    smalti_data::tables::scores::write_scores(&scores, vec![scored]).expect("written");
    let global = ["--ipc", "2", "--rule", "easy-first-global", "--metric", "el2n"];
    let mut args = vec!["compress", arg(&source), "--out", arg(&out), "--grid", "1", "--scores", arg(&scores)];
    args.extend(global);
    let (_, stderr) = run(args, 0);
    assert!(
        stderr.contains("1 of 3 classes have no image") || stderr.contains("2 of 3 classes have no image"),
        "{stderr}"
    );
    let manifest = Manifest::read(&out).expect("finished");
    assert_eq!(manifest.images.len(), 6, "two per class on average");
    assert!(manifest.uneven.values().any(|&images| images > 2), "{:?}", manifest.uneven);
    run(["verify", arg(&out)], 0);
    let card = std::fs::read_to_string(out.join("README.md")).expect("a card");
    assert!(card.contains("2 per class on average"), "{card}");

    let selection = dir.path().join("set.run/selection.parquet");
    let again = dir.path().join("again");
    let mut args = compress(&source, &again, &["--selection", arg(&selection)]);
    args.extend(global);
    run(args, 0);
    let files = |set: &Path| -> Vec<String> {
        Manifest::read(set).expect("finished").images.into_iter().map(|image| image.blake3).collect()
    };
    assert_eq!(files(&again), files(&out));
}

#[test]
fn what_cannot_score_is_refused_before_any_proxy_trains() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 6), dir.path().join("set"));
    let refuse = |more: &[&str], words: &[&str]| {
        let mut args = compress(&source, &out, more);
        if !more.contains(&"--ipc") {
            args.extend(["--ipc", "1"]);
        }
        let output = common::smalti(args).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "`{word}` is missing from:\n{stderr}");
        }
        assert!(!dir.path().join("set.run/trace").exists(), "no proxy was trained");
        assert!(!out.exists());
    };
    refuse(&["--metric", "mine=avg(lost)", "--hard-end", "high"], &["reads a column `lost`", "`loss`, `el2n`"]);
    refuse(&["--metric", "mine=avg(loss)"], &["which end of `mine` is hard?", "--hard-end high"]);
    refuse(&["--metric", "cad", "--proxy-epochs", "2"], &["needs 3 epochs", "--proxy-epochs 3"]);
    refuse(&["--metric", "el2n", "--hard-end", "low"], &["the hard end of `el2n` is the high one"]);
    refuse(&["--rule", "window:2"], &["`2` is no number for the rule `window`", "from 0 to 1"]);
    refuse(&["--rule", "herding-global"], &["has no global form"]);
    refuse(&["--ipc", "99", "--rule", "random-global"], &["samples needed", "--on-small-class fewer"]);
    let scores = dir.path().join("scores.parquet");
    smalti_data::tables::scores::write_scores(&scores, Vec::new()).expect("written");
    refuse(&["--rule", "herding", "--scores", arg(&scores)], &["compares features of proxies"]);
}
