//! Sequences: how literals and what was decoded before make up a block
//! (RFC 8878, 3.1.1.3.2).

use super::bits::BackBits;
use super::frame::Fault;
use super::fse::Table;

const MOST_BITS: [u32; 3] = [9, 8, 9];
const MOST_SYMBOL: [usize; 3] = [35, 31, 52];

/// Counts of the tables that need no description: literal lengths, offsets, match
/// lengths.
const PREDEFINED: [(&[i16], u32); 3] = [
    (
        &[
            4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1,
            1, 1, 1, -1, -1, -1, -1,
        ],
        6,
    ),
    (
        &[
            1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1,
            -1,
        ],
        5,
    ),
    (
        &[
            1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
        ],
        6,
    ),
];

/// Bits that are added to the lengths of each code; a code's first length follows from
/// those of the codes before it.
const LITERAL_BITS: [u8; 20] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12,
];
const MATCH_BITS: [u8; 21] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12,
];

/// First length and added bits of every code.
type Codes = [(u32, u8); 64];

static LITERAL_CODES: Codes = codes(12, 0, &LITERAL_BITS, &[13, 14, 15, 16]);
static MATCH_CODES: Codes = codes(28, 3, &MATCH_BITS, &[13, 14, 15, 16]);

/// Codes below `plain` are lengths from `first` on without added bits.
const fn codes(plain: usize, first: u32, bits: &[u8], last: &[u8]) -> Codes {
    let mut table = [(0, 0); 64];
    let (mut code, mut length) = (0, first);
    while code < plain + bits.len() + last.len() {
        let added = if code < plain {
            0
        } else if code - plain < bits.len() {
            bits[code - plain]
        } else {
            last[code - plain - bits.len()]
        };
        table[code] = (length, added);
        length += 1 << added;
        code += 1;
    }
    table
}

/// What one block leaves to the next.
pub(super) struct Tables {
    tables: [Table; 3],
    set: [bool; 3],
    /// The latest offsets.
    pub recent: [usize; 3],
}

impl Tables {
    pub fn new() -> Self {
        Self {
            tables: [Table::EMPTY; 3],
            set: [false; 3],
            recent: [1, 4, 8],
        }
    }

    /// Reads the section's head, and runs its sequences: literals and matches are
    /// appended to `out` from `at` on, matches reaching back to `start`. Where the
    /// block ends.
    pub fn run(
        &mut self,
        section: &[u8],
        mut literals: &[u8],
        out: &mut [u8],
        start: usize,
        mut at: usize,
    ) -> Result<usize, Fault> {
        let (count, section) = read_count(section).ok_or(Fault::Malformed)?;
        if count == 0 {
            if !section.is_empty() {
                return Err(Fault::Malformed);
            }
        } else {
            let section = self.read_tables(section).ok_or(Fault::Malformed)?;
            let mut bits = BackBits::new(section).ok_or(Fault::Malformed)?;
            let [literal_table, offset_table, match_table] = &self.tables;
            bits.refill();
            let mut literal_state = bits.take(literal_table.accuracy) as usize;
            let mut offset_state = bits.take(offset_table.accuracy) as usize;
            let mut match_state = bits.take(match_table.accuracy) as usize;
            for nth in 1..=count {
                let literal = literal_table
                    .states
                    .get(literal_state)
                    .ok_or(Fault::Malformed)?;
                let offset = offset_table
                    .states
                    .get(offset_state)
                    .ok_or(Fault::Malformed)?;
                let matched = match_table
                    .states
                    .get(match_state)
                    .ok_or(Fault::Malformed)?;
                let (literal_first, literal_bits) = LITERAL_CODES[usize::from(literal.symbol & 63)];
                let (match_first, match_bits) = MATCH_CODES[usize::from(matched.symbol & 63)];
                let offset_bits = u32::from(offset.symbol & 31);
                bits.refill();
                let offset_value = (1u64 << offset_bits) + bits.take(offset_bits);
                let match_length = match_first as usize + bits.take(match_bits.into()) as usize;
                bits.refill();
                let literal_length =
                    literal_first as usize + bits.take(literal_bits.into()) as usize;
                if nth < count {
                    literal_state =
                        usize::from(literal.base) + bits.take(literal.bits.into()) as usize;
                    match_state =
                        usize::from(matched.base) + bits.take(matched.bits.into()) as usize;
                    offset_state =
                        usize::from(offset.base) + bits.take(offset.bits.into()) as usize;
                }
                let offset = recall(&mut self.recent, offset_value as usize, literal_length)
                    .ok_or(Fault::Malformed)?;
                let (now, later) = literals
                    .split_at_checked(literal_length)
                    .ok_or(Fault::Malformed)?;
                literals = later;
                out.get_mut(at..at + literal_length)
                    .ok_or(Fault::TooLong)?
                    .copy_from_slice(now);
                at += literal_length;
                repeat(out, start, at, offset, match_length)?;
                at += match_length;
            }
            if bits.left() != 0 {
                return Err(Fault::Malformed);
            }
        }
        out.get_mut(at..at + literals.len())
            .ok_or(Fault::TooLong)?
            .copy_from_slice(literals);
        Ok(at + literals.len())
    }

