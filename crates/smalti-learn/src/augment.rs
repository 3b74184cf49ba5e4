//! What a training step sees of a stored image: a region of it, resized to the training size, maybe flipped.

use smalti_data::crop::{CropRange, random_resized_crop};
use smalti_data::pixels::PixelBox;
use smalti_data::random::Stream;

/// A way to look at a stored image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// One tile at random, RandomResizedCrop inside it, flip. On a plain subset the tile is the whole image.
    Constrained,
    /// RandomResizedCrop over the whole stored image, mosaics included, flip.
    Standard,
    /// Tiles rearranged, then RandomResizedCrop over the whole and flip. On a plain subset as [`Augment::Standard`].
    Shuffled,
    /// One whole tile at random, but with probability 1 / tiles the whole image; neither crop nor flip.
    Factor,
    /// The whole image as it is.
    None,
}

/// One row of the list.
pub struct AugmentInfo {
    /// The variant.
    pub augment: Augment,
    /// Its name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
}

/// All augmentations.
pub const AUGMENTS: &[AugmentInfo] = &[
    AugmentInfo {
        augment: Augment::Constrained,
        name: "constrained",
        about: "one tile of each mosaic per epoch, RandomResizedCrop inside that tile only, horizontal flip",
        paper: "arXiv 2502.06434 (the A of PCA)",
    },
    AugmentInfo {
        augment: Augment::Standard,
        name: "standard",
        about: "RandomResizedCrop over the whole stored image, horizontal flip",
        paper: "arXiv 1409.4842; torchvision's classification reference",
    },
    AugmentInfo {
        augment: Augment::Shuffled,
        name: "shuffled",
        about: "rows and columns of tiles in a random order, then RandomResizedCrop over the whole stored image, horizontal flip",
        paper: "arXiv 2312.03526 (its patch shuffle)",
    },
    AugmentInfo {
        augment: Augment::Factor,
        name: "factor",
        about: "one whole tile, enlarged, but one time in as many as there are tiles the whole image; neither crop nor flip, which `--distort dsa` adds",
        paper: "arXiv 2607.00916 (CIM's factor crop)",
    },
    AugmentInfo {
        augment: Augment::None,
        name: "none",
        about: "the stored image as it is, neither cropped nor flipped",
        paper: "-",
    },
];

impl Augment {
    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        AUGMENTS.iter().find(|row| row.augment == self).map_or("", |row| row.name)
    }

    /// Whether views are crops, so that their smallest area means something.
    pub fn crops(self) -> bool {
        matches!(self, Augment::Constrained | Augment::Standard | Augment::Shuffled)
    }

    /// The variant with this name.
    pub fn parse(name: &str) -> Option<Augment> {
        AUGMENTS.iter().find(|row| row.name == name).map(|row| row.augment)
    }
}

/// One drawn view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// In which order its tiles lie: the number of an [`Arrangement`], 0 as stored.
    pub arrangement: u32,
    /// Region of the image, after its tiles were rearranged.
    pub region: PixelBox,
    /// Whether it is mirrored left to right after the resize.
    pub flipped: Flip,
}

/// An order of the rows and one of the columns of grid x grid tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrangement {
    /// Which row of tiles lies in each place.
    pub rows: Vec<u32>,
    /// Which column.
    pub columns: Vec<u32>,
}

impl Arrangement {
    /// How many there are for a grid of at most 8: (grid!)².
    pub fn count(grid: u32) -> u32 {
        let orders: u32 = (1..=grid.min(8)).product();
        orders * orders
    }

    /// The one with this number.
    pub fn numbered(number: u32, grid: u32) -> Arrangement {
        let grid = grid.min(8);
        let orders: u32 = (1..=grid).product::<u32>().max(1);
        // The digits of a number in the factorial system say which of the remaining ones comes next.
        let order = |mut number: u32| {
            let mut left: Vec<u32> = (0..grid).collect();
            let mut orders = orders;
            let mut found = Vec::new();
            for remaining in (1..=grid).rev() {
                orders /= remaining;
                found.push(left.remove((number / orders) as usize % left.len()));
                number %= orders;
            }
            found
        };
        Arrangement { rows: order(number / orders % orders), columns: order(number % orders) }
    }
}

/// Mirrored or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flip {
    /// Left and right exchanged.
    Yes,
    /// As stored.
    No,
}

