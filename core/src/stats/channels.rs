//! Statistics along one axis: of all elements that have the same place on it.

use super::decode::decode_f64;
use super::exact::sqrt;
use super::moments::{Moments, Unit};
use crate::{Code, Dtype, Error, Result};
use alloc::format;
use alloc::vec::Vec;

/// Gathers statistics for every place on one axis from a tensor's bytes as they come.
#[derive(Clone, Debug)]
pub struct Channels {
    dtype: Dtype,
    /// The fewest bytes that hold whole elements.
    unit: usize,
    /// Elements that follow each other with the same place.
    inner: u64,
    /// The channel of the next element, and how many of its run are left.
    channel: usize,
    left: u64,
    channels: Vec<Channel>,
    /// Bytes of a unit that is not complete yet.
    rest: Vec<u8>,
    /// The elements at hand; kept for its memory.
    values: Vec<f64>,
}

/// Statistics of the finite elements of one place; NaN where there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelStats {
    /// All elements, those that are not finite too.
    pub count: u64,
    /// The smallest finite element.
    pub min: f64,
    /// The largest finite element.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of the population.
    pub stddev: f64,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    count: u64,
    min: f64,
    max: f64,
    sums: Sums,
}

/// Sums of finite elements.
#[derive(Clone, Copy, Debug)]
enum Sums {
    /// Of values whose squares are far from the ends of binary64 (Welford 1962).
    Plain {
        finite: u64,
        mean: f64,
        squares: f64,
    },
    /// Of any values.
    Careful(Moments),
}

/// Bytes decoded at once: a whole number of elements of every dtype.
const BATCH_BYTES: usize = 12 << 10;

impl Channels {
    /// Longest axis that there may be channels of.
    pub const MOST: u64 = 1 << 20;

