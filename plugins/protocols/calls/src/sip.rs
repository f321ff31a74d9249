use crate::dissect::draw;
use serde::Deserialize;
use std::borrow::Cow;
use veilwatch_core::plugin::dissect::{Place, TreeSink};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
    within,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// Settings of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SipSettings {
    /// Bytes kept of each text.
    text_bytes: u32,
}

impl Default for SipSettings {
    fn default() -> Self {
        Self { text_bytes: 256 }
    }
}

/// The template of SIP, over UDP and TCP.
pub struct Sip {
    settings: SipSettings,
    ids: Vec<FieldId>,
}

/// Methods (RFC 3261 and those that came later).
const METHODS: [&[u8]; 14] = [
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"REGISTER",
    b"OPTIONS",
    b"PRACK",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"PUBLISH",
    b"INFO",
    b"REFER",
    b"MESSAGE",
    b"UPDATE",
];
const VERSION: &[u8] = b"SIP/2.0";
/// Longest first line.
const LINE: usize = 1024;
/// Longest header that is looked through.
const HEADERS: usize = 8192;

/// What stands instead of a password.
const HIDDEN: &str = "****";

impl Sip {
    /// Makes it from its settings.
    ///
    /// # Errors
    /// Settings that are unknown or out of range.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: SipSettings = settings.read()?;
        within("text_bytes", settings.text_bytes, 16..=2048)?;
        Ok(Self { settings, ids: Vec::new() })
    }
}

