//! Names that are safe to join to a folder, on every system.

use crate::error::{Code, Error, Result};
use alloc::format;

/// Names that mean a device on Windows, whatever extension follows.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// These mean a device with a digit after them.
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];
const LONGEST: usize = 255;

/// Refuses a shard's path that is not a plain file name: one that leaves the
/// index's folder, or that some system reads as something else.
pub(super) fn check_path(path: &str) -> Result<()> {
    let wrong = if path.is_empty() {
        "it is empty"
    } else if path.len() > LONGEST {
        "it is longer than 255 bytes"
    } else if path == "." || path == ".." {
        "it is a folder"
    } else if path.contains(['/', '\\', ':']) {
        "it contains '/', '\\' or ':'"
    } else if path.contains(char::is_control) {
        "it contains a control character"
    } else if path.starts_with(' ') || path.ends_with([' ', '.']) {
        "it starts or ends with a space, or ends with a dot"
    } else if is_device(path) {
        "it is a device on Windows"
    } else {
        return Ok(());
    };
    Err(Error::new(
        Code::ShardsPath,
        format!("a shard's path is refused: {wrong}"),
    )
    .expected("a plain file name")
    .found(format!("'{path}'")))
}

fn is_device(path: &str) -> bool {
    let base = path.split('.').next().unwrap_or_default().trim_end();
    let numbered = |name: &str| {
        let digit = base
            .get(..name.len())
            .filter(|b| b.eq_ignore_ascii_case(name));
        let digit = digit.and_then(|_| base.get(name.len()..));
        // Windows takes the superscripts of Latin-1 for digits here.
        digit.is_some_and(|d| {
            let mut chars = d.chars();
            matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³')) && chars.next().is_none()
        })
    };
    DEVICES.iter().any(|name| base.eq_ignore_ascii_case(name))
        || NUMBERED_DEVICES.into_iter().any(numbered)
}
