//! `manifest.json`: what a compressed set is made of, and the mark that it is whole.
//!
//! It is written last. A folder without it is unfinished: readers refuse it, and the same `compress` command finishes it. It holds no
//! time and no absolute path, so that the same input gives the same bytes.

use crate::encode::ImageFormat;
use crate::error::{Error, Result};
use crate::files;
use crate::pixels::PixelBox;
use crate::write::OutputFormat;
use std::collections::BTreeMap;
use std::path::Path;

/// The file's name in the folder of the set.
pub const MANIFEST: &str = "manifest.json";

/// The version of the format that this program writes.
pub const FORMAT_VERSION: u32 = 3;

/// The oldest that it reads; before 3 card and recipe had no hashes.
const OLDEST: u32 = 2;

/// Bytes of one hard label: an int64, as it is stored in Parquet.
pub const LABEL_BYTES: u64 = 8;

/// Whether `dir` holds a manifest of ours, readable or not. Many programs write a `manifest.json`; a damaged one of ours still
/// counts as ours.
///
/// # Errors
/// [`Error::Io`] when the file is there and cannot be read.
pub fn exists(dir: &Path) -> Result<bool> {
    let path = dir.join(MANIFEST);
    let mark = b"\"smalti_version\"";
    Ok(path.is_file() && files::read(&path)?.windows(mark.len()).any(|window| window == mark))
}

/// That a folder has no manifest: its set was cut off while it was made, or there never was one.
pub(crate) fn unfinished(dir: &Path) -> Error {
    Error::input(
        format!("`{}` is not finished, or not a compressed set: it has no {MANIFEST}", dir.display()),
        "run the same command again (`smalti compress` or `smalti distill`); it goes on where it stopped",
    )
}

/// A whole compressed set.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of the program that wrote it.
    pub smalti_version: String,
    /// The program's name and page.
    pub created_by: String,
    /// Name of the set.
    pub name: String,
    /// Class names in class order, as the source has them.
    pub classes: Vec<String>,
    /// Folder name of each class: its name, with what a file system does not take replaced.
    pub folders: Vec<String>,
    /// Images per class that were asked for.
    pub ipc: u32,
    /// Classes that have another number of images than `ipc`: fewer where they are small, any where the rule is global.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uneven: BTreeMap<String, u32>,
    /// Tiles per side of each image.
    pub grid: u32,
    /// Side of each image in pixels.
    pub size: u32,
    /// Whether the set has a folder of images, Parquet files, both of them, or tar files.
    pub format: OutputFormat,
    /// How the images are stored.
    pub image_format: ImageFormat,
    /// Quality, for JPEG.
    pub jpeg_quality: Option<u8>,
    /// Chroma subsampling, for JPEG.
    pub jpeg_subsampling: Option<String>,
    /// The rule by which source images were decoded.
    pub decode_profile: String,
    /// The rule by which they were resized.
    pub resize_profile: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// How the samples were chosen: preset, metric, rule, reason.
    pub method: BTreeMap<String, String>,
    /// Where they came from.
    pub source: SourceEntry,
    /// The images, in class order, then by index.
    pub images: Vec<ImageEntry>,
    /// The Parquet files, in order; their rows are `images`.
    pub parquet: Vec<FileEntry>,
    /// The tar files, in order; the key of a sample is its place in `images`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webdataset: Vec<FileEntry>,
    /// BLAKE3 of the card and of the recipe, by file name; none in sets that were written before they were pinned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<String, String>,
    /// Source images that could not be used.
    pub skipped: Vec<Skipped>,
    /// Sum of the encoded images in bytes, counted once where folder and Parquet are both written.
    pub image_bytes: u64,
    /// Bytes of all labels, [`LABEL_BYTES`] each.
    pub label_bytes: u64,
    /// BLAKE3 of this file with an empty string here; written and checked by this module, empty elsewhere.
    #[serde(default)]
    pub manifest_blake3: String,
}

/// What a set was made from, without naming a place on a machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceEntry {
    /// `folder`, `parquet` or `webdataset`.
    pub kind: String,
    /// Images in it, usable or not.
    pub images: u64,
    /// BLAKE3 over the content hashes of all images in order.
    pub content_hash: String,
}