/// Draws a view of a stored image of `size` x `size` pixels whose tiles are `tiles` (at least one).
pub fn draw(augment: Augment, size: u32, tiles: &[PixelBox], range: &CropRange, stream: &mut Stream) -> View {
    let whole = PixelBox { left: 0, top: 0, width: size, height: size };
    let mut arrangement = 0;
    let frame = match augment {
        Augment::None => return View { arrangement, region: whole, flipped: Flip::No },
        Augment::Factor => {
            let tile = tiles[stream.below(tiles.len() as u32) as usize];
            let region = if stream.below(tiles.len() as u32) == 0 { whole } else { tile };
            return View { arrangement, region, flipped: Flip::No };
        }
        Augment::Standard => whole,
        Augment::Constrained => tiles[stream.below(tiles.len() as u32) as usize],
        Augment::Shuffled => {
            arrangement = stream.below(Arrangement::count(tiles.len().isqrt() as u32));
            whole
        }
    };
    let crop = random_resized_crop(frame.width, frame.height, range, stream);
    let region = PixelBox { left: frame.left + crop.left, top: frame.top + crop.top, ..crop };
    View { arrangement, region, flipped: if stream.below(2) == 1 { Flip::Yes } else { Flip::No } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::random::Stage;

    #[test]
    fn constrained_stays_in_one_tile_and_visits_all_of_them() {
        let tile = |left, top| PixelBox { left, top, width: 16, height: 16 };
        let tiles = [tile(0, 0), tile(16, 0), tile(0, 16), tile(16, 16)];
        let mut visits = [0; 4];
        let mut flips = 0;
        for epoch in 0..2000 {
            let mut stream = Stream::new(3, Stage::Augment, epoch, 5);
            let view = draw(Augment::Constrained, 32, &tiles, &CropRange::default(), &mut stream);
            let home = tiles.iter().position(|t| {
                let r = view.region;
                r.left >= t.left && r.top >= t.top && r.left + r.width <= t.left + 16 && r.top + r.height <= t.top + 16
            });
            visits[home.expect("no view crosses a tile's border")] += 1;
            flips += i32::from(view.flipped == Flip::Yes);
        }
        // Binomial(2000, 1/4) stays within 500 ± 5 * 19.4, Binomial(2000, 1/2) within 1000 ± 5 * 22.4.
        assert!(visits.iter().all(|&v| (403..=597).contains(&v)), "{visits:?}");
        assert!((888..=1112).contains(&flips), "{flips}");
    }

    #[test]
    fn standard_crosses_tile_borders_and_none_is_the_whole_image() {
        let tiles = [PixelBox { left: 0, top: 0, width: 16, height: 16 }];
        let mut stream = Stream::new(3, Stage::Augment, 0, 0);
        let crosses = (0..50).any(|_| {
            let r = draw(Augment::Standard, 32, &tiles, &CropRange::default(), &mut stream).region;
            r.left < 16 && r.left + r.width > 16
        });
        assert!(crosses);
        let view = draw(Augment::None, 32, &tiles, &CropRange::default(), &mut stream);
        let region = PixelBox { left: 0, top: 0, width: 32, height: 32 };
        assert_eq!(view, View { arrangement: 0, region, flipped: Flip::No });
    }

    /// Three times in four a whole tile, once the whole image: CIM's probability for four tiles.
    #[test]
    fn factor_shows_whole_tiles_and_now_and_then_all_of_them() {
        let tile = |left, top| PixelBox { left, top, width: 16, height: 16 };
        let tiles = [tile(0, 0), tile(16, 0), tile(0, 16), tile(16, 16)];
        let mut seen = [0; 5];
        for epoch in 0..1600 {
            let mut stream = Stream::new(3, Stage::Augment, epoch, 5);
            let view = draw(Augment::Factor, 32, &tiles, &CropRange::default(), &mut stream);
            assert_eq!((view.flipped, view.arrangement), (Flip::No, 0));
            let place = tiles.iter().position(|tile| *tile == view.region);
            let whole = PixelBox { left: 0, top: 0, width: 32, height: 32 };
            assert!(place.is_some() || view.region == whole);
            seen[place.unwrap_or(4)] += 1;
        }
        // Binomial(1600, 3/16) stays within 300 ± 5 * 15.6, Binomial(1600, 1/4) within 400 ± 5 * 17.3.
        assert!(seen[..4].iter().all(|n| (222..=378).contains(n)) && (314..=486).contains(&seen[4]), "{seen:?}");
    }

    #[test]
    fn every_arrangement_is_another_and_the_first_is_as_stored() {
        for (grid, count) in [(1, 1), (2, 4), (3, 36)] {
            assert_eq!(Arrangement::count(grid), count);
            let all: std::collections::HashSet<(Vec<u32>, Vec<u32>)> = (0..count)
                .map(|number| Arrangement::numbered(number, grid))
                .map(|found| (found.rows, found.columns))
                .collect();
            assert_eq!(all.len() as u32, count);
            let stored: Vec<u32> = (0..grid).collect();
            assert_eq!(Arrangement::numbered(0, grid), Arrangement { rows: stored.clone(), columns: stored });
        }
        let tile = PixelBox { left: 0, top: 0, width: 16, height: 16 };
        let mut seen = [0; 4];
        for epoch in 0..400 {
            let mut stream = Stream::new(3, Stage::Augment, epoch, 5);
            seen[draw(Augment::Shuffled, 32, &[tile; 4], &CropRange::default(), &mut stream).arrangement as usize] += 1;
        }
        // Binomial(400, 1/4) stays within 100 ± 5 * 8.7.
        assert!(seen.iter().all(|n| (57..=143).contains(n)), "{seen:?}");
    }
}
