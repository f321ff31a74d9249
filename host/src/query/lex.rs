//! Text becomes words, texts in quotes, and signs.

use super::syntax::Span;
use super::{EXPRESSION_BYTES, QueryError};

/// What an expression is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Letters, digits and what stands within names, numbers, addresses and times.
    Word(String),
    /// Text in quotes.
    Text(Vec<u8>),
    /// A sign.
    Sign(&'static str),
}

/// All signs; a longer one stands before one that it begins with.
const SIGNS: [&str; 18] =
    ["===", "!==", "==", "!=", "~=", "<=", ">=", "&&", "||", "..", "<", ">", "!", "~", "(", ")", "{", "}"];

/// Whether a character belongs to a word.
pub(super) fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '-')
}

/// Takes an expression apart.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Span)>, QueryError> {
    if text.len() > EXPRESSION_BYTES {
        let place = Span { start: text.floor_char_boundary(EXPRESSION_BYTES), end: text.len() };
        return Err(QueryError::new(text, place, format!("an expression has {EXPRESSION_BYTES} bytes at most")));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        let (token, length) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first == '"' {
            quoted(text, at)?
        } else if let Some(raw) = rest.strip_prefix("r\"") {
            let inner = raw.split_once('"').map(|(inner, _)| inner).ok_or_else(|| unclosed(text, at))?;
            (Token::Text(inner.as_bytes().to_vec()), inner.len() + "r\"\"".len())
        } else if first == ',' {
            (Token::Sign(","), 1)
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            // A range's dots belong to no number.
            let end = rest.find("..").unwrap_or(end).min(end);
            let Some(word) = rest.get(..end).filter(|word| !word.is_empty()) else {
                let place = Span { start: at, end: at + first.len_utf8() };
                let help = match first {
                    '\'' => "text stands in double quotes",
                    '&' => "`and` is written `&&`",
                    '|' => "`or` is written `||`",
                    '=' => "equal is written `==`",
                    '[' | ']' => "slices of bytes are not known here; `contains` and `matches` look into a value",
                    _ => "nothing is written with this character outside of quotes",
                };
                return Err(QueryError::new(text, place, help));
            };
            if word.starts_with('.') || word.ends_with('.') {
                let place = Span { start: at, end: at + word.len() };
                return Err(QueryError::new(text, place, "no name and no number begins or ends with a dot"));
            }
            (Token::Word(word.to_owned()), word.len())
        };
        tokens.push((token, Span { start: at, end: at + length }));
        at += length;
    }
    Ok(tokens)
}

fn unclosed(text: &str, at: usize) -> QueryError {
    QueryError::new(text, Span { start: at, end: text.len() }, "this text has no closing quote")
}

/// Text in quotes that begins at an offset, with its length there.
fn quoted(text: &str, begin: usize) -> Result<(Token, usize), QueryError> {
    let mut bytes = Vec::new();
    let mut at = begin + 1;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            '"' => return Ok((Token::Text(bytes), at + 1 - begin)),
            '\\' => at += escape(text, at, &mut bytes)?,
            c => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += c.len_utf8();
            }
        }
    }
    Err(unclosed(text, begin))
}

/// What a backslash stands for, and the length of the escape.
fn escape(text: &str, at: usize, bytes: &mut Vec<u8>) -> Result<usize, QueryError> {
    let rest = text.get(at + 1..).unwrap_or_default();
    let kind = rest.chars().next();
    let wrong = |length: usize, what: &str| {
        let end = text.floor_char_boundary((at + length).min(text.len()));
        Err(QueryError::new(text, Span { start: at, end: end.max(at + 1) }, what))
    };
    let plain = match kind {
        Some(c @ ('"' | '\\' | '\'')) => c as u8,
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('x') => {
            let digits = rest.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                return wrong(4, "`\\x` is followed by two hexadecimal digits");
            };
            bytes.push(byte);
            return Ok(4);
        }
        Some('u') => {
            let digits = rest.get(1..).and_then(|rest| rest.strip_prefix('{')).and_then(|rest| rest.split_once('}'));
            let digits = digits.map(|(digits, _)| digits).filter(|digits| (1..=6).contains(&digits.len()));
            let c = digits.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
            let (Some(digits), Some(c)) = (digits, c) else {
                return wrong(2, "`\\u{…}` holds the number of a character in hexadecimal digits");
            };
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(digits.len() + "\\u{}".len());
        }
        Some(other) => {
            let what = "no such escape: `\\\\`, `\\\"`, `\\n`, `\\r`, `\\t`, `\\x41`, `\\u{41}`; in `r\"…\"` a backslash is one";
            return wrong(1 + other.len_utf8(), what);
        }
        None => return Err(unclosed(text, at)),
    };
    bytes.push(plain);
    Ok(2)
}
