//! The data set card, `README.md`: what the Hugging Face Hub reads, then what a person should know.

use crate::manifest::{Manifest, Skipped};
use crate::write::OutputFormat;
use std::fmt::Write;

/// The card of a set.
///
/// `licence` is the licence of the source images as the Hub spells it; `notes` is a paragraph of the user's.
pub fn render(manifest: &Manifest, licence: Option<&str>, notes: Option<&str>) -> String {
    let mut card = front_matter(manifest, licence);
    card.push_str(&summary(manifest));
    if let Some(notes) = notes {
        let _ = write!(card, "\n{}\n", notes.trim());
    }
    card.push_str(&facts(manifest));
    card.push_str(&loading(manifest));
    card.push_str(&limits(manifest));
    card
}

/// A YAML scalar that means this text whatever is in it: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// The part between the `---` lines. Class keys are strings, as the Hub demands.
fn front_matter(manifest: &Manifest, licence: Option<&str>) -> String {
    let images = manifest.images.len();
    let category = match images {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        _ => "1M<n<10M",
    };
    let path = match manifest.format {
        OutputFormat::WebDataset => "data/train-*.tar",
        format if format.has_parquet() => "data/train-*",
        _ => "train/**",
    };
    format!(
        "---\nlicense: {licence}\npretty_name: {name}\nsize_categories:\n- {category}\ntask_categories:\n- image-classification\n\
         tags:\n- dataset-compression\n- smalti\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    \
         path: {path}\n{info}---\n\n",
        licence = quoted(licence.unwrap_or("unknown")),
        name = quoted(&manifest.name),
        info = dataset_info(manifest),
    )
}

/// Features and sizes, for formats whose columns are ours; those of tar files follow from the suffixes.
fn dataset_info(manifest: &Manifest) -> String {
    if manifest.format.has_webdataset() {
        return String::new();
    }
    let names: String = manifest
        .folders
        .iter()
        .zip(&manifest.classes)
        .enumerate()
        // A reader of folders finds the folder names, a reader of Parquet the names in its schema.
        .map(|(at, (folder, class))| (at, if manifest.format.has_parquet() { class } else { folder }))
        .map(|(at, name)| format!("          '{at}': {}\n", quoted(name)))
        .collect();
    let tiles = match manifest.format.has_parquet() {
        true => "  - name: tiles\n    list: int32\n",
        false => "",
    };
    let images = manifest.images.len();
    let paths: u64 = manifest.images.iter().map(|image| image.file_name().len() as u64).sum();
    let boxes: u64 = manifest.images.iter().map(|image| 16 * image.tiles.len() as u64).sum();
    let bytes = manifest.image_bytes + manifest.label_bytes + paths + if tiles.is_empty() { 0 } else { boxes };
    let download = match manifest.format.has_parquet() {
        true => manifest.parquet.iter().map(|file| file.bytes).sum(),
        false => manifest.image_bytes,
    };
    format!(
        "dataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n      \
         class_label:\n        names:\n{names}{tiles}  splits:\n  - name: train\n    num_bytes: {bytes}\n    \
         num_examples: {images}\n  download_size: {download}\n  dataset_size: {bytes}\n"
    )
}

/// The method that made the images, where they were not chosen.
fn distilled_by(manifest: &Manifest) -> Option<String> {
    manifest.method.get("distill").map(|method| one_line(method))
}

/// `10 per class`; a global rule promises the mean alone.
fn per_class(manifest: &Manifest) -> String {
    let average = if manifest.uneven.values().any(|&images| images > manifest.ipc) { " on average" } else { "" };
    format!("{} per class{average}", manifest.ipc)
}

fn summary(manifest: &Manifest) -> String {
    let by = distilled_by(manifest);
    let tiles = match (&by, manifest.grid) {
        (None, 1) => ", each a whole image of the source".to_owned(),
        (None, n) => format!(", each a mosaic of {n} x {n} whole images of one class"),
        (Some(_), 1) => String::new(),
        (Some(_), n) => format!(", each of {n} x {n} tiles"),
    };
    let made = by.map_or("chosen from".to_owned(), |method| format!("made by {method} from a trained network and"));
    format!(
        "# {name}\n\n{images} images of {size} x {size} px, {each} in {classes} classes{tiles}. They were {made} the training \
         part of {source} labelled images and are stored as {stored}. Labels are hard: one class per image, and nothing else is needed to train.\n",
        name = one_line(&manifest.name),
        images = manifest.images.len(),
        size = manifest.size,
        each = per_class(manifest),
        classes = manifest.classes.len(),
        source = manifest.source.images,
        stored = manifest.image_format.describe(),
    )
}

