//! Combine: whole images become the tiles of one image of the normal size.
//!
//! Idea: "Combine" of PCA (arXiv 2502.06434): crop-free, each whole image is shrunk to one tile and n × n tiles of one class
//! make one stored image, so a hard label stays right for every tile. A grid of 1 is the plain subset.
//! Cost: one decode and one resize per tile. Fails when tiles become too small to recognise (n too large for the size).

use crate::error::{Error, Result};
use crate::pixels::{PixelBox, Rgb};

/// Largest side of a stored image in pixels; what decoders and file formats still take without thought.
pub const MAX_SIZE: u32 = 8192;

/// n × n tiles on a square canvas. Tile k of a side spans `k*size/n .. (k+1)*size/n` (integer division), so that sizes which n
/// does not divide lose no pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// Tiles per side, at least 1.
    pub grid: u32,
    /// Side of the canvas in pixels, at least `grid`.
    pub size: u32,
}

impl Layout {
    /// A layout that was checked.
    ///
    /// # Errors
    /// [`Error::Input`] for no tile, an empty or too large canvas, or tiles without a pixel.
    pub fn new(grid: u32, size: u32) -> Result<Layout> {
        if size == 0 || size > MAX_SIZE {
            return Err(Error::input(
                format!("an image of {size} x {size} px cannot be written"),
                format!("choose --size between 1 and {MAX_SIZE}"),
            ));
        }
        if grid == 0 || grid > size {
            return Err(Error::input(
                format!("a grid of {grid} x {grid} tiles does not fit an image of {size} x {size} px"),
                "choose --grid 1 for plain images, 2 for mosaics of four",
            ));
        }
        Ok(Layout { grid, size })
    }

    /// The boxes of all tiles, row by row from the upper left.
    pub fn tiles(&self) -> Vec<PixelBox> {
        let edge = |k: u32| k * self.size / self.grid;
        (0..self.grid)
            .flat_map(|row| (0..self.grid).map(move |column| (row, column)))
            .map(|(row, column)| PixelBox {
                left: edge(column),
                top: edge(row),
                width: edge(column + 1) - edge(column),
                height: edge(row + 1) - edge(row),
            })
            .collect()
    }

    /// Samples that one stored image holds: grid².
    pub fn samples_per_image(&self) -> u32 {
        self.grid * self.grid
    }
}

/// Which samples share a mosaic.
///
/// `ranked` holds the kept samples of one class, best first, `ipc * grid²` of them. Image i gets the ranks i, i + ipc, i + 2 ipc
/// and so on, so that every mosaic holds the same spread of ranks. Where `ranked` is shorter, the last tiles are missing.
pub fn group(ranked: &[u32], ipc: u32, layout: &Layout) -> Vec<Vec<u32>> {
    let ipc = ipc as usize;
    let tiles = layout.samples_per_image() as usize;
    let image = |i: usize| (0..tiles).filter_map(|tile| ranked.get(i + tile * ipc).copied()).collect();
    (0..ipc).map(image).collect()
}

/// Every image to be written, in class order, then by index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The images.
    pub images: Vec<PlannedImage>,
}

/// One image to be written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlannedImage {
    /// Class index.
    pub class_id: u32,
    /// Number of the image in its class, from 0 without gaps.
    pub index: u32,
    /// Source rows of the tiles, in the order of [`Layout::tiles`].
    pub samples: Vec<u32>,
}

/// Puts tiles, already resized to their boxes, on one canvas.
///
/// # Errors
/// [`Error::Input`] when the number of tiles or the size of one is not the layout's.
pub fn compose(tiles: &[Rgb], layout: &Layout) -> Result<Rgb> {
    let boxes = layout.tiles();
    if tiles.len() != boxes.len() {
        return Err(Error::input(
            format!("a mosaic of {0} x {0} tiles got {1}", layout.grid, tiles.len()),
            "plan grid² samples for each image",
        ));
    }
    let mut canvas = Rgb::filled(layout.size, layout.size, [0; 3]);
    for (tile, place) in tiles.iter().zip(&boxes) {
        paste(&mut canvas, tile, place)?;
    }
    Ok(canvas)
}

/// Puts one tile in its place.
pub(crate) fn paste(canvas: &mut Rgb, tile: &Rgb, place: &PixelBox) -> Result<()> {
    if (tile.width, tile.height) != (place.width, place.height) {
        return Err(Error::input(
            format!(
                "a tile of {} x {} px does not fit its box of {} x {}",
                tile.width, tile.height, place.width, place.height
            ),
            "resize each sample to its box first",
        ));
    }
    canvas.paste(tile, place.left, place.top);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tiles_cover_the_canvas_once(grid in 1u32..9, extra in 0u32..40) {
            let layout = Layout::new(grid, grid + extra).expect("fits");
            let mut seen = vec![0u8; (layout.size * layout.size) as usize];
            for tile in layout.tiles() {
                prop_assert!(tile.width > 0 && tile.height > 0);
                for y in tile.top..tile.top + tile.height {
                    for x in tile.left..tile.left + tile.width {
                        seen[(y * layout.size + x) as usize] += 1;
                    }
                }
            }
            prop_assert!(seen.iter().all(|&times| times == 1));
        }

        #[test]
        fn every_sample_is_used_once_and_every_mosaic_spans_the_ranks(ipc in 1u32..12, grid in 1u32..5) {
            let layout = Layout::new(grid, 32).expect("fits");
            let ranked: Vec<u32> = (0..ipc * grid * grid).map(|rank| rank + 100).collect();
            let images = group(&ranked, ipc, &layout);
            prop_assert_eq!(images.len(), ipc as usize);
            for image in &images {
                // Tile t comes from the t-th slice of the ranking.
                for (tile, sample) in image.iter().enumerate() {
                    prop_assert_eq!((sample - 100) / ipc, tile as u32);
                }
            }
            let mut all: Vec<u32> = images.concat();
            all.sort_unstable();
            prop_assert_eq!(all, ranked);
        }
    }

    #[test]
    fn interleaving_by_hand() {
        let layout = Layout::new(2, 8).expect("fits");
        assert_eq!(group(&[0, 1, 2, 3, 4, 5, 6, 7], 2, &layout), [[0, 2, 4, 6], [1, 3, 5, 7]]);
    }

    #[test]
    fn tiles_lie_where_the_boxes_say() {
        let layout = Layout::new(2, 5).expect("fits");
        let colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]];
        let boxes = layout.tiles();
        let tiles: Vec<Rgb> =
            boxes.iter().zip(colours).map(|(b, colour)| Rgb::filled(b.width, b.height, colour)).collect();
        let picture = compose(&tiles, &layout).expect("composed");
        for (place, colour) in boxes.iter().zip(colours) {
            assert_eq!(picture.pixel(place.left, place.top), colour);
            assert_eq!(picture.pixel(place.left + place.width - 1, place.top + place.height - 1), colour);
        }
        assert_eq!((boxes[0].width, boxes[1].width), (2, 3), "79 + 79 of 158 and 79 + 80 of 159, not a lost pixel");
    }

    #[test]
    fn impossible_layouts_and_wrong_tiles_are_refused() {
        for (grid, size) in [(0, 8), (9, 8), (1, 0), (1, MAX_SIZE + 1)] {
            assert!(Layout::new(grid, size).is_err(), "{grid} on {size}");
        }
        let layout = Layout::new(2, 4).expect("fits");
        assert!(compose(&[Rgb::filled(2, 2, [0; 3])], &layout).is_err());
        assert!(compose(&vec![Rgb::filled(3, 2, [0; 3]); 4], &layout).is_err());
    }
}
