//! Passes that keep every place: numbers one after another, a few places at a time.

use super::{Affine, Back, Loop, Number, Upstream, block, lanes, repeated, share, total, widest};

impl Affine {
    fn repeated(&self, lanes: usize) -> Affine {
        Affine { factor: repeated(&self.factor, lanes), offset: repeated(&self.offset, lanes), ..*self }
    }
}

pub(super) fn forward<T: Number>(channels: usize, x: &[T], affine: &Affine, residual: Option<&[T]>, out: &mut [T]) {
    let lanes = lanes(channels);
    let (affine, block) = (&affine.repeated(lanes), block(lanes));
    let work = out.chunks_mut(block).zip(x.chunks(block)).collect();
    share(work, |index, (out, x)| match residual {
        None => widest(Forward { x, affine, out }),
        Some(residual) => {
            let residual = &residual[index * block..index * block + x.len()];
            widest(ForwardAdd { x, residual, affine, out });
        }
    });
}

struct Forward<'a, T> {
    x: &'a [T],
    affine: &'a Affine,
    out: &'a mut [T],
}

impl<T: Number> Loop for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Affine { factor, offset, .. } = self.affine;
        let lanes = factor.len();
        for (out, x) in self.out.chunks_mut(lanes).zip(self.x.chunks(lanes)) {
            for (((out, x), a), b) in out.iter_mut().zip(x).zip(factor).zip(offset) {
                *out = T::narrow(self.affine.cut(x.widen() * a + b));
            }
        }
    }
}

struct ForwardAdd<'a, T> {
    x: &'a [T],
    residual: &'a [T],
    affine: &'a Affine,
    out: &'a mut [T],
}

impl<T: Number> Loop for ForwardAdd<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Affine { factor, offset, .. } = self.affine;
        let lanes = factor.len();
        let inputs = self.x.chunks(lanes).zip(self.residual.chunks(lanes));
        for (out, (x, r)) in self.out.chunks_mut(lanes).zip(inputs) {
            for ((((out, x), r), a), b) in out.iter_mut().zip(x).zip(r).zip(factor).zip(offset) {
                *out = T::narrow(self.affine.cut(x.widen() * a + b + r.widen()));
            }
        }
    }
}

pub(super) fn sums<T: Number>(up: &Upstream<'_, T>) -> (Vec<f64>, Vec<f64>) {
    let lanes = lanes(up.grid.channels);
    let (affine, mean, block) = (&up.affine.repeated(lanes), &*repeated(up.mean, lanes), block(lanes));
    let mut parts = vec![0.0f32; up.x.len().div_ceil(block) * 2 * lanes];
    let inputs = up.x.chunks(block).zip(up.gradient.chunks(block));
    let work = inputs.zip(parts.chunks_mut(2 * lanes)).collect();
    share(work, |index, ((x, gradient), part)| match up.output {
        None => widest(Sums { x, gradient, affine, mean, part }),
        Some(output) => {
            let output = &output[index * block..index * block + x.len()];
            widest(SumsAdd { x, gradient, output, affine, mean, part });
        }
    });
    total(&parts, lanes, up.grid.channels)
}

struct Sums<'a, T> {
    x: &'a [T],
    gradient: &'a [T],
    affine: &'a Affine,
    mean: &'a [f32],
    part: &'a mut [f32],
}

impl<T: Number> Loop for Sums<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Affine { factor, offset, .. } = self.affine;
        let lanes = factor.len();
        let (sums, products) = self.part.split_at_mut(lanes);
        for (x, g) in self.x.chunks(lanes).zip(self.gradient.chunks(lanes)) {
            let sums = sums.iter_mut().zip(products.iter_mut()).zip(self.mean);
            for (((((sum, product), mean), x), g), (a, b)) in sums.zip(x).zip(g).zip(factor.iter().zip(offset)) {
                let x = x.widen();
                let g = self.affine.uncut(x * a + b, g.widen());
                *sum += g;
                *product += g * (x - mean);
            }
        }
    }
}

struct SumsAdd<'a, T> {
    x: &'a [T],
    gradient: &'a [T],
    output: &'a [T],
    affine: &'a Affine,
    mean: &'a [f32],
    part: &'a mut [f32],
}

