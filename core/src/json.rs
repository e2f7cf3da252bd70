//! Strict JSON (RFC 8259), as much of it as headers need.
//!
//! A pull reader over borrowed text: strings without escapes are not copied,
//! nesting and duplicate keys are checked also inside values that are skipped.
//! Errors carry the `header.*` codes; other callers replace the code.

mod write;

pub(crate) use write::{push_ascii_string, push_string, push_strings, push_u64, push_u64s};

use crate::error::{Code, Error, Result};
use crate::order;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u64,
    deepest: u64,
}

/// The place inside an object or array: whether a comma is due.
pub(crate) struct Inside {
    first: bool,
}

impl<'a> Reader<'a> {
    /// Skipping recurses, so that no limit may ask for more than the stack holds.
    const DEEPEST: u64 = 128;

    /// Reads `text`, refusing values nested deeper than `deepest`.
    pub fn new(text: &'a str, deepest: u64) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            deepest: deepest.min(Self::DEEPEST),
        }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte after white space, not consumed.
    pub fn next_byte(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// Refuses anything but space up to the end of the text.
    pub fn end(&mut self) -> Result<()> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end of the text")),
        }
    }

    /// A syntax error at the next byte.
    pub fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.peek() {
            None => "the end of the text".into(),
            Some(b) => format!("'{}' at byte {}", b.escape_ascii(), self.at),
        };
        Error::new(Code::HeaderJson, "malformed JSON")
            .expected(wanted)
            .found(found)
    }

    /// A value of the wrong type here.
    pub fn wrong_type(&mut self, field: &str, wanted: &str) -> Error {
        let found = match self.next_byte() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(b'0'..=b'9' | b'-') => "another number",
            _ => return self.unexpected(wanted),
        };
        Error::new(
            Code::HeaderFieldType,
            format!("field '{field}' has the wrong type or range"),
        )
        .expected(wanted)
        .found(found)
    }

    fn open(&mut self, bracket: u8) -> Result<Inside> {
        if self.next_byte() != Some(bracket) {
            return Err(self.unexpected(if bracket == b'{' {
                "an object"
            } else {
                "an array"
            }));
        }
        if self.depth >= self.deepest {
            return Err(
                Error::new(Code::HeaderDepth, "values are nested too deeply")
                    .expected(format!("at most {} levels", self.deepest))
                    .found(format!("{} or more", self.deepest.saturating_add(1))),
            );
        }
        self.depth += 1;
        self.at += 1;
        Ok(Inside { first: true })
    }

    /// Whether another item follows; consumes the comma or the closing bracket.
    fn more(&mut self, inside: &mut Inside, close: u8) -> Result<bool> {
        let first = core::mem::replace(&mut inside.first, false);
        match self.next_byte() {
            Some(b) if b == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if first => Ok(true),
            _ => Err(self.unexpected(if close == b'}' {
                "',' or '}'"
            } else {
                "',' or ']'"
            })),
        }
    }

    pub fn object(&mut self) -> Result<Inside> {
        self.open(b'{')
    }

    pub fn array(&mut self) -> Result<Inside> {
        self.open(b'[')
    }

    /// The next key of an object, or none at its end. The value comes next.
    pub fn key(&mut self, inside: &mut Inside) -> Result<Option<Cow<'a, str>>> {
        if !self.more(inside, b'}')? {
            return Ok(None);
        }
        let key = self.string()?;
        if self.next_byte() != Some(b':') {
            return Err(self.unexpected("':'"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether an array has a next item, which comes next.
    pub fn item(&mut self, inside: &mut Inside) -> Result<bool> {
        self.more(inside, b']')
    }

    /// A string, borrowed when it has no escapes.
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        if self.next_byte() != Some(b'"') {
            return Err(self.unexpected("a string"));
        }
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.peek() == Some(b'"') {
            let text = self.text.get(start..self.at).unwrap_or_default();
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut out = String::new();
        let mut from = start;
        loop {
            out.push_str(self.text.get(from..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.unexpected("a string without control characters")),
            }
            from = self.at;
            self.skip_plain();
        }
    }

    /// Moves to the next quote, backslash or control character.
    fn skip_plain(&mut self) {
        const LOW: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let bytes = self.text.as_bytes();
        // Eight bytes at a time; the test can only err towards stopping early.
        while let Some(chunk) = bytes.get(self.at..).and_then(|b| b.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*chunk);
            let zero = |x: u64| x.wrapping_sub(LOW) & !x;
            let control = word.wrapping_sub(LOW * 0x20) & !word;
            let stop = (zero(word ^ (LOW * 0x22)) | zero(word ^ (LOW * 0x5c)) | control) & HIGH;
            if stop != 0 {
                // The first flagged byte is exact, later ones may be carries.
                self.at += (stop.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while let Some(b) = self.peek() {
            if b == b'"' || b == b'\\' || b < 0x20 {
                return;
            }
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<char> {
        let Some(b) = self.peek() else {
            return Err(self.unexpected("an escape"));
        };
        self.at += 1;
        Ok(match b {
            b'"' | b'\\' | b'/' => b.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&high) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(self.lone_surrogate());
                    }
                    0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    high
                };
                char::from_u32(code).ok_or_else(|| self.lone_surrogate())?
            }
            _ => {
                self.at -= 1;
                return Err(self.unexpected("a JSON escape"));
            }
        })
    }

    fn lone_surrogate(&self) -> Error {
        Error::new(Code::HeaderJson, "malformed JSON")
            .expected("a pair of surrogates")
            .found(format!("a lone one before byte {}", self.at))
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at..)
            .and_then(|b| b.first_chunk::<4>());
        let value = digits.and_then(|d| {
            d.iter()
                .try_fold(0, |sum, &b| Some(sum * 16 + char::from(b).to_digit(16)?))
        });
        let Some(value) = value else {
            return Err(self.unexpected("four hexadecimal digits"));
        };
        self.at += 4;
        Ok(value)
    }

    /// A plain non-negative integer: no sign, fraction, exponent or leading zero.
    pub fn u64(&mut self, field: &str) -> Result<u64> {
        const WANTED: &str = "a non-negative integer below 2^64";
        if !matches!(self.next_byte(), Some(b'0'..=b'9')) {
            return Err(self.wrong_type(field, WANTED));
        }
        let start = self.at;
        let digits = self.text.as_bytes().get(start..).unwrap_or_default();
        let mut value = 0u64;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        // Nineteen digits always fit; more are read again with care.
        let value = match self.at - start {
            0..=19 => Some(value),
            length => digits.get(..length).and_then(|digits| {
                digits.iter().try_fold(0u64, |value, byte| {
                    value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
                })
            }),
        };
        let zero_first = self.text.as_bytes().get(start) == Some(&b'0') && self.at - start > 1;
        let fraction = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        match value {
            Some(value) if !zero_first && !fraction => Ok(value),
            _ if zero_first => Err(Error::new(Code::HeaderJson, "malformed JSON")
                .expected("a number without leading zeros")
                .found(format!("a leading zero at byte {start}"))),
            _ => {
                self.at = start;
                Err(self.wrong_type(field, WANTED))
            }
        }
    }

    /// Whether a null stands here; consumes it.
    pub fn null(&mut self) -> bool {
        self.next_byte();
        let found = self.rest().starts_with("null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// A boolean field.
    pub fn boolean(&mut self, field: &str) -> Result<bool> {
        self.next_byte();
        for (word, value) in [("true", true), ("false", false)] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wrong_type(field, "true or false"))
    }

    /// A string field.
    pub fn string_field(&mut self, field: &str) -> Result<Cow<'a, str>> {
        if self.next_byte() != Some(b'"') {
            return Err(self.wrong_type(field, "a string"));
        }
        self.string()
    }

    /// An object field.
    pub fn object_field(&mut self, field: &str) -> Result<Inside> {
        if self.next_byte() != Some(b'{') {
            return Err(self.wrong_type(field, "an object"));
        }
        self.object()
    }

    /// An array field.
    pub fn array_field(&mut self, field: &str) -> Result<Inside> {
        if self.next_byte() != Some(b'[') {
            return Err(self.wrong_type(field, "an array"));
        }
        self.array()
    }

    /// An array of plain non-negative integers, given one by one.
    pub fn u64s(&mut self, field: &str, mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
        let mut inside = self.array_field(field)?;
        while self.item(&mut inside)? {
            each(self.u64(field)?)?;
        }
        Ok(())
    }

    /// An object of strings, given pair by pair; duplicate keys are refused.
    pub fn strings(
        &mut self,
        field: &str,
        mut each: impl FnMut(&str, &str) -> Result<()>,
    ) -> Result<()> {
        let mut keys = Keys::default();
        let mut inside = self.object_field(field)?;
        while let Some(key) = self.key(&mut inside)? {
            let value = self.string_field(field)?;
            each(&key, &value)?;
            keys.push(key);
        }
        keys.check()
    }

    /// Any value, checked and thrown away.
    pub fn skip(&mut self) -> Result<()> {
        match self.next_byte() {
            Some(b'{') => {
                let mut keys = Keys::default();
                let mut inside = self.object()?;
                while let Some(key) = self.key(&mut inside)? {
                    keys.push(key);
                    self.skip()?;
                }
                keys.check()
            }
            Some(b'[') => {
                let mut inside = self.array()?;
                while self.item(&mut inside)? {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for word in ["true", "false", "null"] {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        return Ok(());
                    }
                }
                Err(self.unexpected("a JSON value"))
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        self.take(b"-");
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.unexpected("a digit")),
        }
        if self.take(b".") {
            self.digits()?;
        }
        if self.take(b"eE") {
            self.take(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    fn take(&mut self, any: &[u8]) -> bool {
        let taken = self.peek().is_some_and(|b| any.contains(&b));
        self.at += usize::from(taken);
        taken
    }

    fn digits(&mut self) -> Result<()> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected("a digit"));
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        Ok(())
    }
}

/// The keys of one object, to find one that stands twice.
#[derive(Default)]
pub(crate) struct Keys<'a>(Vec<Cow<'a, str>>);

impl<'a> Keys<'a> {
    pub fn push(&mut self, key: Cow<'a, str>) {
        self.0.push(key);
    }

    /// Refuses a key that stands twice. Sorting bounds the work for any input.
    pub fn check(mut self) -> Result<()> {
        if self.0.len() < 2 {
            return Ok(());
        }
        order::sort(&mut self.0);
        match self.0.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(duplicate_key(pair.first().map_or("", |key| key))),
            None => Ok(()),
        }
    }
}

pub(crate) fn duplicate_key(key: &str) -> Error {
    Error::new(Code::HeaderDuplicateKey, "a key stands twice in one object")
        .found(format!("'{key}' again"))
}
