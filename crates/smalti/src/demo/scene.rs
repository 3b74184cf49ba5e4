//! Draws one image of the demonstration: a lit, textured background, clutter, the subject, and the camera's faults.
//!
//! Lengths are in sides of the image: x runs right and y down, both from 0 to 1. One number, the difficulty, pushes everything
//! that makes an image hard (a small subject, little contrast, clutter, things in front, noise), so that a set has easy and
//! hard images. The rest varies without regard to it: filled or outlined, light on dark or dark on light, plain or patterned.
//! Those are the modes that a good selection should cover.

use super::paint::{Colour, PATTERNS, Paint, Pattern, from_hsv, mix};
use super::shapes::{Outline, SHAPES, range};
use smalti_data::Rgb;
use smalti_data::random::Stream;
use std::f32::consts::TAU;

/// Each pixel is the mean of this many points across and down.
const POINTS_ACROSS: u32 = 3;

/// How often a subject wears its class's usual pattern; else any pattern.
const USUAL_PATTERN: f64 = 0.9;

/// How often a subject is lighter than its ground.
const LIGHTER: f64 = 0.9;

/// Parts of the subject's extent by which its centre may stand over the edge of the image, at the lowest and highest difficulty.
const OVERHANG: (f32, f32) = (0.0, 0.28);

/// Diameter of the subject at the lowest and highest difficulty.
const DIAMETER: (f32, f32) = (0.85, 0.5);

/// Difference in brightness between subject and background at the lowest and highest difficulty.
const CONTRAST: (f32, f32) = (0.6, 0.4);

/// Standard deviation of the sensor's noise at the lowest and highest difficulty.
const NOISE: (f32, f32) = (0.004, 0.03);

/// Part of a full turn within which subjects stand upright: ten images per class teach a shape, not all of its turns.
const TURN: f32 = 0.1;

/// Part of the free way from the middle by which subjects stand off it.
const REACH: f32 = 0.3;

/// What stands before the camera.
#[derive(Debug, Clone)]
pub struct Scene {
    background: Paint,
    behind: Vec<Piece>,
    subject: Piece,
    before: Vec<Piece>,
    light: Light,
}

/// How the scene is photographed: a square window of it, and the camera's faults.
#[derive(Debug, Clone)]
pub struct Camera {
    /// Left edge, upper edge and side of the window.
    window: [f32; 3],
    /// All brightness is multiplied by this.
    exposure: f32,
    /// Weight of each of the two neighbours in a row or column; 0 is sharp.
    blur: f32,
    /// Standard deviation of the sensor's noise.
    noise: f32,
}

/// Light from one side, dimmer towards the corners.
#[derive(Debug, Clone)]
struct Light {
    /// Towards the light, length 1.
    towards: [f32; 2],
    /// Change of brightness per unit of length.
    slope: f32,
    /// Loss of brightness in the corners.
    vignette: f32,
    /// The colour of white paper.
    tint: Colour,
    /// How dark the subject's shadow is; 0 for none.
    shadow: f32,
}

/// How a shape is filled.
#[derive(Debug, Clone)]
enum Fill {
    /// All of it.
    Solid,
    /// A line of this width along the border, and a thin wash of this opacity inside.
    Line(f32, f32),
    /// All of it, with a border of this width in another colour.
    Framed(f32, Colour),
}

/// One thing in the scene: a shape, where it lies, and what it is made of.
#[derive(Debug, Clone)]
struct Piece {
    outline: Outline,
    centre: [f32; 2],
    /// Turns an offset from the centre into the shape's own coordinates.
    inverse: [[f32; 2]; 2],
    paint: Paint,
    fill: Fill,
    opacity: f32,
    /// Only points whose product with the first two numbers is below the third are kept.
    cut: Option<[f32; 3]>,
}

impl Piece {
    /// The shape's own coordinates of a point of the scene.
    fn local(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        self.inverse.map(|row| row[0] * dx + row[1] * dy)
    }

    fn covers(&self, [u, v]: [f32; 2]) -> bool {
        u.abs() <= 1.05
            && v.abs() <= 1.05
            && self.cut.is_none_or(|[a, b, limit]| a * u + b * v < limit)
            && self.outline.contains(u, v)
    }

