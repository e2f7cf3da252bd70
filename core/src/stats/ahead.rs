//! Memory that is asked for while what came before it is worked on. Without the feature
//! `wide` nothing is, and all of this comes to nothing.

#[cfg(not(feature = "wide"))]
pub(super) use nothing::{Ahead, pieces};
#[cfg(feature = "wide")]
pub(super) use something::{Ahead, pieces};

/// Asks for bytes that will be needed soon, without waiting for them.
#[cfg(feature = "wide")]
pub type Prefetch = fn(&[u8]);

#[cfg(feature = "wide")]
mod something {
    use super::Prefetch;

    /// How far ahead of the work bytes are asked for: time enough for them to come, and
    /// few enough to stay in the nearest cache until then.
    const DISTANCE: usize = 8 << 10;

    /// Bytes between two askings, where a kernel has no groups of its own. Asking for
    /// many at once would fill the processor's queues.
    const PIECE_BYTES: usize = 4 << 10;

    /// What of a block was not asked for yet.
    pub(in super::super) struct Ahead<'a> {
        rest: &'a [u8],
        prefetch: Prefetch,
    }

    impl<'a> Ahead<'a> {
        /// Asks for nothing.
        pub(in super::super) fn nothing() -> Self {
            Self {
                rest: &[],
                prefetch: |_| {},
            }
        }

        /// Asks for the start of a block, and for more as the work goes on.
        pub(in super::super) fn of(block: &'a [u8], prefetch: Prefetch) -> Self {
            let mut ahead = Self {
                rest: block,
                prefetch,
            };
            ahead.passed(DISTANCE);
            ahead
        }

        /// Some bytes are about to be worked on: asks for as many more.
        #[inline(always)]
        pub(in super::super) fn passed(&mut self, bytes: usize) {
            if self.rest.is_empty() {
                return;
            }
            let (next, rest) = self.rest.split_at(bytes.min(self.rest.len()));
            self.rest = rest;
            (self.prefetch)(next);
        }
    }

    /// The elements in pieces, before each of which more is asked for.
    #[inline(always)]
    pub(in super::super) fn pieces<T>(elements: &[T]) -> core::slice::Chunks<'_, T> {
        elements.chunks(PIECE_BYTES / size_of::<T>())
    }
}

#[cfg(not(feature = "wide"))]
mod nothing {
    use core::marker::PhantomData;

    /// Asks for nothing.
    pub(in super::super) struct Ahead<'a>(PhantomData<&'a [u8]>);

    impl Ahead<'_> {
        pub(in super::super) fn nothing() -> Self {
            Self(PhantomData)
        }

        #[inline(always)]
        pub(in super::super) fn passed(&mut self, _bytes: usize) {}
    }

    /// The elements in one piece.
    #[inline(always)]
    pub(in super::super) fn pieces<T>(elements: &[T]) -> core::iter::Once<&[T]> {
        core::iter::once(elements)
    }
}
