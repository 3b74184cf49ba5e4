//! Decoded images of one size, ready for training: in memory while they fit the budget, spooled to a file past it.

use crate::error::{Error, Result};
use crate::files;
use crate::mosaic::Layout;
use crate::pixels::{PixelBox, Rgb};
use crate::resize;
use crate::source::Source;
use crate::tables::{ContentHash, Samples};
use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// How a picture becomes `size` x `size` pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// The whole picture resized to the square, as Combine does with a tile.
    Whole,
    /// The shorter side resized to size div 7 * 8, then the centre: torchvision's validation transform (256 and 224) at any size, as RDED has it (32 and
    /// 32, 72 and 64).
    Centre,
    /// The shorter side resized to the size, then the centre: all of a square picture.
    Cover,
}

/// Where decoded bytes may go.
#[derive(Debug, Clone, Copy)]
pub struct Budget<'a> {
    /// Bytes that may be held in memory.
    pub memory_bytes: u64,
    /// Folder for the spool file when they do not fit.
    pub spool: &'a Path,
}

/// `len` images of `size` x `size` x 3 bytes with their labels and source rows.
pub struct ImageStore {
    size: u32,
    tiles: Vec<PixelBox>,
    labels: Vec<u32>,
    samples: Vec<u32>,
    pixels: Pixels,
}

enum Pixels {
    Memory(Vec<u8>),
    Spool(File),
}