    /// Whether a covered point lies less than `width` from the shape's border.
    fn near_border(&self, [u, v]: [f32; 2], width: f32) -> bool {
        // Eight directions: a border that lies between two of them is reached 8 % later.
        const D: f32 = std::f32::consts::FRAC_1_SQRT_2;
        let around = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [D, D], [-D, D], [D, -D], [-D, -D]];
        around.iter().any(|[cos, sin]| !self.outline.contains(u + width * cos, v + width * sin))
    }

    /// Colour and opacity at a point of the scene; opacity 0 where the piece is not.
    fn at(&self, x: f32, y: f32) -> (Colour, f32) {
        let point = self.local(x, y);
        if !self.covers(point) {
            return ([0.0; 3], 0.0);
        }
        let paint = self.paint.at(x, y);
        match self.fill {
            Fill::Solid => (paint, self.opacity),
            Fill::Line(width, _) if self.near_border(point, width) => (paint, self.opacity),
            Fill::Line(_, wash) => (paint, wash),
            Fill::Framed(width, colour) if self.near_border(point, width) => (colour, self.opacity),
            Fill::Framed(..) => (paint, self.opacity),
        }
    }
}

impl Scene {
    /// The colour of a point, light included. Not yet limited to 0 to 1.
    fn at(&self, x: f32, y: f32) -> Colour {
        let mut colour = self.background.at(x, y);
        let lay = |below: Colour, piece: &Piece| {
            let (above, opacity) = piece.at(x, y);
            mix(below, above, opacity)
        };
        colour = self.behind.iter().fold(colour, lay);
        let light = &self.light;
        if light.shadow > 0.0 && !matches!(self.subject.fill, Fill::Line(..)) {
            let away = [x + 0.03 * light.towards[0], y + 0.03 * light.towards[1]];
            if self.subject.covers(self.subject.local(away[0], away[1])) {
                colour = colour.map(|c| c * (1.0 - light.shadow));
            }
        }
        colour = lay(colour, &self.subject);
        colour = self.before.iter().fold(colour, lay);
        let (dx, dy) = (x - 0.5, y - 0.5);
        let along = 1.0 + light.slope * (dx * light.towards[0] + dy * light.towards[1]);
        let lit = along * (1.0 - 2.0 * light.vignette * (dx * dx + dy * dy));
        [0, 1, 2].map(|c| colour[c] * lit * light.tint[c])
    }
}

/// A scene that shows a shape of `class`, and how its photograph is taken. `class` must be an index of [`SHAPES`].
pub fn draw(class: usize, stream: &mut Stream) -> (Scene, Camera) {
    // The second smallest of four uniform numbers: a beta distribution, mean 0.4, few very easy and very hard ones.
    let mut four = [0; 4].map(|_| stream.uniform() as f32);
    four.sort_by(f32::total_cmp);
    let difficulty = four[1];
    let contrast = fade(CONTRAST, level(stream, difficulty));
    let lighter = stream.uniform() < LIGHTER;
    let (dark, light) = (range(stream, 0.08, 0.86 - contrast), contrast);
    let (ground, figure) = if lighter { (dark, dark + light) } else { (dark + light, dark) };
    let background = background(ground, contrast, level(stream, difficulty), stream);
    let (subject, radius) = subject(class, difficulty, [ground, figure], stream);
    let crowd = level(stream, difficulty) * 2.6;
    let behind = (0..crowd as u32).map(|_| clutter(class, ground, difficulty, stream)).collect();
    let covered = stream.uniform() < 0.06 + 0.15 * f64::from(difficulty);
    let before = (0..u32::from(covered)).map(|_| occluder(class, &subject, radius, ground, stream)).collect();
    let scene = Scene { background, behind, subject, before, light: lamp(stream) };
    let camera = Camera {
        window: [0.0, 0.0, 1.0],
        exposure: range(stream, 0.6, 1.3),
        blur: if stream.uniform() < 0.3 { range(stream, 0.08, 0.25) } else { 0.0 },
        noise: fade(NOISE, level(stream, difficulty)),
    };
    (scene, camera)
}