    fn read_tables<'a>(&mut self, section: &'a [u8]) -> Option<&'a [u8]> {
        let (&modes, mut rest) = section.split_first()?;
        if modes & 3 != 0 {
            return None;
        }
        for (nth, table) in self.tables.iter_mut().enumerate() {
            match modes >> (6 - 2 * nth) & 3 {
                0 => {
                    let (counts, accuracy) = PREDEFINED[nth];
                    table.build(counts, accuracy);
                }
                1 => {
                    let (&symbol, later) = rest.split_first()?;
                    if usize::from(symbol) > MOST_SYMBOL[nth] {
                        return None;
                    }
                    table.set_single(symbol);
                    rest = later;
                }
                2 => {
                    let length = table.read(rest, MOST_SYMBOL[nth], MOST_BITS[nth])?;
                    rest = rest.get(length..)?;
                }
                _ if !self.set[nth] => return None,
                _ => {}
            }
            self.set[nth] = true;
        }
        Some(rest)
    }
}

fn read_count(section: &[u8]) -> Option<(usize, &[u8])> {
    let byte = |n: usize| section.get(n).map(|&b| usize::from(b));
    let (count, length) = match byte(0)? {
        255 => (byte(1)? + (byte(2)? << 8) + 0x7f00, 3),
        first @ 128.. => (((first - 128) << 8) + byte(1)?, 2),
        first => (first, 1),
    };
    Some((count, section.get(length..)?))
}

/// The offset that a value stands for, and the new latest ones.
fn recall(recent: &mut [usize; 3], value: usize, literal_length: usize) -> Option<usize> {
    if value > 3 {
        *recent = [value - 3, recent[0], recent[1]];
        return Some(value - 3);
    }
    let nth = value - 1 + usize::from(literal_length == 0);
    let offset = match nth {
        3 => recent[0].checked_sub(1).filter(|&offset| offset > 0)?,
        nth => *recent.get(nth)?,
    };
    match nth {
        0 => {}
        1 => recent.swap(0, 1),
        _ => *recent = [offset, recent[0], recent[1]],
    }
    Some(offset)
}

/// Copies what stands `offset` bytes before `at`, which may be what this writes.
fn repeat(
    out: &mut [u8],
    start: usize,
    at: usize,
    offset: usize,
    length: usize,
) -> Result<(), Fault> {
    if offset > at - start {
        return Err(Fault::Malformed);
    }
    if length > out.len() - at {
        return Err(Fault::TooLong);
    }
    let from = at - offset;
    let mut done = 0;
    while done < length {
        // What was copied is there to be copied again.
        let step = (length - done).min(offset + done);
        out.copy_within(from..from + step, at + done);
        done += step;
    }
    Ok(())
}
