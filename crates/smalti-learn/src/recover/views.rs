//! How a batch is looked at while its pixels move: one crop, one flip and one roll for all of its images.

use smalti_data::crop::{CropRange, random_resized_crop};
use smalti_data::pixels::PixelBox;
use smalti_data::random::Stream;
use tch::Tensor;

/// What an iteration may see.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Look {
    /// Which part is cropped out and enlarged, and whether it is mirrored.
    pub crop: Curriculum,
    /// How far the images are rolled around.
    pub jitter: Jitter,
}

/// The smallest area of a crop over the iterations; the largest is the whole image.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Curriculum {
    /// Neither crop nor flip.
    None,
    /// The same throughout.
    Fixed {
        /// As a part of the area.
        least: f64,
    },
    /// The whole image, moved by up to `by` pixels each way, on ground of the mean colour; flips.
    Padded {
        /// In pixels.
        by: u32,
    },
    /// From the whole image down to `least`, along half a cosine over a part `until` of the iterations (CDA, arXiv 2311.18838).
    Cosine {
        /// As a part of the area.
        least: f64,
        /// A part of the iterations.
        until: f64,
    },
}

impl Curriculum {
    /// The smallest area at a part of the iterations; none where nothing is enlarged.
    pub fn at(self, part: f64) -> Option<f64> {
        match self {
            Curriculum::None | Curriculum::Padded { .. } => None,
            Curriculum::Fixed { least } => Some(least),
            Curriculum::Cosine { least, until } if part < until => {
                Some(least + (1.0 - least) * 0.5 * (1.0 + (std::f64::consts::PI * part / until).cos()))
            }
            Curriculum::Cosine { least, .. } => Some(least),
        }
    }
}

/// By how many pixels the images are rolled, both ways drawn on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Jitter {
    /// 0 to `most`.
    Forward {
        /// In pixels.
        most: u32,
    },
    /// -`most` to `most`.
    Centred {
        /// In pixels.
        most: u32,
    },
}

impl Jitter {
    fn draw(self, stream: &mut Stream) -> i64 {
        match self {
            Jitter::Forward { most } => i64::from(stream.below(most + 1)),
            Jitter::Centred { most } => i64::from(stream.below(2 * most + 1)) - i64::from(most),
        }
    }
}

/// One draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    frame: Frame,
    flipped: bool,
    rolled: [i64; 2],
    size: u32,
}

/// What becomes the whole picture.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Frame {
    Whole,
    /// A part, enlarged.
    Part(PixelBox),
    /// As much as before, from `at` (rows, columns) on after a border of `by` pixels was put around.
    Moved {
        by: u32,
        at: [u32; 2],
    },
}

impl View {
    pub fn draw(look: &Look, size: u32, part: f64, mut stream: Stream) -> View {
        let stream = &mut stream;
        let frame = match (look.crop, look.crop.at(part)) {
            (_, Some(least)) => {
                let range = CropRange { scale: (least.min(1.0), 1.0), ..CropRange::default() };
                Frame::Part(random_resized_crop(size, size, &range, stream))
            }
            (Curriculum::Padded { by }, None) => {
                Frame::Moved { by, at: [stream.below(2 * by + 1), stream.below(2 * by + 1)] }
            }
            (_, None) => Frame::Whole,
        };
        let flipped = frame != Frame::Whole && stream.below(2) == 1;
        let rolled = [look.jitter.draw(stream), look.jitter.draw(stream)];
        View { frame, flipped, rolled, size }
    }

