//! Written sets open with torchvision's ImageFolder, timm, webdataset and Hugging Face `datasets`, and hold the same pixels there.

use crate::sets::given;
use crate::util::{open, read};
use serde_json::{Value, json};
use smalti_data::decode::decode;
use smalti_data::write::OutputFormat;
use std::path::Path;
use std::process::Command;

/// Python with torchvision and `datasets`, if it is set up; `make test` says that it must be.
pub fn python() -> Option<std::path::PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
    let there = venv.join("full.done").exists();
    if !there {
        assert!(std::env::var_os("SMALTI_REFERENCES").is_none(), "`make test` has set up {}", venv.display());
        eprintln!("skipped: .venv has no torchvision, timm, webdataset and datasets; `make test` installs them");
    }
    there.then(|| venv.join("bin/python"))
}

#[test]
fn other_libraries_read_what_was_written() {
    let Some(python) = python() else { return };
    let given = given(8);
    let (plan, mut spec) = given.plan(2, 2);
    let sets = [
        ("folder", OutputFormat::Folder),
        ("parquet", OutputFormat::Parquet),
        ("both", OutputFormat::Both),
        ("webdataset", OutputFormat::WebDataset),
    ];
    let manifests = sets.map(|(name, format)| {
        spec.format = format;
        given.write(name, &plan, &spec).expect("written")
    });
    let output = Command::new(&python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/readers.py"))
        .args(sets.iter().flat_map(|(name, _)| [given.out(name).0.into_os_string(), (*name).into()]))
        .env("HF_HOME", given.dir.path().join("cache"))
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    for (((name, format), manifest), found) in sets.iter().zip(&manifests).zip(&found) {
        let images = read(&open(&given.out(name).0), &[0, 1, 2, 3]);
        let pixels = |row: u32| {
            let picture = decode(images[&row].as_ref().expect("there")).expect("decodes");
            picture.data.iter().map(|byte| format!("{byte:02X}")).collect::<String>()
        };
        let rows: Vec<Value> = (0..4).map(|row| json!([manifest.images[row as usize].class_id, pixels(row)])).collect();
        if format.has_folder() {
            assert_eq!(found["torchvision"], json!({"classes": ["b_ odd", "c"], "rows": rows}));
            assert_eq!(found["timm"], json!({"rows": rows}));
        }
        let tiles: Vec<Vec<u32>> =
            manifest.images.iter().map(|image| image.tiles.iter().flat_map(|tile| tile.place).collect()).collect();
        if format.has_webdataset() {
            let keys = ["000000000", "000000001", "000000002", "000000003"];
            assert_eq!(found["webdataset"], json!({"keys": keys, "rows": rows, "tiles": tiles}));
            assert_eq!(found["datasets"], json!({"rows": rows}));
            let mut sorted = rows;
            sorted.sort_by_key(|row| (row[0].as_u64(), row[1].as_str().map(str::to_owned)));
            assert_eq!(found["timm"], json!({"rows": sorted}));
            continue;
        }
        let (classes, tiles) = match format.has_parquet() {
            true => (["b: odd", "c"], json!(tiles)),
            false => (["b_ odd", "c"], Value::Null),
        };
        let expected = json!({"classes": classes, "image": true, "rows": rows, "tiles": tiles});
        assert_eq!(found["datasets"], expected, "{name}");
    }
}
