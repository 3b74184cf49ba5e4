//! Muon (Jordan et al., 2024; as torch.optim.Muon): the momentum of a weight matrix is made nearly orthogonal before it is subtracted.
//!
//! Steps are scaled so that their root mean square is that of AdamW (arXiv 2502.16982), so that one learning rate serves both.

use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Of the quintic iteration.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
const ITERATIONS: usize = 5;
const EPSILON: f64 = 1e-7;
/// Root mean square of a step of AdamW, about.
const SIZE: f64 = 0.2;

/// Momentum of every matrix.
pub(super) struct Muon {
    momentum: f64,
    weight_decay: f64,
    /// In which the iteration runs.
    kind: Kind,
    kept: HashMap<usize, Tensor>,
}

impl Muon {
    pub fn new(momentum: f64, weight_decay: f64, kind: Kind) -> Muon {
        Muon { momentum, weight_decay, kind, kept: HashMap::new() }
    }

    /// Updates `param` [O, I] or [O, I, K, K] in place from a gradient of its shape; `index` says which it is.
    pub fn update(&mut self, index: usize, param: &Tensor, gradient: &Tensor, learning_rate: f64) {
        tch::no_grad(|| {
            let gradient = matrix(gradient);
            let mut kept = self.kept.remove(&index).unwrap_or_else(|| gradient.zeros_like());
            let _ = kept.lerp_(&gradient, 1.0 - self.momentum);
            let step = orthogonal(&gradient.lerp(&kept, self.momentum).to_kind(self.kind)).to_kind(Kind::Float);
            self.kept.insert(index, kept);
            let (rows, columns) = step.size2().expect("a matrix");
            let size = learning_rate * SIZE * (rows.max(columns) as f64).sqrt();
            let mut own = matrix(&param.detach());
            let _ = own.g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
            let _ = own.g_sub_(&(step * size));
        });
    }
}

/// One row for each output, a view where the tensor is stored in channels-last order. The order of the columns does not matter: whatever turns them turns what
/// comes out alike.
fn matrix(tensor: &Tensor) -> Tensor {
    match tensor.dim() {
        4 => tensor.permute([0, 2, 3, 1]).flatten(1, -1),
        _ => tensor.flatten(1, -1),
    }
}

/// A matrix with the singular vectors of `matrix`, and singular values near 1.
fn orthogonal(matrix: &Tensor) -> Tensor {
    let (rows, columns) = matrix.size2().expect("a matrix");
    if rows > columns {
        return orthogonal(&matrix.tr()).tr();
    }
    let [a, b, c] = COEFFICIENTS;
    let mut x = matrix / matrix.norm().clamp_min(EPSILON);
    for _ in 0..ITERATIONS {
        let gram = x.matmul(&x.tr());
        let polynomial = &gram * b + gram.matmul(&gram) * c;
        x = &x * a + polynomial.matmul(&x);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a wide and a tall matrix the same up to a turn, with singular values between 0.5 and 1.5 and the directions of the matrix.
    #[test]
    fn what_comes_out_is_nearly_orthogonal() {
        let wide = (Tensor::arange(6 * 20, (Kind::Double, tch::Device::Cpu)).square() * 0.37).sin().reshape([6, 20]);
        let found = orthogonal(&wide);
        // Singular values are the roots of the eigenvalues of the product with the transpose.
        let values = |x: &Tensor| x.matmul(&x.tr()).linalg_eigvalsh("L").sqrt();
        let (low, high) = (values(&found).min().double_value(&[]), values(&found).max().double_value(&[]));
        assert!(low > 0.5 && high < 1.5, "{low} to {high}");
        let off = (orthogonal(&wide.tr()).tr() - &found).abs().max().double_value(&[]);
        assert!(off < 1e-12, "{off}");
        // U Vᵀ of the matrix: the product with its transpose is symmetric and positive.
        let product = found.matmul(&wide.tr());
        assert!((&product - product.tr()).abs().max().double_value(&[]) < 1e-9);
        assert!(product.linalg_eigvalsh("L").min().double_value(&[]) > 0.0);
    }

    #[test]
    fn channels_last_weights_are_updated_where_they_lie() {
        let plain = Tensor::arange(2 * 3 * 2 * 2, (Kind::Float, tch::Device::Cpu)).cos().reshape([2, 3, 2, 2]);
        let gradient = plain.sin();
        let update = |param: &Tensor| Muon::new(0.9, 0.1, Kind::Float).update(0, param, &gradient, 0.1);
        let last = crate::nets::channels_last(&plain);
        update(&last);
        assert!((&last - &plain).abs().max().double_value(&[]) > 1e-3, "it moved");
        let linear = plain.permute([0, 2, 3, 1]).flatten(1, -1).copy();
        Muon::new(0.9, 0.1, Kind::Float).update(0, &linear, &gradient.permute([0, 2, 3, 1]).flatten(1, -1), 0.1);
        let same = linear.reshape([2, 2, 2, 3]).permute([0, 3, 1, 2]);
        assert!((same - last).abs().max().double_value(&[]) < 1e-6);
    }
}
