//! What a bench takes from outside: sets made elsewhere as rows, source images, a folder that somebody else wrote in.

mod common;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use common::{arg, images, run, tree};
use smalti_data::tables::write_table;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RECIPE: &str = r#"
name = "foreign"
source = "images"
size = 24
ipc = [2]
seeds = 1
holdout = 0.25
[training]
student = "convnet-1/4"
protocol = "small"
images-seen = 60
batch = 20
crop-min = 0.3
[[row]]
preset = "random"
"#;

const FOREIGN: &str = r#"
[[row]]
name = "numbers"
set = "sets/numbers.parquet"
class-map = "sets/names.txt"
[[row]]
name = "folders"
set = "sets/folders"
[[row]]
name = "thin"
set = "sets/folders"
ipc = 5
"#;

fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    found.sort();
    found
}

/// Two images of each class as `sets/folders`, and what they hold with the numbers of their classes, in the same order.
fn photos(dir: &Path) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    for (number, class) in (0..).zip(listed(&dir.join("images/train"))) {
        let own = dir.join("sets/folders").join(class.file_name().expect("a name"));
        std::fs::create_dir_all(&own).expect("created");
        for photo in &listed(&class)[..2] {
            std::fs::copy(photo, own.join(photo.file_name().expect("a name"))).expect("copied");
            found.push((number, std::fs::read(photo).expect("readable")));
        }
    }
    found
}

/// Images with labels that are numbers alone.
fn parquet(path: &Path, photos: &[(i64, Vec<u8>)], label_of: impl Fn(i64) -> i64) {
    let images = BinaryArray::from_iter_values(photos.iter().map(|(_, bytes)| bytes.as_slice()));
    let labels = Int64Array::from_iter_values(photos.iter().map(|(class, _)| label_of(*class)));
    let columns = [("image", Arc::new(images) as ArrayRef), ("label", Arc::new(labels) as ArrayRef)];
    write_table(path, &RecordBatch::try_from_iter(columns).expect("columns of one length")).expect("written");
}

fn write_recipe(dir: &Path, seeds: &str, rows: &str) -> PathBuf {
    let recipe = dir.join("foreign.toml");
    std::fs::write(&recipe, RECIPE.replace("seeds = 1", seeds) + rows).expect("written");
    recipe
}

fn cell(out: &Path, name: &str) -> serde_json::Value {
    let path = out.join(format!("cells/{name}-convnet-1_4-bn-small-seed0.json"));
    serde_json::from_slice(&std::fs::read(path).expect("a cell")).expect("JSON")
}

/// Numbers get their meaning from the map, whatever its order; the set cannot change under cells that were made with it, its labels neither.
#[test]
fn labels_of_a_set_made_elsewhere_are_matched_by_name_and_stay() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 16);
    let photos = photos(dir.path());
    let (set, out) = (dir.path().join("sets/numbers.parquet"), dir.path().join("out"));
    parquet(&set, &photos, |class| 2 - class);
    let names = listed(&dir.path().join("images/train")).into_iter().rev();
    let names: Vec<String> =
        names.map(|class| class.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    std::fs::write(dir.path().join("sets/names.txt"), names.join("\n")).expect("written");
    let recipe = write_recipe(dir.path(), "seeds = 2", FOREIGN);
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    let said = "the set of the row `thin` has 2 images per class and stands in the table at 5";
    assert_eq!(stderr.matches(said).count(), 1, "once for both seeds: {stderr}");
    let of = |name| {
        let cell = cell(&out, name);
        (cell["history"]["curve"].clone(), cell["right"].clone())
    };
    assert_eq!(of("numbers-ipc2"), of("folders-ipc2"), "the same images with the same labels");

    let recipe = write_recipe(dir.path(), "seeds = 3", FOREIGN);
    parquet(&set, &photos, |class| class);
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 1);
    assert!(stderr.contains("1 cell failed, 11 finished"), "{stderr}");
    assert!(stderr.contains("the set of numbers ipc 2 is") && stderr.contains("were made with"), "{stderr}");

    // Earlier versions remembered the contents alone.
    let inputs = out.join("inputs.json");
    let pinned: serde_json::Value = serde_json::from_slice(&std::fs::read(&inputs).expect("there")).expect("JSON");
    let mut pinned = pinned.as_object().expect("an object").clone();
    for value in pinned.values_mut() {
        let contents = value.as_str().and_then(|text| text.split_once(" labels ")).expect("the new form").0.to_owned();
        *value = contents.into();
    }
    std::fs::write(&inputs, serde_json::to_vec(&pinned).expect("JSON")).expect("written");
    parquet(&set, &photos, |class| 2 - class);
    run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    assert_eq!(listed(&out.join("cells")).len(), 12);
}

/// The table of samples is that of the images behind the cells, also after other images were refused.
#[test]
fn other_images_are_refused_before_they_leave_a_table() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 16);
    let (recipe, out) = (write_recipe(dir.path(), "seeds = 1", ""), dir.path().join("out"));
    run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 0);
    let table = out.join("work/samples.parquet");
    let before = std::fs::read(&table).expect("written");
    let class = listed(&dir.path().join("images/train")).swap_remove(0);
    let photos = listed(&class);
    std::fs::copy(&photos[0], &photos[1]).expect("copied");
    let recipe = write_recipe(dir.path(), "seeds = 2", "");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out), "--quiet"], 1);
    assert!(stderr.contains("was made from other images than those of the recipe"), "{stderr}");
    assert_eq!(std::fs::read(&table).expect("there"), before);
}

#[test]
fn a_folder_with_tables_of_somebody_else_stays_as_it_is() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    images(dir.path(), 4);
    let (recipe, out) = (write_recipe(dir.path(), "seeds = 1", ""), dir.path().join("mine"));
    std::fs::create_dir(&out).expect("created");
    std::fs::write(out.join("results.csv"), "mine").expect("written");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("results.csv` was not written by a bench") && stderr.contains("hint: "), "{stderr}");
    assert_eq!(tree(&out).into_iter().collect::<Vec<_>>(), [("results.csv".to_owned(), b"mine".to_vec())]);
}

#[test]
fn images_that_are_not_there_are_said_before_a_folder_appears() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (recipe, out) = (write_recipe(dir.path(), "seeds = 1", ""), dir.path().join("out"));
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&out)], 1);
    assert!(stderr.contains("there is no `") && stderr.contains("images`, where the recipe expects"), "{stderr}");
    assert!(!out.exists());
    let source = images(dir.path(), 4);
    let inside = source.join("train/out");
    let (_, stderr) = run(["bench", arg(&recipe), "--out", arg(&inside)], 1);
    assert!(stderr.contains("lies in the source"), "{stderr}");
    assert!(!inside.exists());
}
