//! What differs between two files.

use crate::error::Result;
use crate::file::{STEP_BYTES, TensorFile};
use crate::options::Progress;
use crate::threads::run;
use deathtensors_core::diff::{Diff, compare};

/// What differs between two files, values included.
#[derive(Debug)]
pub struct Differences<'a> {
    /// What their headers tell. Its list of undecided tensors is empty.
    pub headers: Diff<'a>,
}

impl Differences<'_> {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let d = &self.headers;
        d.added.is_empty()
            && d.removed.is_empty()
            && d.shape_changed.is_empty()
            && d.dtype_changed.is_empty()
            && d.metadata_changed.is_empty()
            && d.global_metadata_changed.is_none()
            && d.value_changed.is_empty()
    }
}

/// Compares two files. Values are compared by their digests where both carry
/// them, which reads only the headers, unless `compare_bytes` is set.
///
/// # Errors
/// The `frames.*` codes and `io.*`.
pub fn diff<'a>(
    a: &'a TensorFile,
    b: &'a TensorFile,
    compare_bytes: bool,
    progress: &mut dyn Progress,
) -> Result<Differences<'a>> {
    let mut headers = compare(a.header(), b.header(), !compare_bytes);
    // In the order of the data, so that frames which tensors share are decoded once.
    let mut undecided = std::mem::take(&mut headers.undecided);
    undecided.sort_unstable();
    let mut total = 0;
    for &(nth, _) in &undecided {
        total += a.tensor(nth)?.nbytes();
    }
    progress.start(total);
    for (in_a, in_b) in undecided {
        let (x, y) = (a.tensor(in_a)?, b.tensor(in_b)?);
        // What was checked is what is compared.
        if a.must_check(in_a) || b.must_check(in_b) {
            // Both are held at once.
            a.check_copies(&[in_a], y.nbytes())?;
            b.check_copies(&[in_b], x.nbytes())?;
            let (left, right) = (
                a.read_checked(in_a, &mut ())?,
                b.read_checked(in_b, &mut ())?,
            );
            progress.advance(x.nbytes())?;
            if !equal(&left, &right) {
                headers.value_changed.push(x.name);
            }
            continue;
        }
        let mut at = 0;
        let mut same = true;
        while at < x.nbytes() && same {
            let next = x.nbytes().min(at + STEP_BYTES);
            let left = a
                .read_data(x.start + at..x.start + next)
                .map_err(|e| e.tensor(x.name))?;
            let right = b
                .read_data(y.start + at..y.start + next)
                .map_err(|e| e.tensor(y.name))?;
            same = equal(&left, &right);
            progress.advance(next - at)?;
            at = next;
        }
        if !same {
            headers.value_changed.push(x.name);
            progress.advance(x.nbytes() - at)?;
        }
    }
    headers.value_changed.sort_unstable();
    Ok(Differences { headers })
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    const PARALLEL_FROM: usize = 1 << 20;
    if a.len() != b.len() {
        return false;
    }
    if a.len() < PARALLEL_FROM {
        return a == b;
    }
    let (middle_a, middle_b) = (a.split_at(a.len() / 2), b.split_at(b.len() / 2));
    let (x, y) = run(|| rayon::join(|| middle_a.0 == middle_b.0, || middle_a.1 == middle_b.1));
    x && y
}
