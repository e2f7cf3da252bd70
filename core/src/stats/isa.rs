//! The widest instructions that the processor at hand has.
//!
//! The kernels are plain Rust with fixed lanes, so every instruction set gives
//! the same bits; wider ones only get there sooner. The one step that needs
//! trust, calling code compiled for features found at run time, is left to
//! `fearless_simd`, and only with the feature `wide`.

/// An instruction set to run a kernel with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Isa {
    /// What the crate was compiled for.
    Compiled,
    /// x86-64-v3: AVX2 and its companions.
    #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
    Avx2(fearless_simd::x86::Avx2),
    /// AVX-512 as of Ice Lake.
    #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
    Avx512(fearless_simd::x86::Avx512),
}

impl Isa {
    /// The widest there is. Cheap: the detection is done once per process.
    #[inline]
    pub(super) fn best() -> Self {
        #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
        {
            let level = fearless_simd::Level::new();
            if let Some(token) = level.as_avx512() {
                return Self::Avx512(token);
            }
            if let Some(token) = level.as_avx2() {
                return Self::Avx2(token);
            }
        }
        Self::Compiled
    }

    /// All that this processor has, the compiled one first.
    #[cfg(test)]
    pub(super) fn all() -> alloc::vec::Vec<Self> {
        #[allow(unused_mut)]
        let mut all = alloc::vec![Self::Compiled];
        #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
        {
            let level = fearless_simd::Level::new();
            all.extend(level.as_avx2().map(Self::Avx2));
            all.extend(level.as_avx512().map(Self::Avx512));
        }
        all
    }

    /// Widens as many binary16 elements as the instructions made for that take at once,
    /// from the first on, and says how many.
    #[inline(always)]
    pub(super) fn widen_halves(self, halves: &[[u8; 2]], out: &mut [[u8; 4]]) -> usize {
        match self {
            #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
            Self::Avx2(token) => halves::by_eight(token, halves, out),
            #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
            Self::Avx512(token) => halves::by_sixteen(token, halves, out),
            Self::Compiled => {
                let _ = (halves, out);
                0
            }
        }
    }

    /// Runs `kernel`, which must inline everything that it calls: what is not
    /// inlined is compiled for the baseline.
    #[inline(always)]
    pub(super) fn run<R>(self, kernel: impl FnOnce() -> R) -> R {
        #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
        use fearless_simd::Simd;
        match self {
            Self::Compiled => kernel(),
            #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
            Self::Avx2(token) => token.vectorize(kernel),
            #[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
            Self::Avx512(token) => token.vectorize(kernel),
        }
    }
}

/// Conversion of binary16, which no plain Rust becomes.
#[cfg(all(feature = "wide", any(target_arch = "x86", target_arch = "x86_64")))]
mod halves {
    #[cfg(target_arch = "x86")]
    use core::arch::x86::{_mm256_cvtph_ps, _mm512_cvtph_ps};
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64::{_mm256_cvtph_ps, _mm512_cvtph_ps};
    use fearless_simd::prelude::*;
    use fearless_simd::{f32x8, f32x16, u8x16, u8x32};

    fearless_simd::kernel!(
        #[inline]
        pub(super) fn by_eight(token: Avx2, halves: &[[u8; 2]], out: &mut [[u8; 4]]) -> usize {
            let mut done = 0;
            let (halves, _) = halves.as_flattened().as_chunks::<16>();
            for (out, &halves) in out.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
                let raw: u8x16<_> = halves.simd_into(token);
                let wide: f32x8<_> = _mm256_cvtph_ps(raw.into()).simd_into(token);
                *out = <[f32; 8]>::from(wide).map(f32::to_le_bytes);
                done += 8;
            }
            done
        }
    );

    fearless_simd::kernel!(
        #[inline]
        pub(super) fn by_sixteen(token: Avx512, halves: &[[u8; 2]], out: &mut [[u8; 4]]) -> usize {
            let mut done = 0;
            let (halves, _) = halves.as_flattened().as_chunks::<32>();
            for (out, &halves) in out.as_chunks_mut::<16>().0.iter_mut().zip(halves) {
                let raw: u8x32<_> = halves.simd_into(token);
                let wide: f32x16<_> = _mm512_cvtph_ps(raw.into()).simd_into(token);
                *out = <[f32; 16]>::from(wide).map(f32::to_le_bytes);
                done += 16;
            }
            done
        }
    );
}