/// One stored image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageEntry {
    /// Path inside the set, with `/`. For a set in Parquet only, the last part is the `path` of its row.
    pub file: String,
    /// Class index.
    pub class_id: u32,
    /// Encoded size.
    pub bytes: u64,
    /// BLAKE3 of the encoded bytes, in hexadecimal.
    pub blake3: String,
    /// Its tiles, row by row.
    pub tiles: Vec<TileEntry>,
}

impl ImageEntry {
    /// The bare file name, the `path` of a Parquet row.
    pub fn file_name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(&self.file)
    }
}

/// One tile of a stored image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TileEntry {
    /// Row of the source.
    pub sample: u32,
    /// First 128 bits of BLAKE3 over the source image's bytes, in hexadecimal.
    pub content_hash: String,
    /// `[left, top, width, height]` in pixels.
    #[serde(rename = "box")]
    pub place: [u32; 4],
}

impl TileEntry {
    /// The tile's box.
    pub fn pixel_box(&self) -> PixelBox {
        let [left, top, width, height] = self.place;
        PixelBox { left, top, width, height }
    }
}

/// One Parquet or tar file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileEntry {
    /// Path inside the set, with `/`.
    pub file: String,
    /// Rows, or samples.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
}

/// A source image that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// Path inside the source.
    pub path: String,
    /// Why.
    pub cause: String,
}

