//! The beginning of HTTP/2 in clear (RFC 9113): what each side says before anything is asked. Header fields are compressed
//! and not read.

use std::fmt::Write;
use veilwatch_core::plugin::Reader;

/// Types of frames (RFC 9113 section 6).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Bytes in front of a frame's contents.
const HEADER: usize = 9;

/// The largest frame that anybody may send before the other side has allowed more (RFC 9113 section 4.2).
const LARGEST: usize = 16_384;

/// Frames of one side that are looked at.
const FRAMES: usize = 16;

/// What one side says at first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// Its first settings, `number=value` behind each other with commas.
    pub(crate) settings: Option<String>,
    /// They were more than are kept.
    pub(crate) is_cut: bool,
    /// Bytes by which it widens the window of the connection.
    pub(crate) window: Option<u32>,
    /// Whether it has begun to ask, or to answer.
    pub(crate) headers: bool,
    /// The error with which it takes leave.
    pub(crate) goaway: Option<u32>,
    /// Bytes in all with which more would be known; nothing where no more is read.
    pub(crate) wants: Option<usize>,
}

impl Side {
    /// Reads the frames that begin at `at`, up to the first header fields.
    pub(crate) fn read(bytes: &[u8], mut at: usize, text_bytes: usize) -> Self {
        let mut side = Self::default();
        for _ in 0..FRAMES {
            let frame = bytes.get(at..).unwrap_or_default();
            let mut reader = Reader::new(frame);
            let Some((length, kind, flags, stream)) = header(&mut reader) else {
                side.wants = Some(at + HEADER);
                return side;
            };
            if kind == HEADERS {
                side.headers = true;
                return side;
            }
            if length > LARGEST {
                return side;
            }
            at += HEADER + length;
            let Some(contents) = reader.take(length) else {
                side.wants = Some(at);
                return side;
            };
            if stream == 0 {
                side.take(kind, flags, contents, text_bytes);
            }
        }
        side
    }

    fn take(&mut self, kind: u8, flags: u8, contents: &[u8], text_bytes: usize) {
        let mut reader = Reader::new(contents);
        match kind {
            // The first flag says that it only acknowledges the other side's.
            SETTINGS if flags & 1 == 0 && self.settings.is_none() => {
                let mut text = String::new();
                while let (Some(number), Some(value)) = (reader.u16(), reader.u32()) {
                    let before = text.len();
                    let _ = write!(text, "{}{number}={value}", if text.is_empty() { "" } else { "," });
                    if text.len() > text_bytes {
                        text.truncate(before);
                        self.is_cut = true;
                        break;
                    }
                }
                self.settings = Some(text);
            }
            // The highest bit is reserved.
            WINDOW_UPDATE if self.window.is_none() => self.window = reader.u32().map(|bytes| bytes & (u32::MAX >> 1)),
            GOAWAY => self.goaway = reader.u32().and(reader.u32()),
            _ => {}
        }
    }
}

/// Length, type, flags and stream of a frame.
fn header(reader: &mut Reader<'_>) -> Option<(usize, u8, u8, u32)> {
    let length = usize::from(reader.u8()?) << 16 | usize::from(reader.u16()?);
    Some((length, reader.u8()?, reader.u8()?, reader.u32()? & (u32::MAX >> 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, contents: &[u8]) -> Vec<u8> {
        let [_, length @ ..] = (contents.len() as u32).to_be_bytes();
        [&length[..], &[kind, flags], &stream.to_be_bytes(), contents].concat()
    }

    #[test]
    fn settings_and_window_stand_before_the_first_headers() {
        let settings = frame(SETTINGS, 0, 0, b"\0\x01\0\0\x10\0\0\x04\0\x60\0\0");
        let window = frame(WINDOW_UPDATE, 0, 0, b"\x80\xef\0\x01");
        let rest =
            [frame(SETTINGS, 1, 0, b""), frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x09"), frame(HEADERS, 4, 1, b"abc")];
        let bytes = [&b"before"[..], &settings, &window, &rest.concat()].concat();
        let read = |len: usize| Side::read(&bytes[..len], 6, 100);
        let whole = Side {
            settings: Some("1=4096,4=6291456".into()),
            window: Some(15_663_105),
            headers: true,
            ..Side::default()
        };
        assert_eq!(read(bytes.len()), whole);
        // What is wanted is always more than there is, and enough in the end.
        let mut len = 6;
        while let Some(wanted) = read(len).wants {
            assert!(wanted > len && wanted <= bytes.len(), "{wanted} {len}");
            len = wanted;
        }
        assert_eq!(read(len), whole);
    }

    #[test]
    fn what_is_odd_ends_it() {
        let goaway = frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11]);
        assert_eq!(Side::read(&goaway, 0, 100).goaway, Some(11));
        let long = Side::read(b"GET / HTTP/1.1\r\n", 0, 100);
        assert_eq!(long, Side::default());
        let many = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 7].repeat(5));
        let side = Side::read(&many, 0, 10);
        assert_eq!((side.settings.as_deref(), side.is_cut), (Some("1=7,1=7"), true));
        assert_eq!(Side::read(&frame(SETTINGS, 1, 0, b"").repeat(99), 0, 10).wants, None);
    }

    proptest! {
        #[test]
        fn junk_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..40) {
            let side = Side::read(&bytes, at, 50);
            prop_assert!(side.wants.is_none_or(|wanted| wanted > bytes.len()));
        }
    }
}
