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
}

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
