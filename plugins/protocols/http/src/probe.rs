//! Recognises HTTP by the first bytes of either direction.

use veilwatch_core::plugin::{Carrier, Probe, StreamView};

/// What HTTP/2 begins with where nobody negotiates (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods of RFC 9110, WebDAV, UPnP, and of programs that talk RPC over HTTP.
const METHODS: [&[u8]; 30] = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"MERGE",
    b"CHECKOUT",
    b"MKACTIVITY",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"NOTIFY",
    b"POLL",
    b"BITS_POST",
    b"CCM_POST",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
    b"PRI",
];

/// Bytes within which the blank behind a method stands.
const LONGEST: usize = 13;

/// Bytes of a request line after which it must have said what it is.
const LINE: usize = 8192;

/// First bytes of methods, of answers, and of the empty lines that some programs send before.
pub(crate) const BEGINS: &[u8] = b"GPHDOCTMULRSNBA\r\n";

/// What one direction begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Request,
    Response,
    /// Not enough bytes to tell.
    Short,
    No,
}

/// Looks at the beginning of one direction.
pub(crate) fn look(bytes: &[u8]) -> Look {
    match bytes.first() {
        None => Look::Short,
        // What is foreign leaves here.
        Some(first) if !BEGINS.contains(first) => Look::No,
        Some(_) => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Look {
    const STATUS: &[u8] = b"HTTP/1.";
    // Some programs send an empty line before their message.
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let head = bytes.get(..STATUS.len()).unwrap_or(bytes);
    if STATUS.starts_with(head) {
        return if head.len() == STATUS.len() { Look::Response } else { Look::Short };
    }
    if bytes == b"\r" {
        return Look::Short;
    }
    let longest = bytes.get(..LONGEST).unwrap_or(bytes);
    let Some(space) = longest.iter().position(|byte| *byte == b' ') else {
        let may = METHODS.iter().any(|method| method.starts_with(longest));
        return if may { Look::Short } else { Look::No };
    };
    let (method, target) = (bytes.get(..space).unwrap_or_default(), bytes.get(space + 1..).unwrap_or_default());
    if !METHODS.contains(&method) {
        return Look::No;
    }
    if target.first() == Some(&b'/') || target.starts_with(b"http://") {
        return Look::Request;
    }
    // A name and a port, an asterisk, or another protocol with methods of the same name: the version tells.
    let line = target.get(..LINE).unwrap_or(target);
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let words = line.get(..end).unwrap_or_default();
            if words.windows(6).any(|part| part == b" HTTP/") { Look::Request } else { Look::No }
        }
        None if line.len() == LINE => Look::No,
        None => Look::Short,
    }
}

/// Ports at which servers of HTTP listen: what they are sent there need not be HTTP for an answer in it.
const PORTS: [u16; 3] = [80, 443, 8080];

/// Whether a flow speaks HTTP. Who spoke first decides, as far as that can be told: what is no request may still be
/// answered as if it had been a bad one, and who sent it has found a server of HTTP. That is waited for at the ports of
/// such servers alone, since everything that nobody knows would be kept otherwise until it is answered.
pub(crate) fn probe(stream: &StreamView<'_>) -> Probe {
    if stream.carrier != Carrier::Tcp {
        return Probe::No;
    }
    match look(stream.forward) {
        Look::Request | Look::Response => Probe::Certain,
        Look::No if PORTS.contains(&stream.responder_port) => match look(stream.backward) {
            Look::Response => Probe::Certain,
            Look::Short => Probe::Unsure,
            Look::Request | Look::No => Probe::No,
        },
        Look::No => Probe::No,
        Look::Short if stream.forward.is_empty() => match look(stream.backward) {
            Look::Request | Look::Response => Probe::Certain,
            Look::Short => Probe::Unsure,
            Look::No => Probe::No,
        },
        Look::Short => Probe::Unsure,
    }
}

/// Whether the client is the backward side; nothing where both sides answer, so that there is none.
pub(crate) fn is_reversed(stream: &StreamView<'_>) -> Option<bool> {
    match (look(stream.forward), look(stream.backward)) {
        (Look::Response, Look::Response) => None,
        (Look::Request, _) => Some(false),
        (forward, backward) => Some(forward == Look::Response || backward == Look::Request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_http_from_the_rest() {
        for (text, wanted) in [
            (&b""[..], Look::Short),
            (b"GET /", Look::Request),
            (b"GET", Look::Short),
            (b"\r\nGET /", Look::Request),
            (b"\r", Look::Short),
            (b"\n", Look::No),
            (b"GET key\r\n", Look::No),
            (b"GET http://a/ HTTP/1.1\r\n", Look::Request),
            (b"GETX /", Look::No),
            (b"OPTIONS sip:a@b SIP/2.0\r\n", Look::No),
            (b"OPTIONS * HTTP/1.1\r\n", Look::Request),
            (b"RPC_OUT_DATA /rpc", Look::Request),
            (b"CONNECT a:443 HT", Look::Short),
            (b"CONNECT a:443 HTTP/1.1\r\n", Look::Request),
            (PREFACE, Look::Request),
            (b"HTTP/1.1 200", Look::Response),
            (b"HTTP", Look::Short),
            (b"HELO a\r\n", Look::No),
            (b"SSH-2.0-a", Look::No),
            (b"\x16\x03\x01", Look::No),
        ] {
            assert_eq!(look(text), wanted, "{}", text.escape_ascii());
        }
        assert_eq!(look(&[b"OPTIONS ", &[b'x'; LINE + 1][..]].concat()), Look::No);
    }
}