impl ProtocolTemplate for Sip {
    fn fields(&self) -> Vec<FieldSpec> {
        let bytes = |name, words| FieldSpec::new(name, FieldKind::Bytes, words);
        vec![
            bytes("sip.method", "method of the first request"),
            bytes("sip.uri", "whom it is for, without a password"),
            FieldSpec::new("sip.code", FieldKind::U64, "status of the first answer"),
            bytes("sip.user_agent", "what the program of the first request calls itself"),
            FieldSpec::limit("sip", "text_bytes"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, _: Carrier) -> Openings {
        let begins = |byte: u8| METHODS.iter().chain([&VERSION]).any(|word| word.first() == Some(&byte));
        Openings::either(FirstBytes::when(begins))
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        match (First::read(bytes), stream.carrier) {
            (Ok(_), _) => Probe::Certain,
            (Err(true), Carrier::Tcp) => Probe::Unsure,
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let sides = [stream.forward, stream.backward];
        let lines = sides.map(First::read);
        // Whoever asks first: on a connection of its own a server may ask too.
        let request = lines.iter().zip(sides).find_map(|(line, bytes)| match line {
            Ok(First::Request { method, uri }) => Some((*method, *uri, bytes)),
            _ => None,
        });
        let code = lines.iter().find_map(|line| match line {
            Ok(First::Status(code)) => Some(Value::U64((*code).into())),
            _ => None,
        });
        let agent = request.and_then(|(_, _, bytes)| header(bytes, b"User-Agent"));
        let uri = request.map(|(_, uri, _)| hidden(uri, false));
        let texts = [request.map(|(method, ..)| method), uri.as_deref(), agent];
        let most = self.settings.text_bytes as usize;
        let [method, uri, agent] = texts.map(|text| text.map(|text| Value::Bytes(&text[..text.len().min(most)])));
        let limited = texts.iter().flatten().any(|text| text.len() > most).then_some(Value::U64(1));
        out.fields(&self.ids, &[method, uri, code, agent, limited]);
        // The headers of both, or as much of them as is looked through.
        let read = |bytes: &[u8]| ends(bytes).is_some() || bytes.len() >= HEADERS;
        let [forward, backward] = sides.map(read);
        Ok(Progress::of(stream, forward, backward))
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        draw(stream, "SIP", tree, |bytes, place, tree| draw_message(bytes, place, stream.carrier, tree));
    }
}

/// Draws the message with which bytes begin, and says how long it is with its body. What shows who somebody is (RFC 3261
/// section 22) is not shown.
fn draw_message(bytes: &[u8], place: Place, carrier: Carrier, tree: &mut TreeSink<'_>) -> Option<usize> {
    // Empty lines keep a connection open (RFC 5626 section 4.4.1).
    let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if empty > 0 {
        tree.leaf("Empty lines", "", place.at(0, empty));
        return Some(empty);
    }
    let label = match First::read(bytes) {
        Ok(First::Request { .. }) => "Request",
        Ok(First::Status(_)) => "Response",
        // Cut off within its first line.
        Err(true) => "Message",
        Err(false) => return None,
    };
    let head = ends(bytes).map(|at| at + 4);
    let there = head.unwrap_or(bytes.len().min(HEADERS));
    let length = header(bytes, b"Content-Length").or_else(|| header(bytes, b"l"));
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
    // Without a length a body takes all of a datagram, and nothing of a connection (RFC 3261 section 18.3).
    let rest = bytes.len() - there;
    let length = length.or((carrier == Carrier::Udp && head.is_some()).then_some(rest));
    let body = length.unwrap_or_default().min(rest);
    let first = bytes[..there].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = |bytes: &[u8], end: usize| {
        let text = hidden(bytes.strip_suffix(b"\r").unwrap_or(bytes), head.is_none() && end == there);
        String::from_utf8_lossy(&text).into_owned()
    };
    let line = text(first, first.len());
    tree.open(label, &line, place.at(0, there + body));
    tree.leaf("First line", &line, place.at(0, first.len()));
    let mut at = first.len() + 1;
    let mut secret = false;
    for line in bytes.get(at..there).unwrap_or_default().split(|byte| *byte == b'\n') {
        let shown = line.strip_suffix(b"\r").unwrap_or(line);
        if shown.is_empty() || tree.is_full() {
            break;
        }
        let goes_on = shown.starts_with(b" ") || shown.starts_with(b"\t");
        let (name, value) = match shown.iter().position(|byte| *byte == b':').filter(|_| !goes_on) {
            Some(colon) => (shown[..colon].trim_ascii(), shown[colon + 1..].trim_ascii()),
            None => (&b"Line"[..], shown),
        };
        let is_secret =
            [&b"Authorization"[..], b"Proxy-Authorization"].iter().any(|one| name.eq_ignore_ascii_case(one));
        secret = if goes_on { secret } else { is_secret };
        let scheme = value.split(|byte| *byte == b' ').next().filter(|word| !goes_on && word.len() < value.len());
        let value = match secret {
            true => format!("{} {HIDDEN}", String::from_utf8_lossy(scheme.unwrap_or_default())).trim_start().to_owned(),
            false => text(value, at + line.len()),
        };
        tree.leaf(&String::from_utf8_lossy(name), &value, place.at(at, shown.len()));
        at += line.len() + 1;
    }
    match (head, length) {
        (None, _) => tree.leaf("Headers", "cut off here", place.at(there, 0)),
        (Some(_), Some(length)) if length > 0 => {
            let cut = if body < length { ", cut off here" } else { "" };
            tree.leaf("Body", &format!("{length} bytes{cut}"), place.at(there, body));
        }
        _ => {}
    }
    tree.close();
    Some(there + body)
}

/// A text in which no address has a password, as `sip:user:password@host` (RFC 3261 section 19.1.1). Where the text is cut
/// off within an address, its end may be that of a password, and is hidden.
fn hidden(text: &[u8], is_cut: bool) -> Cow<'_, [u8]> {
    let mut shown = Vec::new();
    // How much of the text is in `shown`, or hidden, and how much was looked at.
    let (mut done, mut at) = (0, 0);
    while let Some(colon) = text[at..].iter().position(|byte| *byte == b':') {
        let word = text[at..at + colon].rsplit(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
        at += colon + 1;
        if !word.eq_ignore_ascii_case(b"sip") && !word.eq_ignore_ascii_case(b"sips") {
            continue;
        }
        let address = text[at..].split(|byte| b" \t>".contains(byte)).next().unwrap_or_default();
        let cut = (is_cut && at + address.len() == text.len()).then_some(address.len());
        at += match address.iter().position(|byte| b":@".contains(byte)) {
            Some(user) if address[user] == b':' => {
                // A password with an `@` should have it escaped, but is hidden as well.
                let end = cut.or_else(|| address.iter().rposition(|byte| *byte == b'@'));
                if let Some(end) = end {
                    shown.extend_from_slice(&text[done..=at + user]);
                    shown.extend_from_slice(HIDDEN.as_bytes());
                    done = at + end;
                }
                end.unwrap_or(address.len())
            }
            Some(user) => user + 1,
            None => address.len(),
        };
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    shown.extend_from_slice(&text[done..]);
    Cow::Owned(shown)
}

/// A first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First<'a> {
    Request { method: &'a [u8], uri: &'a [u8] },
    Status(u16),
}

impl<'a> First<'a> {
    /// Reads it; the error says whether more bytes could change that.
    fn read(bytes: &'a [u8]) -> Result<Self, bool> {
        let looks = |begin: &[u8]| bytes.starts_with(begin) || begin.starts_with(bytes);
        // On foreign protocols it ends here nearly always.
        let method =
            METHODS.iter().find(|method| looks(method) && bytes.get(method.len()).is_none_or(|behind| *behind == b' '));
        if method.is_none() && !looks(b"SIP/2.0 ") {
            return Err(false);
        }
        let Some(end) = bytes.iter().take(LINE).position(|byte| *byte == b'\n') else {
            return Err(bytes.len() < LINE);
        };
        let line = bytes[..end].strip_suffix(b"\r").ok_or(false)?;
        let mut words = line.splitn(3, |byte| *byte == b' ');
        match [words.next(), words.next(), words.next()] {
            [Some(VERSION), Some(&[a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9']), Some(_)] => {
                let [a, b, c] = [a, b, c].map(|digit| u16::from(digit - b'0'));
                Ok(Self::Status(a * 100 + b * 10 + c))
            }
            [Some(method), Some(uri), Some(VERSION)] if METHODS.contains(&method) => Ok(Self::Request { method, uri }),
            _ => Err(false),
        }
    }
}

/// Where the headers end.
fn ends(bytes: &[u8]) -> Option<usize> {
    bytes[..bytes.len().min(HEADERS)].windows(4).position(|part| part == b"\r\n\r\n")
}

/// The value of a header of the first message.
fn header<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let bytes = &bytes[..ends(bytes).unwrap_or(bytes.len().min(HEADERS))];
    bytes.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        key.eq_ignore_ascii_case(name).then_some(value)?.strip_prefix(b":").map(<[u8]>::trim_ascii)
    })
}
