//! What batch norms see of a batch: the statistics that distilled images are made to match (arXiv 2306.13092, 2410.15919).

use std::cell::{Cell, RefCell};
use tch::{Kind, Tensor};

/// What one norm saw in one pass, fp32; with gradients where the pass had some.
pub struct Seen {
    /// Number of the norm, in the order of definition.
    pub norm: usize,
    /// Mean of its input: `[C]` over batch and space, or `[B, C]` over space alone.
    pub mean: Tensor,
    /// Biased variance over the same.
    pub variance: Tensor,
}

/// Over what the input of a norm is averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Batch and space: `[C]`.
    Batch,
    /// Space alone, image by image: `[B, C]`.
    Image,
}

/// The ear of one network; closed but for the passes of [`Taps::listen`].
#[derive(Default)]
pub(super) struct Taps {
    norms: Cell<usize>,
    open: Cell<Option<Over>>,
    seen: RefCell<Vec<Seen>>,
}

impl Taps {
    /// The number of the next norm.
    pub fn number(&self) -> usize {
        self.norms.replace(self.norms.get() + 1)
    }

    pub fn is_open(&self) -> bool {
        self.open.get().is_some()
    }

    /// Called by norm number `norm` with its input [B, C, H, W].
    pub fn hear(&self, norm: usize, x: &Tensor) {
        let Some(over) = self.open.get() else { return };
        let dims: &[i64] = if over == Over::Batch { &[0, 2, 3] } else { &[2, 3] };
        // 16-bit sums would lose the small differences that are matched.
        let (variance, mean) = x.to_kind(Kind::Float).var_mean_dim(dims, false, false);
        self.seen.borrow_mut().push(Seen { norm, mean, variance });
    }

    /// What the norms see during `pass`, in the order in which they are met.
    pub fn listen<T>(&self, over: Over, pass: impl FnOnce() -> T) -> (T, Vec<Seen>) {
        self.seen.borrow_mut().clear();
        self.open.set(Some(over));
        let closes = Closes(self);
        let result = pass();
        drop(closes);
        (result, self.seen.take())
    }
}

/// Closes the ear even when libtorch refuses in the middle of a pass.
struct Closes<'a>(&'a Taps);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.open.set(None);
    }
}
