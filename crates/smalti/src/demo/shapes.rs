//! The shapes that the classes of the demonstration are named after, as outlines inside the unit square [-1, 1]².

use smalti_data::random::Stream;
use std::f32::consts::{PI, TAU};

/// A class of the demonstration: its name, and how to draw one of its many variants.
pub struct Shape {
    /// The folder's name: a plain word.
    pub name: &'static str,
    /// Draws a variant: proportions differ from image to image.
    pub draw: fn(&mut Stream) -> Outline,
}

/// Every class there is; a demonstration of n classes takes the first n.
pub const SHAPES: &[Shape] = &[
    Shape { name: "disc", draw: |_| Outline::Disc },
    Shape { name: "ring", draw: |s| Outline::Ring { hole: range(s, 0.45, 0.72) } },
    Shape { name: "square", draw: square },
    Shape { name: "triangle", draw: triangle },
    Shape { name: "star", draw: star },
    Shape { name: "cross", draw: cross },
    Shape { name: "crescent", draw: |s| Outline::Crescent { shift: range(s, 0.35, 0.6), bite: range(s, 0.75, 0.9) } },
    Shape { name: "heart", draw: |_| Outline::Heart },
    Shape { name: "arrow", draw: arrow },
    Shape { name: "zigzag", draw: zigzag },
    Shape { name: "flower", draw: |s| Outline::Flower { petals: 5.0 + s.below(3) as f32, depth: range(s, 0.3, 0.42) } },
    Shape { name: "gear", draw: |s| Outline::Gear { teeth: 8.0 + s.below(4) as f32, depth: range(s, 0.18, 0.28) } },
];

/// The border of a shape.
#[derive(Debug, Clone)]
pub enum Outline {
    /// The unit disc.
    Disc,
    /// The unit disc without a concentric disc of radius `hole`.
    Ring {
        /// Radius of the hole.
        hole: f32,
    },
    /// The unit disc without a disc of radius `bite` whose centre is `shift` to the right.
    Crescent {
        /// How far the missing disc lies to the right.
        shift: f32,
        /// Its radius.
        bite: f32,
    },
    /// A heart, point down.
    Heart,
    /// A disc whose radius swings by `depth` once per petal.
    Flower {
        /// Number of petals, a whole number.
        petals: f32,
        /// Swing of the radius.
        depth: f32,
    },
    /// A disc with square teeth and a round hole.
    Gear {
        /// Number of teeth, a whole number.
        teeth: f32,
        /// Height of the teeth.
        depth: f32,
    },
    /// A closed line through these points.
    Polygon(Vec<[f32; 2]>),
}

impl Outline {
    /// Whether the point lies inside the shape.
    pub fn contains(&self, x: f32, y: f32) -> bool {
        let squared = x * x + y * y;
        match self {
            Outline::Disc => squared <= 1.0,
            Outline::Ring { hole } => squared <= 1.0 && squared >= hole * hole,
            Outline::Crescent { shift, bite } => squared <= 1.0 && (x - shift).powi(2) + y * y > bite * bite,
            Outline::Heart => {
                // The classic sextic curve, scaled to the unit square and turned point down.
                let (x, y) = (1.18 * x, 0.12 - 1.12 * y);
                (x * x + y * y - 1.0).powi(3) - x * x * y.powi(3) <= 0.0
            }
            Outline::Flower { petals, depth } => {
                let radius = 1.0 - depth + depth * (petals * y.atan2(x)).cos();
                squared <= radius * radius
            }
            Outline::Gear { teeth, depth } => {
                let tooth = (teeth * y.atan2(x)).cos() > 0.0;
                let radius = if tooth { 1.0 } else { 1.0 - depth };
                squared <= radius * radius && squared >= 0.09
            }
            Outline::Polygon(points) => inside_polygon(points, x, y),
        }
    }
}

