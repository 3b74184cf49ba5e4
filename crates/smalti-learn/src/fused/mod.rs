//! Batch norm with what follows it, in two passes over the images forwards and two back, where each of libtorch's separate layers reads and writes them again.
//!
//! Arithmetic is fp32, and what lies between the norm and the end of the pass is never rounded to 16 bits.

mod kernels;
mod node;
mod simd;
#[cfg(test)]
mod tests;

use half::bf16;
use kernels::{Affine, Back, Grid, Moments, Pooling, Upstream};
use simd::Number;
use tch::{Device, Kind, Tensor};

/// What follows a norm.
#[derive(Debug, Clone, Copy)]
pub(crate) enum After<'a> {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// ReLU that ends at 6.
    Relu6,
    /// ReLU, then the mean of two by two places.
    ReluPool,
    /// The sum with this tensor, then ReLU.
    AddRelu(&'a Tensor),
}

/// A batch norm's scale, shift and running statistics, fp32 `[C]` each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchNorm<'a> {
    pub scale: &'a Tensor,
    pub shift: &'a Tensor,
    pub mean: &'a Tensor,
    pub variance: &'a Tensor,
    pub epsilon: f64,
    pub momentum: f64,
}

/// Whether [`batch_norm`] can compute on such a tensor: one in this machine's memory, fp32 or bf16.
pub(crate) fn fits(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::BFloat16) && x.dim() == 4 && x.numel() > 0
}

/// Batch norm in training, and what follows it: [B, C, H, W] to the same, or to [B, C, H / 2, W / 2] where it pools. Moves the running statistics.
///
/// # Panics
/// When `x` does not [fit](fits), or a residual has another shape or kind.
pub(crate) fn batch_norm(x: &Tensor, norm: &BatchNorm<'_>, after: After<'_>) -> Tensor {
    match x.kind() {
        Kind::BFloat16 => in_kind::<bf16>(x, norm, after),
        _ => in_kind::<f32>(x, norm, after),
    }
}

/// ReLU and the mean of two by two places, without a gradient: [B, C, H, W] to [B, C, H / 2, W / 2].
///
/// # Panics
/// When `x` does not [fit](fits).
pub(crate) fn relu_pool(x: &Tensor) -> Tensor {
    let x = dense(x);
    let grid = grid_of(&x, After::ReluPool);
    let channels = grid.channels;
    let [factor, offset] = [1.0, 0.0].map(|v| vec![v; channels]);
    let affine = Affine { factor, offset, floor: 0.0, ceiling: f32::NAN };
    let mut out = empty(&grid, &x);
    match x.kind() {
        Kind::BFloat16 => kernels::forward::<bf16>(&grid, numbers(&x), &affine, None, numbers_mut(&mut out)),
        _ => kernels::forward::<f32>(&grid, numbers(&x), &affine, None, numbers_mut(&mut out)),
    }
    out
}

fn in_kind<T: Number>(x: &Tensor, norm: &BatchNorm<'_>, after: After<'_>) -> Tensor {
    let x = dense(x);
    let residual = if let After::AddRelu(residual) = after { Some(dense(residual)) } else { None };
    if let Some(residual) = &residual {
        assert!(
            residual.size() == x.size() && residual.kind() == x.kind(),
            "a residual has the shape of what it is added to"
        );
    }
    let grid = grid_of(&x, after);
    let moments = kernels::moments::<T>(grid.channels, numbers(&x));
    let count = grid.places() as f64;
    move_statistics(norm, &moments, count);
    let scale = values(norm.scale, grid.channels);
    let spread: Vec<f64> = moments.squares.iter().map(|s| 1.0 / (s / count + norm.epsilon).sqrt()).collect();
    let factor: Vec<f32> =
        scale.iter().zip(&spread).map(|(scale, spread)| (f64::from(*scale) * spread) as f32).collect();
    let shift = values(norm.shift, grid.channels);
    let offset = |c: usize| (f64::from(shift[c]) - moments.mean[c] * f64::from(scale[c]) * spread[c]) as f32;
    // No number compares with NaN, an infinite one neither.
    let floor = if matches!(after, After::Nothing) { f32::NAN } else { 0.0 };
    let ceiling = if matches!(after, After::Relu6) { 6.0 } else { f32::NAN };
    let affine = Affine { offset: (0..grid.channels).map(offset).collect(), factor, floor, ceiling };
    let mut out = empty(&grid, &x);
    kernels::forward::<T>(&grid, numbers(&x), &affine, residual.as_ref().map(numbers), numbers_mut(&mut out));
    let inputs: Vec<&Tensor> = [&x, norm.scale, norm.shift].into_iter().chain(&residual).collect();
    if !node::records() || !inputs.iter().any(|input| input.requires_grad()) {
        return out;
    }
    let saved = Saved {
        grid,
        x: Kept::new(&x),
        output: residual.as_ref().map(|_| Kept::new(&out)),
        affine,
        mean: moments.mean.iter().map(|m| *m as f32).collect(),
        spread,
    };
    node::attach(out, &inputs, Box::new(move |gradient| saved.gradients::<T>(gradient)))
}

/// A tensor as it was in the forward pass.
struct Kept {
    tensor: Tensor,
    version: i64,
}

impl Kept {
    fn new(tensor: &Tensor) -> Kept {
        Kept { tensor: tensor.detach(), version: tensor.internal_version() }
    }

    /// # Panics
    /// When it was written to since: gradients would be wrong.
    fn unchanged(&self) -> &Tensor {
        assert_eq!(self.tensor.internal_version(), self.version, "what a fused layer kept was changed in place");
        &self.tensor
    }
}