    /// For a tensor of that dtype and shape, with a channel for each place on `axis`.
    ///
    /// # Errors
    /// `usage.range` when there is no such axis, `usage.option` when it is longer than
    /// [`Self::MOST`], and the codes of shapes that no tensor may have.
    pub fn new(dtype: Dtype, shape: &[u64], axis: usize) -> Result<Self> {
        dtype.nbytes(shape)?;
        let Some(&length) = shape.get(axis) else {
            return Err(Error::new(Code::UsageRange, "the tensor has no such axis")
                .expected(format!("one below {}", shape.len()))
                .found(axis));
        };
        if length > Self::MOST {
            return Err(
                Error::new(Code::UsageOption, "the axis is too long for statistics")
                    .expected(format!("at most {} places", Self::MOST))
                    .found(length),
            );
        }
        let after = shape.iter().skip(axis + 1);
        let inner = after
            .fold(1u64, |product, &dim| product.saturating_mul(dim))
            .max(1);
        let sums = match dtype {
            Dtype::F64 | Dtype::C128 => Sums::Careful(Moments::EMPTY),
            _ => Sums::Plain {
                finite: 0,
                mean: 0.0,
                squares: 0.0,
            },
        };
        let empty = Channel {
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sums,
        };
        Ok(Self {
            dtype,
            unit: dtype.unit().bytes as usize,
            inner,
            channel: 0,
            left: inner,
            channels: alloc::vec![empty; length as usize],
            rest: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Goes to another place of the tensor, for one that is looked at in parts. An
    /// element that is not complete is forgotten.
    ///
    /// # Errors
    /// `usage.range` when no element starts on a whole byte there.
    pub fn seek(&mut self, byte: u64) -> Result<()> {
        let unit = self.unit as u64;
        if !byte.is_multiple_of(unit) {
            return Err(Error::new(Code::UsageRange, "no element starts there")
                .expected(format!("a multiple of {unit} bytes"))
                .found(byte));
        }
        // Of a sub-byte dtype, a unit is a few elements.
        let element = (byte / unit).saturating_mul(self.dtype.unit().elements);
        let run = element / self.inner;
        self.left = self.inner - element % self.inner;
        self.channel = (run % (self.channels.len() as u64).max(1)) as usize;
        self.rest.clear();
        Ok(())
    }

    /// Takes the tensor's next bytes. They may end anywhere, also within an element.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let missing = self.unit - self.rest.len();
            let (head, tail) = bytes.split_at(missing.min(bytes.len()));
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < self.unit {
                return;
            }
            let element = core::mem::take(&mut self.rest);
            self.take(&element);
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % self.unit);
        for batch in whole.chunks(BATCH_BYTES) {
            self.take(batch);
        }
        self.rest.extend_from_slice(rest);
    }

    /// The statistics for every place on the axis.
    pub fn finish(self) -> Vec<ChannelStats> {
        self.channels.iter().map(Channel::finish).collect()
    }

    /// Takes whole elements.
    fn take(&mut self, bytes: &[u8]) {
        let mut values = core::mem::take(&mut self.values);
        values.clear();
        decode_f64(self.dtype, bytes, &mut values);
        let mut rest = &values[..];
        while !rest.is_empty() {
            let length = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (run, tail) = rest.split_at(length);
            rest = tail;
            if let Some(channel) = self.channels.get_mut(self.channel) {
                run.iter().for_each(|&x| channel.push(x));
            }
            self.left -= length as u64;
            if self.left == 0 {
                self.left = self.inner;
                self.channel += 1;
                if self.channel >= self.channels.len() {
                    self.channel = 0;
                }
            }
        }
        self.values = values;
    }
}

impl Channel {
    fn push(&mut self, x: f64) {
        self.count += 1;
        if !x.is_finite() {
            return;
        }
        self.min = self.min.min(x);
        self.max = self.max.max(x);
        match &mut self.sums {
            Sums::Plain {
                finite,
                mean,
                squares,
            } => {
                *finite += 1;
                let delta = x - *mean;
                *mean += delta / *finite as f64;
                *squares += delta * (x - *mean);
            }
            Sums::Careful(moments) => {
                let magnitude = x.abs();
                let unit = [Unit::Tiny, Unit::One, Unit::Huge]
                    .into_iter()
                    .find(|unit| {
                        // Squares of more than this in its unit would come near the end.
                        magnitude * unit.factor() < 1e150
                    });
                moments.merge(&Moments::constant(1, x, unit.unwrap_or(Unit::Huge)));
            }
        }
    }