impl Camera {
    /// Another photograph of the same scene from nearly the same place: a near-duplicate.
    pub fn again(&self, stream: &mut Stream) -> Camera {
        let side = range(stream, 0.9, 0.98);
        Camera {
            window: [range(stream, 0.0, 1.0 - side), range(stream, 0.0, 1.0 - side), side],
            exposure: self.exposure * range(stream, 0.88, 1.14),
            blur: range(stream, 0.0, 0.15),
            noise: self.noise * range(stream, 0.8, 1.4),
        }
    }
}

/// Photographs the scene as `size` x `size` pixels; `stream` supplies the sensor's noise.
pub fn render(scene: &Scene, camera: &Camera, size: u32, stream: &mut Stream) -> Rgb {
    let side = size as usize;
    let [left, top, window] = camera.window;
    let step = window / (size * POINTS_ACROSS) as f32;
    let place = |i: u32| (i as f32 + 0.5) * step;
    let mut pixels = vec![[0.0f32; 3]; side * side];
    for row in 0..size * POINTS_ACROSS {
        for column in 0..size * POINTS_ACROSS {
            let colour = scene.at(left + place(column), top + place(row));
            let pixel = &mut pixels[(row / POINTS_ACROSS) as usize * side + (column / POINTS_ACROSS) as usize];
            // The sensor saturates softly, so that no bright subject melts into a bright ground.
            *pixel = [0, 1, 2].map(|c| pixel[c] + shoulder(colour[c] * camera.exposure));
        }
    }
    let share = 1.0 / (POINTS_ACROSS * POINTS_ACROSS) as f32;
    if camera.blur > 0.0 {
        pixels = blurred(&pixels, side, camera.blur);
    }
    let noisy = |value: f32, stream: &mut Stream| value * share + camera.noise * stream.normal() as f32;
    let data = pixels.iter().flatten().map(|&value| (noisy(value, stream) * 255.0).round().clamp(0.0, 255.0) as u8);
    Rgb { width: size, height: size, data: data.collect() }
}

/// The value between `ends` at `level` from 0 to 1.
fn fade(ends: (f32, f32), level: f32) -> f32 {
    ends.0 + (ends.1 - ends.0) * level
}

/// The difficulty of one aspect: mostly the image's own, so that aspects go together but not in step.
fn level(stream: &mut Stream, difficulty: f32) -> f32 {
    0.65 * difficulty + 0.35 * stream.uniform() as f32
}

/// Two colours of the given brightness. Mostly their hues are neighbours, as on most surfaces; `vivid` limits saturation.
fn pair(brightness: [f32; 2], vivid: f32, stream: &mut Stream) -> [Colour; 2] {
    let hue = stream.uniform() as f32;
    let apart = if stream.uniform() < 0.75 { 0.1 } else { 0.5 };
    let other = hue + range(stream, -apart, apart);
    [tone(hue, brightness[0], vivid, stream), tone(other, brightness[1], vivid, stream)]
}

/// A colour of the given hue and brightness (luma); its saturation is drawn up to `vivid`.
fn tone(hue: f32, brightness: f32, vivid: f32, stream: &mut Stream) -> Colour {
    let hue = from_hsv(hue, range(stream, 0.0, vivid), 1.0);
    let luma = 0.299 * hue[0] + 0.587 * hue[1] + 0.114 * hue[2];
    let brightness = brightness.clamp(0.02, 0.98);
    if brightness < luma {
        hue.map(|c| c * brightness / luma)
    } else {
        mix(hue, [1.0; 3], (brightness - luma) / (1.0 - luma).max(1e-3))
    }
}

fn any_pattern(stream: &mut Stream) -> Pattern {
    PATTERNS[stream.below(PATTERNS.len() as u32) as usize]
}

/// A textured ground of mean brightness `ground`; its own contrast stays below the subject's.
fn background(ground: f32, contrast: f32, level: f32, stream: &mut Stream) -> Paint {
    let swing = 0.6 * contrast * fade((0.1, 0.85), level) * range(stream, 0.4, 1.0);
    let colours = pair([ground + swing / 2.0, ground - swing / 2.0], 0.5, stream);
    let pattern = any_pattern(stream);
    Paint::new(pattern, colours, range(stream, 1.5, 8.0), stream)
}

