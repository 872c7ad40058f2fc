//! Escapes in arguments, for control characters that are hard to type in a shell.

/// Why an escape was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EscapeError {
    /// `\` before a letter that is not an escape.
    #[error("\\{0} is not an escape; the escapes are \\n \\t \\r \\0 \\\\ and \\xHH")]
    Unknown(char),
    /// `\x` without two hexadecimal digits.
    #[error("\\x needs two hexadecimal digits, as in \\x1f")]
    Hex,
    /// Nothing after the last `\`.
    #[error("the text ends within an escape; write \\\\ for a backslash")]
    Unfinished,
}

/// Returns the bytes of `text`, escapes resolved.
pub(crate) fn unescaped(text: &str) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => bytes.push(escape(&mut rest)?),
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

/// Reads the rest of an escape after its backslash, and returns its byte.
pub(super) fn escape(rest: &mut std::str::Chars<'_>) -> Result<u8, EscapeError> {
    match rest.next().ok_or(EscapeError::Unfinished)? {
        'n' => Ok(b'\n'),
        't' => Ok(b'\t'),
        'r' => Ok(b'\r'),
        '0' => Ok(0),
        '\\' => Ok(b'\\'),
        'x' => {
            let digits: String = rest.by_ref().take(2).filter(char::is_ascii_hexdigit).collect();
            if digits.len() != 2 {
                return Err(EscapeError::Hex);
            }
            u8::from_str_radix(&digits, 16).map_err(|_| EscapeError::Hex)
        }
        other => Err(EscapeError::Unknown(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_the_byte_it_stands_for_or_refused() {
        for (text, bytes) in [(":", &b":"[..]), ("\\t", b"\t"), ("=>\\x1f\\\\", b"=>\x1f\\"), ("\\0é", b"\0\xc3\xa9")]
        {
            assert_eq!(unescaped(text).as_deref(), Ok(bytes), "{text}");
        }
        assert_eq!(unescaped("\\q"), Err(EscapeError::Unknown('q')));
        assert_eq!(unescaped("\\x1"), Err(EscapeError::Hex));
        assert_eq!(unescaped("a\\"), Err(EscapeError::Unfinished));
    }
}
