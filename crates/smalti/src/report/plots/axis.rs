//! Scales and their ticks: round numbers at even distances, linear or logarithmic.

use crate::report::words;

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Equal differences, equal distances.
    Linear,
    /// Equal ratios, equal distances; positive values only.
    Log,
}

/// An axis: from values to pixels.
#[derive(Debug, Clone)]
pub struct Axis {
    spacing: Spacing,
    domain: (f64, f64),
    pixels: (f64, f64),
    /// Between ticks, where the ends were rounded to it.
    step: Option<f64>,
}

impl Axis {
    /// An axis over the values from `domain.0` to `domain.1`, drawn from `pixels.0` to `pixels.1` (which may run backwards).
    ///
    /// A domain without extent is widened, a log domain is kept positive: any input gives a usable axis.
    pub fn new(spacing: Spacing, domain: (f64, f64), pixels: (f64, f64)) -> Axis {
        let finite = |value: f64, or: f64| if value.is_finite() { value } else { or };
        let (mut low, mut high) = (finite(domain.0, 0.0), finite(domain.1, 1.0));
        if low > high {
            (low, high) = (high, low);
        }
        match spacing {
            Spacing::Linear if high - low <= f64::EPSILON * high.abs().max(low.abs()) => {
                let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
                (low, high) = (low - room, high + room);
            }
            Spacing::Log => {
                high = if high > 0.0 { high } else { 1.0 };
                low = if low > 0.0 { low } else { high / 10.0 };
                if high / low < 1.05 {
                    (low, high) = (low / 1.5, high * 1.5);
                }
            }
            Spacing::Linear => {}
        }
        Axis { spacing, domain: (low, high), pixels, step: None }
    }

    /// A linear axis whose ends are ticks.
    pub fn rounded(domain: (f64, f64), pixels: (f64, f64), wanted: usize) -> Axis {
        let axis = Axis::new(Spacing::Linear, domain, pixels);
        let step = step(axis.domain, wanted);
        let (low, high) = ((axis.domain.0 / step).floor() * step, (axis.domain.1 / step).ceil() * step);
        Axis { domain: (low, high), step: Some(step), ..axis }
    }

    /// Where a value lies, held inside the axis.
    pub fn at(&self, value: f64) -> f64 {
        let place = |value: f64| match self.spacing {
            Spacing::Linear => value,
            Spacing::Log => value.max(f64::MIN_POSITIVE).ln(),
        };
        let (low, high) = (place(self.domain.0), place(self.domain.1));
        let share = ((place(value) - low) / (high - low)).clamp(0.0, 1.0);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// The first and the last value.
    pub fn domain(&self) -> (f64, f64) {
        self.domain
    }

    /// About `wanted` round values inside the axis, from low to high.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        match (self.spacing, self.step) {
            (Spacing::Linear, Some(step)) => multiples(self.domain, step),
            (Spacing::Linear, None) => multiples(self.domain, step(self.domain, wanted)),
            (Spacing::Log, _) => log_ticks(self.domain, wanted),
        }
    }

    /// Those of the values that lie inside, without any that would come nearer than `pixels` to the one before.
    pub fn apart(&self, values: &[f64], pixels: f64) -> Vec<f64> {
        let inside = values.iter().filter(|&&value| self.domain.0 * 0.999 <= value && value <= self.domain.1 * 1.001);
        let mut kept: Vec<f64> = Vec::new();
        for &value in inside {
            if kept.last().is_none_or(|&last| (self.at(value) - self.at(last)).abs() >= pixels) {
                kept.push(value);
            }
        }
        kept
    }
}

/// 1, 2 or 5 times a power of ten, such that about `wanted` steps make the domain.
fn step((low, high): (f64, f64), wanted: usize) -> f64 {
    let rough = (high - low) / wanted.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.8).unwrap_or(10.0);
    factor * power
}

fn multiples(domain: (f64, f64), step: f64) -> Vec<f64> {
    let first = (domain.0 / step - 1e-9).ceil() as i64;
    let last = (domain.1 / step + 1e-9).floor() as i64;
    (first..=last).take(100).map(|i| i as f64 * step).collect()
}