    /// Images [B, 3, S, S] as this draw shows them, with gradients. A crop is never larger than the image, so that enlarging it needs no antialiasing.
    pub fn of(&self, images: &Tensor) -> Tensor {
        let side = i64::from(self.size);
        let mut x = images.shallow_clone();
        match self.frame {
            Frame::Whole => {}
            Frame::Part(PixelBox { left, top, width, height }) => {
                x = x.narrow(2, top.into(), height.into()).narrow(3, left.into(), width.into());
                if (width, height) != (self.size, self.size) {
                    x = x.upsample_bilinear2d([side, side], false, None, None);
                }
            }
            Frame::Moved { by, at: [row, column] } => {
                let padded = x.constant_pad_nd([i64::from(by); 4]);
                x = padded.narrow(2, row.into(), side).narrow(3, column.into(), side);
            }
        }
        if self.flipped {
            x = x.flip([3]);
        }
        if self.rolled == [0, 0] { x } else { x.roll(self.rolled, [2, 3]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::random::Stage;
    use tch::{Device, Kind};

    /// CDA's numbers for 4,000 iterations.
    #[test]
    fn the_curriculum_is_the_published_one() {
        let cda = Curriculum::Cosine { least: 0.08, until: 1.0 };
        for (iteration, expected) in
            [(0.0, 1.0), (1000.0, 0.865269), (2000.0, 0.54), (3000.0, 0.214731), (4000.0, 0.08)]
        {
            let found = cda.at(iteration / 4000.0).expect("it crops");
            assert!((found - expected).abs() < 1e-6, "{iteration}: {found}");
        }
        assert_eq!(Curriculum::Fixed { least: 0.08 }.at(0.3), Some(0.08));
    }

    #[test]
    fn a_view_crops_flips_and_rolls_the_whole_batch_alike() {
        let images = Tensor::arange(2 * 3 * 16, (Kind::Float, Device::Cpu)).reshape([2, 3, 4, 4]);
        let plain = View { frame: Frame::Whole, flipped: false, rolled: [0, 0], size: 4 };
        assert_eq!(plain.of(&images), images);
        let rolled = View { rolled: [1, -1], ..plain }.of(&images);
        // Row r shows row r - 1, column c shows column c + 1.
        assert_eq!(rolled.double_value(&[0, 0, 2, 0]), images.double_value(&[0, 0, 1, 1]));
        let flipped = View { flipped: true, ..plain }.of(&images);
        assert_eq!(flipped.double_value(&[1, 2, 3, 0]), images.double_value(&[1, 2, 3, 3]));
        let frame = Frame::Part(PixelBox { left: 1, top: 2, width: 1, height: 2 });
        let cropped = View { frame, ..plain }.of(&images);
        assert_eq!((cropped.size(), cropped.double_value(&[0, 0, 0, 3])), (vec![2, 3, 4, 4], 9.0));
        assert_eq!(cropped.double_value(&[0, 0, 3, 0]), 13.0);
        // A border of 2 around, from row 1 and column 4 on: row r shows row r - 1, column c shows column c + 2.
        let moved = View { frame: Frame::Moved { by: 2, at: [1, 4] }, ..plain }.of(&images);
        assert_eq!((moved.size(), moved.double_value(&[0, 0, 0, 0])), (vec![2, 3, 4, 4], 0.0));
        assert_eq!(moved.double_value(&[1, 2, 1, 0]), images.double_value(&[1, 2, 0, 2]));
        assert_eq!(moved.double_value(&[1, 2, 3, 2]), 0.0);
    }

    #[test]
    fn draws_stay_in_their_ranges() {
        let look = Look { crop: Curriculum::Fixed { least: 0.25 }, jitter: Jitter::Centred { most: 4 } };
        let draws: Vec<View> =
            (0..500).map(|n| View::draw(&look, 32, 0.5, Stream::new(1, Stage::Recover, n, 0))).collect();
        let all = |test: fn(&View) -> bool| draws.iter().all(test);
        assert!(all(|v| v.rolled.iter().all(|offset| offset.abs() <= 4)));
        assert!(draws.iter().any(|v| v.rolled[0] == -4) && draws.iter().any(|v| v.rolled[0] == 4));
        assert!(all(|v| matches!(v.frame, Frame::Part(r) if r.left + r.width <= 32 && r.width * r.height >= 225)));
        let flips = draws.iter().filter(|v| v.flipped).count();
        assert!((200..300).contains(&flips), "{flips}");
        let forward = Look { crop: Curriculum::None, jitter: Jitter::Forward { most: 3 } };
        let view = View::draw(&forward, 32, 0.5, Stream::new(1, Stage::Recover, 1, 0));
        assert!(view.frame == Frame::Whole && !view.flipped && view.rolled.iter().all(|o| (0..=3).contains(o)));
        let padded = Look { crop: Curriculum::Padded { by: 4 }, ..forward };
        let places: Vec<[u32; 2]> = (0..500)
            .map(|n| match View::draw(&padded, 32, 0.5, Stream::new(1, Stage::Recover, n, 0)).frame {
                Frame::Moved { by: 4, at } => at,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(places.iter().flatten().all(|&place| place <= 8));
        assert!(places.iter().any(|p| p[0] == 0) && places.iter().any(|p| p[1] == 8));
    }
}
