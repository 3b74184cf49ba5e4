//! What layers see of a batch: the statistics that distilled images are made to match (arXiv 2306.13092, 2410.15919, 2311.17950).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tch::{Kind, Tensor};

/// A layer that is heard, by its number among those of its kind, in the order of definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// A batch norm.
    Norm(usize),
    /// A convolution.
    Convolution(usize),
}

/// Mean and biased variance over the same numbers.
#[derive(Debug)]
pub struct Moments {
    /// The mean.
    pub mean: Tensor,
    /// The variance.
    pub variance: Tensor,
}

/// What one layer saw in one pass, fp32; with gradients where the pass had some.
pub struct Seen {
    /// Which.
    pub layer: Layer,
    /// Of each channel of its input over space and some images at a time, `[times, C]`; of convolutions over the whole batch, `[C]`.
    pub channels: Moments,
    /// Of each cell of its input over batch, channels and the cell, `[cells]`, row by row; of convolutions alone.
    pub cells: Option<Moments>,
}

/// What is listened to in a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hearing {
    /// Every batch norm.
    Norms {
        /// Images over which moments are taken, one after another from the first on; they divide the batch.
        at_once: i64,
    },
    /// Every batch norm over batch and space, and convolutions.
    Convolutions {
        /// Side of a cell. An input that it does not divide is enlarged until it does.
        cell: i64,
        /// Numbers of the convolutions that are not heard, ascending.
        skipped: Vec<usize>,
    },
}

/// The ears of one network; closed but for the passes of [`Taps::listen`].
#[derive(Default)]
pub(super) struct Taps {
    norms: Cell<usize>,
    convolutions: Cell<usize>,
    open: RefCell<Option<Hearing>>,
    seen: RefCell<Vec<Seen>>,
}

/// The ear of one layer.
pub(super) struct Tap {
    layer: Layer,
    taps: Rc<Taps>,
}

impl Tap {
    /// That of the next batch norm.
    pub fn of_norm(taps: &Rc<Taps>) -> Tap {
        Tap { layer: Layer::Norm(next(&taps.norms)), taps: taps.clone() }
    }

    /// That of the next convolution.
    pub fn of_convolution(taps: &Rc<Taps>) -> Tap {
        Tap { layer: Layer::Convolution(next(&taps.convolutions)), taps: taps.clone() }
    }

    pub fn is_open(&self) -> bool {
        self.taps.open.borrow().is_some()
    }

    /// Called by the layer with its input [B, C, H, W].
    pub fn hear(&self, x: &Tensor) {
        let open = self.taps.open.borrow();
        let seen = match (self.layer, open.as_ref()) {
            (Layer::Norm(_), Some(Hearing::Norms { at_once })) => self.channels(x, *at_once),
            (Layer::Norm(_), Some(Hearing::Convolutions { .. })) => self.channels(x, x.size()[0]),
            (Layer::Convolution(number), Some(Hearing::Convolutions { cell, skipped }))
                if skipped.binary_search(&number).is_err() =>
            {
                self.channels_and_cells(x, *cell)
            }
            _ => return,
        };
        self.taps.seen.borrow_mut().push(seen);
    }

    fn channels(&self, x: &Tensor, at_once: i64) -> Seen {
        let (_, channels, height, width) = x.size4().expect("[B, C, H, W]");
        let parts = x.reshape([-1, at_once, channels, height, width]);
        Seen { layer: self.layer, channels: moments(&parts, &[1, 3, 4]), cells: None }
    }

    fn channels_and_cells(&self, x: &Tensor, cell: i64) -> Seen {
        let x = x.to_kind(Kind::Float);
        let places = Places::of(&x);
        let (height, width) = (x.size()[2], x.size()[3]);
        let whole = |side: i64| (side + cell - 1) / cell * cell;
        let cells = if (whole(height), whole(width)) == (height, width) {
            places.cells(cell)
        } else {
            Places::of(&x.upsample_bilinear2d([whole(height), whole(width)], false, None, None)).cells(cell)
        };
        Seen { layer: self.layer, channels: places.pooled(&[1, 2]), cells: Some(cells) }
    }
}

/// Moments over the batch of every place [C, H, W]: one pass over a large tensor, from which those of channels and cells follow.
struct Places(Moments);

