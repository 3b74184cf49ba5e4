//! What is written about the code is checked against it: sizes, layers, links.

use smalti::bench::recipe::BenchRecipe;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|e| e.expect("an entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.to_string_lossy().ends_with(ending) {
                found.push(entry);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {}", dir.display());
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("text")
}

#[test]
fn files_stay_small() {
    let sources: Vec<PathBuf> = files(&root().join("crates"), ".rs")
        .into_iter()
        .filter(|p| p.components().any(|c| c.as_os_str() == "src"))
        .collect();
    let mut lengths: Vec<usize> = sources.iter().map(|path| read(path).lines().count()).collect();
    for (path, lines) in sources.iter().zip(&lengths) {
        assert!(*lines <= 500, "{} has {lines} lines: split it", path.display());
    }
    lengths.sort_unstable();
    assert!(lengths[lengths.len() / 2] <= 200, "median {}", lengths[lengths.len() / 2]);
    assert!(lengths[lengths.len() * 9 / 10] <= 450, "90th percentile {}", lengths[lengths.len() * 9 / 10]);
}

/// The layers of ARCHITECTURE.md, as Cargo sees them.
#[test]
fn layers_point_one_way() {
    for (name, forbidden) in [
        ("smalti-data", &["smalti-select", "smalti-learn", "tch", "datafusion"][..]),
        ("smalti-select", &["smalti-learn", "tch", "image", "turbojpeg"]),
        ("smalti-learn", &["smalti-select", "datafusion"]),
    ] {
        let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
        let mut found = Vec::new();
        dependencies(&toml::from_str(&manifest).expect("TOML"), &mut found);
        assert!(found.len() > 3, "{name} has dependencies: {found:?}");
        for word in forbidden {
            assert!(!found.iter().any(|known| known == word), "{name} must not know {word}");
        }
    }
}

/// What the tables of dependencies name, those of targets as well.
fn dependencies(table: &toml::Table, found: &mut Vec<String>) {
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") { found.extend(inner.keys().cloned()) } else { dependencies(inner, found) }
    }
}

#[test]
fn every_recipe_can_be_settled() {
    for path in files(&root().join("recipes"), ".toml") {
        let plan = BenchRecipe::read(&path).and_then(|recipe| recipe.settle(path.parent().expect("a folder")));
        plan.unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
    }
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = read(&root().join(name));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") && !target.starts_with('#') {
                assert!(root().join(target).exists(), "{name} links to {target}");
            }
        }
    }
}

#[test]
fn the_pipeline_fits_one_screen() {
    let text = read(&root().join("crates/smalti/src/pipeline.rs"));
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.trim().is_empty()).count();
    assert!(code <= 90, "{code} lines of code");
}
