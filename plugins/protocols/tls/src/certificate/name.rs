//! Distinguished names (RFC 5280 section 4.1.2.4), written as text.

use super::oid;
use super::text::Text;
use crate::der::{Reader, Value, tag};

/// A distinguished name, as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) common_name: String,
    pub(super) attributes: u8,
    /// One of the texts was longer than what is kept of it.
    pub(super) is_cut: bool,
}

impl Name {
    /// Reads a name, and gives the bytes that it was read from. What is damaged ends it: attributes before that count.
    pub(super) fn read<'a>(reader: &mut Reader<'a>, limit: usize) -> Option<(Self, &'a [u8])> {
        let start = reader.0;
        let mut parts = reader.sequence()?;
        let mut attributes = 0u8;
        let mut common_name = String::new();
        let mut is_cut = false;
        // The text is a little longer or shorter than its encoding.
        let mut text = Text::new(limit, parts.0.len());
        let mut behind = parts.clone();
        while let Some(set) = behind.value_of(tag::SET) {
            let mut set = set.reader();
            let Some(first) = attribute(&mut set) else { break };
            parts = behind.clone();
            let mut next = Some(first);
            let mut separator = ", ";
            while let Some((kind, value)) = next {
                attributes = attributes.saturating_add(1);
                if kind == oid::COMMON_NAME && common_name.is_empty() {
                    let mut kept = Text::new(limit, value.content.len());
                    write_value(&value, &mut kept, Text::push);
                    is_cut |= kept.is_full();
                    common_name = kept.take();
                }
                // What is over the limit is still counted, but not written.
                if !text.is_full() {
                    text.push(if text.is_empty() { "" } else { separator });
                    oid::write_attribute_type(kind, &mut text);
                    text.push("=");
                    write_value(&value, &mut text, Text::push_escaped);
                }
                separator = "+";
                next = attribute(&mut set);
            }
        }
        let len = start.len() - reader.0.len() - parts.0.len();
        is_cut |= text.is_full();
        Some((Self { text: text.take(), common_name, attributes, is_cut }, &start[..len]))
    }
}

/// An attribute's type and value.
fn attribute<'a>(set: &mut Reader<'a>) -> Option<(&'a [u8], Value<'a>)> {
    let mut pair = set.sequence()?;
    Some((pair.primitive()?, pair.value()?))
}

/// Writes an attribute's value, whatever kind of string it is; what is no string gives `#` and its bytes.
fn write_value(value: &Value<'_>, out: &mut Text, push: fn(&mut Text, &str)) {
    let bytes = value.content;
    let push_char = |out: &mut Text, c: char| push(out, c.encode_utf8(&mut [0; 4]));
    match value.tag {
        tag::BMP_STRING => {
            let units = bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair));
            for c in char::decode_utf16(units).take(out.pieces_left()) {
                push_char(out, c.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        // In practice Latin 1.
        tag::T61_STRING => {
            for byte in bytes.iter().take(out.pieces_left()) {
                push_char(out, char::from(*byte));
            }
        }
        tag::UTF8_STRING
        | tag::PRINTABLE_STRING
        | tag::IA5_STRING
        | tag::NUMERIC_STRING
        | tag::VISIBLE_STRING
        | tag::GENERAL_STRING => {
            for chunk in bytes.utf8_chunks().take(out.pieces_left()) {
                push(out, chunk.valid());
                if !chunk.invalid().is_empty() {
                    push_char(out, char::REPLACEMENT_CHARACTER);
                }
            }
        }
        _ => {
            out.push("#");
            for byte in bytes.iter().take(out.pieces_left()) {
                out.push_hex(*byte);
            }
        }
    }
}
