//! Makes text from others safe for a terminal: control characters and direction overrides are spelled out.

use std::borrow::Cow;

/// Returns the text with control characters and direction overrides as `\x1b` or `\u{202e}`. JSON has its own escapes.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if c.is_ascii_control() => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_dangerous(c) => safe.push_str(&c.escape_unicode().to_string()),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Shows bytes of a record as quoted text, with `\xff` for bytes that are not UTF-8.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("'");
    for chunk in bytes.utf8_chunks() {
        text.push_str(&escaped(chunk.valid()).replace('\'', "\\'"));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text.push('\'');
    text
}

fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_reaches_the_terminal_as_an_escape_sequence() {
        assert_eq!(escaped("a\u{1b}[2Jb\u{9b}31m"), "a\\x1b[2Jb\\u{9b}31m");
        assert_eq!(escaped("abc\u{202e}gpj.exe"), "abc\\u{202e}gpj.exe");
        assert_eq!(escaped("über\tall"), "über\\tall");
        assert!(matches!(escaped("orders-v1"), Cow::Borrowed("orders-v1")));
    }

    #[test]
    fn values_are_quoted_whatever_their_bytes() {
        assert_eq!(quoted(b"Hello, Kitty 0!"), "'Hello, Kitty 0!'");
        assert_eq!(quoted(b"it's\0 \xff"), "'it\\'s\\x00 \\xff'");
    }
}
