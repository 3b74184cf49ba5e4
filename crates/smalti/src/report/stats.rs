//! Means, spreads and paired gains over seeds.
//!
//! Seed i changes proxy, draw and student together, and every method runs the same seeds: differences are taken seed by seed,
//! and their 95 % interval is Student's t on those differences. Intervals are not corrected for looking at several rows.

use super::data::{Clear, Gain, MeanSd};
use std::collections::BTreeMap;

/// Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// Mean and sample standard deviation (n - 1).
///
/// No values give a mean that is not a number; fewer than two give no spread.
pub fn mean_sd(values: &[f64]) -> MeanSd {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
    MeanSd { mean, sd, values: values.to_vec() }
}

/// The gain of one method over another, paired by seed; the arguments are (seed, percent).
///
/// Seeds that only one side has are left out; of a seed that occurs twice the last value counts. None if no seed is shared or a
/// value is not finite.
pub fn paired_gain(ours: &[(u64, f64)], base: &[(u64, f64)]) -> Option<Gain> {
    let base: BTreeMap<u64, f64> = base.iter().copied().collect();
    let ours: BTreeMap<u64, f64> = ours.iter().copied().collect();
    let differences: Vec<f64> =
        ours.iter().filter_map(|(seed, value)| base.get(seed).map(|other| value - other)).collect();
    let MeanSd { mean, sd, .. } = mean_sd(&differences);
    if !mean.is_finite() {
        return None;
    }
    let Some(sd) = sd else { return Some(Gain { mean, half_width: None, clear: Clear::Unknown }) };
    let half_width = t_95(differences.len() - 1) * sd / (differences.len() as f64).sqrt();
    let clear = match mean {
        _ if mean > half_width => Clear::Better,
        _ if mean < -half_width => Clear::Worse,
        _ => Clear::NoClearDifference,
    };
    Some(Gain { mean, half_width: Some(half_width), clear })
}

/// The quantile for `df` ≥ 1; between the entries of a table, that of the entry below, which is never too narrow.
fn t_95(df: usize) -> f64 {
    match df {
        0..=30 => T_95[df.saturating_sub(1)],
        31..=39 => 2.042,
        40..=59 => 2.021,
        60..=119 => 2.000,
        _ => 1.980,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn mean_and_spread_by_hand() {
        // Differences from 4 are -2, 0, 2: squares sum to 8, over n - 1 = 2 that is 4, and its root is 2.
        let three = mean_sd(&[2.0, 4.0, 6.0]);
        assert_eq!((three.mean, three.sd), (4.0, Some(2.0)));
        assert_eq!(three.values, [2.0, 4.0, 6.0]);
        assert_eq!(mean_sd(&[7.5]), MeanSd { mean: 7.5, sd: None, values: vec![7.5] });
        let none = mean_sd(&[]);
        assert!(none.mean.is_nan() && none.sd.is_none());
    }

    #[test]
    fn a_gain_is_taken_seed_by_seed() {
        // Differences 8, 10, 12: mean 10, sd 2, half width 4.303 * 2 / sqrt(3) = 4.968676.
        let gain =
            paired_gain(&[(3, 42.0), (1, 38.0), (2, 30.0)], &[(1, 30.0), (2, 20.0), (3, 30.0)]).expect("shared seeds");
        assert!(near(gain.mean, 10.0));
        assert!(near(gain.half_width.expect("three pairs"), 4.303 * 2.0 / 3.0f64.sqrt()));
        assert_eq!(gain.clear, Clear::Better);
    }

    #[test]
    fn the_interval_decides_what_is_clear() {
        let base = [(0, 30.0), (1, 30.0)];
        // Differences 1, 3: mean 2, sd sqrt(2), half width 12.706 * sqrt(2) / sqrt(2) = 12.706.
        let wide = paired_gain(&[(0, 31.0), (1, 33.0)], &base).expect("shared seeds");
        assert!(near(wide.half_width.expect("two pairs"), 12.706));
        assert_eq!(wide.clear, Clear::NoClearDifference);
        assert_eq!(paired_gain(&[(0, 20.0), (1, 20.5)], &base).expect("shared seeds").clear, Clear::Worse);
        let same = paired_gain(&base, &base).expect("shared seeds");
        assert_eq!((same.mean, same.clear), (0.0, Clear::NoClearDifference));
    }

    #[test]
    fn too_few_pairs_claim_nothing() {
        let one = paired_gain(&[(0, 50.0), (7, 90.0)], &[(0, 40.0), (1, 0.0)]);
        assert_eq!(one, Some(Gain { mean: 10.0, half_width: None, clear: Clear::Unknown }));
        assert_eq!(paired_gain(&[(0, 50.0)], &[(1, 40.0)]), None);
        assert_eq!(paired_gain(&[(0, f64::NAN)], &[(0, 40.0)]), None);
    }

    #[test]
    fn quantiles_fall_and_end_above_the_normal_one() {
        let quantiles: Vec<f64> = (1..200).map(t_95).collect();
        assert!(quantiles.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!(quantiles.iter().all(|&t| t > 1.96));
        assert_eq!((t_95(4), t_95(9), t_95(30)), (2.776, 2.262, 2.042));
    }
}
