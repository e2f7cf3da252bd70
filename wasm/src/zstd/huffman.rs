//! Huffman-coded literals (RFC 8878, 4.2).

use super::bits::BackBits;
use super::fse::Table as Fse;

/// Longest code in bits.
const MOST_BITS: u32 = 11;
/// Codes of that length whose bits are ready at once.
const AT_ONCE: usize = 5;

/// What the next bits mean: the symbol, and above it how many bits it takes.
pub(super) struct Table {
    codes: [u16; 1 << MOST_BITS],
    /// Length of the longest code; 0 without a table.
    bits: u32,
}

impl Table {
    pub const EMPTY: Self = Self {
        codes: [0; 1 << MOST_BITS],
        bits: 0,
    };

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.bits > 0
    }

    /// Reads a tree's description; its length, none if it is malformed.
    pub fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        self.bits = 0;
        let mut weights = [0u8; 256];
        let (&head, rest) = bytes.split_first()?;
        let (count, length) = if head >= 128 {
            let count = usize::from(head) - 127;
            let packed = rest.get(..count.div_ceil(2))?;
            for (two, &byte) in weights.chunks_mut(2).zip(packed) {
                two.iter_mut()
                    .zip([byte >> 4, byte & 15])
                    .for_each(|(to, x)| *to = x);
            }
            (count, 1 + packed.len())
        } else {
            let packed = rest.get(..usize::from(head))?;
            (read_weights(packed, &mut weights)?, 1 + packed.len())
        };
        self.build(&mut weights, count)?;
        Some(length)
    }

    /// Builds the table from all weights but the last, which follows from them.
    fn build(&mut self, weights: &mut [u8; 256], count: usize) -> Option<()> {
        let given = weights.get(..count)?;
        if given.iter().any(|&w| u32::from(w) > MOST_BITS) {
            return None;
        }
        let sum: u32 = given.iter().map(|&w| (1u32 << w) >> 1).sum();
        let bits = sum.checked_ilog2()? + 1;
        let rest = (1 << bits) - sum;
        if bits > MOST_BITS || !rest.is_power_of_two() {
            return None;
        }
        *weights.get_mut(count)? = (rest.ilog2() + 1) as u8;
        let ones = weights.iter().filter(|&&w| w == 1).count();
        if ones < 2 || ones % 2 == 1 {
            return None;
        }
        let mut at = 0;
        for weight in 1..=bits {
            let code = ((bits + 1 - weight) as u16) << 8;
            for (symbol, _) in (0u16..)
                .zip(&*weights)
                .filter(|(_, w)| u32::from(**w) == weight)
            {
                let end = at + (1usize << (weight - 1));
                self.codes.get_mut(at..end)?.fill(code | symbol);
                at = end;
            }
        }
        self.bits = bits;
        Some(())
    }

    #[inline(always)]
    fn next(&self, bits: &mut BackBits<'_>) -> u8 {
        let code = self.codes[bits.peek(self.bits) as usize & ((1 << MOST_BITS) - 1)];
        bits.skip(u32::from(code >> 8));
        code as u8
    }

    /// Decodes one stream, which must end with the last symbol.
    pub fn decode(&self, stream: &[u8], out: &mut [u8]) -> Option<()> {
        let mut bits = BackBits::new(stream)?;
        self.decode_rest(&mut bits, out)
    }

    fn decode_rest(&self, bits: &mut BackBits<'_>, out: &mut [u8]) -> Option<()> {
        for group in out.chunks_mut(AT_ONCE) {
            bits.refill();
            group.iter_mut().for_each(|byte| *byte = self.next(bits));
        }
        (bits.left() == 0).then_some(())
    }

    /// Decodes four streams together: they do not wait for each other.
    pub fn decode_four(&self, bytes: &[u8], out: &mut [u8]) -> Option<()> {
        let (jumps, mut rest) = bytes.split_first_chunk::<6>()?;
        let mut streams = [rest; 4];
        for (stream, jump) in streams.iter_mut().zip(jumps.chunks_exact(2)) {
            let length = jump.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
            (*stream, rest) = rest.split_at_checked(length)?;
        }
        streams[3] = rest;
        let part = out.len().div_ceil(4);
        let (one, out) = out.split_at_mut_checked(part)?;
        let (two, out) = out.split_at_mut_checked(part)?;
        let (three, four) = out.split_at_mut_checked(part)?;
        let [mut a, mut b, mut c, mut d] = [
            BackBits::new(streams[0])?,
            BackBits::new(streams[1])?,
            BackBits::new(streams[2])?,
            BackBits::new(streams[3])?,
        ];
        let length = four.len();
        let (one, one_rest) = split_like(one, length)?;
        let (two, two_rest) = split_like(two, length)?;
        let (three, three_rest) = split_like(three, length)?;
        let (four, four_rest) = split_like(four, length)?;
        for (((one, two), three), four) in one.iter_mut().zip(two).zip(three).zip(four) {
            a.refill();
            b.refill();
            c.refill();
            d.refill();
            for n in 0..AT_ONCE {
                one[n] = self.next(&mut a);
                two[n] = self.next(&mut b);
                three[n] = self.next(&mut c);
                four[n] = self.next(&mut d);
            }
        }
        self.decode_rest(&mut a, one_rest)?;
        self.decode_rest(&mut b, two_rest)?;
        self.decode_rest(&mut c, three_rest)?;
        self.decode_rest(&mut d, four_rest)
    }
}

type Groups<'a> = (&'a mut [[u8; AT_ONCE]], &'a mut [u8]);

/// As many groups as `length` bytes have, and what remains.
fn split_like(out: &mut [u8], length: usize) -> Option<Groups<'_>> {
    let (groups, rest) = out.split_at_mut_checked(length / AT_ONCE * AT_ONCE)?;
    Some((groups.as_chunks_mut().0, rest))
}

/// Reads weights that are entropy-coded themselves, by two states in turns.
fn read_weights(bytes: &[u8], weights: &mut [u8; 256]) -> Option<usize> {
    let mut table = Fse::EMPTY;
    let length = table.read(bytes, 255, 6)?;
    let mut bits = BackBits::new(bytes.get(length..)?)?;
    bits.refill();
    let mut state = bits.take(table.accuracy) as usize;
    let mut other = bits.take(table.accuracy) as usize;
    if bits.left() < 0 {
        return None;
    }
    // The last of 256 weights is never written down.
    for count in 0..254 {
        let now = table.states.get(state)?;
        *weights.get_mut(count)? = now.symbol;
        bits.refill();
        state = usize::from(now.base) + bits.take(now.bits.into()) as usize;
        if bits.left() < 0 {
            *weights.get_mut(count + 1)? = table.states.get(other)?.symbol;
            return Some(count + 2);
        }
        core::mem::swap(&mut state, &mut other);
    }
    None
}
