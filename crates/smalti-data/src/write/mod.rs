//! Writes a compressed set: images shard by shard, Parquet files, card, recipe; reads all of it back; then the manifest.
//!
//! ```text
//! DIR/train/<class>/<class>_00000.png     folder, or both
//! DIR/data/train-00000-of-00001.parquet   parquet, or both
//! DIR/data/train-000000.tar               webdataset, with DIR/_info.json
//! DIR/class_to_idx.txt  DIR/recipe.toml  DIR/README.md
//! DIR/manifest.json                       renamed into place last: it is the commit
//! DIR.run/shards/shard-00000.json         what is finished, for a run that was cut off
//! ```
//!
//! The same plan and source give the same bytes for any number of threads, and whether or not the run was cut off in between.

mod folder;
mod hf_parquet;
mod names;
mod state;
mod webdataset;

pub use hf_parquet::{ParquetRow, read_rows};
pub(crate) use state::begun;
pub use state::{State, clear, state};
pub(crate) use webdataset::{INDEX, index};

use crate::card;
use crate::encode::ImageFormat;
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{FORMAT_VERSION, ImageEntry, LABEL_BYTES, Manifest, Skipped, SourceEntry};
use crate::mosaic::{Layout, Plan};
use crate::source::Source;
use crate::tables::{Samples, Status};
use crate::verify;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// How tiles are resized: the whole image, squashed to its box, Pillow's antialiased triangle filter.
pub const RESIZE_PROFILE: &str = "pillow-bilinear-antialiased";

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// `train/<class>/<image>`, as torchvision's ImageFolder reads it.
    Folder,
    /// `data/train-*.parquet`, as Hugging Face `datasets` reads it.
    Parquet,
    /// Both of them.
    Both,
    /// `data/train-*.tar`, as `webdataset` and timm stream it.
    WebDataset,
}

impl OutputFormat {
    /// Whether `train/` is part of the set.
    pub fn has_folder(self) -> bool {
        matches!(self, OutputFormat::Folder | OutputFormat::Both)
    }

    /// Whether Parquet files in `data/` are part of the set.
    pub fn has_parquet(self) -> bool {
        matches!(self, OutputFormat::Parquet | OutputFormat::Both)
    }

    /// Whether tar files in `data/` are part of the set.
    pub fn has_webdataset(self) -> bool {
        self == OutputFormat::WebDataset
    }
}

/// Everything about a set that is not in its plan.
#[derive(Debug, Clone, PartialEq)]
pub struct SetSpec {
    /// The command that makes it: `smalti compress`.
    pub created_by: &'static str,
    /// Name of the set, for the card.
    pub name: String,
    /// Class names in class order, as the source has them.
    pub classes: Vec<String>,
    /// Images per class that were asked for. A class with fewer is recorded as short.
    pub ipc: u32,
    /// Tiles and size of each image.
    pub layout: Layout,
    /// Seed of every random choice.
    pub seed: u64,
    /// What is written.
    pub format: OutputFormat,
    /// How the samples were chosen: `preset`, `metric`, `rule`, `reason`.
    pub method: BTreeMap<String, String>,
    /// Source images that could not be used.
    pub skipped: Vec<Skipped>,
    /// `folder`, `parquet` or `webdataset`.
    pub source_kind: String,
    /// Images in the source, usable or not.
    pub source_images: u64,
    /// BLAKE3 over the content hashes of all source images in order ([`source_hash`]).
    pub source_hash: String,
    /// The resolved recipe, written to `recipe.toml`. It must name no place on this machine.
    pub recipe_toml: String,
    /// Licence of the source images as the Hub spells it, where known.
    pub licence: Option<String>,
    /// A paragraph for the card, where there is something to say.
    pub notes: Option<String>,
}

