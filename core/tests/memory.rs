//! What reading a header takes, counted: the worst texts stay below what the limit
//! `memory_bytes` counts for them.

use deathtensors_core::{Header, Limits, manifest};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;

/// Counts what this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(change: isize) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now + change;
        held.set((now, most.max(now)));
    });
}

// SAFETY: the system's allocator does the work, as it was asked to.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that it wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held at once, in bytes.
fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let done = work();
    (done, (HELD.get().1 - before) as u64)
}

const BYTES: usize = 1 << 20;
/// Bytes of memory that are counted for a byte of text.
const FACTOR: u64 = 16;

/// Keeps on adding `part`s, separated by commas, up to that length.
fn filled(head: &str, part: impl Fn(&mut String, u64), tail: &str) -> String {
    let mut text = String::from(head);
    for nth in 0.. {
        part(&mut text, nth);
        if text.len() > BYTES - tail.len() {
            break;
        }
        text.push(',');
    }
    text + tail
}

/// Headers that are as full as can be of what takes more memory than text.
fn dense() -> Vec<(&'static str, String)> {
    let head = r#"{"format":"deathtensors","format_version":1,"tensors":{"#;
    let entry = |shape: &str| format!(r#"{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,1]}}"#);
    let (scalar, long) = (entry(""), entry(&["1"; 64].join(",")));
    let key = |text: &mut String, nth: u64| write!(text, "\"{nth:x}\":").unwrap();
    let tensors = |entry: &str| {
        filled(
            head,
            |text, nth| {
                key(text, nth);
                text.push_str(entry);
            },
            "}}",
        )
    };
    let pairs = |name: &str, value: &str| {
        filled(
            &format!(r#"{}}},"{name}":{{"#, head),
            |text, nth| {
                key(text, nth);
                text.push_str(value);
            },
            "}}",
        )
    };
    vec![
        ("scalars", tensors(&scalar)),
        ("dimensions", tensors(&long)),
        ("global metadata", pairs("global_metadata", r#""""#)),
        ("unknown keys", pairs("other", "0")),
    ]
}

#[test]
fn headers_take_no_more_than_is_counted() {
    for (what, text) in dense() {
        let (header, most) = peak(|| Header::parse(text.as_bytes(), &Limits::DEFAULT));
        header.unwrap();
        // The text itself is held by whoever read it, and once more while it grows.
        let most = most + 2 * text.len() as u64;
        let counted = FACTOR * text.len() as u64;
        println!(
            "{what}: {:.1} times the text",
            most as f64 / text.len() as f64
        );
        assert!(most <= counted, "{what}: {most} of {counted} bytes");
    }
}

#[test]
fn the_limit_is_looked_at_before_anything_is_set_aside() {
    for (_, text) in dense() {
        let mut limits = Limits::DEFAULT;
        limits.memory_bytes = FACTOR * text.len() as u64 - 1;
        let (refused, most) = peak(|| Header::parse(text.as_bytes(), &limits));
        assert_eq!(refused.unwrap_err().code().as_str(), "limit.memory");
        let (refused, also) = peak(|| manifest::parse(text.as_bytes(), &limits));
        assert_eq!(refused.unwrap_err().code().as_str(), "limit.memory");
        assert!(most.max(also) < 4096, "{most} and {also} bytes");
        limits.memory_bytes += 1;
        assert!(Header::parse(text.as_bytes(), &limits).is_ok());
    }
}
