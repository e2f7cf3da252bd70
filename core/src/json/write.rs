//! Writing JSON: one spelling for equal content.

use alloc::format;
use alloc::string::String;

/// Appends `text` as a JSON string. Only what must be escaped is, so that equal
/// text has one spelling.
pub(crate) fn push_string(out: &mut String, text: &str) {
    push_quoted(out, text, |_| false);
}

/// The same in ASCII alone: other characters are escaped as UTF-16.
pub(crate) fn push_ascii_string(out: &mut String, text: &str) {
    push_quoted(out, text, |c| !c.is_ascii());
}

fn push_quoted(out: &mut String, text: &str, escape: impl Fn(char) -> bool) {
    out.push('"');
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let short = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\0'..' ' => "",
            _ if escape(c) => "",
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str(short);
        if short.is_empty() {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
        from = at + c.len_utf8();
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
}

/// Appends an object of strings.
pub(crate) fn push_strings<'a>(out: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (nth, (key, value)) in pairs.enumerate() {
        if nth > 0 {
            out.push(',');
        }
        push_string(out, key);
        out.push(':');
        push_string(out, value);
    }
    out.push('}');
}

/// Appends a number without going through the formatting machinery.
pub(crate) fn push_u64(out: &mut String, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (value % 10) as u8;
        }
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push_str(core::str::from_utf8(digits.get(at..).unwrap_or_default()).unwrap_or_default());
}

/// Appends an array of numbers.
pub(crate) fn push_u64s(out: &mut String, values: &[u64]) {
    out.push('[');
    for (nth, &value) in values.iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        push_u64(out, value);
    }
    out.push(']');
}
