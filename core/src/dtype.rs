//! Element types: one table, from which everything else follows.

use crate::error::{Code, Error, Result};
use alloc::format;
use alloc::string::ToString;
use core::fmt;

macro_rules! dtypes {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $name:literal $bits:literal $torch:expr, $numpy:expr;
    )+) => {
        /// The type of a tensor's elements.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Dtype { $($(#[doc = $doc])+ $variant,)+ }

        impl Dtype {
            /// Every dtype, those of 0.3.0 first and in its order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the header.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The dtype of that name, exactly as spelled.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// Size of one element in bits.
            pub const fn bits(self) -> u64 {
                match self { $(Self::$variant => $bits,)+ }
            }

            /// PyTorch's name for it, such as `torch.float32`; none where PyTorch
            /// has no such type. The packed `F4` is PyTorch's two-in-a-byte type.
            pub const fn torch_name(self) -> Option<&'static str> {
                match self { $(Self::$variant => $torch,)+ }
            }

            /// NumPy's array-interface name such as `<f4`, or the name that the
            /// `ml_dtypes` package gives NumPy, or none.
            pub const fn numpy_name(self) -> Option<&'static str> {
                match self { $(Self::$variant => $numpy,)+ }
            }
        }
    };
}

dtypes! {
    /// One byte, zero or one.
    Bool "BOOL" 8 Some("torch.bool"), Some("|b1");
    /// Unsigned 8-bit integer.
    U8 "U8" 8 Some("torch.uint8"), Some("|u1");
    /// Signed 8-bit integer.
    I8 "I8" 8 Some("torch.int8"), Some("|i1");
    /// Unsigned 16-bit integer.
    U16 "U16" 16 Some("torch.uint16"), Some("<u2");
    /// Signed 16-bit integer.
    I16 "I16" 16 Some("torch.int16"), Some("<i2");
    /// IEEE 754 binary16.
    F16 "F16" 16 Some("torch.float16"), Some("<f2");
    /// The upper half of an IEEE 754 binary32.
    Bf16 "BF16" 16 Some("torch.bfloat16"), Some("bfloat16");
    /// Signed 32-bit integer.
    I32 "I32" 32 Some("torch.int32"), Some("<i4");
    /// Unsigned 32-bit integer.
    U32 "U32" 32 Some("torch.uint32"), Some("<u4");
    /// IEEE 754 binary32.
    F32 "F32" 32 Some("torch.float32"), Some("<f4");
    /// Signed 64-bit integer.
    I64 "I64" 64 Some("torch.int64"), Some("<i8");
    /// Unsigned 64-bit integer.
    U64 "U64" 64 Some("torch.uint64"), Some("<u8");
    /// IEEE 754 binary64.
    F64 "F64" 64 Some("torch.float64"), Some("<f8");
    /// Complex: two binary32, real part first.
    C64 "C64" 64 Some("torch.complex64"), Some("<c8");
    /// Complex: two binary64, real part first.
    C128 "C128" 128 Some("torch.complex128"), Some("<c16");
    /// 8-bit float, 4 exponent bits, bias 7, no infinities, one NaN per sign (OCP FP8).
    F8_E4M3 "F8_E4M3" 8 Some("torch.float8_e4m3fn"), Some("float8_e4m3fn");
    /// 8-bit float, 5 exponent bits, bias 15, IEEE-like infinities and NaN (OCP FP8).
    F8_E5M2 "F8_E5M2" 8 Some("torch.float8_e5m2"), Some("float8_e5m2");
    /// 8-bit power of two, bias 127, 255 is NaN (OCP MX scale).
    F8_E8M0 "F8_E8M0" 8 Some("torch.float8_e8m0fnu"), Some("float8_e8m0fnu");
    /// 8-bit float, 4 exponent bits, bias 8, no negative zero, 0x80 is NaN.
    F8_E4M3FNUZ "F8_E4M3FNUZ" 8 Some("torch.float8_e4m3fnuz"), Some("float8_e4m3fnuz");
    /// 8-bit float, 5 exponent bits, bias 16, no negative zero, 0x80 is NaN.
    F8_E5M2FNUZ "F8_E5M2FNUZ" 8 Some("torch.float8_e5m2fnuz"), Some("float8_e5m2fnuz");
    /// 6-bit float, 2 exponent bits, bias 1, finite only (OCP MX), packed.
    F6_E2M3 "F6_E2M3" 6 None, None;
    /// 6-bit float, 3 exponent bits, bias 3, finite only (OCP MX), packed.
    F6_E3M2 "F6_E3M2" 6 None, None;
    /// 4-bit float, 2 exponent bits, bias 1, finite only (OCP MX), two in a byte.
    F4 "F4" 4 Some("torch.float4_e2m1fn_x2"), None;
}