/// What the backward pass needs.
struct Saved {
    grid: Grid,
    x: Kept,
    output: Option<Kept>,
    affine: Affine,
    mean: Vec<f32>,
    /// One over the standard deviation of each channel.
    spread: Vec<f64>,
}

impl Saved {
    /// Of the input, scale, shift and, where there is one, the residual.
    fn gradients<T: Number>(&self, gradient: &Tensor) -> Vec<Tensor> {
        let x = self.x.unchanged();
        let gradient = dense(&gradient.to_kind(x.kind()));
        let output = self.output.as_ref().map(|output| numbers(output.unchanged()));
        let up = Upstream {
            grid: self.grid,
            x: numbers::<T>(x),
            gradient: numbers(&gradient),
            output,
            affine: &self.affine,
            mean: &self.mean,
        };
        let (sums, products) = kernels::sums(&up);
        let count = self.grid.places() as f64;
        // d/dx of factor (x - mean): g less its mean, less what moves the variance.
        let per_channel =
            |of: &dyn Fn(usize) -> f64| (0..self.grid.channels).map(|c| of(c) as f32).collect::<Vec<f32>>();
        let factor = |c: usize| f64::from(self.affine.factor[c]);
        let back = Back {
            constant: per_channel(&|c| -factor(c) * sums[c] / count),
            slope: per_channel(&|c| -factor(c) * products[c] * self.spread[c] * self.spread[c] / count),
        };
        let mut of_x = x.empty_like();
        let mut of_residual = output.map(|_| x.empty_like());
        kernels::backward(&up, &back, numbers_mut(&mut of_x), of_residual.as_mut().map(numbers_mut));
        let of_scale = per_channel(&|c| products[c] * self.spread[c]);
        let [of_scale, of_shift] = [of_scale, per_channel(&|c| sums[c])].map(|v| Tensor::from_slice(&v));
        [of_x, of_scale, of_shift].into_iter().chain(of_residual).collect()
    }
}

/// As libtorch does: the variance of a sample, not of the batch.
fn move_statistics(norm: &BatchNorm<'_>, moments: &Moments, count: f64) {
    let step = |running: &Tensor, now: &dyn Fn(usize) -> f64| {
        let mut running = running.shallow_clone();
        check_channels(&running, moments.mean.len());
        for (c, value) in numbers_mut::<f32>(&mut running).iter_mut().enumerate() {
            *value = (f64::from(*value) * (1.0 - norm.momentum) + now(c) * norm.momentum) as f32;
        }
    };
    step(norm.mean, &|c| moments.mean[c]);
    step(norm.variance, &|c| moments.squares[c] / (count - 1.0));
}

fn grid_of(x: &Tensor, after: After<'_>) -> Grid {
    assert!(fits(x), "a fused layer takes images in memory, fp32 or bf16");
    let size = x.size();
    let [images, channels, height, width] = [size[0], size[1], size[2], size[3]].map(|n| n as usize);
    let pooling = if matches!(after, After::ReluPool) { Pooling::Mean2x2 } else { Pooling::None };
    assert!(pooling == Pooling::None || height.min(width) > 1, "two by two places of {height} x {width} are pooled");
    Grid { images, height, width, channels, pooling }
}

/// The tensor with its storage in N, H, W, C order.
fn dense(x: &Tensor) -> Tensor {
    if x.permute([0, 2, 3, 1]).is_contiguous() { x.shallow_clone() } else { crate::nets::channels_last(x) }
}

/// A tensor of the grid's output, of the kind of `like`. It is no view: those can have no history of ours.
fn empty(grid: &Grid, like: &Tensor) -> Tensor {
    let (height, width) = grid.out();
    let [images, channels, height, width] = [grid.images, grid.channels, height, width].map(|n| n as i64);
    let strides = [height * width * channels, 1, width * channels, channels];
    Tensor::empty_strided([images, channels, height, width], strides, (like.kind(), Device::Cpu))
}

/// A number for each channel.
fn values(parameter: &Tensor, channels: usize) -> &[f32] {
    check_channels(parameter, channels);
    numbers(parameter)
}

fn check_channels(parameter: &Tensor, channels: usize) {
    assert!(
        parameter.size() == [channels as i64] && parameter.is_contiguous(),
        "a norm of {channels} channels has as many numbers one after another"
    );
}

/// Whether its numbers lie one after another, in the order of its dimensions or, as images, channels last.
fn is_dense(tensor: &Tensor) -> bool {
    tensor.is_contiguous() || tensor.dim() == 4 && tensor.permute([0, 2, 3, 1]).is_contiguous()
}

/// The storage of a dense tensor.
fn numbers<T: Number>(tensor: &Tensor) -> &[T] {
    assert!(tensor.kind() == T::KIND && tensor.device() == Device::Cpu, "numbers of this kind in memory");
    assert!(is_dense(tensor), "numbers one after another");
    if tensor.numel() == 0 {
        return &[];
    }
    #[allow(unsafe_code, reason = "libtorch's own memory; copying out and in would be the passes that are saved here")]
    // SAFETY: the storage is `numel` numbers of this kind, which live as long as the tensor does, and which nothing writes meanwhile.
    unsafe {
        std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel())
    }
}

/// The same, to be written.
fn numbers_mut<T: Number>(tensor: &mut Tensor) -> &mut [T] {
    assert!(tensor.kind() == T::KIND && tensor.device() == Device::Cpu, "numbers of this kind in memory");
    assert!(is_dense(tensor), "numbers one after another");
    if tensor.numel() == 0 {
        return &mut [];
    }
    #[allow(unsafe_code, reason = "as for `numbers`")]
    // SAFETY: as for `numbers`; the tensor was made here, or is a running statistic, and nothing else reads it meanwhile. Numbers of a new one are not set yet; all bits
    // are numbers, and every one is written before it is read.
    unsafe {
        std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel())
    }
}
