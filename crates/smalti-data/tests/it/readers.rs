//! Written sets open with torchvision's ImageFolder and with Hugging Face `datasets`, and hold the same pixels there.

use crate::sets::given;
use crate::util::{open, read};
use serde_json::{Value, json};
use smalti_data::decode::decode;
use smalti_data::write::OutputFormat;
use std::path::Path;
use std::process::Command;

/// Python with torchvision and `datasets`, where `make test` has set it up.
fn python() -> Option<std::path::PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
    let there = venv.join("full.done").exists();
    if !there {
        eprintln!("skipped: .venv has no torchvision and datasets; `make test` installs them");
    }
    there.then(|| venv.join("bin/python"))
}

#[test]
fn torchvision_and_datasets_read_what_was_written() {
    let Some(python) = python() else { return };
    let given = given(8);
    let (plan, mut spec) = given.plan(2, 2);
    for (name, format) in
        [("folder", OutputFormat::Folder), ("parquet", OutputFormat::Parquet), ("both", OutputFormat::Both)]
    {
        spec.format = format;
        let manifest = given.write(name, &plan, &spec).expect("written");
        let dir = given.out(name).0;
        let output = Command::new(&python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/readers.py"))
            .args([dir.as_os_str(), name.as_ref()])
            .env("HF_HOME", given.dir.path().join("cache"))
            .output()
            .expect("Python runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let images = read(&open(&dir), &[0, 1, 2, 3]);
        let pixels = |row: u32| {
            let picture = decode(images[&row].as_ref().expect("there")).expect("decodes");
            picture.data.iter().map(|byte| format!("{byte:02X}")).collect::<String>()
        };
        let expected: Vec<Value> =
            (0..4).map(|row| json!([manifest.images[row as usize].class_id, pixels(row)])).collect();
        if format.has_folder() {
            assert_eq!(found["torchvision"], json!({"classes": ["b_ odd", "c"], "rows": expected}));
        }
        let datasets = &found["datasets"];
        let classes = if format.has_parquet() { ["b: odd", "c"] } else { ["b_ odd", "c"] };
        assert_eq!((&datasets["classes"], &datasets["rows"]), (&json!(classes), &json!(expected)), "{name}");
        assert_eq!(datasets["image"], json!(true));
        if format.has_parquet() {
            let tiles: Vec<Vec<u32>> =
                manifest.images.iter().map(|image| image.tiles.iter().flat_map(|tile| tile.place).collect()).collect();
            assert_eq!(datasets["tiles"], json!(tiles));
        }
    }
}