impl Places {
    fn of(x: &Tensor) -> Places {
        Places(moments(x, &[0]))
    }

    /// Over some dimensions as well.
    fn pooled(&self, dims: &[i64]) -> Moments {
        let Moments { mean, variance } = &self.0;
        let between = moments(mean, dims);
        Moments { mean: between.mean, variance: variance.mean_dim(dims, false, Kind::Float) + between.variance }
    }

    /// Over channels and cells of `side` places, which divide the input.
    fn cells(&self, side: i64) -> Moments {
        let cut = |of: &Tensor| {
            let (channels, height, width) = of.size3().expect("[C, H, W]");
            of.reshape([channels, height / side, side, width / side, side])
        };
        let Moments { mean, variance } =
            Places(Moments { mean: cut(&self.0.mean), variance: cut(&self.0.variance) }).pooled(&[0, 2, 4]);
        Moments { mean: mean.flatten(0, 1), variance: variance.flatten(0, 1) }
    }
}

/// Mean and variance over some dimensions, in fp32: 16-bit sums would lose the small differences that are matched. libtorch's own goes number by number; these are sums, which it takes
/// several at once. Deviations are from a mean that is a constant to the gradient: that of the variance is the same, since deviations add up to nothing.
fn moments(x: &Tensor, dims: &[i64]) -> Moments {
    let centre = x.detach().mean_dim(dims, true, Kind::Float);
    let deviations = x - &centre;
    let averaged = (x.numel() / centre.numel()) as f64;
    // The division comes after the sum, where it is small in both directions.
    let mean = |of: &Tensor| of.sum_dim_intlist(dims, false, Kind::Float) / averaged;
    let rest = mean(&deviations);
    Moments { mean: centre.reshape(rest.size()) + rest, variance: mean(&deviations.square()) }
}

fn next(counter: &Cell<usize>) -> usize {
    counter.replace(counter.get() + 1)
}

impl Taps {
    /// Number of convolutions.
    pub fn convolutions(&self) -> usize {
        self.convolutions.get()
    }

    /// What the layers see during `pass`, in the order in which they are met.
    pub fn listen<T>(&self, hearing: Hearing, pass: impl FnOnce() -> T) -> (T, Vec<Seen>) {
        self.seen.borrow_mut().clear();
        self.open.replace(Some(hearing));
        let closes = Closes(self);
        let result = pass();
        drop(closes);
        (result, self.seen.take())
    }
}

