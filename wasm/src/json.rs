//! Writing JSON: little enough that no library is worth its bytes.

use alloc::string::{String, ToString};
use core::fmt::Write;
use deathtensors_core::Metadata;

/// JSON text that puts its commas by itself.
#[derive(Default)]
pub(crate) struct Json {
    text: String,
    filled: bool,
}

impl Json {
    pub fn open(&mut self, bracket: char) {
        self.item();
        self.text.push(bracket);
        self.filled = false;
    }

    pub fn close(&mut self, bracket: char) {
        self.text.push(bracket);
        self.filled = true;
    }

    /// Starts a field; its value comes next.
    pub fn key(&mut self, key: &str) {
        self.item();
        self.quoted(key);
        self.text.push(':');
        self.filled = false;
    }

    pub fn text(&mut self, value: &str) {
        self.item();
        self.quoted(value);
        self.filled = true;
    }

    pub fn number(&mut self, value: u64) {
        self.item();
        self.word(&value.to_string());
    }

    pub fn text_field(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text(value);
    }

    pub fn number_field(&mut self, key: &str, value: u64) {
        self.key(key);
        self.number(value);
    }

    pub fn bool_field(&mut self, key: &str, value: bool) {
        self.key(key);
        self.word(if value { "true" } else { "false" });
    }

    pub fn numbers(&mut self, values: &[u64]) {
        self.open('[');
        values.iter().for_each(|&value| self.number(value));
        self.close(']');
    }

    pub fn texts<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        self.open('[');
        values.into_iter().for_each(|value| self.text(value));
        self.close(']');
    }

    pub fn metadata(&mut self, pairs: &Metadata<'_>) {
        self.open('{');
        pairs
            .iter()
            .for_each(|(key, value)| self.text_field(key, value));
        self.close('}');
    }

    pub fn finish(self) -> String {
        self.text
    }

    fn word(&mut self, word: &str) {
        self.text.push_str(word);
        self.filled = true;
    }

    fn item(&mut self) {
        if self.filled {
            self.text.push(',');
        }
    }

    fn quoted(&mut self, text: &str) {
        self.text.push('"');
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.text.push_str(text.get(from..at).unwrap_or_default());
            // Writing to a string does not fail.
            let _always_ok = write!(self.text, "\\u{byte:04x}");
            from = at + 1;
        }
        self.text.push_str(text.get(from..).unwrap_or_default());
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_escapes() {
        let mut json = Json::default();
        json.open('{');
        json.text_field("a\"", "\n\\é");
        json.key("b");
        json.numbers(&[1, u64::MAX]);
        json.key("c");
        json.open('[');
        json.texts(["x"]);
        json.texts([]);
        json.close(']');
        json.bool_field("d", true);
        json.close('}');
        let expected =
            r#"{"a\u0022":"\u000a\u005cé","b":[1,18446744073709551615],"c":[["x"],[]],"d":true}"#;
        assert_eq!(json.finish(), expected);
    }
}