impl Manifest {
    /// Writes `manifest.json` into the folder of the set. This commits the set.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = self.text(&self.digest());
        files::write_bytes(&dir.join(MANIFEST), text.as_bytes())
    }

    fn text(&self, digest: &str) -> String {
        let with = Manifest { manifest_blake3: digest.to_owned(), ..self.clone() };
        serde_json::to_string_pretty(&with).expect("numbers, strings and lists are JSON") + "\n"
    }

    fn digest(&self) -> String {
        blake3::hash(self.text("").as_bytes()).to_hex().to_string()
    }

    /// Reads the manifest of the set in `dir`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none (the set is not finished), when another version wrote it, or when it is damaged;
    /// [`Error::Io`] when it cannot be read.
    pub fn read(dir: &Path) -> Result<Manifest> {
        let path = dir.join(MANIFEST);
        if !path.exists() {
            return Err(unfinished(dir));
        }
        let bytes = files::read(&path)?;
        let damaged = |cause: String| {
            let hint = "compress again with --force, or restore the file";
            Error::input(format!("`{}` is damaged: {cause}", path.display()), hint)
        };
        // The version is looked at first: a later format may well have other fields.
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        match value.get("format_version").and_then(serde_json::Value::as_u64) {
            Some(version) if (u64::from(OLDEST)..=u64::from(FORMAT_VERSION)).contains(&version) => {}
            Some(version) => {
                return Err(Error::input(
                    format!(
                        "`{}` has format version {version}; this program reads {OLDEST} to {FORMAT_VERSION}",
                        path.display()
                    ),
                    "use the version of smalti that wrote it, or compress again",
                ));
            }
            None => return Err(damaged("it states no format_version".to_owned())),
        }
        let mut manifest: Manifest = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        let digest = std::mem::take(&mut manifest.manifest_blake3);
        if !digest.is_empty() && digest != manifest.digest() {
            return Err(damaged("it is not what was written (manifest_blake3)".to_owned()));
        }
        manifest.check().map_err(damaged)?;
        Ok(manifest)
    }

    /// What must hold for any reader to index classes and crop tiles without looking again.
    fn check(&self) -> std::result::Result<(), String> {
        if self.folders.len() != self.classes.len() {
            return Err(format!("{} folders for {} classes", self.folders.len(), self.classes.len()));
        }
        let outside = |file: &&str| file.starts_with('/') || file.split('/').any(|part| part == "..");
        let files = self.images.iter().map(|image| image.file.as_str());
        let packed = self.parquet.iter().chain(&self.webdataset).map(|file| file.file.as_str());
        if let Some(file) = files.chain(packed).find(outside) {
            return Err(format!("`{file}` lies outside the set"));
        }
        for image in &self.images {
            if image.class_id as usize >= self.classes.len() {
                return Err(format!("`{}` has class {} of {}", image.file, image.class_id, self.classes.len()));
            }
            if image.tiles.iter().any(|tile| !self.holds(tile.place)) {
                return Err(format!("a tile of `{}` lies outside the image", image.file));
            }
        }
        Ok(())
    }

    fn holds(&self, [left, top, width, height]: [u32; 4]) -> bool {
        let within =
            |start: u32, length: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= self.size);
        within(left, width) && within(top, height)
    }

    /// Images that class `class_id` must have: `ipc`, or another number where that was reported.
    pub fn expected_images(&self, class_id: u32) -> u32 {
        let name = self.classes.get(class_id as usize);
        name.and_then(|name| self.uneven.get(name)).copied().unwrap_or(self.ipc)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Manifest {
        let tile = TileEntry { sample: 3, content_hash: "00ff".into(), place: [0, 0, 4, 8] };
        let image = ImageEntry {
            file: "train/a/a_00000.png".into(),
            class_id: 0,
            bytes: 10,
            blake3: "ab".into(),
            tiles: vec![tile],
        };
        Manifest {
            format_version: FORMAT_VERSION,
            smalti_version: "0.1.0".into(),
            created_by: "smalti".into(),
            name: "things".into(),
            classes: vec!["a".into(), "it's: b".into()],
            folders: vec!["a".into(), "it's_ b".into()],
            ipc: 1,
            uneven: BTreeMap::from([("it's: b".into(), 0)]),
            grid: 1,
            size: 8,
            format: OutputFormat::Folder,
            image_format: ImageFormat::Png,
            jpeg_quality: None,
            jpeg_subsampling: None,
            decode_profile: "d".into(),
            resize_profile: "r".into(),
            seed: 5,
            method: BTreeMap::from([("metric".into(), "el2n".into()), ("rule".into(), "easy-first".into())]),
            source: SourceEntry { kind: "folder".into(), images: 4, content_hash: "cc".into() },
            images: vec![image],
            parquet: vec![],
            webdataset: vec![],
            documents: BTreeMap::new(),
            skipped: vec![Skipped { path: "a/x.png".into(), cause: "cut".into() }],
            image_bytes: 10,
            label_bytes: 8,
            manifest_blake3: String::new(),
        }
    }

    #[test]
    fn it_reads_back_as_written() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        example().write(dir.path()).expect("written");
        assert_eq!(Manifest::read(dir.path()).expect("read"), example());
        assert_eq!((example().expected_images(0), example().expected_images(1)), (1, 0));
    }

    #[test]
    fn unfinished_foreign_and_damaged_manifests_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let refused = || Manifest::read(dir.path()).expect_err("refused");
        assert!(refused().to_string().contains("is not finished"));
        assert!(refused().hint().expect("a way out").contains("same command again"));
        let put = |manifest: &Manifest| manifest.write(dir.path()).expect("written");
        put(&Manifest { format_version: FORMAT_VERSION + 1, ..example() });
        assert!(refused().to_string().contains("format version 4"));
        put(&Manifest { format_version: OLDEST - 1, ..example() });
        assert!(refused().to_string().contains("format version 1"));
        put(&Manifest { format_version: OLDEST, ..example() });
        assert_eq!(Manifest::read(dir.path()).expect("an older one").format_version, OLDEST);
        example().write(dir.path()).expect("written");
        let text = std::fs::read_to_string(dir.path().join(MANIFEST)).expect("there");
        std::fs::write(dir.path().join(MANIFEST), text.replace("\"sample\": 3", "\"sample\": 4")).expect("written");
        assert!(refused().to_string().contains("not what was written"));
        std::fs::write(dir.path().join(MANIFEST), "{").expect("written");
        assert!(refused().to_string().contains("damaged"));
        let mut outside = example();
        outside.images[0].tiles[0].place = [5, 0, 4, 8];
        put(&outside);
        assert!(refused().to_string().contains("lies outside the image"));
        let mut class = example();
        class.images[0].class_id = 2;
        put(&class);
        assert!(refused().to_string().contains("class 2 of 2"));
        let mut path = example();
        path.images[0].file = "../a.png".into();
        put(&path);
        assert!(refused().to_string().contains("outside the set"));
        let part = FileEntry { file: "/etc/x.parquet".into(), rows: 1, bytes: 1, blake3: String::new() };
        put(&Manifest { parquet: vec![part], ..example() });
        assert!(refused().to_string().contains("outside the set"));
    }
}
