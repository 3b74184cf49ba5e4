//! Presets: the published ways to make a small set, each a rule, a metric and a grid. Command line, recipes and documents read this list.

use crate::error::unknown;
use anyhow::Result;

/// A named combination of the prune and combine stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Metric of the scores, where the rule needs them.
    pub metric: Option<&'static str>,
    /// Rule that chooses.
    pub rule: &'static str,
    /// Tiles per side.
    pub grid: u32,
}

/// What `compress` makes where nothing else is asked: the best of six on the hold-out of Imagenette, averaged over 1, 10 and 50 images per class
/// (39.3 %, against 35.5 % of pca and 34.0 % of random; results/*-pruning-imagenette*).
pub const DEFAULT: &str = "ccs-mosaic";

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "pca",
        about: "prune the easiest images by EL2N, combine four whole ones per stored image; train with crops inside one tile",
        paper: "arXiv 2502.06434",
        metric: Some("el2n"),
        rule: "easy-first",
        grid: 2,
    },
    Preset {
        name: "random",
        about: "a class-balanced random subset: the baseline that every gain is measured against",
        paper: "arXiv 2204.08499 (a strong baseline at small budgets)",
        metric: None,
        rule: "random",
        grid: 1,
    },
    Preset {
        name: "random-mosaic",
        about: "four random whole images per stored image: the combine stage alone",
        paper: "arXiv 2502.06434 (its C without its P); the squeezing of arXiv 2205.14959 at a factor of 2",
        metric: None,
        rule: "random",
        grid: 2,
    },
    Preset {
        name: "ccs-mosaic",
        about: "leave the hardest 30 % out, draw evenly over the difficulty of the rest, combine four whole images per stored one",
        paper: "this project: the choice of arXiv 2210.15809 in the mosaics of arXiv 2502.06434",
        metric: Some("aum-prob"),
        rule: "ccs:0.3",
        grid: 2,
    },
    Preset {
        name: "idc",
        about: "nine random whole images per stored image, IDC's squeezing without its optimisation; it takes four (--grid 2) up to 32 px",
        paper: "arXiv 2205.14959",
        metric: None,
        rule: "random",
        grid: 3,
    },
    Preset {
        name: "cim",
        about: "four random whole images per stored image, CIM's squeezing without its optimisation; train with --augment factor --distort dsa",
        paper: "arXiv 2607.00916",
        metric: None,
        rule: "random",
        grid: 2,
    },
    Preset {
        name: "el2n-easy",
        about: "the images with the smallest EL2N, class-balanced",
        paper: "arXiv 2107.07075; reversed as in arXiv 2502.06434",
        metric: Some("el2n"),
        rule: "easy-first",
        grid: 1,
    },
    Preset {
        name: "el2n-hard",
        about: "the images with the largest EL2N, class-balanced: the published direction, for mild pruning only",
        paper: "arXiv 2107.07075",
        metric: Some("el2n"),
        rule: "hard-first",
        grid: 1,
    },
];

/// The preset with this name.
///
/// # Errors
/// For an unknown name; the hint lists the known ones.
pub fn preset(name: &str) -> Result<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name).ok_or_else(|| unknown("preset", name, PRESETS.iter().map(|p| p.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_part_is_in_its_list() {
        preset(DEFAULT).expect("the default is one of them");
        for (at, preset) in PRESETS.iter().enumerate() {
            assert!(PRESETS[..at].iter().all(|other| other.name != preset.name), "{}", preset.name);
            assert!(preset.paper.contains("arXiv") && preset.about.len() > 20, "{}", preset.name);
            let rule = smalti_select::rule(preset.rule).expect("a rule of the list");
            assert_eq!(rule.rule.needs.scores(), preset.metric.is_some(), "{}", preset.name);
            if let Some(metric) = preset.metric {
                smalti_select::metric(metric, None).expect("a metric of the list");
            }
        }
    }
}
