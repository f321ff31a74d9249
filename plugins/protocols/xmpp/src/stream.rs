//! Elements in a stream of XML.

/// An element's opening tag, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    /// What stands between name and end.
    attributes: &'a [u8],
    /// Offset behind it.
    pub(crate) end: usize,
    /// Whether nothing is inside: `<a/>`.
    pub(crate) is_empty: bool,
}

/// What was found of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Whole(Tag<'a>),
    /// It has begun.
    Part,
    None,
}

impl<'a> Tag<'a> {
    /// The first opening tag of this name, as `<stream:stream`, from an offset on.
    pub(crate) fn find(bytes: &'a [u8], from: usize, name: &[u8]) -> Found<'a> {
        let mut at = from;
        while let Some(begin) = position(bytes, at, name) {
            at = begin + name.len();
            let Some(rest) = bytes.get(at..) else { return Found::None };
            match rest.first() {
                None => return Found::Part,
                Some(b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/') => {}
                // A longer name.
                Some(_) => continue,
            }
            let Some(len) = tag_end(rest) else { return Found::Part };
            let attributes = rest.get(..len).unwrap_or_default();
            let is_empty = attributes.last() == Some(&b'/');
            return Found::Whole(Self { attributes, end: at + len + 1, is_empty });
        }
        Found::None
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut rest = self.attributes.trim_ascii_start();
        while let Some(equals) = rest.iter().position(|byte| *byte == b'=') {
            let key = rest.get(..equals)?.trim_ascii();
            let value = rest.get(equals + 1..)?.trim_ascii_start();
            let (quote, inside) = value.split_first()?;
            let len = inside.iter().position(|byte| byte == quote)?;
            if key == name {
                return inside.get(..len);
            }
            rest = inside.get(len + 1..)?.trim_ascii_start();
        }
        None
    }
}

/// Offset of these bytes, from another one on.
pub(crate) fn position(bytes: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    Some(from + bytes.get(from..)?.windows(wanted.len()).position(|window| window == wanted)?)
}

/// Where a tag ends: at the first `>` outside of quotes.
pub(crate) fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    bytes.iter().position(|byte| {
        match quote {
            Some(open) if open == *byte => quote = None,
            None if matches!(byte, b'"' | b'\'') => quote = Some(*byte),
            _ => {}
        }
        quote.is_none() && *byte == b'>'
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_attributes() {
        let text = b"<?xml?><stream:streams><stream:stream a = 'x>y' to=\"b.example\"><starttls/>";
        let Found::Whole(tag) = Tag::find(text, 0, b"<stream:stream") else { panic!("it is there") };
        assert_eq!((tag.attribute(b"to"), tag.attribute(b"a")), (Some(&b"b.example"[..]), Some(&b"x>y"[..])));
        assert_eq!((tag.attribute(b"id"), tag.is_empty), (None, false));
        let Found::Whole(inside) = Tag::find(text, tag.end, b"<starttls") else { panic!("it is there") };
        assert!(inside.is_empty && inside.end == text.len());
        assert_eq!(Tag::find(b"<starttls x='>", 0, b"<starttls"), Found::Part);
        assert_eq!(Tag::find(b"<startt", 0, b"<starttls"), Found::None);
    }
}