impl<T: Number> Loop for SumsAdd<'_, T> {
    #[inline(always)]
    fn run(self) {
        let lanes = self.mean.len();
        let (sums, products) = self.part.split_at_mut(lanes);
        let inputs = self.x.chunks(lanes).zip(self.gradient.chunks(lanes)).zip(self.output.chunks(lanes));
        for ((x, g), y) in inputs {
            let sums = sums.iter_mut().zip(products.iter_mut()).zip(self.mean);
            for (((((sum, product), mean), x), g), y) in sums.zip(x).zip(g).zip(y) {
                let g = self.affine.uncut(y.widen(), g.widen());
                *sum += g;
                *product += g * (x.widen() - mean);
            }
        }
    }
}

/// What turns g into the gradient of the input, lane by lane.
struct Lanes {
    affine: Affine,
    mean: Vec<f32>,
    back: Back,
}

impl Lanes {
    fn new<T>(up: &Upstream<'_, T>, back: &Back, lanes: usize) -> Lanes {
        let back = Back { constant: repeated(&back.constant, lanes), slope: repeated(&back.slope, lanes) };
        Lanes { affine: up.affine.repeated(lanes), mean: repeated(up.mean, lanes), back }
    }
}

pub(super) fn backward<T: Number>(up: &Upstream<'_, T>, back: &Back, of_x: &mut [T]) {
    let lanes = lanes(up.grid.channels);
    let (by_lane, block) = (&Lanes::new(up, back, lanes), block(lanes));
    let inputs = up.x.chunks(block).zip(up.gradient.chunks(block));
    let work = of_x.chunks_mut(block).zip(inputs).collect();
    share(work, |_, (of_x, (x, gradient))| widest(Backward { x, gradient, by_lane, of_x }));
}

struct Backward<'a, T> {
    x: &'a [T],
    gradient: &'a [T],
    by_lane: &'a Lanes,
    of_x: &'a mut [T],
}

impl<T: Number> Loop for Backward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Lanes { affine, mean, back } = self.by_lane;
        let lanes = mean.len();
        let inputs = self.x.chunks(lanes).zip(self.gradient.chunks(lanes));
        for (of_x, (x, g)) in self.of_x.chunks_mut(lanes).zip(inputs) {
            let of = mean.iter().zip(&affine.factor).zip(&affine.offset).zip(&back.constant).zip(&back.slope);
            for (((of_x, x), g), ((((mean, a), b), constant), slope)) in of_x.iter_mut().zip(x).zip(g).zip(of) {
                let x = x.widen();
                let g = affine.uncut(x * a + b, g.widen());
                *of_x = T::narrow(a * g + (constant + slope * (x - mean)));
            }
        }
    }
}

pub(super) fn backward_both<T: Number>(
    up: &Upstream<'_, T>,
    back: &Back,
    output: &[T],
    of_x: &mut [T],
    of_residual: &mut [T],
) {
    let lanes = lanes(up.grid.channels);
    let (by_lane, block) = (&Lanes::new(up, back, lanes), block(lanes));
    let inputs = up.x.chunks(block).zip(up.gradient.chunks(block)).zip(output.chunks(block));
    let work = of_x.chunks_mut(block).zip(of_residual.chunks_mut(block)).zip(inputs).collect();
    share(work, |_, ((of_x, of_residual), ((x, gradient), output))| {
        widest(BackwardBoth { x, gradient, output, by_lane, of_x, of_residual });
    });
}

struct BackwardBoth<'a, T> {
    x: &'a [T],
    gradient: &'a [T],
    output: &'a [T],
    by_lane: &'a Lanes,
    of_x: &'a mut [T],
    of_residual: &'a mut [T],
}

impl<T: Number> Loop for BackwardBoth<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Lanes { affine, mean, back } = self.by_lane;
        let lanes = mean.len();
        let inputs = self.x.chunks(lanes).zip(self.gradient.chunks(lanes)).zip(self.output.chunks(lanes));
        let outputs = self.of_x.chunks_mut(lanes).zip(self.of_residual.chunks_mut(lanes));
        for ((of_x, of_residual), ((x, g), y)) in outputs.zip(inputs) {
            let of = mean.iter().zip(&affine.factor).zip(&back.constant).zip(&back.slope);
            let of = of_x.iter_mut().zip(of_residual).zip(of);
            for ((((of_x, of_residual), (((mean, a), constant), slope)), (x, g)), y) in of.zip(x.iter().zip(g)).zip(y) {
                let g = affine.uncut(y.widen(), g.widen());
                *of_residual = T::narrow(g);
                *of_x = T::narrow(a * g + (constant + slope * (x.widen() - mean)));
            }
        }
    }
}
