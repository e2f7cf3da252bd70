//! Memory that is asked for while what came before it is worked on.

/// Asks for bytes that will be needed soon, without waiting for them.
pub type Prefetch = fn(&[u8]);

/// How far ahead of the work bytes are asked for: time enough for them to come, and few
/// enough to stay in the nearest cache until then.
const DISTANCE: usize = 8 << 10;

/// Bytes between two askings, where a kernel has no groups of its own. Asking for many
/// at once would fill the processor's queues.
const PIECE_BYTES: usize = 4 << 10;

/// What of a block was not asked for yet.
pub(super) struct Ahead<'a> {
    rest: &'a [u8],
    prefetch: Prefetch,
}

impl<'a> Ahead<'a> {
    /// Asks for nothing.
    pub(super) fn nothing() -> Self {
        Self {
            rest: &[],
            prefetch: |_| {},
        }
    }

    /// Asks for the start of a block, and for more as the work goes on.
    pub(super) fn of(block: &'a [u8], prefetch: Prefetch) -> Self {
        let mut ahead = Self {
            rest: block,
            prefetch,
        };
        ahead.passed(DISTANCE);
        ahead
    }

    /// Some bytes are about to be worked on: asks for as many more.
    #[inline(always)]
    pub(super) fn passed(&mut self, bytes: usize) {
        if self.rest.is_empty() {
            return;
        }
        let (next, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        (self.prefetch)(next);
    }
}

/// The elements in pieces of [`PIECE_BYTES`].
#[inline(always)]
pub(super) fn pieces<T>(elements: &[T]) -> core::slice::Chunks<'_, T> {
    elements.chunks(PIECE_BYTES / size_of::<T>())
}
