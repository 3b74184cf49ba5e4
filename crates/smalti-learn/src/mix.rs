//! Whether the images of a step are mixed with each other.

use smalti_data::mix::{beta, cutmix};
use smalti_data::pixels::PixelBox;
use smalti_data::random::{Stage, Stream};

/// How the images of a step are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
pub enum Mix {
    /// Not at all.
    #[default]
    None,
    /// A box of one image is pasted into another (arXiv 1905.04899).
    CutMix {
        /// Of the Beta distribution of the area that is kept.
        alpha: f64,
    },
    /// Weighted means of two images (arXiv 1710.09412).
    MixUp {
        /// Of the Beta distribution of the weight.
        alpha: f64,
    },
}

/// One row of the list.
pub struct MixInfo {
    /// Its name on the command line.
    pub name: &'static str,
    /// The mixing, with the constant that the field uses.
    pub mix: Mix,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
}

/// All mixings.
pub const MIXES: &[MixInfo] = &[
    MixInfo { name: "none", mix: Mix::None, about: "each image on its own", paper: "-" },
    MixInfo {
        name: "cutmix",
        mix: Mix::CutMix { alpha: 1.0 },
        about: "one box per step, of an area drawn evenly, pasted from a partner in the batch; hard labels are weighted by the pixels kept",
        paper: "arXiv 1905.04899",
    },
    MixInfo {
        name: "mixup",
        mix: Mix::MixUp { alpha: 0.8 },
        about: "each image and a partner in the batch, weighted by a share from Beta(0.8, 0.8); so are hard labels",
        paper: "arXiv 1710.09412",
    },
];

impl Mix {
    /// The mixing with this name.
    pub fn parse(name: &str) -> Option<Mix> {
        MIXES.iter().find(|row| row.name == name).map(|row| row.mix)
    }

    /// In words.
    pub fn describe(self) -> String {
        match self {
            Mix::None => "none".to_owned(),
            Mix::CutMix { alpha } => format!("CutMix, share from Beta({alpha}, {alpha})"),
            Mix::MixUp { alpha } => format!("MixUp, share from Beta({alpha}, {alpha})"),
        }
    }

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mix::None => "none",
            Mix::CutMix { .. } => "cutmix",
            Mix::MixUp { .. } => "mixup",
        }
    }
}

/// How the images of one step are mixed: image i with image `partner[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// Place in the step of each image's partner.
    pub partner: Vec<u32>,
    /// What is pasted from the partner; none where the two are averaged.
    pub region: Option<PixelBox>,
    /// The share of the image itself: of pixels kept, or the weight of its pixels.
    pub own: f64,
}

/// Draws the mixing of a step of `count` images of `size` x `size` pixels, keyed by (seed, step); none where nothing is mixed.
///
/// # Errors
/// For an alpha that is no distribution.
pub fn draw(mix: Mix, size: u32, count: u32, seed: u64, step: u64) -> crate::Result<Option<Mixed>> {
    let mut stream = Stream::new(seed, Stage::Mix, 0, step);
    let partners = |stream: &mut Stream| {
        let mut order: Vec<u32> = (0..count).collect();
        stream.shuffle(&mut order);
        order
    };
    Ok(match mix {
        Mix::None => None,
        Mix::CutMix { alpha } => {
            let partner = partners(&mut stream);
            let cut = cutmix(size, size, alpha, &mut stream)?;
            Some(Mixed { partner, region: Some(cut.region), own: cut.kept })
        }
        Mix::MixUp { alpha } => {
            let partner = partners(&mut stream);
            Some(Mixed { partner, region: None, own: beta(alpha, &mut stream)? })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_keyed_by_seed_and_step_and_pairs_every_image() {
        for row in MIXES {
            assert_eq!((Mix::parse(row.name), row.mix.name()), (Some(row.mix), row.name));
            let draw = |seed, step| draw(row.mix, 32, 10, seed, step).expect("a distribution");
            assert_eq!(draw(1, 5), draw(1, 5));
            let Some(mixed) = draw(1, 5) else {
                assert_eq!(row.mix, Mix::None);
                continue;
            };
            assert!(draw(1, 6).as_ref() != Some(&mixed) && draw(2, 5).as_ref() != Some(&mixed));
            let mut partners = mixed.partner.clone();
            partners.sort_unstable();
            assert!(partners.into_iter().eq(0..10) && (0.0..=1.0).contains(&mixed.own));
        }
    }
}