    fn finish(&self) -> ChannelStats {
        let (mean, stddev) = match self.sums {
            Sums::Plain { finite: 0, .. } => (f64::NAN, f64::NAN),
            Sums::Plain {
                finite,
                mean,
                squares,
            } => (mean, sqrt(squares.max(0.0) / finite as f64)),
            Sums::Careful(moments) => (moments.mean(), moments.stddev()),
        };
        let some = self.min <= self.max;
        ChannelStats {
            count: self.count,
            // Adding zero turns -0.0 into 0.0.
            min: if some { self.min + 0.0 } else { f64::NAN },
            max: if some { self.max + 0.0 } else { f64::NAN },
            mean: if some {
                mean.clamp(self.min, self.max)
            } else {
                f64::NAN
            },
            stddev: if self.min == self.max { 0.0 } else { stddev },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Number, Stats};
    use proptest::prelude::*;

    fn number(x: Number) -> f64 {
        match x {
            Number::Int(n) => n as f64,
            Number::Float(x) => x,
        }
    }

    fn close(a: f64, b: f64, scale: f64) -> bool {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * scale
    }

    fn doubles(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn ends_of_the_range() {
        let mut channels = Channels::new(Dtype::F64, &[2, 3], 0).unwrap();
        channels.update(&doubles(&[
            f64::MAX,
            0.0,
            f64::NAN,
            1e-300,
            3e-300,
            f64::INFINITY,
        ]));
        let found = channels.finish();
        assert_eq!((found[0].count, found[0].max), (3, f64::MAX));
        assert!(close(found[0].stddev / f64::MAX, 0.5, 1.0));
        assert!(close(found[1].mean * 1e300, 2.0, 1.0));
        assert!(close(found[1].stddev * 1e300, 1.0, 1.0));
    }

    #[test]
    fn refused_and_empty() {
        let code = |shape: &[u64], axis| Channels::new(Dtype::F32, shape, axis).unwrap_err().code();
        assert_eq!(code(&[2, 3], 2), Code::UsageRange);
        assert_eq!(code(&[], 0), Code::UsageRange);
        assert_eq!(code(&[1 << 40], 0), Code::UsageOption);
        let mut none = Channels::new(Dtype::F32, &[0, 3], 0).unwrap();
        none.update(&[0; 40]);
        none.seek(12).unwrap();
        assert!(none.finish().is_empty());
        let nothing = Channels::new(Dtype::F32, &[3, 0], 0).unwrap().finish();
        assert!(nothing.len() == 3 && nothing[0].count == 0 && nothing[0].mean.is_nan());
        let mut sub = Channels::new(Dtype::F6_E2M3, &[8], 0).unwrap();
        assert_eq!(sub.seek(2).unwrap_err().code(), Code::UsageRange);
        sub.seek(3).unwrap();
        sub.update(&[0; 3]);
        assert_eq!(
            sub.finish().iter().map(|c| c.count).collect::<Vec<_>>(),
            [0, 0, 0, 0, 1, 1, 1, 1]
        );
    }

    proptest! {
        #[test]
        fn as_the_statistics_of_each_slice(
            dtype in prop::sample::select(Dtype::ALL),
            shape in prop::collection::vec(1u64..5, 1..4),
            bytes in prop::collection::vec(any::<u8>(), 64 * 5 * 16),
            pieces in prop::collection::vec(0usize..40, 1..5),
            seed in any::<usize>(),
        ) {
            let mut shape = shape;
            if let Some(last) = shape.last_mut() {
                *last *= 4;
            }
            let axis = seed % shape.len();
            let nbytes = dtype.nbytes(&shape).unwrap() as usize;
            let bytes = &bytes[..nbytes];
            let mut channels = Channels::new(dtype, &shape, axis).unwrap();
            let mut parts = channels.clone();
            let mut rest = bytes;
            for &piece in [&pieces[..], &[1]].concat().iter().cycle() {
                let (head, tail) = rest.split_at(piece.min(rest.len()));
                channels.update(head);
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            // The same from back to front.
            let middle = nbytes / 2 - nbytes / 2 % (parts.unit);
            parts.seek(middle as u64).unwrap();
            parts.update(&bytes[middle..]);
            parts.seek(0).unwrap();
            parts.update(&bytes[..middle]);
            let mut all = Vec::new();
            decode_f64(dtype, bytes, &mut all);
            let inner: u64 = shape[axis + 1..].iter().product();
            for (found, again) in [(channels.finish(), parts.finish())] {
                for (nth, (found, again)) in found.iter().zip(&again).enumerate() {
                    let of = |n: &usize| *n as u64 / inner % shape[axis] == nth as u64;
                    let slice: Vec<f64> = (0..all.len()).filter(of).map(|n| all[n]).collect();
                    let wanted = Stats::of(Dtype::F64, &doubles(&slice));
                    prop_assert_eq!(found.count, wanted.count);
                    prop_assert!(close(found.min, number(wanted.min), 0.0));
                    prop_assert!(close(found.max, number(wanted.max), 0.0));
                    let scale = number(wanted.absmax);
                    prop_assert!(close(found.mean, wanted.mean, scale));
                    prop_assert!(close(found.stddev, wanted.stddev, scale));
                    prop_assert!(close(again.mean, wanted.mean, scale));
                    prop_assert!(close(again.stddev, wanted.stddev, scale));
                    prop_assert_eq!(found.count, again.count);
                }
            }
        }
    }
}
