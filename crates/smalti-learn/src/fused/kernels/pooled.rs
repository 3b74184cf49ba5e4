//! Passes where two by two places become one.

use super::{Affine, BLOCK, Back, Grid, Loop, Number, Upstream, share, total, widest};

/// Weight of each of the four.
const SHARE: f32 = 0.25;

impl Grid {
    /// Numbers of an image row.
    fn row(&self) -> usize {
        self.width * self.channels
    }

    /// Numbers of a row of the output.
    fn out_row(&self) -> usize {
        self.out().1 * self.channels
    }

    /// Image rows of a block.
    fn block_rows(&self) -> usize {
        (BLOCK / self.row()).max(1)
    }

    /// First image rows of all blocks.
    fn blocks(&self) -> Vec<usize> {
        (0..self.images * self.height).step_by(self.block_rows()).collect()
    }

    /// Where the row of the output begins that image row `row` is part of, if it is.
    #[inline(always)]
    fn out_of(&self, row: usize) -> Option<usize> {
        let (image, y) = (row / self.height, row % self.height / 2);
        let (height, _) = self.out();
        (y < height).then_some((image * height + y) * self.out_row())
    }
}

pub(super) fn forward<T: Number>(grid: &Grid, x: &[T], affine: &Affine, out: &mut [T]) {
    let row = grid.out_row();
    if row == 0 {
        return;
    }
    let rows = (BLOCK / 4 / row).max(1);
    let work = out.chunks_mut(rows * row).collect();
    share(work, |index, out| widest(Forward { grid, x, affine, first: index * rows, out }));
}

struct Forward<'a, T> {
    grid: &'a Grid,
    x: &'a [T],
    affine: &'a Affine,
    /// First row of the output that is this block's.
    first: usize,
    out: &'a mut [T],
}

impl<T: Number> Loop for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Affine { factor, offset, .. } = self.affine;
        let (channels, row) = (self.grid.channels, self.grid.row());
        let (height, _) = self.grid.out();
        for (index, out) in self.out.chunks_exact_mut(self.grid.out_row()).enumerate() {
            let (image, y) = ((self.first + index) / height, (self.first + index) % height);
            let top = (image * self.grid.height + 2 * y) * row;
            let (upper, lower) = self.x[top..top + 2 * row].split_at(row);
            let pairs = upper.chunks_exact(2 * channels).zip(lower.chunks_exact(2 * channels));
            for (out, (upper, lower)) in out.chunks_exact_mut(channels).zip(pairs) {
                let ((p, q), (r, s)) = (upper.split_at(channels), lower.split_at(channels));
                let four = p.iter().zip(q).zip(r).zip(s);
                for (((out, (((p, q), r), s)), a), b) in out.iter_mut().zip(four).zip(factor).zip(offset) {
                    let through = |v: &T| self.affine.cut(v.widen() * a + b);
                    *out = T::narrow((through(p) + through(q) + through(r) + through(s)) * SHARE);
                }
            }
        }
    }
}

pub(super) fn sums<T: Number>(up: &Upstream<'_, T>) -> (Vec<f64>, Vec<f64>) {
    let channels = up.grid.channels;
    let blocks = up.grid.blocks();
    let mut parts = vec![0.0f32; blocks.len() * 2 * channels];
    let work = blocks.into_iter().zip(parts.chunks_mut(2 * channels)).collect();
    share(work, |_, (first, part)| widest(Sums { up, first, part }));
    total(&parts, channels, channels)
}

struct Sums<'a, 'b, T> {
    up: &'a Upstream<'b, T>,
    /// First image row.
    first: usize,
    part: &'a mut [f32],
}

impl<T: Number> Loop for Sums<'_, '_, T> {
    #[inline(always)]
    fn run(self) {
        let (up, grid, channels) = (self.up, &self.up.grid, self.up.grid.channels);
        let Affine { factor, offset, .. } = up.affine;
        let (sums, products) = self.part.split_at_mut(channels);
        let end = (self.first + grid.block_rows()).min(grid.images * grid.height);
        for row in self.first..end {
            let Some(out) = grid.out_of(row) else { continue };
            let places = up.x[row * grid.row()..(row + 1) * grid.row()].chunks_exact(channels);
            for (column, x) in places.take(2 * grid.out().1).enumerate() {
                let at = out + column / 2 * channels;
                let of = sums.iter_mut().zip(products.iter_mut()).zip(up.mean).zip(factor).zip(offset);
                for (((((sum, product), mean), a), b), (x, g)) in of.zip(x.iter().zip(&up.gradient[at..at + channels]))
                {
                    let x = x.widen();
                    let g = up.affine.uncut(x * a + b, g.widen() * SHARE);
                    *sum += g;
                    *product += g * (x - mean);
                }
            }
        }
    }
}

pub(super) fn backward<T: Number>(up: &Upstream<'_, T>, back: &Back, of_x: &mut [T]) {
    let block = up.grid.block_rows() * up.grid.row();
    let work = up.grid.blocks().into_iter().zip(of_x.chunks_mut(block)).collect();
    share(work, |_, (first, of_x)| widest(Backward { up, back, first, of_x }));
}

struct Backward<'a, 'b, T> {
    up: &'a Upstream<'b, T>,
    back: &'a Back,
    /// First image row.
    first: usize,
    of_x: &'a mut [T],
}

impl<T: Number> Loop for Backward<'_, '_, T> {
    #[inline(always)]
    fn run(self) {
        let (up, grid, channels) = (self.up, &self.up.grid, self.up.grid.channels);
        let Affine { factor, offset, .. } = up.affine;
        let Back { constant, slope } = self.back;
        for (row, of_x) in (self.first..).zip(self.of_x.chunks_exact_mut(grid.row())) {
            let out = grid.out_of(row);
            let places = up.x[row * grid.row()..(row + 1) * grid.row()].chunks_exact(channels);
            for (column, (of_x, x)) in of_x.chunks_exact_mut(channels).zip(places).enumerate() {
                let of = of_x.iter_mut().zip(x).zip(up.mean).zip(constant.iter().zip(slope));
                let Some(out) = out.filter(|_| column < 2 * grid.out().1) else {
                    for (((of_x, x), mean), (constant, slope)) in of {
                        *of_x = T::narrow(constant + slope * (x.widen() - mean));
                    }
                    continue;
                };
                let at = out + column / 2 * channels;
                let map = factor.iter().zip(offset).zip(&up.gradient[at..at + channels]);
                for ((((of_x, x), mean), (constant, slope)), ((a, b), g)) in of.zip(map) {
                    let x = x.widen();
                    let g = up.affine.uncut(x * a + b, g.widen() * SHARE);
                    *of_x = T::narrow(a * g + (constant + slope * (x - mean)));
                }
            }
        }
    }
}
