//! Finite-state entropy tables (RFC 8878, 4.1).

use super::bits::Bits;

/// Largest accuracy of any table, in bits.
const MOST_BITS: u32 = 9;

/// What a state means.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    /// The next state, before the bits that are read are added.
    pub base: u16,
    pub symbol: u8,
    pub bits: u8,
}

/// A decoding table.
#[derive(Clone)]
pub(super) struct Table {
    pub states: [State; 1 << MOST_BITS],
    pub accuracy: u32,
}

impl Table {
    pub const EMPTY: Self = Self {
        states: [State {
            base: 0,
            symbol: 0,
            bits: 0,
        }; 1 << MOST_BITS],
        accuracy: 0,
    };

    /// A table whose only symbol takes no bits.
    pub fn set_single(&mut self, symbol: u8) {
        self.accuracy = 0;
        self.states[0] = State {
            base: 0,
            symbol,
            bits: 0,
        };
    }

    /// Reads a table's description, of symbols up to `most_symbol` and at most
    /// `most_bits` bits; the length of the description, none if it is malformed.
    pub fn read(&mut self, bytes: &[u8], most_symbol: usize, most_bits: u32) -> Option<usize> {
        let mut counts = [0i16; 256];
        let mut bits = Bits::new(bytes);
        let accuracy = bits.peek(4) + 5;
        if accuracy > most_bits.min(MOST_BITS) {
            return None;
        }
        bits.skip(4);
        let mut left = (1i32 << accuracy) + 1;
        let mut symbol = 0;
        while left > 1 {
            if symbol > most_symbol {
                return None;
            }
            // A value from 0 to `left`, the lower ones in one bit less.
            let width = left.ilog2() + 1;
            let lower = (1 << width) - 1 - left;
            let short = (bits.peek(width as usize - 1)) as i32;
            let value = if short < lower {
                bits.skip(width as usize - 1);
                short
            } else {
                let long = bits.peek(width as usize) as i32;
                bits.skip(width as usize);
                if long >= 1 << (width - 1) {
                    long - lower
                } else {
                    long
                }
            };
            let count = value - 1;
            left -= count.abs();
            *counts.get_mut(symbol)? = count as i16;
            symbol += 1;
            if count == 0 {
                loop {
                    let repeat = bits.peek(2) as usize;
                    bits.skip(2);
                    symbol += repeat;
                    if repeat < 3 {
                        break;
                    }
                    if symbol > most_symbol + 1 {
                        return None;
                    }
                }
            }
            bits.bytes_read()?;
        }
        if left != 1 || symbol > most_symbol + 1 {
            return None;
        }
        let length = bits.bytes_read()?;
        self.build(counts.get(..symbol)?, accuracy);
        Some(length)
    }

    /// Builds the table for these counts, which add up to `1 << accuracy`; -1 is a
    /// symbol of less than one state.
    pub fn build(&mut self, counts: &[i16], accuracy: u32) {
        let size = 1usize << accuracy.min(MOST_BITS);
        self.accuracy = accuracy;
        let mut next = [0u16; 256];
        let mut high = size;
        for (symbol, &count) in (0u8..=255).zip(counts) {
            next[usize::from(symbol)] = count.unsigned_abs();
            if count < 0 && high > 0 {
                high -= 1;
                self.states[high].symbol = symbol;
            }
        }
        let (step, mask) = ((size >> 1) + (size >> 3) + 3, size - 1);
        let mut at = 0;
        for (symbol, &count) in (0u8..=255).zip(counts) {
            for _ in 0..count.max(0) {
                self.states[at & mask].symbol = symbol;
                at = (at + step) & mask;
                // Those at the end are taken.
                while at >= high && high > 0 {
                    at = (at + step) & mask;
                }
            }
        }
        for state in self.states.iter_mut().take(size) {
            let count = &mut next[usize::from(state.symbol)];
            let x = u32::from(*count).max(1);
            *count += 1;
            state.bits = (accuracy - x.ilog2().min(accuracy)) as u8;
            state.base = ((x << state.bits) as usize).wrapping_sub(size) as u16;
        }
    }
}
