//! Gradients of our own in libtorch's graph, and work on its threads: the Rust side of `native/node.cpp`.

#![allow(unsafe_code, reason = "C functions; each block says what they need")]

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn smalti_attach(
        output: *mut C_tensor,
        inputs: *const *const C_tensor,
        count: usize,
        state: *mut c_void,
        backward: unsafe extern "C" fn(*mut c_void, *mut C_tensor, *mut *mut C_tensor) -> i32,
        drop: unsafe extern "C" fn(*mut c_void),
    ) -> i32;
    fn smalti_parallel(count: usize, state: *const c_void, run: unsafe extern "C" fn(*const c_void, usize)) -> i32;
}

/// Gradients of the inputs, in their order, from that of the output.
type Backward = dyn Fn(&Tensor) -> Vec<Tensor>;

/// What a node holds until the graph is freed.
struct State {
    inputs: usize,
    backward: Box<Backward>,
}

/// Makes `output`, a tensor without history, the function of `inputs` whose gradients `backward` computes.
///
/// # Panics
/// When libtorch refuses, as for an output that has a history.
pub(super) fn attach(mut output: Tensor, inputs: &[&Tensor], backward: Box<Backward>) -> Tensor {
    let pointers: Vec<*const C_tensor> = inputs.iter().map(|input| input.as_ptr()).collect();
    let state = Box::into_raw(Box::new(State { inputs: inputs.len(), backward }));
    // SAFETY: all tensors live through the call. The node takes `state`, hands it to the two functions below alone, and drops it once.
    let code = unsafe {
        smalti_attach(output.as_mut_ptr(), pointers.as_ptr(), pointers.len(), state.cast(), run_backward, drop_state)
    };
    assert_eq!(code, 0, "libtorch took no gradient for this output");
    output
}

/// SAFETY: called by the node with the state that [`attach`] gave it, a live gradient and room for a pointer for each input.
unsafe extern "C" fn run_backward(state: *mut c_void, gradient: *mut C_tensor, of_inputs: *mut *mut C_tensor) -> i32 {
    let (state, gradient) = unsafe { (&*state.cast::<State>(), gradient) };
    let computed = catch_unwind(AssertUnwindSafe(|| {
        let gradient = unsafe { Tensor::clone_from_ptr(gradient) };
        let gradients = (state.backward)(&gradient);
        assert_eq!(gradients.len(), state.inputs, "a gradient for every input");
        gradients
    }));
    let Ok(gradients) = computed else { return 1 };
    for (index, gradient) in gradients.into_iter().enumerate() {
        // The other side deletes them.
        unsafe { of_inputs.add(index).write(ManuallyDrop::new(gradient).as_mut_ptr()) };
    }
    0
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
/// When `run` does.
pub(super) fn share<W: Send>(work: Vec<W>, run: impl Fn(usize, W) + Sync) {
    let work: Vec<Mutex<Option<W>>> = work.into_iter().map(|piece| Mutex::new(Some(piece))).collect();
    let failed = AtomicBool::new(false);
    let one = |index: usize| {
        let piece = work[index].lock().ok().and_then(|mut piece| piece.take());
        if let Some(piece) = piece
            && catch_unwind(AssertUnwindSafe(|| run(index, piece))).is_err()
        {
            failed.store(true, Ordering::Relaxed);
        }
    };
    let one: &(dyn Fn(usize) + Sync) = &one;
    // SAFETY: the call returns when all indices are done, so `one` outlives its uses, which read it from several threads: it is Sync.
    let code = unsafe { smalti_parallel(work.len(), (&raw const one).cast(), run_one) };
    assert_eq!(code, 0, "libtorch shares no work among its threads");
    assert!(!failed.into_inner(), "a piece of shared work panicked");
}

/// SAFETY: called with the closure of [`share`], which never unwinds.
unsafe extern "C" fn run_one(state: *const c_void, index: usize) {
    let one = unsafe { &*state.cast::<&(dyn Fn(usize) + Sync)>() };
    one(index);
}
