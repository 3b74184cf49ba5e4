//! Passes over images in N, H, W, C order. Each is divided into blocks that do not depend on threads, and so do no sums.

mod pooled;
mod whole;

use super::node::share;
use super::simd::{Loop, Number, widest};

/// Numbers of a block, about: 64 KiB in 16 bits, so that its second reading comes from a near cache.
const BLOCK: usize = 1 << 15;

/// Numbers that are taken together at least: few channels would leave most of a register empty.
const LANES: usize = 128;

/// Shape of the images, and what becomes of their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub images: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub pooling: Pooling,
}

/// What becomes of two by two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// They stay.
    None,
    /// Their mean; a last odd row or column is left out.
    Mean2x2,
}

impl Grid {
    pub fn places(&self) -> usize {
        self.images * self.height * self.width
    }

    /// Height and width of the output.
    pub fn out(&self) -> (usize, usize) {
        match self.pooling {
            Pooling::None => (self.height, self.width),
            Pooling::Mean2x2 => (self.height / 2, self.width / 2),
        }
    }
}

/// What a number of channel c becomes: `factor[c]` times itself plus `offset[c]`, and not outside of `floor` and `ceiling`, which are NaN where nothing cuts.
#[derive(Debug, Clone)]
pub(super) struct Affine {
    pub factor: Vec<f32>,
    pub offset: Vec<f32>,
    pub floor: f32,
    pub ceiling: f32,
}

impl Affine {
    /// NaN stays NaN.
    #[inline(always)]
    fn cut(&self, value: f32) -> f32 {
        let value = if value < self.floor { self.floor } else { value };
        if value > self.ceiling { self.ceiling } else { value }
    }

    /// `gradient` where `value`, cut or not, was not cut.
    #[inline(always)]
    fn uncut(&self, value: f32, gradient: f32) -> f32 {
        if (value <= self.floor) | (value >= self.ceiling) { 0.0 } else { gradient }
    }
}

/// What a backward pass reads.
pub(super) struct Upstream<'a, T> {
    pub grid: Grid,
    /// Input of the norm.
    pub x: &'a [T],
    /// Gradient of the output, pooled where that is.
    pub gradient: &'a [T],
    /// Output, where a residual was added: it says what was cut. Else the affine map of `x` says it.
    pub output: Option<&'a [T]>,
    pub affine: &'a Affine,
    pub mean: &'a [f32],
}

/// How g, the gradient before the cut, becomes that of the input: the affine map's `factor` times g, plus `constant`, plus `slope` (x - mean), each of a channel.
pub(super) struct Back {
    pub constant: Vec<f32>,
    pub slope: Vec<f32>,
}

/// Of each channel.
pub(super) struct Moments {
    pub mean: Vec<f64>,
    /// Sum of squared deviations from the mean.
    pub squares: Vec<f64>,
}

/// `x` through the affine map, with `residual` added before the cut, pooled after it.
pub(super) fn forward<T: Number>(grid: &Grid, x: &[T], affine: &Affine, residual: Option<&[T]>, out: &mut [T]) {
    match grid.pooling {
        Pooling::None => whole::forward(grid.channels, x, affine, residual, out),
        Pooling::Mean2x2 => pooled::forward(grid, x, affine, out),
    }
}

/// Per channel: sum of g, and sum of g (x - mean).
pub(super) fn sums<T: Number>(up: &Upstream<'_, T>) -> (Vec<f64>, Vec<f64>) {
    match up.grid.pooling {
        Pooling::None => whole::sums(up),
        Pooling::Mean2x2 => pooled::sums(up),
    }
}

/// The gradient of the input into `of_x`; where a residual was added, g itself, which is its gradient, into `of_residual`.
pub(super) fn backward<T: Number>(up: &Upstream<'_, T>, back: &Back, of_x: &mut [T], of_residual: Option<&mut [T]>) {
    match (up.grid.pooling, of_residual, up.output) {
        (Pooling::Mean2x2, ..) => pooled::backward(up, back, of_x),
        (Pooling::None, Some(of_residual), Some(output)) => whole::backward_both(up, back, output, of_x, of_residual),
        (Pooling::None, ..) => whole::backward(up, back, of_x),
    }
}

/// Adds up parts of [sums, products], each of `lanes` numbers, by channel.
fn total(parts: &[f32], lanes: usize, channels: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut sums, mut products) = (vec![0.0; channels], vec![0.0; channels]);
    for part in parts.chunks(2 * lanes) {
        let (of_sums, of_products) = part.split_at(lanes);
        for (all, of) in [(&mut sums, of_sums), (&mut products, of_products)] {
            for of in of.chunks(channels) {
                all.iter_mut().zip(of).for_each(|(all, of)| *all += f64::from(*of));
            }
        }
    }
    (sums, products)
}

/// Numbers that are taken together: whole places.
fn lanes(channels: usize) -> usize {
    channels * LANES.div_ceil(channels)
}

/// Numbers of a block: whole lanes.
fn block(lanes: usize) -> usize {
    lanes * (BLOCK / lanes).max(1)
}

/// A number for each channel, again and again.
fn repeated(values: &[f32], lanes: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(lanes).collect()
}

/// Moments of all places: each lane of a block by itself in fp32, then together in fp64 (Chan, Golub and LeVeque, 1979).
pub(super) fn moments<T: Number>(channels: usize, x: &[T]) -> Moments {
    let lanes = lanes(channels);
    let block = block(lanes);
    let mut parts = vec![0.0f32; x.len().div_ceil(block) * 2 * lanes];
    let work = x.chunks(block).zip(parts.chunks_mut(2 * lanes)).collect();
    share(work, |_, (x, part)| widest(LaneMoments { x, part }));
    let mut all = Moments { mean: vec![0.0; channels], squares: vec![0.0; channels] };
    let mut seen = vec![0.0; channels];
    for (x, part) in x.chunks(block).zip(parts.chunks(2 * lanes)) {
        let (means, squares) = part.split_at(lanes);
        for (lane, (mean, squares)) in means.iter().zip(squares).enumerate() {
            let (c, here) = (lane % channels, count_of(lane, lanes, x.len()));
            if here == 0 {
                break;
            }
            let (here, off) = (here as f64, f64::from(*mean) - all.mean[c]);
            let total = seen[c] + here;
            all.mean[c] += off * here / total;
            all.squares[c] += f64::from(*squares) + off * off * seen[c] * here / total;
            seen[c] = total;
        }
    }
    all
}

/// Numbers of a lane among the first `length`.
fn count_of(lane: usize, lanes: usize, length: usize) -> usize {
    length / lanes + usize::from(lane < length % lanes)
}

/// [means, squared deviations] of each lane.
struct LaneMoments<'a, T> {
    x: &'a [T],
    part: &'a mut [f32],
}

impl<T: Number> Loop for LaneMoments<'_, T> {
    #[inline(always)]
    fn run(self) {
        let lanes = self.part.len() / 2;
        let (means, squares) = self.part.split_at_mut(lanes);
        for x in self.x.chunks(lanes) {
            for (sum, v) in means.iter_mut().zip(x) {
                *sum += v.widen();
            }
        }
        for (lane, mean) in means.iter_mut().enumerate() {
            *mean /= count_of(lane, lanes, self.x.len()).max(1) as f32;
        }
        for x in self.x.chunks(lanes) {
            for ((sum, mean), v) in squares.iter_mut().zip(&*means).zip(x) {
                let off = v.widen() - mean;
                *sum += off * off;
            }
        }
    }
}