/// The hash that names a source by its content: BLAKE3 over the content hashes of all rows in order, in hexadecimal.
pub fn source_hash(samples: &Samples) -> String {
    let mut hasher = blake3::Hasher::new();
    for sample in &samples.rows {
        hasher.update(&sample.content_hash.bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Writes the whole set into `dir`, or finishes one that was cut off, and returns its manifest.
///
/// Memory holds one shard: up to 64 images. `progress` is called with the number of images finished since the last call.
///
/// # Arguments
/// `dir` is the folder of the set, `run` the folder of its working files, on the same machine and held by one process
/// ([`files::RunLock`]); `samples` describes `source`, and `plan` names its rows.
///
/// # Errors
/// [`Error::Input`] when `dir` holds something else or a finished set, when plan and samples do not fit each other, when the source
/// changed since it was scanned, or when what was written does not read back; [`Error::Io`] with the path. `dir` then has no
/// manifest, and the same call goes on where this one stopped.
pub fn write_set(
    dir: &Path,
    run: &Path,
    source: &Source,
    samples: &Samples,
    plan: &Plan,
    spec: &SetSpec,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Manifest> {
    check_plan(samples, plan, spec)?;
    let folders = names::folders(&spec.classes)?;
    state::begin(dir, run)?;
    let staging = run.join("images");
    let job = folder::Job {
        root: if spec.format.has_folder() { dir } else { &staging },
        shards: &run.join("shards"),
        source,
        samples,
        layout: &spec.layout,
        image_format: ImageFormat::for_size(spec.layout.size),
        folders: &folders,
    };
    let images = folder::write_images(&job, plan, progress)?;
    let parquet = match spec.format.has_parquet() {
        true => hf_parquet::write_files(dir, job.root, &images, &spec.classes, hf_parquet::MAX_FILE_BYTES)?,
        false => Vec::new(),
    };
    let webdataset = match spec.format.has_webdataset() {
        true => {
            let max_bytes = webdataset::MAX_FILE_BYTES;
            webdataset::write_files(dir, job.root, &images, &spec.classes, spec.seed, max_bytes)?
        }
        false => Vec::new(),
    };
    let profile = source.profile().name();
    let manifest =
        Manifest { parquet, webdataset, decode_profile: profile, ..manifest_of(spec, folders.clone(), images) };
    let manifest = Manifest { documents: write_documents(dir, spec, &manifest)?, ..manifest };
    state::remove_strays(dir, &members(&manifest))?;
    verify::check(dir, &manifest)?;
    if let Err(error) = manifest.write(dir) {
        // A failed write takes its sibling along, by which the folder is known to be ours. The cause is what matters.
        let _ = state::mark(dir, run);
        return Err(error);
    }
    state::finish(run)?;
    Ok(manifest)
}

/// Refuses a plan that the samples cannot fill, before anything is written.
fn check_plan(samples: &Samples, plan: &Plan, spec: &SetSpec) -> Result<()> {
    let wrong = |what: String| Err(Error::input(what, "make the selection again for this source"));
    if plan.images.is_empty() {
        return wrong("the plan has no image".to_owned());
    }
    if samples.classes != spec.classes {
        return wrong("the samples have other classes than the set".to_owned());
    }
    let mut seen = HashSet::new();
    let mut last: Option<(u32, u32)> = None;
    for image in &plan.images {
        let name = format!("image {} of class {}", image.index, image.class_id);
        let first_or_next = match last {
            Some((class_id, index)) if class_id == image.class_id => image.index == index + 1,
            Some((class_id, _)) => image.class_id > class_id && image.index == 0,
            None => image.index == 0,
        };
        if !first_or_next || image.class_id as usize >= spec.classes.len() {
            return wrong(format!("{name} is out of order, or beyond {} classes", spec.classes.len()));
        }
        if image.samples.len() != spec.layout.samples_per_image() as usize {
            return wrong(format!("{name} has {} tiles, not {}", image.samples.len(), spec.layout.samples_per_image()));
        }
        for &row in &image.samples {
            match samples.rows.get(row as usize) {
                Some(sample) if sample.sample != row => {
                    return wrong(format!("the samples are not in source order at row {row}"));
                }
                Some(sample) if sample.class_id != image.class_id => {
                    return wrong(format!("{name} would hold `{}` of class {}", samples.path(row), sample.class_id));
                }
                Some(sample) if sample.status != Status::Ok => {
                    return wrong(format!("{name} would hold the unreadable `{}`", samples.path(row)));
                }
                Some(_) if !seen.insert(row) => return wrong(format!("`{}` is planned twice", samples.path(row))),
                Some(_) => {}
                None => return wrong(format!("{name} names row {row} of {}", samples.rows.len())),
            }
        }
        last = Some((image.class_id, image.index));
    }
    Ok(())
}

/// The manifest of a set but for its packed files, its documents and the profile of its source.
fn manifest_of(spec: &SetSpec, folders: Vec<String>, images: Vec<ImageEntry>) -> Manifest {
    let image_format = ImageFormat::for_size(spec.layout.size);
    let mut counts = vec![0u32; spec.classes.len()];
    for image in &images {
        counts[image.class_id as usize] += 1;
    }
    let uneven = spec.classes.iter().cloned().zip(counts).filter(|(_, images)| *images != spec.ipc).collect();
    Manifest {
        format_version: FORMAT_VERSION,
        smalti_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_by: spec.created_by.to_owned(),
        name: spec.name.clone(),
        classes: spec.classes.clone(),
        folders,
        ipc: spec.ipc,
        uneven,
        grid: spec.layout.grid,
        size: spec.layout.size,
        format: spec.format,
        image_format,
        jpeg_quality: image_format.quality(),
        jpeg_subsampling: image_format.subsampling().map(str::to_owned),
        decode_profile: String::new(),
        resize_profile: RESIZE_PROFILE.to_owned(),
        seed: spec.seed,
        method: spec.method.clone(),
        source: SourceEntry {
            kind: spec.source_kind.clone(),
            images: spec.source_images,
            content_hash: spec.source_hash.clone(),
        },
        manifest_blake3: String::new(),
        image_bytes: images.iter().map(|image| image.bytes).sum(),
        label_bytes: images.len() as u64 * LABEL_BYTES,
        images,
        parquet: Vec::new(),
        webdataset: Vec::new(),
        documents: BTreeMap::new(),
        skipped: spec.skipped.clone(),
    }
}

/// Writes the list of classes, the card and the recipe, and returns the hashes of what the manifest alone does not fix.
fn write_documents(dir: &Path, spec: &SetSpec, manifest: &Manifest) -> Result<BTreeMap<String, String>> {
    files::write_bytes(&dir.join("class_to_idx.txt"), verify::class_list(manifest).as_bytes())?;
    let card = card::render(manifest, spec.licence.as_deref(), spec.notes.as_deref());
    verify::DOCUMENTS
        .into_iter()
        .zip([card.as_str(), spec.recipe_toml.as_str()])
        .map(|(name, text)| {
            files::write_bytes(&dir.join(name), text.as_bytes())?;
            Ok((name.to_owned(), blake3::hash(text.as_bytes()).to_hex().to_string()))
        })
        .collect()
}

/// Paths of all data files of a set.
fn members(manifest: &Manifest) -> HashSet<String> {
    let images = manifest.images.iter().filter(|_| manifest.format.has_folder()).map(|image| image.file.clone());
    let packed = manifest.parquet.iter().chain(&manifest.webdataset);
    images.chain(packed.map(|file| file.file.clone())).collect()
}
