//! DD-Ranking's scores (arXiv 2505.13300), which ask what a set is worth apart from its labels and its protocol.

use serde::Serialize;

/// Weight of the improvement over random against the loss of hard labels.
const WEIGHT: f64 = 0.5;

/// The three scores of a set; accuracies are fractions there, points here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ranking {
    /// Hard-label recovery: accuracy of the full data minus that of the set, both with hard labels. Small is good.
    pub hlr: f64,
    /// Improvement over random: accuracy of the set minus that of a random subset of its size, both under the set's own protocol.
    pub ior: f64,
    /// Label-robust score, 0 to 100: (e^α − e^−1) / (e − e^−1) with α = IOR / 2 − HLR / 2, both as fractions.
    pub lrs: f64,
}

/// The scores from four accuracies in percent: full data and set with hard labels, set and random subset under the set's own protocol.
pub fn ranking(full_hard: f64, set_hard: f64, set_own: f64, random_own: f64) -> Ranking {
    let (hlr, ior) = (full_hard - set_hard, set_own - random_own);
    let alpha = (WEIGHT * ior - (1.0 - WEIGHT) * hlr) / 100.0;
    let (e, inverse) = (1f64.exp(), (-1f64).exp());
    Ranking { hlr, ior, lrs: 100.0 * (alpha.exp() - inverse) / (e - inverse) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        // A set that is as good as everything and no better than random: α = 0.
        let even = ranking(90.0, 90.0, 60.0, 60.0);
        assert_eq!((even.hlr, even.ior), (0.0, 0.0));
        // (1 - 0.36788) / (2.71828 - 0.36788) = 0.26894.
        assert!((even.lrs - 26.894).abs() < 1e-3, "{}", even.lrs);
        // α = (0.2 - 0.4) / 2 = -0.1: (0.90484 - 0.36788) / 2.35040 = 0.22845.
        let worse = ranking(80.0, 40.0, 70.0, 50.0);
        assert!((worse.lrs - 22.845).abs() < 1e-2 && worse.hlr == 40.0 && worse.ior == 20.0, "{worse:?}");
        assert!((ranking(0.0, 100.0, 100.0, 0.0).lrs - 100.0).abs() < 1e-9, "the best there is");
        assert!(ranking(100.0, 0.0, 0.0, 100.0).lrs.abs() < 1e-9, "the worst there is");
    }
}
