//! The machine: which number format, how many cores, and one place that divides them.

mod cuda;

use crate::error::{Error, Result};
use tch::Kind;

pub use tch::Device;

/// More threads than any machine has cores; a number above it is a slip of the pen.
const MOST_THREADS: usize = 1024;

/// Number format of convolutions. Weights, norms, head and loss are fp32 in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU (made for Ampere and newer) and where the processor multiplies it natively, else fp32.
    #[default]
    Auto,
    /// 32-bit throughout, but that cuDNN's convolutions on a GPU may round what they multiply to TF32.
    F32,
    /// bfloat16 inputs and weights in convolutions.
    Bf16,
}

/// Where and how to compute, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Where networks and batches live: [`device_named`].
    pub device: Device,
    /// Number format.
    pub precision: Precision,
    /// Threads; 0 for all cores.
    pub threads: usize,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { device: Device::Cpu, precision: Precision::Auto, threads: 0 }
    }
}

/// A checked description of where and how to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    /// Where tensors live.
    pub device: Device,
    /// Kind of the tensors between convolutions: `Float` or `BFloat16`.
    pub kind: Kind,
    /// Threads for libtorch and for the loader; they work in turns, so both get all of them.
    pub threads: usize,
}

impl Engine {
    /// [`Engine::start`] without a GPU.
    ///
    /// # Errors
    /// As there.
    pub fn cpu(precision: Precision, threads: usize) -> Result<Engine> {
        Engine::start(Machine { device: Device::Cpu, precision, threads })
    }

    /// Prepares libtorch and the allocator; to be called before the first tensor. A GPU has to be asked for before the processor computes
    /// anything: libtorch looks for its CUDA half once.
    ///
    /// # Errors
    /// [`Error::Input`] when bf16 is asked for on a processor that would only emulate it, for an absurd number of threads, or for a GPU
    /// that is not there.
    pub fn start(Machine { device, precision, threads }: Machine) -> Result<Engine> {
        if threads > MOST_THREADS {
            return Err(Error::input(
                format!("{threads} threads are more than the {MOST_THREADS} that can be asked for"),
                "use --threads 0 for all cores",
            ));
        }
        match device {
            Device::Cpu => {}
            Device::Cuda(index) => cuda::ready(index)?,
            Device::Mps | Device::Vulkan => {
                return Err(Error::input(format!("no network computes on {device:?} here"), "use cpu, cuda or cuda:N"));
            }
        }
        let kind = match (precision, device.is_cuda() || native_bf16()) {
            (Precision::F32, _) | (Precision::Auto, false) => Kind::Float,
            (Precision::Auto | Precision::Bf16, true) => Kind::BFloat16,
            (Precision::Bf16, false) => {
                return Err(Error::input(
                    "this processor has no bf16 arithmetic (avx512_bf16 or AMX)",
                    "use --precision f32 or leave it at auto",
                ));
            }
        };
        let threads = threads_of(threads);
        keep_freed_memory();
        tch::set_num_threads(i32::try_from(threads).expect("at most MOST_THREADS, or a count of cores"));
        // A second pool may be refused when one exists already: then its size stands, and results do not depend on it.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        Ok(Engine { device, kind, threads })
    }

    /// The model of the GPU, where one computes. With several models in the machine, all of them.
    pub fn gpu(&self) -> Option<String> {
        self.device.is_cuda().then(cuda::models)
    }

    /// `bf16` or `f32`, for tables.
    pub fn precision_name(&self) -> &'static str {
        if self.kind == Kind::BFloat16 { "bf16" } else { "f32" }
    }
}

/// The device called `cpu`, `cuda` (the first GPU) or `cuda:N`, N from 0.
///
/// # Errors
/// [`Error::Input`] for another name.
pub fn device_named(name: &str) -> Result<Device> {
    let number = name.strip_prefix("cuda:").map(str::parse);
    match (name, number) {
        ("cpu", _) => Ok(Device::Cpu),
        ("cuda", _) => Ok(Device::Cuda(0)),
        (_, Some(Ok(index))) => Ok(Device::Cuda(index)),
        _ => Err(Error::input(format!("there is no device `{name}`"), "use cpu, cuda or cuda:N")),
    }
}

/// What [`device_named`] reads.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// The number of threads that is asked for: 0 are all cores.
pub fn threads_of(asked: usize) -> usize {
    if asked == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { asked }
}

#[cfg(target_arch = "x86_64")]
fn native_bf16() -> bool {
    // Every processor with AMX has it too.
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn native_bf16() -> bool {
    false
}

/// Tells glibc to keep what libtorch frees. By default a tensor of more than 32 MiB gets a mapping of its own and returns it after
/// use, so that the kernel hands over and clears the same pages in every step.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_freed_memory() {
    use std::ffi::c_int;
    // From glibc's malloc.h.
    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_MAX: c_int = -4;
    #[allow(
        unsafe_code,
        reason = "glibc's own interface to its allocator; there is no safe wrapper among our dependencies"
    )]
    // SAFETY: the prototype is glibc's; both parameters take any integer, may be set at any time, and a refusal is harmless.
    unsafe {
        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        mallopt(M_MMAP_MAX, 0);
        // -1 means never.
        mallopt(M_TRIM_THRESHOLD, -1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_freed_memory() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_threads_are_all_cores_and_absurd_numbers_are_refused() {
        let engine = Engine::cpu(Precision::F32, 0).expect("fp32 runs anywhere");
        assert_eq!(engine.threads, std::thread::available_parallelism().map_or(1, usize::from));
        assert_eq!((engine.kind, engine.precision_name()), (Kind::Float, "f32"));
        assert!(Engine::cpu(Precision::F32, 5000).expect_err("too many").to_string().contains("5000 threads"));
    }

    #[test]
    fn devices_have_the_names_that_pytorch_gives_them() {
        for (name, device) in [("cpu", Device::Cpu), ("cuda:0", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))] {
            assert_eq!(device_named(name).expect("a device"), device);
            assert_eq!(device_name(device), name);
        }
        assert_eq!(device_named("cuda").expect("a device"), Device::Cuda(0));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda0", "CPU"] {
            assert!(device_named(wrong).expect_err("none").to_string().contains(wrong));
        }
    }

    /// Where there is no GPU, that is said before anything is computed.
    #[test]
    fn a_gpu_is_there_or_missed_by_name() {
        match Engine::start(Machine { device: Device::Cuda(0), ..Machine::default() }) {
            Ok(engine) => assert!(engine.gpu().is_some() && engine.kind == Kind::BFloat16),
            Err(error) => assert!(error.to_string().contains("CUDA") && error.hint().is_some(), "{error}"),
        }
    }

    #[test]
    fn auto_is_bf16_exactly_where_it_is_native() {
        let auto = Engine::cpu(Precision::Auto, 0).expect("auto runs anywhere");
        assert_eq!(auto.kind == Kind::BFloat16, native_bf16());
        assert_eq!(Engine::cpu(Precision::Bf16, 0).is_ok(), native_bf16());
    }
}