impl Dtype {
    /// The dtype of that name, or an error that lists the names there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::from_name(name).ok_or_else(|| {
            Error::new(Code::TensorDtype, "unknown dtype")
                .expected("one of the format's dtypes")
                .found(format!("'{name}'"))
        })
    }

    /// Where a tensor of this dtype may start: a multiple of this many bytes.
    ///
    /// The element size for whole-byte types, but 8 for `C128`, whose parts are
    /// 8 bytes wide; 1 for types smaller than a byte.
    pub const fn alignment(self) -> u64 {
        match self.bits() / 8 {
            0 => 1,
            16 => 8,
            bytes => bytes,
        }
    }

    /// Bytes of one element, or none for a type smaller than a byte.
    pub const fn item_bytes(self) -> Option<u64> {
        let bits = self.bits();
        if bits.is_multiple_of(8) {
            Some(bits / 8)
        } else {
            None
        }
    }

    /// The fewest elements that fill whole bytes.
    pub const fn unit(self) -> Unit {
        let (bytes, elements) = match self.bits() {
            4 => (1, 2),
            6 => (3, 4),
            bits => (bits / 8, 1),
        };
        Unit { bytes, elements }
    }

    /// Bytes of a row-major tensor of that shape.
    ///
    /// # Errors
    /// `tensor.overflow` when the count or size does not fit, `tensor.bits` when
    /// the elements do not fill whole bytes.
    pub fn nbytes(self, shape: &[u64]) -> Result<u64> {
        let overflow = || {
            Error::new(Code::TensorOverflow, "shape is too large").found(Shape(shape).to_string())
        };
        // A dimension of zero makes the product zero, yet the others must still
        // be sane: [2^62, 4, 0] is refused like [2^62, 4].
        let mut count = 1u64;
        let mut empty = false;
        for &dim in shape {
            if dim > i64::MAX as u64 {
                return Err(overflow());
            }
            empty |= dim == 0;
            count = count.checked_mul(dim.max(1)).ok_or_else(overflow)?;
        }
        let bits = count.checked_mul(self.bits()).ok_or_else(overflow)?;
        match (empty, bits % 8) {
            (true, _) => Ok(0),
            (false, 0) => Ok(bits / 8),
            (false, _) => Err(
                Error::new(Code::TensorBits, "elements do not fill whole bytes")
                    .expected("a multiple of 8 bits")
                    .found(format!("{bits} bits of {self} in shape {}", Shape(shape))),
            ),
        }
    }
}

/// The fewest elements of a dtype that fill whole bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// How many bytes they fill.
    pub bytes: u64,
    /// How many elements they are.
    pub elements: u64,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A shape as messages show it: `[2, 3]`. (`Debug` would do the same, with all that it
/// takes to do it over several lines.)
pub(crate) struct Shape<'a>(pub &'a [u64]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (nth, dim) in self.0.iter().enumerate() {
            let comma = if nth > 0 { ", " } else { "" };
            write!(f, "{comma}{dim}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for &dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.as_str()), Some(dtype));
        }
        assert!(Dtype::from_name("f32").is_none());
    }

    #[test]
    fn sizes() {
        assert_eq!(Dtype::F32.nbytes(&[]).unwrap(), 4);
        assert_eq!(Dtype::F32.nbytes(&[2, 0, 3]).unwrap(), 0);
        assert_eq!(Dtype::F4.nbytes(&[3, 2]).unwrap(), 3);
        assert_eq!(Dtype::F6_E2M3.nbytes(&[4]).unwrap(), 3);
        assert_eq!(Dtype::F4.nbytes(&[3]).unwrap_err().code(), Code::TensorBits);
        assert_eq!(
            Dtype::F6_E2M3.nbytes(&[2]).unwrap_err().code(),
            Code::TensorBits
        );
        for shape in [
            &[1u64 << 62, 4][..],
            &[1 << 62, 4, 0],
            &[u64::MAX],
            &[1 << 61],
        ] {
            assert_eq!(
                Dtype::F64.nbytes(shape).unwrap_err().code(),
                Code::TensorOverflow
            );
        }
    }
}
