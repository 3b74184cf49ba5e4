//! Gradients of our own in libtorch's graph, and work on its threads: the Rust side of `native/node.cpp`.

#![allow(unsafe_code, reason = "C functions; each block says what they need")]

use crate::error::message;
use std::any::Any;
use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use tch::Tensor;
use torch_sys::C_tensor;

/// Room for a message, as `native/node.cpp` has it.
#[repr(C)]
struct Cause {
    text: *mut c_char,
    room: usize,
}

unsafe extern "C" {
    fn smalti_records() -> i32;
    fn smalti_attach(
        output: *mut C_tensor,
        inputs: *const *const C_tensor,
        count: usize,
        state: *mut c_void,
        backward: unsafe extern "C" fn(*mut c_void, *mut C_tensor, *mut *mut C_tensor, Cause) -> i32,
        drop: unsafe extern "C" fn(*mut c_void),
        cause: Cause,
    ) -> i32;
    fn smalti_parallel(
        count: usize,
        state: *const c_void,
        run: unsafe extern "C" fn(*const c_void, usize),
        cause: Cause,
    ) -> i32;
}

/// Whether operations are recorded now: not in `tch::no_grad`.
pub(super) fn records() -> bool {
    // SAFETY: it reads a setting of this thread.
    unsafe { smalti_records() != 0 }
}

/// Runs a function that tells a cause where it fails.
///
/// # Panics
/// Then, with that cause.
fn told(run: impl FnOnce(Cause) -> i32) {
    let mut text = [0 as c_char; 4096];
    if run(Cause { text: text.as_mut_ptr(), room: text.len() }) != 0 {
        // SAFETY: the other side ends what it writes with a zero, and the last of the zeros here stays.
        let cause = unsafe { CStr::from_ptr(text.as_ptr()) };
        panic!("{}", cause.to_string_lossy());
    }
}

/// Gradients of the inputs, in their order, from that of the output.
type Backward = dyn Fn(&Tensor) -> Vec<Tensor> + Send;

/// What a node holds until the graph is freed.
struct State {
    inputs: usize,
    backward: Box<Backward>,
}

/// Makes `output`, a tensor without history, the function of `inputs` whose gradients `backward` computes. It has no second derivative.
///
/// # Panics
/// When libtorch refuses, as for an output that has a history.
pub(super) fn attach(mut output: Tensor, inputs: &[&Tensor], backward: Box<Backward>) -> Tensor {
    let pointers: Vec<*const C_tensor> = inputs.iter().map(|input| input.as_ptr()).collect();
    let state = Box::into_raw(Box::new(State { inputs: inputs.len(), backward }));
    let (output_pointer, count) = (output.as_mut_ptr(), pointers.len());
    // SAFETY: all tensors live through the call. The node takes `state`, hands it to the two functions below alone, one at a time, and drops it once.
    told(|cause| unsafe {
        smalti_attach(output_pointer, pointers.as_ptr(), count, state.cast(), run_backward, drop_state, cause)
    });
    output
}

/// SAFETY: called by the node with the state that [`attach`] gave it, a live gradient, room for a pointer for each input and room for a message.
unsafe extern "C" fn run_backward(
    state: *mut c_void,
    gradient: *mut C_tensor,
    of_inputs: *mut *mut C_tensor,
    cause: Cause,
) -> i32 {
    let state = unsafe { &*state.cast::<State>() };
    let computed = catch_unwind(AssertUnwindSafe(|| {
        let gradient = unsafe { Tensor::clone_from_ptr(gradient) };
        let gradients = (state.backward)(&gradient);
        assert_eq!(gradients.len(), state.inputs, "a gradient for every input");
        gradients
    }));
    match computed {
        Ok(gradients) => {
            for (index, gradient) in gradients.into_iter().enumerate() {
                // The other side deletes them.
                unsafe { of_inputs.add(index).write(ManuallyDrop::new(gradient).as_mut_ptr()) };
            }
            0
        }
        Err(panic) => {
            let text = message(&*panic);
            let length = text.len().min(cause.room - 1);
            // The rest of the room is zeros.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), cause.text, length) };
            1
        }
    }
}

