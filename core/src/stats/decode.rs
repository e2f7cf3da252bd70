//! Elements of any dtype as plain floats.

use super::element::{bfloat_to_f32, half_to_f32};
use super::{codes, complex};
use crate::Dtype;
use alloc::vec::Vec;

/// Appends each element as an `f32`, rounded to the nearest.
///
/// Booleans become 0 or 1 and complex numbers their magnitudes. A value too
/// large becomes infinite. A last element that is cut short is ignored.
pub fn decode_f32(dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) {
    decode(dtype, bytes, out);
}

/// Appends each element as an `f64`: exactly, except for 64-bit integers beyond
/// ±2^53 and for complex numbers, whose magnitudes are given.
///
/// Booleans become 0 or 1. A last element that is cut short is ignored.
pub fn decode_f64(dtype: Dtype, bytes: &[u8], out: &mut Vec<f64>) {
    decode(dtype, bytes, out);
}

/// What elements are decoded to.
trait Target: Copy {
    fn small(x: f32) -> Self;
    fn float(x: f64) -> Self;
    fn signed(x: i64) -> Self;
    fn unsigned(x: u64) -> Self;
}

macro_rules! target {
    ($float:ident) => {
        impl Target for $float {
            fn small(x: f32) -> Self {
                x as $float
            }

            fn float(x: f64) -> Self {
                x as $float
            }

            fn signed(x: i64) -> Self {
                x as $float
            }

            fn unsigned(x: u64) -> Self {
                x as $float
            }
        }
    };
}

target!(f32);
target!(f64);

fn decode<T: Target>(dtype: Dtype, bytes: &[u8], out: &mut Vec<T>) {
    match dtype {
        Dtype::Bool => each(bytes, out, |[b]: [u8; 1]| T::unsigned(u64::from(b != 0))),
        Dtype::U8 => each(bytes, out, |raw| T::unsigned(u8::from_le_bytes(raw).into())),
        Dtype::I8 => each(bytes, out, |raw| T::signed(i8::from_le_bytes(raw).into())),
        Dtype::U16 => each(bytes, out, |raw| {
            T::unsigned(u16::from_le_bytes(raw).into())
        }),
        Dtype::I16 => each(bytes, out, |raw| T::signed(i16::from_le_bytes(raw).into())),
        Dtype::U32 => each(bytes, out, |raw| {
            T::unsigned(u32::from_le_bytes(raw).into())
        }),
        Dtype::I32 => each(bytes, out, |raw| T::signed(i32::from_le_bytes(raw).into())),
        Dtype::U64 => each(bytes, out, |raw| T::unsigned(u64::from_le_bytes(raw))),
        Dtype::I64 => each(bytes, out, |raw| T::signed(i64::from_le_bytes(raw))),
        Dtype::F16 => each(bytes, out, |raw| {
            T::small(half_to_f32(u16::from_le_bytes(raw)))
        }),
        Dtype::Bf16 => each(bytes, out, |raw| {
            T::small(bfloat_to_f32(u16::from_le_bytes(raw)))
        }),
        Dtype::F32 => each(bytes, out, |raw| T::small(f32::from_le_bytes(raw))),
        Dtype::F64 => each(bytes, out, |raw| T::float(f64::from_le_bytes(raw))),
        Dtype::C64 => each(bytes, out, |raw| T::float(complex::c64_magnitude(raw))),
        Dtype::C128 => each(bytes, out, |raw| T::float(complex::c128_magnitude(raw))),
        Dtype::F8_E4M3 => eights(bytes, out, &codes::E4M3),
        Dtype::F8_E5M2 => eights(bytes, out, &codes::E5M2),
        Dtype::F8_E8M0 => eights(bytes, out, &codes::E8M0),
        Dtype::F8_E4M3FNUZ => eights(bytes, out, &codes::E4M3FNUZ),
        Dtype::F8_E5M2FNUZ => eights(bytes, out, &codes::E5M2FNUZ),
        Dtype::F6_E2M3 => sixes(bytes, out, &codes::E2M3),
        Dtype::F6_E3M2 => sixes(bytes, out, &codes::E3M2),
        Dtype::F4 => {
            let codes = bytes.iter().flat_map(|&byte| codes::fours(byte));
            out.extend(codes.map(|code| T::small(codes::E2M1.at(code))));
        }
    }
}

fn each<T, const W: usize>(bytes: &[u8], out: &mut Vec<T>, value: impl Fn([u8; W]) -> T) {
    out.extend(bytes.as_chunks::<W>().0.iter().map(|&raw| value(raw)));
}

fn eights<T: Target>(bytes: &[u8], out: &mut Vec<T>, values: &codes::Values<256>) {
    out.extend(bytes.iter().map(|&code| T::small(values.at(code))));
}

fn sixes<T: Target>(bytes: &[u8], out: &mut Vec<T>, values: &codes::Values<64>) {
    let codes = bytes
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|&three| codes::sixes(three));
    out.extend(codes.map(|code| T::small(values.at(code))));
}
