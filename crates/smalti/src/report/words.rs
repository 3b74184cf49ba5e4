//! Numbers as a person reads them.

use super::bootstrap::Interval;
use super::data::{Clear, Gain, MeanSd};

/// What stands where there is no number.
pub const NONE: &str = "–";

/// `47.9`; [`NONE`] for what is not finite.
pub fn percent(value: f64) -> String {
    if value.is_finite() { minus(format!("{value:.1}")) } else { NONE.to_owned() }
}

/// `+13.7`, `−2.0`, `0.0`.
pub fn signed(value: f64) -> String {
    let text = percent(value);
    if text.starts_with(['−', '–']) || text == "0.0" { text } else { format!("+{text}") }
}

/// `47.9 ± 1.2`, or the mean alone.
pub fn mean_sd(value: &MeanSd) -> String {
    with_spread(percent(value.mean), value.sd)
}

/// `+13.7 ± 2.1`, or the mean alone.
pub fn gain(gain: &Gain) -> String {
    with_spread(signed(gain.mean), gain.half_width)
}

/// `+1.2 to +8.0`.
pub fn interval(interval: Interval) -> String {
    format!("{} to {}", signed(interval.low), signed(interval.high))
}

/// What the interval says, as a word.
pub fn clear(clear: Clear) -> &'static str {
    match clear {
        Clear::Better => "better",
        Clear::Worse => "worse",
        Clear::NoClearDifference => "no clear difference",
        Clear::Unknown => "one seed",
    }
}

fn with_spread(mean: String, spread: Option<f64>) -> String {
    match spread {
        Some(spread) => format!("{mean} ± {}", percent(spread)),
        None => mean,
    }
}

/// A true minus sign, and no minus before zero.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// `9,469`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `812 B`, `46.3 KiB`, `312 KiB`, `1.4 MiB`: three digits tell enough.
pub fn bytes(value: u64) -> String {
    if value < 1024 {
        return format!("{value} B");
    }
    let mut size = value as f64;
    for unit in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        size /= 1024.0;
        if size < 99.95 {
            return format!("{size:.1} {unit}");
        }
        if size < 1023.5 {
            return format!("{size:.0} {unit}");
        }
    }
    format!("{:.0} EiB", size / 1024.0)
}

/// `0.4 s`, `48 s`, `1 min 40 s`, `2 h 5 min`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return NONE.to_owned();
    }
    if value < 9.95 {
        return format!("{value:.1} s");
    }
    let total = value.round() as u64;
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    match (hours, minutes, seconds) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{} h", thousands(h)),
        (h, m, _) => format!("{} h {m} min", thousands(h)),
    }
}

/// `n = 3`, or `n = 1 to 3` where rows differ; the spaces around the sign do not break.
pub fn seeds_of(counts: impl Iterator<Item = u32>) -> String {
    let counts: Vec<u32> = counts.collect();
    match (counts.iter().min(), counts.iter().max()) {
        (Some(low), Some(high)) if low != high => format!("n\u{a0}=\u{a0}{low} to {high}"),
        (Some(n), _) => format!("n\u{a0}=\u{a0}{n}"),
        _ => "n unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_and_gains() {
        let texts = [percent(47.94), percent(f64::NAN), signed(2.04), signed(-2.06), signed(-0.04), signed(0.0)];
        assert_eq!(texts, ["47.9", "–", "+2.0", "−2.1", "0.0", "0.0"]);
        assert_eq!(mean_sd(&MeanSd { mean: 5.0, sd: Some(1.25), values: vec![] }), "5.0 ± 1.2");
        assert_eq!(mean_sd(&MeanSd { mean: 5.0, sd: None, values: vec![] }), "5.0");
        assert_eq!(gain(&Gain { mean: 1.0, half_width: Some(3.0), clear: Clear::NoClearDifference }), "+1.0 ± 3.0");
    }

    #[test]
    fn counts_and_sizes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let sizes = [812, 1024, 47_411, 102_348, 319_488, 1_048_500, 1_500_000, 5 << 30, u64::MAX].map(bytes);
        let expected =
            ["812 B", "1.0 KiB", "46.3 KiB", "99.9 KiB", "312 KiB", "1.0 MiB", "1.4 MiB", "5.0 GiB", "16 EiB"];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn times() {
        let times = [0.0, 0.42, 9.96, 48.2, 59.6, 100.0, 120.0, 3_599.7, 7_500.0, f64::NAN, -1.0].map(seconds);
        let expected = ["0.0 s", "0.4 s", "10 s", "48 s", "1 min", "1 min 40 s", "2 min", "1 h", "2 h 5 min", "–", "–"];
        assert_eq!(times, expected);
    }

    #[test]
    fn counts_of_seeds() {
        assert_eq!(seeds_of([3, 3].into_iter()), "n\u{a0}=\u{a0}3");
        assert_eq!(seeds_of([1, 3].into_iter()), "n\u{a0}=\u{a0}1 to 3");
    }
}
