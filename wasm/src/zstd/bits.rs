//! Bits of a zstd stream, which is read from its end to its start.

/// Reads bits backwards. Past the start there are zeros, and `overdrawn` says so.
#[derive(Clone)]
pub(super) struct BackBits<'a> {
    bytes: &'a [u8],
    /// Where in `bytes` the lowest byte of `word` stands; negative before the start.
    at: isize,
    /// Eight bytes, little-endian.
    word: u64,
    /// Bits of `word` that were taken, from the top.
    taken: u32,
}

impl<'a> BackBits<'a> {
    /// The highest bit that is set in the last byte ends the stream; none if it is 0.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let &last = bytes.last().filter(|&&last| last != 0)?;
        let mut bits = Self {
            bytes,
            at: bytes.len() as isize - 8,
            word: 0,
            taken: 0,
        };
        bits.word = bits.load();
        bits.taken = last.leading_zeros() + 1;
        Some(bits)
    }

    #[inline(always)]
    fn load(&self) -> u64 {
        let at = usize::try_from(self.at).ok();
        if let Some(eight) = at.and_then(|at| self.bytes.get(at..)?.first_chunk::<8>()) {
            return u64::from_le_bytes(*eight);
        }
        self.load_at_start()
    }

    #[cold]
    fn load_at_start(&self) -> u64 {
        let byte = |n: isize| {
            let at = usize::try_from(self.at.saturating_add(n)).ok();
            at.and_then(|at| self.bytes.get(at))
                .map_or(0, |&byte| u64::from(byte))
        };
        (0..8).fold(0, |word, n| word | byte(n) << (8 * n))
    }

    /// Makes at least 56 bits ready.
    #[inline(always)]
    pub fn refill(&mut self) {
        self.at = self.at.saturating_sub((self.taken >> 3) as isize);
        self.taken &= 7;
        self.word = self.load();
    }

    /// The next `count` bits, at most 56 of those that are ready, without taking them.
    #[inline(always)]
    pub fn peek(&self, count: u32) -> u64 {
        // In two steps, since a shift by 64 is none.
        (self.word << (self.taken & 63)) >> 1 >> (63 - (count & 63))
    }

    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.taken += count;
    }

    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u64 {
        let value = self.peek(count);
        self.skip(count);
        value
    }

    /// Bits that are left; negative when more were taken than there are.
    #[inline(always)]
    pub fn left(&self) -> isize {
        (self.at.saturating_add(8)).saturating_mul(8) - self.taken as isize
    }
}

/// Reads bits forwards, as table descriptions are written.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 16, without taking them; zeros past the end.
    pub fn peek(&self, count: usize) -> u32 {
        let first = self.at / 8;
        let byte = |n: usize| self.bytes.get(first + n).map_or(0, |&b| u32::from(b));
        let word = byte(0) | byte(1) << 8 | byte(2) << 16;
        (word >> (self.at % 8)) & ((1 << count) - 1)
    }

    pub fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// The whole bytes that were begun; none when they are more than there are.
    pub fn bytes_read(&self) -> Option<usize> {
        Some(self.at.div_ceil(8)).filter(|&n| n <= self.bytes.len())
    }
}
