//! The fast way against the slow one, and against itself cut into pieces.

extern crate std;

use super::ahead::Ahead;
use super::isa::Isa;
use super::reference::{Bits, FLOATS, encode, sequences};
use super::summary::{SUB_BYTES, sub_block_on};
use super::*;
use proptest::prelude::*;
use std::format;
use std::vec;

/// Every field, such that NaN equals NaN and zeros differ in their signs.
fn bits(stats: &Stats) -> std::string::String {
    format!("{stats:?}")
}

fn number(x: Number) -> f64 {
    match x {
        Number::Int(x) => x as f64,
        Number::Float(x) => x,
    }
}

/// Compares with the slow way.
fn check(dtype: Dtype, bytes: &[u8], what: &str) {
    let (fast, slow) = (Stats::of(dtype, bytes), reference::stats(dtype, bytes));
    let context = format!(
        "{dtype} {what}, {} bytes\nfast {fast:?}\nslow {slow:?}",
        bytes.len()
    );
    let counts = |s: &Stats| (s.count, s.nnz, s.nan, s.posinf, s.neginf);
    assert_eq!(counts(&fast), counts(&slow), "{context}");
    let near = |a: f64, b: f64, by: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= by;
    let complex = matches!(dtype, Dtype::C64 | Dtype::C128);
    for (a, b) in [
        (fast.min, slow.min),
        (fast.max, slow.max),
        (fast.absmax, slow.absmax),
    ] {
        let same = match (a, b) {
            (Number::Float(a), Number::Float(b)) => {
                near(a, b, if complex { b * 4e-16 } else { 0.0 })
            }
            _ => a == b,
        };
        assert!(same, "{context}");
    }
    let finite = slow.count - slow.nan - slow.posinf - slow.neginf;
    // Where values cancel, the mean is as good as their size allows; so is the
    // spread of magnitudes, which are themselves rounded, of complex ones.
    let norm = if slow.l2 < f64::INFINITY {
        slow.l2 / (finite as f64).sqrt()
    } else {
        f64::MAX
    };
    let size = norm.min(number(slow.absmax)) + 5e-324;
    let by_mean = slow.mean.abs() * 1e-14 + size * 3e-16;
    let by_stddev = slow.stddev * 1e-12 + if complex { size * 4e-16 } else { 5e-324 };
    assert!(near(fast.mean, slow.mean, by_mean), "{context}");
    assert!(near(fast.stddev, slow.stddev, by_stddev), "{context}");
    assert!(
        near(fast.l2, slow.l2, slow.l2 * 1e-13 + 5e-324),
        "{context}"
    );
}

/// Lengths in elements around everything that is cut somewhere.
fn lengths(dtype: Dtype) -> Vec<usize> {
    let sub = SUB_BYTES * 8 / dtype.bits() as usize;
    let mut lengths = vec![
        0,
        1,
        2,
        3,
        63,
        64,
        65,
        511,
        512,
        513,
        1000,
        sub - 4,
        sub,
        sub + 4,
    ];
    lengths.push(2 * sub + 700);
    lengths
}

fn byte_lengths(dtype: Dtype) -> Vec<usize> {
    let bytes = |n: usize| n * dtype.bits() as usize / 8;
    lengths(dtype).into_iter().map(bytes).collect()
}

#[test]
fn any_bits() {
    let mut random = Bits(1);
    for &dtype in Dtype::ALL {
        for n in byte_lengths(dtype) {
            check(dtype, &random.bytes(n), "any bits");
        }
    }
}

#[test]
fn every_byte_value() {
    let all: Vec<u8> = (0..=255).collect();
    for &dtype in Dtype::ALL {
        check(dtype, &all[..240], "every byte");
        check(dtype, &all.repeat(3), "every byte");
    }
}

#[test]
fn small_integers() {
    let mut random = Bits(2);
    for dtype in [
        Dtype::I16,
        Dtype::U16,
        Dtype::I32,
        Dtype::U32,
        Dtype::I64,
        Dtype::U64,
    ] {
        let width = dtype.bits() as usize / 8;
        for n in lengths(dtype) {
            let ids = (0..n).flat_map(|_| (random.next() % 50).to_le_bytes()[..width].to_vec());
            check(dtype, &ids.collect::<Vec<u8>>(), "token ids");
        }
    }
}

