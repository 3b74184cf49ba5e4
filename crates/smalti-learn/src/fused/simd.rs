//! Numbers in memory, and loops compiled for the widest registers of the processor.

use half::bf16;
use tch::Kind;

/// A number in memory; arithmetic is fp32.
pub(super) trait Number: Copy + Send + Sync + 'static {
    const KIND: Kind;
    fn widen(self) -> f32;
    fn narrow(value: f32) -> Self;
}

impl Number for f32 {
    const KIND: Kind = Kind::Float;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> f32 {
        value
    }
}

/// The library's own conversions branch for NaN, so that no loop over them is vectorised.
impl Number for bf16 {
    const KIND: Kind = Kind::BFloat16;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// To the nearest, ties to even.
    #[inline(always)]
    fn narrow(value: f32) -> bf16 {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        bf16::from_bits(if value.is_nan() { 0x7fc0 } else { rounded as u16 })
    }
}

/// A loop. `run` and all that it calls must be `#[inline(always)]`, or it is compiled for every x86 processor.
pub(super) trait Loop {
    fn run(self);
}

/// Runs it with the widest registers that the processor has.
#[cfg(target_arch = "x86_64")]
pub(super) fn widest(work: impl Loop) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn in_512_bits(work: impl Loop) {
        work.run();
    }
    #[target_feature(enable = "avx2,fma")]
    fn in_256_bits(work: impl Loop) {
        work.run();
    }
    let has_512 = is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let has_256 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[allow(unsafe_code, reason = "the processor was asked for these features")]
    // SAFETY: the features are there.
    unsafe {
        match (has_512 && has_256, has_256) {
            (true, _) => in_512_bits(work),
            (_, true) => in_256_bits(work),
            _ => work.run(),
        }
    }
}

/// Runs it.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn widest(work: impl Loop) {
    work.run();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_round_as_the_library_does() {
        let edges = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, -1.003_906_3];
        let ramp = (0..1 << 16).map(|i| f32::from_bits(i * 65_521));
        for value in edges.into_iter().chain(ramp) {
            let (ours, theirs) = (bf16::narrow(value), bf16::from_f32(value));
            assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{value}: {ours} and not {theirs}");
            assert!(ours.widen() == theirs.to_f32() || value.is_nan(), "{value}");
        }
        assert!(bf16::narrow(f32::NAN).is_nan() && bf16::narrow(f32::from_bits(0x7fff_ffff)).is_nan());
    }
}