/// The even-odd rule: a ray to the right crosses the border an odd number of times.
fn inside_polygon(points: &[[f32; 2]], x: f32, y: f32) -> bool {
    let mut inside = false;
    let mut previous = points[points.len() - 1];
    for &point in points {
        let ([ax, ay], [bx, by]) = (previous, point);
        if (ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax {
            inside = !inside;
        }
        previous = point;
    }
    inside
}

/// A number in [`low`, `high`) in single precision.
pub(super) fn range(stream: &mut Stream, low: f32, high: f32) -> f32 {
    stream.between(f64::from(low), f64::from(high)) as f32
}

/// The point at `angle` and distance `radius` from the centre.
fn polar(angle: f32, radius: f32) -> [f32; 2] {
    [radius * angle.cos(), radius * angle.sin()]
}

fn square(stream: &mut Stream) -> Outline {
    let (w, h) = (0.88, 0.88 * range(stream, 0.78, 1.0));
    Outline::Polygon(vec![[-w, -h], [w, -h], [w, h], [-w, h]])
}

fn triangle(stream: &mut Stream) -> Outline {
    let corner = |i: usize, stream: &mut Stream| polar(i as f32 * TAU / 3.0 + range(stream, -0.2, 0.2), 1.0);
    Outline::Polygon((0..3).map(|i| corner(i, stream)).collect())
}

fn star(stream: &mut Stream) -> Outline {
    let points = 5 + stream.below(2) as usize;
    let waist = range(stream, 0.36, 0.5);
    let radius = |i: usize| if i.is_multiple_of(2) { 1.0 } else { waist };
    Outline::Polygon((0..2 * points).map(|i| polar(i as f32 * PI / points as f32, radius(i))).collect())
}

fn cross(stream: &mut Stream) -> Outline {
    let a = range(stream, 0.22, 0.4);
    Outline::Polygon(vec![
        [-a, -1.0],
        [a, -1.0],
        [a, -a],
        [1.0, -a],
        [1.0, a],
        [a, a],
        [a, 1.0],
        [-a, 1.0],
        [-a, a],
        [-1.0, a],
        [-1.0, -a],
        [-a, -a],
    ])
}

fn arrow(stream: &mut Stream) -> Outline {
    let (shaft, neck, head) = (range(stream, 0.16, 0.3), range(stream, -0.15, 0.25), range(stream, 0.6, 0.85));
    Outline::Polygon(vec![
        [-1.0, -shaft],
        [neck, -shaft],
        [neck, -head],
        [1.0, 0.0],
        [neck, head],
        [neck, shaft],
        [-1.0, shaft],
    ])
}

fn zigzag(stream: &mut Stream) -> Outline {
    let corners = 4 + stream.below(3) as usize;
    let (swing, thick) = (range(stream, 0.4, 0.6), range(stream, 0.15, 0.25));
    let point = |i: usize, side: f32| {
        let x = -1.0 + 2.0 * i as f32 / corners as f32;
        let y = if i.is_multiple_of(2) { swing } else { -swing };
        [x, y + side * thick]
    };
    let there = (0..=corners).map(|i| point(i, 1.0));
    let back = (0..=corners).rev().map(|i| point(i, -1.0));
    Outline::Polygon(there.chain(back).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::random::Stage;

    #[test]
    fn names_are_unique_plain_words() {
        let mut names: Vec<_> = SHAPES.iter().map(|shape| shape.name).collect();
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SHAPES.len());
    }

    /// A shape that leaves the unit square would be cut by its own bounding box; one that fills little could not be seen.
    #[test]
    fn every_variant_fits_the_unit_square_and_fills_some_of_it() {
        for shape in SHAPES {
            for sample in 0..50 {
                let outline = (shape.draw)(&mut Stream::new(3, Stage::Demo, 0, sample));
                let grid = |i: i32| i as f32 / 40.0;
                let (mut filled, mut total) = (0, 0);
                for (row, column) in (-60..=60).flat_map(|row| (-60..=60).map(move |column| (row, column))) {
                    let inside = outline.contains(grid(column), grid(row));
                    let in_square = row.abs() <= 41 && column.abs() <= 41;
                    assert!(in_square || !inside, "{} leaves its square", shape.name);
                    filled += i32::from(inside);
                    total += i32::from(in_square);
                }
                let share = f64::from(filled) / f64::from(total);
                assert!((0.12..0.95).contains(&share), "{} fills {share}", shape.name);
            }
        }
    }
}