#[test]
fn extreme_integers() {
    let minmax = [i64::MIN.to_le_bytes(), i64::MAX.to_le_bytes()].concat();
    let stats = Stats::of(Dtype::I64, &minmax.repeat(10_000));
    assert_eq!(stats.min, Number::Int(i64::MIN.into()));
    assert_eq!(stats.max, Number::Int(i64::MAX.into()));
    assert_eq!(stats.absmax, Number::Int(1 << 63));
    assert_eq!(stats.mean, -0.5);
    assert_eq!(stats.stddev, u64::MAX as f64 / 2.0);

    let stats = Stats::of(Dtype::U64, &u64::MAX.to_le_bytes().repeat(20_000));
    assert_eq!(stats.min, Number::Int(u64::MAX.into()));
    assert_eq!((stats.mean, stats.stddev), (u64::MAX as f64, 0.0));
    assert_eq!(stats.l2, u64::MAX as f64 * 20_000f64.sqrt());

    // Neighbours that no double tells apart.
    let close = [u64::MAX.to_le_bytes(), (u64::MAX - 2).to_le_bytes()].concat();
    assert_eq!(Stats::of(Dtype::U64, &close.repeat(7777)).stddev, 1.0);
    let close = [i64::MIN.to_le_bytes(), (i64::MIN + 2).to_le_bytes()].concat();
    assert_eq!(Stats::of(Dtype::I64, &close.repeat(7777)).stddev, 1.0);

    for dtype in [
        Dtype::I8,
        Dtype::U8,
        Dtype::I16,
        Dtype::U16,
        Dtype::I32,
        Dtype::U32,
    ] {
        for fill in [0x00, 0x80, 0xff] {
            check(dtype, &vec![fill; 2 * SUB_BYTES + 8], "the same byte");
        }
    }
}

#[test]
fn booleans() {
    let stats = Stats::of(Dtype::Bool, &[0, 1, 255, 0]);
    assert_eq!((stats.min, stats.max), (Number::Int(0), Number::Int(1)));
    assert_eq!((stats.nnz, stats.mean, stats.stddev), (2, 0.5, 0.5));
    assert_eq!(Stats::of(Dtype::Bool, &[7]).min, Number::Int(1));
    assert_eq!(Stats::of(Dtype::Bool, &[0]).max, Number::Int(0));
}

#[test]
fn nothing() {
    for &dtype in Dtype::ALL {
        let stats = Stats::of(dtype, &[]);
        assert_eq!((stats.count, stats.nnz), (0, 0));
        for x in [stats.min, stats.max, stats.absmax] {
            assert!(matches!(x, Number::Float(x) if x.is_nan()), "{dtype}");
        }
        assert!(stats.mean.is_nan() && stats.stddev.is_nan() && stats.l2.is_nan());
        assert_eq!(bits(&Accumulator::new(dtype).finish()), bits(&stats));
        assert_eq!(bits(&block(dtype, &[]).finish()), bits(&stats));
    }
}

#[test]
fn hard_sequences() {
    for dtype in FLOATS {
        for (name, of) in sequences() {
            for n in [1, 2, 100, 700, 13_000] {
                let mut random = Bits(3);
                let values: Vec<f64> = (0..n).map(|i| of(i, &mut random)).collect();
                check(dtype, &encode(dtype, &values), name);
            }
        }
    }
}

#[test]
fn known_floats() {
    let of = |values: &[f64]| Stats::of(Dtype::F64, &encode(Dtype::F64, values));
    let stats = of(&[f64::MAX, f64::MAX]);
    assert_eq!(
        (stats.mean, stats.stddev, stats.l2),
        (f64::MAX, 0.0, f64::INFINITY)
    );
    let stats = of(&[f64::MAX, f64::MIN]);
    assert_eq!((stats.mean, stats.stddev), (0.0, f64::MAX));
    let stats = of(&[3e300, 4e300, f64::NAN, f64::NEG_INFINITY]);
    assert_eq!((stats.mean, stats.count, stats.nnz), (3.5e300, 4, 4));
    assert!((stats.l2 / 5e300 - 1.0).abs() < 1e-15);
    let stats = of(&[5e-324, 5e-324, 5e-324]);
    assert_eq!((stats.mean, stats.stddev, stats.nnz), (5e-324, 0.0, 3));
    let stats = of(&[-0.0]);
    assert_eq!(bits(&stats), bits(&of(&[0.0])));
    assert_eq!((stats.nnz, stats.l2), (0, 0.0));
    // One value a million times is exactly that value.
    let stats = of(&vec![0.1; 1 << 20]);
    assert_eq!((stats.mean, stats.stddev), (0.1, 0.0));
}

