use crate::dissect::{Place, bits};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of RDP: the request for a connection and its confirmation, which stand before TLS ([MS-RDPBCGR] sections
/// 2.2.1.1 and 2.2.1.2).
pub struct Rdp(Vec<FieldId>);

/// Header of TPKT (RFC 1006), and the fixed part of a request (X.224 section 13.3).
const HEADER: usize = 11;
const REQUEST: u8 = 0xe0;
const CONFIRM: u8 = 0xd0;
/// Longest request.
const MOST: usize = 512;
const PORT: u16 = 3389;
const COOKIE: &[u8] = b"Cookie: ";
/// Bytes of a negotiation: a kind, flags, a length, and protocols.
const NEGOTIATION: usize = 8;
/// Protocols of which the first step is TLS: TLS itself, CredSSP, RDSTLS, CredSSP with early authorisation.
const OVER_TLS: [u32; 4] = [1, 2, 4, 8];

impl Rdp {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for Rdp {
    fn fields(&self) -> Vec<FieldSpec> {
        let number = |name, words| FieldSpec::new(name, FieldKind::U64, words);
        vec![
            FieldSpec::new("rdp.cookie", FieldKind::Bytes, "who asks: the user's name, or a token of a load balancer"),
            number("rdp.requested_protocols", "protections that the client can do, a bit each: 1 TLS, 2 CredSSP, …"),
            number("rdp.selected_protocol", "protection that the server chose; 0 for RDP's own"),
            number("rdp.failure_code", "why the server refuses"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings { forward: FirstBytes::of(&[3]).or_silence(), backward: FirstBytes::NONE },
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = stream.forward;
        if stream.carrier != Carrier::Tcp || !b"\x03\0".starts_with(&bytes[..bytes.len().min(2)]) {
            return Probe::No;
        }
        let Some(len) = length(bytes, REQUEST) else {
            return if bytes.len() < HEADER { Probe::Unsure } else { Probe::No };
        };
        let Some(rest) = bytes.get(HEADER..len) else { return Probe::Unsure };
        let asked = Asked::read(rest);
        // Others begin with the same request: without anything of RDP in it only the port speaks for it.
        let known = asked.cookie.is_some() || asked.protocols.is_some() || stream.responder_port == PORT;
        if known { Probe::Certain } else { Probe::No }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let Some(request) = length(stream.forward, REQUEST) else { return Ok(Progress::Done) };
        let Asked { cookie, protocols } = Asked::read(stream.forward.get(HEADER..request).unwrap_or_default());
        let confirm = length(stream.backward, CONFIRM);
        let chosen = confirm.and_then(|len| negotiation(stream.backward.get(HEADER..len)?));
        let of_kind = |wanted: u8| chosen.filter(|(kind, _)| *kind == wanted).map(|(_, number)| number);
        let selected = match (confirm, chosen) {
            // Before there was a choice; the whole confirmation must be there to know.
            (Some(len), None) if stream.backward.len() >= len => Some(0),
            _ => of_kind(2),
        };
        let number = |number: Option<u32>| number.map(|number| Value::U64(number.into()));
        out.fields(&self.0, &[cookie.map(Value::Bytes), number(protocols), number(selected), number(of_kind(3))]);
        if let (Some(confirm), Some(selected)) = (confirm, selected)
            && OVER_TLS.contains(&selected)
        {
            out.hand_over(request, confirm);
            return Ok(Progress::Done);
        }
        let backward = match confirm {
            Some(len) if stream.backward.len() < len => len,
            None if stream.backward.len() < HEADER => HEADER,
            _ => return Ok(Progress::Done),
        };
        Ok(Progress::More { forward: usize::MAX, backward })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let chosen = length(stream.backward, CONFIRM).and_then(|len| negotiation(stream.backward.get(HEADER..len)?));
        let tls = chosen.is_some_and(|(kind, selected)| kind == 2 && OVER_TLS.contains(&selected));
        let sides = [(Direction::Forward, "RDP, client", REQUEST), (Direction::Backward, "RDP, server", CONFIRM)];
        for (direction, name, kind) in sides {
            let bytes = stream.bytes(direction);
            if bytes.is_empty() {
                continue;
            }
            let place = Place { bytes, direction, base: 0 };
            tree.open(name, "", place.range(0, bytes.len()));
            let end = length(bytes, kind).unwrap_or_default().min(bytes.len());
            match end {
                0 => {}
                _ if kind == REQUEST => draw_request(Place { bytes: &bytes[..end], ..place }, tree),
                _ => draw_confirm(Place { bytes: &bytes[..end], ..place }, tree),
            }
            if end < bytes.len() {
                let words = if tls { ("TLS", "from here on") } else { ("Not read", "") };
                tree.leaf(words.0, words.1, place.range(end, bytes.len() - end));
            }
            tree.close();
        }
    }
}

/// Header of TPKT, and the fixed part of X.224.
fn draw_header(message: Place<'_>, label: &str, tree: &mut TreeSink<'_>) {
    let len = usize::from(message.get(2, 2).map_or(0, |len| u16::from_be_bytes([len[0], len[1]])));
    let cut = if message.bytes.len() < len { ", cut off here" } else { "" };
    tree.open(label, "", message.range(0, message.bytes.len()));
    tree.leaf("Length", &format!("{len} bytes{cut}"), message.range(2, 2));
    message.leaf("Its own reference", 8, 2, |number| format!("{:#06x}", (number as u16).swap_bytes()), tree);
}

fn draw_request(message: Place<'_>, tree: &mut TreeSink<'_>) {
    draw_header(message, "Connection request", tree);
    let mut rest = message.behind(HEADER);
    if rest.bytes.starts_with(COOKIE) {
        let end = rest.bytes.windows(2).position(|end| end == b"\r\n");
        let line = &rest.bytes[..end.unwrap_or(rest.bytes.len())];
        tree.leaf("Cookie", &String::from_utf8_lossy(&line[COOKIE.len()..]), rest.range(0, line.len()));
        rest = rest.behind(line.len() + 2);
    }
    if let Some((1, _)) = rest.get(0, NEGOTIATION).and_then(negotiation) {
        let flags = [(1, "restricted admin"), (2, "redirected login"), (8, "correlation")];
        rest.leaf("Flags", 1, 1, |number| bits(number, &flags), tree);
        rest.leaf("Can do", 4, 4, |number| bits(number, &PROTOCOLS), tree);
    } else if !rest.bytes.is_empty() {
        tree.leaf("Not read", "", rest.range(0, rest.bytes.len()));
    }
    tree.close();
}

fn draw_confirm(message: Place<'_>, tree: &mut TreeSink<'_>) {
    draw_header(message, "Connection confirmation", tree);
    let rest = message.behind(HEADER);
    match negotiation(rest.bytes) {
        Some((2, _)) => {
            let selected = |number| if number == 0 { "RDP's own protection".into() } else { bits(number, &PROTOCOLS) };
            rest.leaf("Chosen", 4, 4, selected, tree);
        }
        Some((3, _)) => {
            let why = |number| {
                let name = match number {
                    1 => "TLS is wanted",
                    2 => "TLS is not allowed",
                    3 => "no certificate",
                    4 => "flags do not agree",
                    5 => "CredSSP is wanted",
                    6 => "TLS with a name of the client is wanted",
                    _ => "unknown",
                };
                format!("{name}, {number}")
            };
            rest.leaf("Refused", 4, 4, why, tree);
        }
        _ if rest.bytes.is_empty() => tree.leaf("Chosen", "RDP's own protection, as there is no choice", None),
        _ => tree.leaf("Not read", "", rest.range(0, rest.bytes.len())),
    }
    tree.close();
}

/// Protections ([MS-RDPBCGR] section 2.2.1.1.1).
const PROTOCOLS: [(u64, &str); 5] =
    [(1, "TLS"), (2, "CredSSP"), (4, "RDSTLS"), (8, "CredSSP with early authorisation"), (16, "RDS AAD")];

/// The length of a request or confirmation, if bytes begin with one.
fn length(bytes: &[u8], kind: u8) -> Option<usize> {
    let &[3, 0, high, low, inner, found, _, _, _, _, class] = bytes.first_chunk()? else { return None };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // The inner length does not count itself.
    let fits = (HEADER..=MOST).contains(&len) && usize::from(inner) + 5 == len && found == kind && class == 0;
    fits.then_some(len)
}

/// Kind and number of a negotiation.
fn negotiation(bytes: &[u8]) -> Option<(u8, u32)> {
    match *bytes {
        [kind @ 1..=3, _, 8, 0, a, b, c, d, ..] => Some((kind, u32::from_le_bytes([a, b, c, d]))),
        _ => None,
    }
}

/// What a request says.
#[derive(Debug, Clone, Copy, Default)]
struct Asked<'a> {
    cookie: Option<&'a [u8]>,
    protocols: Option<u32>,
}

impl<'a> Asked<'a> {
    fn read(mut rest: &'a [u8]) -> Self {
        let mut asked = Self::default();
        if let Some(line) = rest.strip_prefix(COOKIE)
            && let Some(end) = line.windows(2).position(|end| end == b"\r\n")
        {
            asked.cookie = line[..end].strip_prefix(b"mstshash=").or(line.get(..end));
            rest = &line[end + 2..];
        }
        let request = rest.get(..NEGOTIATION).and_then(negotiation);
        asked.protocols = request.filter(|(kind, _)| *kind == 1).map(|(_, protocols)| protocols);
        asked
    }
}
