//! Errors of training, and the guard that turns a panic inside libtorch into one.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// What went wrong while learning.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Images or files.
    #[error(transparent)]
    Data(#[from] smalti_data::Error),
    /// What was asked for does not exist or does not fit; `hint` is the way out.
    #[error("{what}")]
    Input {
        /// The thing and the place.
        what: String,
        /// The next step.
        hint: String,
    },
    /// libtorch stopped a unit of work.
    #[error("{stage} stopped inside libtorch: {cause}")]
    Torch {
        /// The unit of work: `proxy seed 1`.
        stage: String,
        /// First line of libtorch's message.
        cause: String,
    },
    /// The loss is no longer a number.
    #[error("{stage} diverged: the loss is {loss} at step {step}")]
    Diverged {
        /// The unit of work.
        stage: String,
        /// Optimiser step, from 0.
        step: u64,
        /// The loss seen.
        loss: f64,
    },
}

/// Shorthand for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Input`] from its two sentences.
    pub fn input(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Input { what: what.into(), hint: hint.into() }
    }

    /// The next step, where there is one.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Data(error) => error.hint(),
            Error::Input { hint, .. } => Some(hint),
            Error::Torch { cause, .. } if cause.contains("memory") => {
                Some("give it a smaller --batch (`batch` in a recipe, --block of `distill`), or a smaller --size")
            }
            Error::Torch { cause, .. } if cause.contains("one value per channel") => {
                Some("choose a --batch that does not leave a single image over, or --images-seen")
            }
            Error::Torch { .. } => None,
            Error::Diverged { .. } => {
                Some("lower --learning-rate, or `learning-rate` under [training], [proxy] or [teacher] of a recipe")
            }
        }
    }
}

thread_local! {
    static GUARDED: Cell<usize> = const { Cell::new(0) };
}

/// Runs one unit of work; a panic in it (libtorch's calls panic on error) becomes [`Error::Torch`] naming `stage`.
///
/// # Errors
/// What `work` returned, or [`Error::Torch`].
pub fn guard<T>(stage: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A guarded panic is reported once, as an error; anything else keeps the usual message.
            if GUARDED.with(Cell::get) == 0 {
                before(info);
            }
        }));
    });
    GUARDED.with(|depth| depth.set(depth.get() + 1));
    // A panic leaves `tch::no_grad` with gradients off; what is remembered here is set back on the way out.
    let remembered = tch::no_grad_guard();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| tch::with_grad(work)));
    drop(remembered);
    GUARDED.with(|depth| depth.set(depth.get() - 1));
    outcome.unwrap_or_else(|payload| {
        Err(Error::Torch { stage: stage.to_owned(), cause: first_sentence(message(&*payload)) })
    })
}

/// What a panic said.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// libtorch's messages carry a C++ stack trace after the first line.
fn first_sentence(text: &str) -> String {
    let text = text.split_once("Torch(\"").map_or(text, |(_, rest)| rest);
    let end = text.find("\\n").or_else(|| text.find('\n')).unwrap_or(text.len());
    text[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    /// Whether a product of a parameter would have a gradient.
    fn follows_gradients() -> bool {
        let param = Tensor::ones([1], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        (&param * 2.0).requires_grad()
    }

    #[test]
    fn a_panic_without_gradients_does_not_leave_the_next_unit_without_them() {
        let stopped = guard::<()>("a pass", || tch::no_grad(|| panic!("in the middle")));
        assert!(stopped.is_err() && follows_gradients());
        let _off = tch::no_grad_guard();
        assert!(guard("a training", || Ok(follows_gradients())).expect("no panic"));
        assert!(!follows_gradients(), "outside, it is as it was");
    }

    #[test]
    fn a_panic_in_libtorch_becomes_an_error_that_names_the_stage() {
        let error = guard("student seed 3", || {
            let a = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu));
            let _ = a.matmul(&a);
            Ok(())
        })
        .expect_err("the shapes do not fit");
        let text = error.to_string();
        assert!(text.starts_with("student seed 3 stopped inside libtorch: "), "{text}");
        assert!(text.contains("2x3") && !text.contains("frame #"), "{text}");
    }
}