#[test]
fn complex_strays() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    for dtype in [Dtype::C64, Dtype::C128] {
        let parts = [
            3.0, -4.0, nan, 1.0, nan, -inf, inf, 0.0, -0.0, 0.0, 0.0, 1e-40,
        ];
        let stats = Stats::of(dtype, &encode(dtype, &parts));
        assert_eq!(
            (stats.count, stats.nan, stats.posinf, stats.neginf),
            (6, 1, 2, 0)
        );
        assert_eq!(
            (stats.nnz, stats.max, stats.min),
            (5, Number::Float(5.0), Number::Float(0.0))
        );
    }
    let stats = Stats::of(Dtype::C128, &encode(Dtype::C128, &[f64::MAX, f64::MAX]));
    assert_eq!((stats.posinf, stats.nnz), (1, 1));
}

#[test]
fn an_element_cut_short_is_ignored() {
    for &dtype in Dtype::ALL {
        let whole = dtype.bits().next_multiple_of(8) as usize / 8 * 30;
        let bytes = Bits(4).bytes(whole);
        let step = if dtype.bits() == 6 { 3 } else { whole / 30 };
        for extra in 1..step {
            let longer = [&bytes[..], &[0x55].repeat(extra)].concat();
            assert_eq!(
                bits(&Stats::of(dtype, &longer)),
                bits(&Stats::of(dtype, &bytes))
            );
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let mut random = Bits(5);
    for &dtype in Dtype::ALL {
        for n in byte_lengths(dtype)
            .into_iter()
            .filter(|&n| n > 0 && n <= SUB_BYTES)
        {
            same_on_all(dtype, &random.bytes(n));
        }
    }
    for dtype in FLOATS {
        for (_, of) in sequences() {
            let values: Vec<f64> = (0..1500).map(|i| of(i, &mut random)).collect();
            same_on_all(dtype, &encode(dtype, &values));
        }
    }
}

fn same_on_all(dtype: Dtype, bytes: &[u8]) {
    let of = |isa| {
        format!(
            "{:?}",
            sub_block_on(isa, dtype, bytes, &mut Ahead::nothing())
        )
    };
    for isa in Isa::all() {
        assert_eq!(of(isa), of(Isa::Compiled), "{dtype} {isa:?}");
    }
}

/// Streamed in pieces of these lengths, again and again.
fn streamed(dtype: Dtype, mut bytes: &[u8], pieces: &[usize]) -> Stats {
    let mut accumulator = Accumulator::new(dtype);
    for &piece in pieces.iter().cycle() {
        let (head, tail) = bytes.split_at(piece.min(bytes.len()));
        accumulator.update(head);
        bytes = tail;
        if bytes.is_empty() {
            break;
        }
    }
    accumulator.finish()
}

/// Blocks first merged among themselves, from left to right.
fn in_blocks(dtype: Dtype, bytes: &[u8]) -> Stats {
    let mut parts = bytes.chunks(BLOCK_BYTES).map(|b| block(dtype, b));
    let mut all = parts.next().unwrap_or_default();
    parts.for_each(|part| all.merge(&part));
    all.finish()
}

#[cfg(feature = "wide")]
#[test]
fn asking_ahead_changes_nothing_and_asks_once() {
    use core::sync::atomic::{AtomicUsize, Ordering};
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let count = |bytes: &[u8]| {
        ASKED.fetch_add(bytes.len(), Ordering::Relaxed);
    };
    let mut bits = Bits(11);
    for length in [0, 1, 100, SUB_BYTES, 3 * SUB_BYTES + 999] {
        let bytes = bits.bytes(length);
        for &dtype in Dtype::ALL {
            ASKED.store(0, Ordering::Relaxed);
            let ahead = format!("{:?}", block_ahead(dtype, &bytes, count));
            assert_eq!(
                ahead,
                format!("{:?}", block(dtype, &bytes)),
                "{dtype} {length}"
            );
            // A little at the end may be left: elements that are cut short.
            let asked = ASKED.load(Ordering::Relaxed);
            assert!(asked <= length, "{dtype} {length} {asked}");
            assert!(asked + SUB_BYTES >= length, "{dtype} {length} {asked}");
        }
    }
}

#[test]
fn blocks_hold_whole_elements() {
    for &dtype in Dtype::ALL {
        for bytes in [BLOCK_BYTES, SUB_BYTES] {
            assert_eq!(bytes * 8 % dtype.bits() as usize, 0);
            assert!(dtype.bits() != 6 || bytes % 3 == 0);
        }
    }
}

#[test]
fn long_tensors_in_any_pieces() {
    let random = Bits(6).bytes(2 * BLOCK_BYTES + SUB_BYTES + 1234);
    for dtype in [
        Dtype::U8,
        Dtype::I64,
        Dtype::F64,
        Dtype::C128,
        Dtype::F8_E4M3,
        Dtype::F6_E2M3,
    ] {
        let whole = bits(&Stats::of(dtype, &random));
        assert_eq!(bits(&in_blocks(dtype, &random)), whole);
        for pieces in [
            &[BLOCK_BYTES][..],
            &[1 << 20],
            &[7, 100_000, 1],
            &[SUB_BYTES - 1, 2],
        ] {
            assert_eq!(
                bits(&streamed(dtype, &random, pieces)),
                whole,
                "{dtype} {pieces:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_pieces(
        seed in 1u64..,
        length in 0usize..60_000,
        pieces in prop::collection::vec(0usize..40_000, 1..6),
        dtype in prop::sample::select(Dtype::ALL),
    ) {
        let bytes = Bits(seed).bytes(length);
        let pieces = [&pieces[..], &[1]].concat();
        let whole = Stats::of(dtype, &bytes);
        prop_assert_eq!(bits(&streamed(dtype, &bytes, &pieces)), bits(&whole));
        prop_assert_eq!(bits(&in_blocks(dtype, &bytes)), bits(&whole));
    }

    #[test]
    fn any_doubles(values in prop::collection::vec(any::<f64>(), 0..40)) {
        check(Dtype::F64, &encode(Dtype::F64, &values), "any doubles");
        check(Dtype::C128, &encode(Dtype::C128, &values[values.len() % 2..]), "any doubles");
    }

    #[test]
    fn any_dtype(
        dtype in prop::sample::select(Dtype::ALL),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        check(dtype, &bytes, "any bytes");
    }
}

#[test]
fn decoded_as_defined() {
    let mut random = Bits(7);
    for &dtype in Dtype::ALL {
        let bytes = [random.bytes(3 * 4096), (0..=255).collect(), vec![0; 32]].concat();
        let expected: Vec<f64> = reference::elements(dtype, &bytes)
            .into_iter()
            .map(number)
            .collect();
        let (mut wide, mut narrow) = (vec![1.5], vec![1.5]);
        decode_f64(dtype, &bytes, &mut wide);
        decode_f32(dtype, &bytes, &mut narrow);
        assert_eq!(
            (wide.len(), narrow.len()),
            (expected.len() + 1, expected.len() + 1)
        );
        let complex = matches!(dtype, Dtype::C64 | Dtype::C128);
        for ((&w, &n), &x) in wide[1..].iter().zip(&narrow[1..]).zip(&expected) {
            let same = |a: f64, b: f64| a == b && a.is_sign_negative() == b.is_sign_negative();
            assert!(
                w.is_nan() && x.is_nan() || same(w, x) || complex && (w - x).abs() <= x * 4e-16,
                "{dtype} {w} {x}"
            );
            assert!(
                n.is_nan() && w.is_nan() || n == w as f32 || dtype.bits() == 64,
                "{dtype}"
            );
            assert!(n.is_nan() || n == w as f32 || (f64::from(n) / w - 1.0).abs() < 1e-7);
        }
    }
}