fn facts(manifest: &Manifest) -> String {
    let mut rows = vec![
        ("images per class (IPC)", manifest.ipc.to_string()),
        ("grid", format!("{0} x {0} tiles", manifest.grid)),
        ("image bytes", manifest.image_bytes.to_string()),
        ("label bytes", manifest.label_bytes.to_string()),
        ("seed", manifest.seed.to_string()),
        ("source", format!("{} images, BLAKE3 of contents `{}`", manifest.source.images, manifest.source.content_hash)),
        ("decoded, resized", format!("{}, {}", manifest.decode_profile, manifest.resize_profile)),
        ("written by", format!("{} {}", manifest.created_by, manifest.smalti_version)),
    ];
    rows.extend(manifest.method.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mut text = String::from("\n## How it was made\n\n| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {} | {} |", cell(name), cell(&value));
    }
    for (class, images) in &manifest.uneven {
        let _ = write!(text, "\nClass `{}` has {images} images and not {}.\n", one_line(class), manifest.ipc);
    }
    text.push_str(&skipped(&manifest.skipped));
    text.push_str(match distilled_by(manifest) {
        None => {
            "\nSmalti follows [arXiv 2502.06434](https://arxiv.org/abs/2502.06434): prune, combine, augment. `recipe.toml` \
             holds every setting; `manifest.json` names the samples in each tile, with the hash of every file.\n"
        }
        Some(_) => "\n`recipe.toml` holds every setting; `manifest.json` the hash of every file.\n",
    });
    text
}

fn skipped(skipped: &[Skipped]) -> String {
    match skipped.len() {
        0 => String::new(),
        1 => "\nOne image of the source could not be read; `manifest.json` names it.\n".to_owned(),
        n => format!("\n{n} images of the source could not be read; `manifest.json` names them.\n"),
    }
}

fn loading(manifest: &Manifest) -> String {
    let mut text = String::from("\n## How to load it\n");
    if manifest.format.has_parquet() {
        text.push_str(
            "\n```python\nfrom datasets import load_dataset\n\ntrain = load_dataset(\"path/to/this/folder\", split=\"train\")\n\
             train[0][\"image\"], train[0][\"label\"], train[0][\"tiles\"]\n```\n",
        );
    }
    if manifest.format.has_webdataset() {
        // Webdataset's own notation for several files.
        let shards = match manifest.webdataset.len() {
            0 | 1 => "000000".to_owned(),
            several => format!("{{000000..{:06}}}", several - 1),
        };
        let _ = write!(
            text,
            "\n```python\nimport webdataset as wds\n\ntrain = wds.WebDataset(\"path/to/this/folder/data/train-{shards}.tar\", \
             shardshuffle=False).decode(\"pil\").to_tuple(\"jpg;png\", \"cls\", \"json\")\n```\n\nLine i of \
             `class_to_idx.txt` is class i. Samples lie in a seeded random order; `_info.json` is timm's index.\n",
        );
    }
    if manifest.format.has_folder() {
        text.push_str(
            "\n```python\nfrom torchvision.datasets import ImageFolder\n\ntrain = ImageFolder(\"path/to/this/folder/train\")\n```\n",
        );
        if !manifest.folders.is_sorted() {
            text.push_str(
                "\nThe classes of the source are not in alphabetical order, which ImageFolder assumes: line i of `class_to_idx.txt` is \
                 class i. Match classes by name.\n",
            );
        }
    }
    if manifest.grid > 1 {
        let _ = write!(
            text,
            "\nEach image holds {} training images. At every step pick one tile, crop inside that tile only, and resize the crop to the \
             training size; a crop across tiles mixes images. The boxes `left, top, width, height` of the tiles are in `manifest.json`\
             {}.\n",
            manifest.grid * manifest.grid,
            match manifest.format {
                OutputFormat::WebDataset => ", and under `tiles` in each `.json`",
                format if format.has_parquet() => ", and one after the other in the column `tiles`",
                _ => "",
            }
        );
    }
    text
}

fn limits(manifest: &Manifest) -> String {
    let holds = match distilled_by(manifest) {
        None => "holds real images of its source, whole and recognisable",
        Some(_) => "is made from real images of its source and may show them",
    };
    let licence = "The licence and the terms of the source hold for this set too.";
    let edge =
        if manifest.grid > 1 { " Tiles hold less detail than the source: small objects may be gone." } else { "" };
    format!(
        "\n## Limits\n\nThis is no privacy method: the set {holds}. {licence} It was \
         made to train classifiers; a few images per class do not show how often a thing occurs.{edge}\n"
    )
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Text as a table's cell.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::example;

    #[test]
    fn the_card_of_a_small_set() {
        insta::assert_snapshot!(render(&example(), Some("cc-by-4.0"), Some("Made in a test.")));
    }

    #[test]
    fn a_distilled_set_is_not_called_whole_images() {
        for grid in [1, 2] {
            let method = std::collections::BTreeMap::from([("distill".to_owned(), "rded".to_owned())]);
            let card = render(&Manifest { grid, method, ..example() }, None, None);
            assert!(
                card.contains("made by rded from a trained network and the training part of")
                    && card.contains("may show them"),
                "{card}"
            );
            assert!(!card.contains("whole") && !card.contains("chosen") && !card.contains("prune, combine"), "{card}");
        }
    }

    #[test]
    fn a_mosaic_in_parquet_explains_its_tiles() {
        let manifest = Manifest { grid: 2, format: OutputFormat::Parquet, ..example() };
        let card = render(&manifest, None, None);
        for part in [
            "path: data/train-*",
            "list: int32",
            "column `tiles`",
            "no privacy method",
            "'1': \"it's: b\"",
            "license: \"unknown\"",
        ] {
            assert!(card.contains(part), "{part} is missing from:\n{card}");
        }
        assert!(!card.contains("ImageFolder("), "there is no folder to open");
    }
}