/// The shape of the class, large enough to be seen, and its radius.
fn subject(class: usize, difficulty: f32, [ground, figure]: [f32; 2], stream: &mut Stream) -> (Piece, f32) {
    let outline = (SHAPES[class].draw)(stream);
    let radius = (0.5 * fade(DIAMETER, level(stream, difficulty)) * range(stream, 0.9, 1.1)).clamp(0.1, 0.4);
    let overhang = fade(OVERHANG, level(stream, difficulty)) * radius;
    let reach = REACH * (0.5 - radius + overhang).max(0.0);
    let centre = [0.5 + range(stream, -reach, reach), 0.5 + range(stream, -reach, reach)];
    let usual = stream.uniform() < USUAL_PATTERN;
    let pattern = if usual { PATTERNS[class % PATTERNS.len()] } else { any_pattern(stream) };
    // The second colour stands on the same side of the ground, nearer or farther: the pattern never breaks up the shape.
    let second = ground + (figure - ground) * range(stream, 0.6, 1.25);
    let colours = pair([figure, second], 0.85, stream);
    let paint = Paint::new(pattern, colours, range(stream, 2.0, 4.5) / (2.0 * radius), stream);
    // At least 1.3 pixels of 64 wide.
    let width = range(stream, 0.12, 0.2).max(0.02 / radius);
    let fill = match stream.below(20) {
        0..16 => Fill::Solid,
        16..17 => Fill::Line(width, range(stream, 0.0, 0.4)),
        _ => {
            let hue = stream.uniform() as f32;
            Fill::Framed(width, tone(hue, ground + 1.3 * (figure - ground), 0.85, stream))
        }
    };
    let inverse = lie(radius, TURN, stream);
    (Piece { outline, centre, inverse, paint, fill, opacity: 1.0, cut: None }, radius)
}

/// A random turn within the part `turn` of a full one, a mild change of proportions and a mild shear, inverted: from scene offsets to
/// shape coordinates.
fn lie(radius: f32, turn: f32, stream: &mut Stream) -> [[f32; 2]; 2] {
    let (sin, cos) = (turn * TAU * range(stream, -0.5, 0.5)).sin_cos();
    let (stretch, shear) = (range(stream, 0.95, 1.05), range(stream, -0.06, 0.06));
    let (x, y) = ([cos / radius, sin / radius], [-sin / radius, cos / radius]);
    [[x[0] * stretch + y[0] * shear, x[1] * stretch + y[1] * shear], [y[0] / stretch, y[1] / stretch]]
}

/// A class other than `class`.
fn another(class: usize, stream: &mut Stream) -> usize {
    (class + 1 + stream.below(SHAPES.len() as u32 - 1) as usize) % SHAPES.len()
}

/// A cut-off part of another class's shape, small, somewhere behind the subject.
fn clutter(class: usize, ground: f32, difficulty: f32, stream: &mut Stream) -> Piece {
    let radius = range(stream, 0.06, 0.2);
    let centre = [range(stream, 0.0, 1.0), range(stream, 0.0, 1.0)];
    let swing = range(stream, 0.1, 0.2 + 0.35 * difficulty);
    let side = if stream.below(2) == 0 { swing } else { -swing };
    part(class, centre, radius, ground + side, stream)
}

/// A part of another shape in front of the subject's edge.
fn occluder(class: usize, subject: &Piece, radius: f32, ground: f32, stream: &mut Stream) -> Piece {
    let (sin, cos) = range(stream, 0.0, TAU).sin_cos();
    let distance = radius * range(stream, 0.6, 1.0);
    let centre = [subject.centre[0] + distance * cos, subject.centre[1] + distance * sin];
    let brightness = ground + range(stream, -0.3, 0.3);
    let size = radius * range(stream, 0.25, 0.5);
    part(class, centre, size, brightness, stream)
}

fn part(class: usize, centre: [f32; 2], radius: f32, brightness: f32, stream: &mut Stream) -> Piece {
    let outline = (SHAPES[another(class, stream)].draw)(stream);
    let (sin, cos) = range(stream, 0.0, TAU).sin_cos();
    let colours = pair([brightness, brightness + 0.1], 0.7, stream);
    Piece {
        outline,
        centre,
        inverse: lie(radius, 1.0, stream),
        paint: Paint::new(any_pattern(stream), colours, range(stream, 4.0, 14.0), stream),
        fill: Fill::Solid,
        opacity: range(stream, 0.5, 1.0),
        cut: Some([cos, sin, range(stream, -0.3, 0.3)]),
    }
}