impl ImageStore {
    /// Decodes `wanted` (source row, label), sorted by row, fitting each to `layout.size`. `layout.grid` says how many tiles a
    /// stored image has; 1 for plain images.
    ///
    /// # Errors
    /// The first image that cannot be read or decoded, by name; I/O errors of the spool.
    pub fn load(
        source: &Source,
        wanted: &[(u32, u32)],
        layout: &Layout,
        fit: Fit,
        budget: &Budget,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<ImageStore> {
        ImageStore::filled(source, wanted, layout, budget, &|row, bytes| {
            progress(1);
            decoded(source, row, bytes, (layout.size, fit))
        })
    }

    /// As [`ImageStore::load`], for images that `samples` describes: what is decoded are the bytes that were scanned.
    ///
    /// # Errors
    /// As [`ImageStore::load`], and the first image that has other bytes than `samples` says, by name.
    pub fn load_scanned(
        (source, samples): (&Source, &Samples),
        wanted: &[(u32, u32)],
        layout: &Layout,
        fit: Fit,
        budget: &Budget,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<ImageStore> {
        ImageStore::filled(source, wanted, layout, budget, &|row, bytes| {
            progress(1);
            if bytes.as_ref().is_ok_and(|bytes| !is_scanned(samples, row, bytes)) {
                let what = format!("`{}` of {}", source.path(row), source.location().display());
                return Err(Error::input(
                    format!("{what} has other bytes than at the scan"),
                    "restore the image, or run the same command again, which looks anew; for a hold-out, run `compress` again",
                ));
            }
            decoded(source, row, bytes, (layout.size, fit))
        })
    }

    /// The images that `decoded` makes of rows and their bytes.
    fn filled(
        source: &Source,
        wanted: &[(u32, u32)],
        layout: &Layout,
        budget: &Budget,
        decoded: &(dyn Fn(u32, Result<Vec<u8>>) -> Result<Rgb> + Sync),
    ) -> Result<ImageStore> {
        let size = layout.size;
        let each = size as usize * size as usize * 3;
        let total = each as u64 * wanted.len() as u64;
        let rows: Vec<u32> = wanted.iter().map(|w| w.0).collect();
        let pixels = if total <= budget.memory_bytes {
            let mut all = vec![0; each * rows.len()];
            // Every image has its place from the start, so that nothing is held twice.
            let places: Vec<Mutex<&mut [u8]>> = all.chunks_mut(each).map(Mutex::new).collect();
            source.try_for_each(&rows, &|at, row, bytes| {
                let image = decoded(row, bytes)?;
                places[at].lock().unwrap_or_else(PoisonError::into_inner).copy_from_slice(&image.data);
                Ok(())
            })?;
            drop(places);
            Pixels::Memory(all)
        } else {
            let file = spool(budget.spool, total)?;
            source.try_for_each(&rows, &|at, row, bytes| {
                let image = decoded(row, bytes)?;
                file.write_all_at(&image.data, at as u64 * each as u64).map_err(Error::io("write", budget.spool))
            })?;
            Pixels::Spool(file)
        };
        let labels = wanted.iter().map(|w| w.1).collect();
        Ok(ImageStore { size, tiles: layout.tiles(), labels, samples: rows, pixels })
    }

    /// A store from the pixels that [`ImageStore::write`] wrote; `wanted` and `layout` are those it was loaded with.
    ///
    /// # Errors
    /// [`Error::Io`] with the path; [`Error::Table`] when it holds other than so many pixels, or they are damaged.
    pub fn open(path: &Path, wanted: &[(u32, u32)], layout: &Layout) -> Result<ImageStore> {
        let mut data = files::read(path)?;
        let bytes = layout.size as usize * layout.size as usize * 3 * wanted.len();
        if data.len() != bytes + blake3::OUT_LEN {
            return Err(Error::table(path, format!("it does not hold the pixels of {} images", wanted.len())));
        }
        let sum = data.split_off(bytes);
        if *blake3::hash(&data).as_bytes() != *sum {
            return Err(Error::table(path, "its pixels are damaged"));
        }
        let (samples, labels) = wanted.iter().copied().unzip();
        Ok(ImageStore { size: layout.size, tiles: layout.tiles(), labels, samples, pixels: Pixels::Memory(data) })
    }

    /// Writes the pixels, image after image, and their BLAKE3. A store that was spooled is not written.
    ///
    /// # Errors
    /// [`Error::Io`] with the path; [`Error::Input`] for a spooled store.
    pub fn write(&self, path: &Path) -> Result<()> {
        let Pixels::Memory(data) = &self.pixels else {
            return Err(Error::input("the images are not in memory", "decode them again"));
        };
        let sum = blake3::hash(data);
        files::write_atomic(path, |file| {
            file.write_all(data).and_then(|()| file.write_all(sum.as_bytes())).map_err(Error::io("write", path))
        })
    }

    /// A store from pictures that are already there; each `size` x `size`.
    pub fn from_images(images: &[(Rgb, u32)], layout: &Layout) -> ImageStore {
        let data = images.iter().flat_map(|(image, _)| image.data.iter().copied()).collect();
        ImageStore {
            size: layout.size,
            tiles: layout.tiles(),
            labels: images.iter().map(|i| i.1).collect(),
            samples: (0..images.len() as u32).collect(),
            pixels: Pixels::Memory(data),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Side of every image in pixels.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The tiles of every image.
    pub fn tiles(&self) -> &[PixelBox] {
        &self.tiles
    }

    /// Class index of image `index`.
    pub fn label(&self, index: u32) -> u32 {
        self.labels[index as usize]
    }

    /// Source row of image `index`.
    pub fn sample(&self, index: u32) -> u32 {
        self.samples[index as usize]
    }

    /// Bytes of image `index`: rows of RGB.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn image(&self, index: u32) -> Result<Cow<'_, [u8]>> {
        let each = self.size as usize * self.size as usize * 3;
        let at = index as usize * each;
        match &self.pixels {
            Pixels::Memory(all) => Ok(Cow::Borrowed(&all[at..at + each])),
            Pixels::Spool(file) => {
                let mut bytes = vec![0; each];
                file.read_exact_at(&mut bytes, at as u64)
                    .map_err(Error::io("read back", Path::new("the spool file")))?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// Whether an image has the bytes that its row of `samples` was made from.
fn is_scanned(samples: &Samples, row: u32, bytes: &[u8]) -> bool {
    samples.rows.get(row as usize).is_some_and(|sample| sample.content_hash == ContentHash::of(bytes))
}

/// One image at the size wanted, or an error that names it.
fn decoded(source: &Source, row: u32, bytes: Result<Vec<u8>>, (size, fit): (u32, Fit)) -> Result<Rgb> {
    let (width, height) = least(size, fit);
    let image = bytes.and_then(|bytes| source.profile().decode_for(&bytes, width, height));
    image.and_then(|image| fitted(&image, size, fit)).map_err(|error| {
        Error::input(
            format!("`{}` of {}: {error}", source.path(row), source.location().display()),
            "the file changed or was bad from the start; run `smalti inspect` on the source",
        )
    })
}

/// The size in pixels below which a picture must not be decoded for [`fitted`].
fn least(size: u32, fit: Fit) -> (u32, u32) {
    match fit {
        Fit::Whole => (size, size),
        Fit::Centre => (around(size), around(size)),
        Fit::Cover => (size, size),
    }
}

/// The side before the centre is taken.
fn around(size: u32) -> u32 {
    (size / 7 * 8).max(size)
}

/// Brings a picture to `size` x `size`.
fn fitted(image: &Rgb, size: u32, fit: Fit) -> Result<Rgb> {
    match fit {
        Fit::Whole => resize::resize(image, size, size),
        Fit::Centre => resize::validation(image, around(size), size),
        Fit::Cover => resize::validation(image, size, size),
    }
}

/// An anonymous file of `bytes` bytes in `folder`: unlinked at once, so nothing is left behind however the run ends.
fn spool(folder: &Path, bytes: u64) -> Result<File> {
    std::fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    let path = files::partial_of(&folder.join(format!("spool-{}", std::process::id())));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.map_err(Error::io("create", &path))?;
    std::fs::remove_file(&path).map_err(Error::io("unlink", &path))?;
    file.set_len(bytes).map_err(Error::io("reserve space in", &path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_pixels_read_back_and_damaged_ones_do_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (path, layout) = (dir.path().join("pixels"), Layout { grid: 1, size: 4 });
        let pictures = [(Rgb::filled(4, 4, [1, 2, 3]), 0), (Rgb::filled(4, 4, [9, 8, 7]), 1)];
        ImageStore::from_images(&pictures, &layout).write(&path).expect("written");
        let wanted = [(3, 0), (5, 1)];
        let store = ImageStore::open(&path, &wanted, &layout).expect("read");
        assert_eq!((store.len(), store.sample(1), store.label(1)), (2, 5, 1));
        assert_eq!(store.image(1).expect("in memory").as_ref(), pictures[1].0.data);
        assert!(ImageStore::open(&path, &wanted[..1], &layout).is_err(), "another number of images");
        let mut bytes = std::fs::read(&path).expect("there");
        bytes[7] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        let error = ImageStore::open(&path, &wanted, &layout).err().expect("one bit is wrong").to_string();
        assert!(error.contains("damaged"), "{error}");
    }

    #[test]
    fn the_centre_is_taken_from_rdeds_sizes() {
        // RDED: Resize(S div 7 * 8); 224 is the published 256.
        assert_eq!([224, 128, 64, 32, 5].map(around), [256, 144, 72, 32, 5]);
    }
}