/// SAFETY: called once, with the state that [`attach`] gave the node.
unsafe extern "C" fn drop_state(state: *mut c_void) {
    let state = unsafe { Box::from_raw(state.cast::<State>()) };
    // Nothing that a tensor's end could throw may cross the border.
    drop(catch_unwind(AssertUnwindSafe(move || drop(state))));
}

/// Runs `run` for every piece of work, on libtorch's threads: others would compete with those, which wait for their next task awake.
///
/// # Panics
/// When `run` does, as it does.
pub(super) fn share<W: Send>(work: Vec<W>, run: impl Fn(usize, W) + Sync) {
    let work: Vec<Mutex<Option<W>>> = work.into_iter().map(|piece| Mutex::new(Some(piece))).collect();
    let first_panic: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    let one = |index: usize| {
        let piece = work[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(piece) = piece
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(index, piece)))
        {
            first_panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    };
    let one: &(dyn Fn(usize) + Sync) = &one;
    // SAFETY: the call returns when all indices are done, so `one` outlives its uses, which read it from several threads: it is Sync.
    told(|cause| unsafe { smalti_parallel(work.len(), (&raw const one).cast(), run_one, cause) });
    if let Some(panic) = first_panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
}

/// SAFETY: called with the closure of [`share`], which never unwinds.
unsafe extern "C" fn run_one(state: *const c_void, index: usize) {
    let one = unsafe { &*state.cast::<&(dyn Fn(usize) + Sync)>() };
    one(index);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, guard};
    use tch::{Device, Kind};

    fn leaf() -> Tensor {
        Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true)
    }

    fn doubled(x: &Tensor) -> Tensor {
        attach(x.detach() * 2.0, &[x], Box::new(|gradient| vec![gradient * 2.0]))
    }

    #[test]
    fn a_gradient_of_ours_flows_through_libtorchs_graph() {
        let x = leaf();
        let loss = (doubled(&(&x * 3.0)) * 5.0).sum(Kind::Float);
        let gradient = Tensor::run_backward(&[&loss], &[&x], false, false);
        assert_eq!(Vec::<f32>::try_from(&gradient[0]).expect("numbers"), [30.0, 30.0]);
    }

    #[test]
    fn what_fails_in_a_backward_pass_is_told_with_its_hint() {
        let x = leaf();
        let y = attach(x.detach() * 2.0, &[&x], Box::new(|_| panic!("DefaultCPUAllocator: can't allocate memory")));
        let failed = guard::<()>("student seed 1", || {
            drop(Tensor::run_backward(&[y.sum(Kind::Float)], &[&x], false, false));
            Ok(())
        });
        let error = failed.expect_err("it panics");
        assert!(
            matches!(&error, Error::Torch { .. }) && error.to_string().contains("can't allocate memory"),
            "{error}"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("--batch")), "{error:?}");
    }

    #[test]
    fn what_fails_in_a_piece_of_work_is_told() {
        let failed = guard::<()>("sharing", || {
            share(vec![1, 2, 3], |_, piece| assert!(piece != 2, "piece {piece} is bad"));
            Ok(())
        });
        assert!(failed.expect_err("it panics").to_string().contains("piece 2 is bad"));
    }

    #[test]
    fn every_piece_is_done_once() {
        let done = Mutex::new(Vec::new());
        share((0..1000).collect(), |index, piece| done.lock().expect("no panic").push((index, piece)));
        let mut done = done.into_inner().expect("no panic");
        done.sort_unstable();
        assert!(done.into_iter().eq((0..1000).map(|n| (n, n))));
        share(Vec::<u8>::new(), |_, _| unreachable!("there is none"));
    }

    #[test]
    fn a_second_derivative_and_a_second_history_are_refused() {
        let x = leaf();
        let twice = Tensor::f_run_backward(&[doubled(&x).sum(Kind::Float)], &[&x], true, true);
        assert!(twice.expect_err("there is none").to_string().contains("second derivative"));
        let again = guard::<()>("again", || {
            drop(attach(&x * 2.0, &[&x], Box::new(|gradient| vec![gradient * 2.0])));
            Ok(())
        });
        assert!(again.expect_err("it has one").to_string().contains("a history already"));
    }
}