fn lamp(stream: &mut Stream) -> Light {
    let (sin, cos) = range(stream, 0.0, TAU).sin_cos();
    let warmth = range(stream, -0.08, 0.08);
    Light {
        towards: [cos, sin],
        slope: range(stream, 0.0, 0.7),
        vignette: range(stream, 0.0, 0.35),
        tint: [1.0 + warmth, 1.0, 1.0 - warmth],
        shadow: if stream.uniform() < 0.4 { range(stream, 0.2, 0.5) } else { 0.0 },
    }
}

/// Brightness as a sensor records it: straight up to 0.8, then bent towards 1.
fn shoulder(value: f32) -> f32 {
    if value < 0.8 { value.max(0.0) } else { 1.0 - 0.2 * ((0.8 - value) / 0.2).exp() }
}

/// Each pixel mixed with its neighbours, first along rows and then along columns; the edge repeats its own pixel.
fn blurred(pixels: &[Colour], side: usize, weight: f32) -> Vec<Colour> {
    let pass = |from: &[Colour], stride: usize, place: fn(usize, usize) -> usize| -> Vec<Colour> {
        let mixed = |i: usize| {
            let at = place(i, side);
            let before = from[if at == 0 { i } else { i - stride }];
            let after = from[if at + 1 == side { i } else { i + stride }];
            [0, 1, 2].map(|c| from[i][c] * (1.0 - 2.0 * weight) + (before[c] + after[c]) * weight)
        };
        (0..from.len()).map(mixed).collect()
    };
    let rows = pass(pixels, 1, |i, side| i % side);
    pass(&rows, side, |i, side| i / side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::random::Stage;

    fn stream(sample: u64) -> Stream {
        Stream::new(11, Stage::Demo, 0, sample)
    }

    /// The same photograph with and without the subject.
    #[test]
    fn every_class_stands_out_from_its_background() {
        for (class, shape) in SHAPES.iter().enumerate() {
            for sample in 0..25 {
                let (scene, camera) = draw(class, &mut stream(sample));
                let mut empty = scene.clone();
                empty.subject.cut = Some([0.0, 0.0, -1.0]);
                let [with, without] =
                    [&scene, &empty].map(|scene| render(scene, &camera, 48, &mut stream(1 << 32 | sample)));
                let differs = |(a, b): (&[u8], &[u8])| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 15);
                let seen = with.data.chunks(3).zip(without.data.chunks(3)).filter(|&pair| differs(pair)).count();
                assert!(seen >= 20, "{} {sample}: only {seen} of 2304 pixels show it", shape.name);
            }
        }
    }

    #[test]
    fn a_second_photograph_is_like_the_first_but_not_the_same() {
        let (scene, camera) = draw(4, &mut stream(5));
        let first = render(&scene, &camera, 64, &mut stream(6));
        let second = render(&scene, &camera.again(&mut stream(7)), 64, &mut stream(7));
        let (other, its_camera) = draw(4, &mut stream(8));
        let other = render(&other, &its_camera, 64, &mut stream(9));
        let apart = |a: &Rgb, b: &Rgb| -> u32 {
            a.data.iter().zip(&b.data).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>() / a.data.len() as u32
        };
        assert_ne!(first, second);
        assert!(
            apart(&first, &second) * 2 < apart(&first, &other),
            "{} {}",
            apart(&first, &second),
            apart(&first, &other)
        );
    }

    #[test]
    fn the_shoulder_rises_without_a_jump_and_stays_below_one() {
        let values: Vec<f32> = (0..400).map(|i| shoulder(i as f32 * 0.01)).collect();
        assert!(values.windows(2).all(|pair| pair[1] >= pair[0] && pair[1] - pair[0] < 0.0101));
        assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
    }

    #[test]
    fn blurring_keeps_the_mean_and_a_flat_picture() {
        let flat = vec![[0.25, 0.5, 0.75]; 16];
        assert_eq!(blurred(&flat, 4, 0.25), flat);
        let mut point = vec![[0.0; 3]; 25];
        point[12] = [1.0; 3];
        let spread = blurred(&point, 5, 0.25);
        assert_eq!((spread[12][0], spread[11][0], spread[6][0]), (0.25, 0.125, 0.0625));
        assert!((spread.iter().map(|p| p[0]).sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
