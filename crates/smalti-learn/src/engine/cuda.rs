//! NVIDIA GPUs: the half of libtorch that computes there, and their names.

use crate::error::{Error, Result};
use std::path::Path;
use std::sync::OnceLock;

/// Where the driver lists its GPUs.
const LISTED: &str = "/proc/driver/nvidia/gpus";

/// Loads libtorch's CUDA library, once, and looks for GPU `index` (from 0, as CUDA counts them).
///
/// # Errors
/// [`Error::Input`] when the library or one that it needs is not there, or there is no such GPU.
pub(super) fn ready(index: usize) -> Result<()> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    if let Err(cause) = LOADED.get_or_init(load) {
        return Err(Error::input(
            format!("libtorch's CUDA library cannot be loaded: {cause}"),
            "`make setup-full` fetches what GPUs need, or build with LIBTORCH naming a libtorch with CUDA; or use --device cpu",
        ));
    }
    found(index, usize::try_from(tch::Cuda::device_count()).unwrap_or(0))
}

/// Whether GPU `index` is one of `count`.
fn found(index: usize, count: usize) -> Result<()> {
    match count {
        _ if index < count => Ok(()),
        0 => Err(Error::input(
            "libtorch finds no CUDA GPU",
            "look whether `nvidia-smi` lists one, and whether its driver knows CUDA 13; or use --device cpu",
        )),
        _ => Err(Error::input(
            format!("there is no GPU {index}: libtorch finds {count}, numbered from 0"),
            format!("use --device cuda:{} or a lower number", count - 1),
        )),
    }
}

/// The models that the driver lists, each once, as `NVIDIA H100 80GB HBM3`.
pub(super) fn models() -> String {
    models_in(Path::new(LISTED))
}

fn models_in(listed: &Path) -> String {
    let model = |folder: std::fs::DirEntry| {
        let text = std::fs::read_to_string(folder.path().join("information")).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    };
    let mut found: Vec<String> = std::fs::read_dir(listed).into_iter().flatten().flatten().filter_map(model).collect();
    found.sort();
    found.dedup();
    if found.is_empty() { "unknown GPU".to_owned() } else { found.join(" or ") }
}

/// Nothing of it is called by name, so the linker leaves it out: libtorch learns of GPUs when it is loaded.
#[cfg(target_os = "linux")]
fn load() -> Result<(), String> {
    use std::ffi::{CStr, c_char, c_int, c_void};
    // From dlfcn.h.
    const RTLD_NOW: c_int = 2;
    const RTLD_GLOBAL: c_int = 0x100;
    #[allow(unsafe_code, reason = "the loader's own interface; there is no safe wrapper among our dependencies")]
    // SAFETY: the prototypes are those of dlfcn.h, the name ends with a zero byte, and the message is copied before the next call of
    // the loader on this thread. The library is never unloaded.
    unsafe {
        unsafe extern "C" {
            fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void;
            fn dlerror() -> *const c_char;
        }
        // Found by the path to libtorch that the program carries.
        if !dlopen(c"libtorch_cuda.so".as_ptr(), RTLD_NOW | RTLD_GLOBAL).is_null() {
            return Ok(());
        }
        let message = dlerror();
        if message.is_null() {
            return Err("the loader gives no reason".to_owned());
        }
        Err(CStr::from_ptr(message).to_string_lossy().into_owned())
    }
}

#[cfg(not(target_os = "linux"))]
fn load() -> Result<(), String> {
    Err("GPUs are used on Linux only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_not_there_is_named_with_the_way_out() {
        assert!(found(1, 2).is_ok());
        let none = found(0, 0).expect_err("none");
        assert_eq!(none.to_string(), "libtorch finds no CUDA GPU");
        let third = found(2, 2).expect_err("only two");
        assert_eq!(third.to_string(), "there is no GPU 2: libtorch finds 2, numbered from 0");
        assert_eq!(third.hint(), Some("use --device cuda:1 or a lower number"));
    }

    #[test]
    fn models_come_from_the_drivers_list() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(models_in(folder.path()), "unknown GPU");
        for (gpu, model) in [("0000:01:00.0", "NVIDIA B"), ("0000:02:00.0", "NVIDIA A"), ("0000:03:00.0", "NVIDIA A")] {
            std::fs::create_dir(folder.path().join(gpu)).expect("a folder");
            let text = format!("Model: \t\t {model}\nIRQ:   \t\t 17\n");
            std::fs::write(folder.path().join(gpu).join("information"), text).expect("written");
        }
        assert_eq!(models_in(folder.path()), "NVIDIA A or NVIDIA B");
    }
}