/// Closes the ears even when libtorch refuses in the middle of a pass.
struct Closes<'a>(&'a Taps);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.open.replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn heard(x: &Tensor, cell: i64) -> (Moments, Moments) {
        let taps = Rc::new(Taps::default());
        let tap = Tap::of_convolution(&taps);
        let ((), mut seen) = taps.listen(Hearing::Convolutions { cell, skipped: vec![] }, || tap.hear(x));
        let Seen { channels, cells, .. } = seen.remove(0);
        (channels, cells.expect("a convolution has cells"))
    }

    fn off(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// Against libtorch's own in fp64, gradients too, in both kinds of input; small deviations from a large mean are what sums of squares would lose.
    #[test]
    fn moments_and_their_gradients_are_those_of_the_definition() {
        // fp32 knows a mean of 1000 to 6e-5, which is 2e-5 of a deviation; the slope at a bf16 input is itself bf16.
        for (kind, allowed) in [(Kind::Float, 1e-4), (Kind::BFloat16, 1e-2)] {
            let x = (Tensor::arange(3 * 2 * 8 * 4, (Kind::Float, Device::Cpu)).sin() * 3.0 + 1000.0).to_kind(kind);
            let x = x.reshape([3, 2, 8, 4]).set_requires_grad(true);
            let dims: &[i64] = &[0, 2, 3];
            let ours = moments(&x, dims);
            let (variance, mean) = x.to_kind(Kind::Double).var_mean_dim(dims, false, false);
            let slope = |mean: &Tensor, variance: &Tensor| {
                let weights = Tensor::from_slice(&[1.0, -2.0]);
                let sum = (mean * &weights - variance * &weights).sum(Kind::Double);
                Tensor::run_backward(&[sum], &[&x], true, false).remove(0).to_kind(Kind::Float)
            };
            let relative = |a: &Tensor, b: &Tensor| off(a, b) / b.abs().max().double_value(&[]);
            assert!(variance.min().double_value(&[]) > 1.0);
            assert!(relative(&ours.mean, &mean) < 1e-6 && relative(&ours.variance, &variance) < 1e-5, "{kind:?}");
            let wrong = relative(&slope(&ours.mean, &ours.variance), &slope(&mean, &variance));
            assert!(wrong < allowed, "{kind:?}: {wrong}");
        }
    }

    /// The definitions, taken from the input itself.
    #[test]
    fn channels_and_cells_have_the_moments_of_the_input() {
        let x = Tensor::arange(3 * 2 * 8 * 4, (Kind::Float, Device::Cpu)).sin().reshape([3, 2, 8, 4]);
        let (channels, cells) = heard(&x, 4);
        let (variance, mean) = x.var_mean_dim(&[0i64, 2, 3][..], false, false);
        assert!(off(&channels.mean, &mean) < 1e-6 && off(&channels.variance, &variance) < 1e-6);
        assert_eq!(cells.mean.size(), [2]);
        for cell in 0..2 {
            let (variance, mean) = x.narrow(2, 4 * cell, 4).var_mean(false);
            assert!(off(&cells.mean.get(cell), &mean) < 1e-6 && off(&cells.variance.get(cell), &variance) < 1e-6);
        }
    }

    #[test]
    fn some_images_at_a_time_have_the_moments_of_a_batch_of_their_own() {
        let x = Tensor::arange(6 * 2 * 8 * 4, (Kind::Float, Device::Cpu)).sin().reshape([6, 2, 8, 4]);
        for x in [x.shallow_clone(), x.permute([0, 3, 1, 2])] {
            let taps = Rc::new(Taps::default());
            let tap = Tap::of_norm(&taps);
            for at_once in [1, 2, 6] {
                let ((), seen) = taps.listen(Hearing::Norms { at_once }, || tap.hear(&x));
                let Moments { mean, variance } = &seen[0].channels;
                assert_eq!(mean.size(), [6 / at_once, x.size()[1]]);
                for part in 0..6 / at_once {
                    let own = x.narrow(0, part * at_once, at_once);
                    let (own_variance, own_mean) = own.var_mean_dim(&[0i64, 2, 3][..], false, false);
                    assert!(off(&mean.get(part), &own_mean) < 1e-6 && off(&variance.get(part), &own_variance) < 1e-6);
                }
            }
        }
    }

    /// [1, 2] as 4 x 4: rows alike; columns 1, 1.25, 1.75, 2 between the two centres, by torch.nn.functional.interpolate.
    #[test]
    fn an_input_that_cells_do_not_divide_is_enlarged() {
        let x = Tensor::from_slice(&[1f32, 2.0]).reshape([1, 1, 1, 2]);
        let (channels, cells) = heard(&x, 4);
        assert_eq!((channels.mean.double_value(&[0]), channels.variance.double_value(&[0])), (1.5, 0.25));
        assert_eq!(cells.mean.size(), [1]);
        assert!((cells.mean.double_value(&[0]) - 1.5).abs() < 1e-6);
        // (0.5² + 0.25² + 0.25² + 0.5²) / 4
        assert!((cells.variance.double_value(&[0]) - 0.15625).abs() < 1e-6);
    }

    #[test]
    fn skipped_convolutions_are_not_heard_and_a_closed_ear_hears_nothing() {
        let taps = Rc::new(Taps::default());
        let (first, second, norm) = (Tap::of_convolution(&taps), Tap::of_convolution(&taps), Tap::of_norm(&taps));
        let x = Tensor::ones([2, 3, 4, 4], (Kind::Float, Device::Cpu));
        let all = || [&first, &second, &norm].iter().for_each(|tap| tap.hear(&x));
        let layers = |hearing| taps.listen(hearing, all).1.iter().map(|seen| seen.layer).collect::<Vec<_>>();
        let most = layers(Hearing::Convolutions { cell: 4, skipped: vec![0] });
        assert_eq!(most, [Layer::Convolution(1), Layer::Norm(0)]);
        assert_eq!(layers(Hearing::Norms { at_once: 2 }), [Layer::Norm(0)]);
        assert_eq!(taps.convolutions(), 2);
        all();
        assert!(!first.is_open() && taps.seen.borrow().is_empty());
    }
}
