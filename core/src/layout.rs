//! Checking that tensors lie inside the blob and not across each other.

use crate::error::{Code, Error, Result};
use crate::header::Header;
use crate::order;
use alloc::format;
use alloc::vec::Vec;

/// Refuses a tensor that reaches past `blob_bytes`.
pub(crate) fn check_bounds(header: &Header, blob_bytes: u64) -> Result<()> {
    match header.tensors().find(|t| t.end > blob_bytes) {
        None => Ok(()),
        Some(t) => Err(Error::new(
            Code::TensorBounds,
            "the tensor reaches past the end of the data",
        )
        .tensor(t.name)
        .expected(format!("an end of at most {blob_bytes} bytes"))
        .found(format!("{} bytes", t.end))),
    }
}

/// Refuses tensors that overlap without being exactly the same span. Gaps and
/// any order are fine, and empty tensors overlap nothing.
pub(crate) fn check_overlap(header: &Header) -> Result<()> {
    let refuse = |a: u32, b: u32| {
        let at = |nth: u32| header.at(nth as usize);
        let mut error = Error::new(
            Code::TensorOverlap,
            "the tensor overlaps another without being the same span",
        );
        if let (Some(a), Some(b)) = (at(a), at(b)) {
            error = error
                .tensor(b.name)
                .expected(format!(
                    "nothing of {} to {}, which is '{}'",
                    a.start, a.end, a.name
                ))
                .found(format!("{} to {}", b.start, b.end));
        }
        Err(error)
    };
    let spans = || {
        let all = header.tensors().enumerate();
        all.filter(|(_, t)| t.start < t.end)
            .map(|(nth, t)| (t.start, t.end, nth as u32))
    };
    // Nearly every file is in order already, aliases apart; then nothing is sorted.
    let mut end = 0;
    if spans().all(|(start, next, _)| core::mem::replace(&mut end, next) <= start) {
        return Ok(());
    }
    let mut sorted: Vec<_> = spans().collect();
    order::sort(&mut sorted);
    for (a, b) in sorted.iter().zip(sorted.iter().skip(1)) {
        let same = (a.0, a.1) == (b.0, b.1);
        if !same && b.0 < a.1 {
            return refuse(a.2, b.2);
        }
    }
    Ok(())
}
