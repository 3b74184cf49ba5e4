//! Where the pictures of a run are kept until the set is written: a folder of class numbers, and a mark for each finished block.

use crate::run::Run;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use smalti_data::encode::{ImageFormat, encode};
use smalti_data::{Rgb, files};
use std::path::{Path, PathBuf};

/// Pictures that are made together: class and number in the class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub number: u32,
    pub images: Vec<(u32, u32)>,
}

impl Block {
    /// The class of each image.
    pub fn labels(&self) -> Vec<u32> {
        self.images.iter().map(|&(class, _)| class).collect()
    }
}

/// What a block cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Finished {
    images: u64,
    seconds: f64,
}

/// The seconds of all blocks that lie in a working folder, those of earlier runs included.
pub(super) fn seconds(working: &Path) -> Result<f64> {
    let folder = working.join("blocks");
    let cannot = smalti_data::Error::io("read the folder", &folder);
    let list = std::fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(cannot)?;
    let of = |entry: &std::fs::DirEntry| {
        let path = entry.path();
        let done: Finished = serde_json::from_slice(&files::read(&path)?)
            .with_context(|| format!("`{}` is damaged; remove it and run again", path.display()))?;
        Ok(done.seconds)
    };
    list.iter().map(of).sum()
}

/// The pictures of one run.
pub(super) struct Staging {
    root: PathBuf,
    marks: PathBuf,
}

impl Staging {
    pub fn of(run: &Run) -> Staging {
        Staging { root: run.table("distilled"), marks: run.table("blocks") }
    }

    /// The folder, which opens as a source.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn mark(&self, block: &Block) -> PathBuf {
        self.marks.join(format!("block={}.json", block.number))
    }

    fn picture(&self, (class, index): (u32, u32)) -> PathBuf {
        self.root.join(format!("train/{class:06}/{index:06}.png"))
    }

    /// Whether all of a block is there.
    pub fn has(&self, block: &Block) -> bool {
        self.mark(block).exists() && block.images.iter().all(|&image| self.picture(image).exists())
    }

    /// Writes the pictures of a block, in the order of its images, and marks it finished in so many seconds.
    pub fn keep(&self, block: &Block, pictures: &[Rgb], seconds: f64) -> Result<()> {
        for (picture, &image) in pictures.iter().zip(&block.images) {
            files::write_bytes(&self.picture(image), &encode(picture, ImageFormat::Png)?)?;
        }
        let done = Finished { images: block.images.len() as u64, seconds };
        Ok(files::write_bytes(&self.mark(block), &serde_json::to_vec(&done)?)?)
    }
}
