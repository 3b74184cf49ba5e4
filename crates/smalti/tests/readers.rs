//! Written sets open where users open them: torchvision's ImageFolder and Hugging Face `datasets`.

mod common;

use common::{arg, check, images, python, run};
use std::process::Command;

const SCRIPT: &str = r#"
import json, sys
from pathlib import Path
from datasets import ClassLabel, Image, load_dataset
from torchvision.datasets import ImageFolder

root = Path(sys.argv[1])
manifest = json.loads((root / "manifest.json").read_text())
want = [(image["file"], image["class_id"], manifest["size"]) for image in manifest["images"]]

folder = ImageFolder(root / "train")
assert folder.classes == manifest["classes"] == (root / "class_to_idx.txt").read_text().split(), folder.classes
got = [(str(Path(path).relative_to(root)), label, folder.loader(path).size[0]) for path, label in folder.samples]
assert got == want, got

table = load_dataset("parquet", data_files=str(root / "data" / "*.parquet"), split="train", cache_dir=sys.argv[2])
assert isinstance(table.features["image"], Image) and isinstance(table.features["label"], ClassLabel)
assert table.features["label"].names == manifest["classes"]
assert table["label"] == [w[1] for w in want] or list(table["label"]) == [w[1] for w in want]
for row, (file, _, _), entry in zip(table, want, manifest["images"]):
    assert list(row["image"].convert("RGB").getdata()) == list(folder.loader(str(root / file)).getdata()), file
    assert row["tiles"] == [n for tile in entry["tiles"] for n in tile["box"]], file

# The whole folder, as the Hub would show it: the card names the files.
whole = load_dataset(str(root), split="train", cache_dir=sys.argv[2])
assert whole.num_rows == len(want) and whole.features["label"].names == manifest["classes"]
print("read", len(want))
"#;

#[test]
fn a_set_opens_in_torchvision_and_in_datasets() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (source, out) = (images(dir.path(), 8), dir.path().join("set"));
    for size in ["24", "72"] {
        // 24 px is stored as PNG, 72 px as JPEG.
        let more =
            ["--ipc", "2", "--preset", "random-mosaic", "--format", "both", "--size", size, "--force", "--quiet"];
        run(["compress", arg(&source), "--out", arg(&out)].iter().chain(&more), 0);
        let output = Command::new(&python)
            .args(["-c", SCRIPT, arg(&out), arg(&dir.path().join("cache"))])
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_DATASETS_OFFLINE", "1")
            .output()
            .expect("Python starts");
        let (stdout, _) = check(&output, 0);
        assert_eq!(stdout.trim(), "read 6");
    }
}