fn log_ticks(domain: (f64, f64), wanted: usize) -> Vec<f64> {
    let decades = domain.0.log10().floor() as i32..=domain.1.log10().ceil() as i32;
    for factors in [&[1.0, 2.0, 5.0][..], &[1.0]] {
        let all = decades.clone().flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
        let ticks: Vec<f64> = all.filter(|tick| domain.0 * 0.999 <= *tick && *tick <= domain.1 * 1.001).collect();
        if ticks.len() <= wanted + wanted / 2 && ticks.len() >= 2 {
            return ticks;
        }
        if ticks.len() < 2 {
            return multiples(domain, step(domain, wanted));
        }
    }
    let every = (decades.count() / wanted.max(1)).max(1);
    let first = domain.0.log10().ceil() as i32;
    let last = domain.1.log10().floor() as i32;
    (first..=last).step_by(every).map(|decade| 10f64.powi(decade)).collect()
}

/// Round sizes inside a range of bytes: 1, 2, 5, 10, … 500 of each unit.
pub fn byte_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let units = (0..5).map(|power| 1024f64.powi(power));
    let all = units.flat_map(|unit| [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0].map(|factor| factor * unit));
    all.filter(|tick| low <= *tick && *tick <= high).collect()
}

/// A tick's text: no more decimals than it needs, thousands set apart.
pub fn label(tick: f64) -> String {
    if !tick.is_finite() {
        return String::new();
    }
    if tick.fract().abs() < 1e-9 && tick >= 0.0 {
        return words::thousands(tick.round() as u64);
    }
    let text = format!("{tick:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.replace('-', "−")
}

/// A tick's size without needless decimals: `100 KiB`, `1 MiB`.
pub fn byte_label(tick: f64) -> String {
    words::bytes(tick.round() as u64).replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let rounded = Axis::rounded((31.0, 52.0), (0.0, 100.0), 5);
        assert_eq!((rounded.domain(), rounded.ticks(5)), ((30.0, 55.0), vec![30.0, 35.0, 40.0, 45.0, 50.0, 55.0]));
        let check = |spacing, low, high, expected: &str| {
            let ticks = Axis::new(spacing, (low, high), (0.0, 100.0)).ticks(5);
            assert_eq!(ticks.into_iter().map(label).collect::<Vec<_>>().join(" "), expected);
        };
        check(Spacing::Linear, 31.0, 52.0, "35 40 45 50");
        check(Spacing::Linear, 0.0, 0.9, "0 0.2 0.4 0.6 0.8");
        check(Spacing::Linear, -3.0, 3.0, "−3 −2 −1 0 1 2 3");
        check(Spacing::Linear, 0.0, 30_000.0, "0 5,000 10,000 15,000 20,000 25,000 30,000");
        check(Spacing::Log, 0.08, 2.5, "0.1 0.2 0.5 1 2");
        check(Spacing::Log, 1e-3, 1e3, "0.001 0.01 0.1 1 10 100 1,000");
        check(Spacing::Log, 2.1, 4.9, "2.5 3 3.5 4 4.5");
    }

    #[test]
    fn values_go_to_their_places() {
        let axis = Axis::new(Spacing::Linear, (0.0, 50.0), (100.0, 0.0));
        assert_eq!(
            [0.0, 25.0, 50.0, 99.0, f64::NEG_INFINITY].map(|value| axis.at(value)),
            [100.0, 50.0, 0.0, 0.0, 100.0]
        );
        let log = Axis::new(Spacing::Log, (1.0, 100.0), (0.0, 10.0));
        assert!(
            [(1.0, 0.0), (10.0, 5.0), (100.0, 10.0)].iter().all(|&(value, place)| (log.at(value) - place).abs() < 1e-9)
        );
        assert_eq!(log.at(-1.0), 0.0);
        assert_eq!(log.apart(&[1.0, 1.1, 10.0, 100.0, 900.0], 2.0), [1.0, 10.0, 100.0]);
    }

    #[test]
    fn any_domain_gives_finite_places_and_few_ticks() {
        let odd = [0.0, -1.0, 1e-300, 1e300, 5.0, f64::NAN, f64::INFINITY];
        for (low, high) in odd.iter().flat_map(|&low| odd.iter().map(move |&high| (low, high))) {
            for spacing in [Spacing::Linear, Spacing::Log] {
                let axis = Axis::new(spacing, (low, high), (0.0, 300.0));
                assert!(axis.domain().0 < axis.domain().1, "{spacing:?} {low} {high}: {:?}", axis.domain());
                assert!(axis.ticks(5).len() <= 100);
                assert!((0.0..=300.0).contains(&axis.at(5.0)), "{spacing:?} {low} {high}");
            }
        }
    }

    #[test]
    fn sizes_have_their_own_round_numbers() {
        let labels: Vec<String> = byte_ticks((300.0 * 1024.0, 6.0 * 1048576.0)).into_iter().map(byte_label).collect();
        assert_eq!(labels, ["500 KiB", "1 MiB", "2 MiB", "5 MiB"]);
    }
}
