//! Frames and blocks (RFC 8878, 3.1.1).

use super::huffman::Table as Huffman;
use super::sequences::Tables;
use super::xxh64::xxh64;
use alloc::vec::Vec;

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;
const LONGEST_BLOCK: usize = 128 << 10;
/// The widest window that the reference library takes.
const WIDEST_WINDOW: u64 = 1 << 31;

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Malformed,
    /// It holds more than there is room for.
    TooLong,
    Checksum,
}

/// What a frame's header says.
struct Head {
    checksum: bool,
    /// Most bytes of a block.
    most: usize,
    content: Option<u64>,
}

/// Decodes frame after frame.
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
    literals: Vec<u8>,
}

impl<'a> Frames<'a> {
    pub fn new(stored: &'a [u8]) -> Self {
        Self {
            rest: stored,
            literals: Vec::new(),
        }
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Decodes the next frame into `out` from `start` on; where it ends.
    pub fn next(&mut self, out: &mut [u8], start: usize) -> Result<usize, Fault> {
        if let Some(magic) = self.u32(0)
            && magic & !15 == SKIPPABLE
        {
            let length = self.u32(4).ok_or(Fault::Malformed)?;
            self.bytes(8)?;
            self.bytes(length as usize)?;
            return Ok(start);
        }
        let head = self.head()?;
        let room = match head.content {
            Some(content) if content > (out.len() - start) as u64 => return Err(Fault::TooLong),
            _ => out.len(),
        };
        let mut huffman = Huffman::EMPTY;
        let mut tables = Tables::new();
        let mut at = start;
        loop {
            let header = le(self.bytes(3)?);
            let length = header >> 3;
            if length > head.most && header >> 1 & 3 != 3 {
                return Err(Fault::Malformed);
            }
            match header >> 1 & 3 {
                0 => {
                    let bytes = self.bytes(length)?;
                    target(out, at, length)?.copy_from_slice(bytes);
                    at += length;
                }
                1 => {
                    let byte = le(self.bytes(1)?) as u8;
                    target(out, at, length)?.fill(byte);
                    at += length;
                }
                2 => {
                    let block = self.bytes(length)?;
                    // A block that is too long for what is left may still be well-formed.
                    let end = (at + head.most).min(room);
                    let part = out.get_mut(..end).ok_or(Fault::Malformed)?;
                    let mut decoder = Block {
                        literals: &mut self.literals,
                        huffman: &mut huffman,
                        tables: &mut tables,
                        most: head.most,
                    };
                    at = decoder
                        .decode(block, part, start, at)
                        .map_err(|fault| match fault {
                            // The block's own cap was met first.
                            Fault::TooLong if end < room => Fault::Malformed,
                            fault => fault,
                        })?;
                }
                _ => return Err(Fault::Malformed),
            }
            if header & 1 != 0 {
                break;
            }
        }
        if head
            .content
            .is_some_and(|content| content != (at - start) as u64)
        {
            return Err(Fault::Malformed);
        }
        if head.checksum {
            let carried = le(self.bytes(4)?) as u32;
            let data = out.get(start..at).unwrap_or_default();
            if carried != xxh64(data) as u32 {
                return Err(Fault::Checksum);
            }
        }
        Ok(at)
    }

    fn head(&mut self) -> Result<Head, Fault> {
        if self.u32(0) != Some(MAGIC) {
            return Err(Fault::Malformed);
        }
        self.bytes(4)?;
        let descriptor = le(self.bytes(1)?);
        // A reserved bit, or a dictionary.
        if descriptor & 0b1011 != 0 {
            return Err(Fault::Malformed);
        }
        let single = descriptor & 0b10_0000 != 0;
        let mut window = 0u64;
        if !single {
            let byte = le(self.bytes(1)?);
            let base = 1u64 << (10 + (byte >> 3));
            window = base + base / 8 * (byte as u64 & 7);
            if window > WIDEST_WINDOW {
                return Err(Fault::Malformed);
            }
        }
        let content = match descriptor >> 6 {
            0 if !single => None,
            0 => Some(le64(self.bytes(1)?)),
            1 => Some(le64(self.bytes(2)?) + 256),
            2 => Some(le64(self.bytes(4)?)),
            _ => Some(le64(self.bytes(8)?)),
        };
        if single {
            window = content.unwrap_or(0);
        }
        Ok(Head {
            checksum: descriptor & 0b100 != 0,
            most: window.min(LONGEST_BLOCK as u64) as usize,
            content,
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let four = self.rest.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*four))
    }

    /// The next bytes, consumed.
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }
}

fn target(out: &mut [u8], at: usize, length: usize) -> Result<&mut [u8], Fault> {
    out.get_mut(at..at + length).ok_or(Fault::TooLong)
}

fn le64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// Up to three bytes, or four on their way to be 32 bits.
fn le(bytes: &[u8]) -> usize {
    le64(bytes) as usize
}

/// A compressed block.
struct Block<'a> {
    literals: &'a mut Vec<u8>,
    huffman: &'a mut Huffman,
    tables: &'a mut Tables,
    most: usize,
}

impl Block<'_> {
    fn decode(
        &mut self,
        block: &[u8],
        out: &mut [u8],
        start: usize,
        at: usize,
    ) -> Result<usize, Fault> {
        let sequences = self.read_literals(block).ok_or(Fault::Malformed)?;
        self.tables.run(sequences, self.literals, out, start, at)
    }

    /// Decodes the literals; what follows them in the block.
    fn read_literals<'b>(&mut self, block: &'b [u8]) -> Option<&'b [u8]> {
        let &first = block.first()?;
        let (kind, format) = (first & 3, first >> 2 & 3);
        let number = |length: usize| block.get(..length).map(le64);
        if kind < 2 {
            let (size, length) = match format {
                1 => (number(2)? >> 4, 2),
                3 => (number(3)? >> 4, 3),
                _ => (number(1)? >> 3, 1),
            };
            let size = self.checked(size)?;
            let rest = block.get(length..)?;
            self.literals.clear();
            if kind == 0 {
                let (bytes, rest) = rest.split_at_checked(size)?;
                self.literals.extend_from_slice(bytes);
                return Some(rest);
            }
            let (&byte, rest) = rest.split_first()?;
            self.literals.resize(size, byte);
            return Some(rest);
        }
        let (width, length) = match format {
            0 | 1 => (10, 3),
            2 => (14, 4),
            _ => (18, 5),
        };
        let numbers = number(length)? >> 4;
        let mask = (1u64 << width) - 1;
        let size = self.checked(numbers & mask)?;
        let (mut bytes, rest) = block
            .get(length..)?
            .split_at_checked((numbers >> width & mask) as usize)?;
        if kind == 2 {
            let length = self.huffman.read(bytes)?;
            bytes = bytes.get(length..)?;
        } else if !self.huffman.is_set() {
            return None;
        }
        // Not cleared first: all of it is written.
        self.literals.resize(size, 0);
        match format {
            0 => self.huffman.decode(bytes, self.literals)?,
            _ if size < 6 => return None,
            _ => self.huffman.decode_four(bytes, self.literals)?,
        }
        Some(rest)
    }

    fn checked(&self, size: u64) -> Option<usize> {
        usize::try_from(size).ok().filter(|&size| size <= self.most)
    }
}
