//! Colours and fills of the demonstration images. A colour is red, green, blue from 0 to 1.

use smalti_data::random::Stream;
use std::f32::consts::TAU;

/// Red, green, blue, each from 0 to 1.
pub type Colour = [f32; 3];

/// The ways to spread two colours over a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// The first colour only.
    Plain,
    /// Parallel bands.
    Stripes,
    /// A chess board.
    Checker,
    /// Round spots.
    Dots,
    /// A slow change from one to the other.
    Gradient,
    /// Irregular grains.
    Grain,
}

/// Every pattern, in the order by which classes take their usual one.
pub const PATTERNS: [Pattern; 6] =
    [Pattern::Stripes, Pattern::Plain, Pattern::Dots, Pattern::Grain, Pattern::Checker, Pattern::Gradient];

/// A fill: two colours, a pattern, and how the pattern lies.
#[derive(Debug, Clone)]
pub struct Paint {
    /// The pattern.
    pub pattern: Pattern,
    /// The two colours that it mixes.
    pub colours: [Colour; 2],
    /// Bands, squares, spots or grains per unit of length.
    pub frequency: f32,
    turn: [f32; 2],
    shift: [f32; 2],
}

impl Paint {
    /// A fill whose direction and offset are drawn from `stream`.
    pub fn new(pattern: Pattern, colours: [Colour; 2], frequency: f32, stream: &mut Stream) -> Paint {
        let (sin, cos) = (stream.uniform() as f32 * TAU).sin_cos();
        let shift = [stream.uniform() as f32 * 50.0, stream.uniform() as f32 * 50.0];
        Paint { pattern, colours, frequency, turn: [cos, sin], shift }
    }

    /// The colour at a point; `x` and `y` are in the same unit as one over the frequency.
    pub fn at(&self, x: f32, y: f32) -> Colour {
        let [cos, sin] = self.turn;
        let u = (x * cos + y * sin) * self.frequency + self.shift[0];
        let v = (y * cos - x * sin) * self.frequency + self.shift[1];
        let share = match self.pattern {
            Pattern::Plain => return self.colours[0],
            Pattern::Stripes => f32::from(u.fract() < 0.5),
            Pattern::Checker => f32::from((u.fract() < 0.5) != (v.fract() < 0.5)),
            Pattern::Dots => f32::from((u.fract() - 0.5).powi(2) + (v.fract() - 0.5).powi(2) > 0.08),
            Pattern::Gradient => 0.5 + 0.5 * (0.5 * u).sin(),
            Pattern::Grain => grain(2.0 * u, 2.0 * v),
        };
        mix(self.colours[1], self.colours[0], share)
    }
}

/// `a` when `share` is 0, `b` when it is 1.
pub fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * share)
}

/// The colour of a hue (0 to 1, round the circle), a saturation and a brightness.
pub fn from_hsv(hue: f32, saturation: f32, value: f32) -> Colour {
    let channel = |offset: f32| {
        let k = (offset + hue.rem_euclid(1.0) * 6.0) % 6.0;
        (value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

/// Smooth noise from 0 to 1 with one random value per unit square.
fn grain(u: f32, v: f32) -> f32 {
    let (column, row) = (u.floor(), v.floor());
    let (fu, fv) = (u - column, v - row);
    let (fu, fv) = (fu * fu * (3.0 - 2.0 * fu), fv * fv * (3.0 - 2.0 * fv));
    let corner = |dx: i32, dy: i32| lattice((column as i32).wrapping_add(dx), (row as i32).wrapping_add(dy));
    let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * fu;
    let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * fu;
    top + (bottom - top) * fv
}

/// A fixed random value from 0 to 1 for each point with whole coordinates.
fn lattice(column: i32, row: i32) -> f32 {
    let mut h = (column as u32).wrapping_mul(0x9E37_79B1) ^ (row as u32).wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    ((h ^ (h >> 15)) >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_have_their_usual_names() {
        let close = |a: Colour, b: Colour| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6);
        assert!(close(from_hsv(0.0, 1.0, 1.0), [1.0, 0.0, 0.0]));
        assert!(close(from_hsv(1.0 / 3.0, 1.0, 1.0), [0.0, 1.0, 0.0]));
        assert!(close(from_hsv(2.0 / 3.0, 1.0, 0.5), [0.0, 0.0, 0.5]));
        assert!(close(from_hsv(0.7, 0.0, 0.4), [0.4; 3]));
    }

    #[test]
    fn grain_is_smooth_and_spread_over_its_range() {
        let values: Vec<f32> = (0..4000).map(|i| grain(i as f32 * 0.05 + 3.0, 7.3)).collect();
        assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!(values.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.12));
        assert!(values.iter().any(|&v| v < 0.2) && values.iter().any(|&v| v > 0.8));
    }
}
