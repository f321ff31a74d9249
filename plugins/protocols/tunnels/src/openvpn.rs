use crate::dissect::{Piece, big, draw};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{TreeSink, hex};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of OpenVPN: the reset with which a client begins, plain, signed (`tls-auth`) or wrapped (`tls-crypt`).
pub struct OpenVpn(Vec<FieldId>);

/// The first byte of a client's reset, with key 0: P_CONTROL_HARD_RESET_CLIENT_V2 and _V3.
const RESET_V2: u8 = 7 << 3;
const RESET_V3: u8 = 10 << 3;

/// Behind the first byte comes a session id of eight bytes.
const SESSION: usize = 9;
/// A reset without any wrapping: no acknowledgement, and message 0.
const PLAIN: usize = SESSION + 5;
/// Lengths of the codes of `tls-auth`: MD5, SHA-1, SHA-256, SHA-512.
const CODES: [usize; 4] = [16, 20, 32, 64];
/// A packet number and a time, a code of 32 bytes, and the five bytes of a plain reset, encrypted.
const CRYPTED: usize = SESSION + 8 + 32 + 5;
/// Longest key that a client of `tls-crypt-v2` adds.
const CLIENT_KEY: usize = 1024;

impl OpenVpn {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for OpenVpn {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("openvpn.opcode", FieldKind::U64, "kind of the client's first message: 7 or 10"),
            FieldSpec::new("openvpn.wrapping", FieldKind::Bytes, "`plain`, `tls-auth`, `tls-crypt` or `tls-crypt-v2`"),
            FieldSpec::new(
                "openvpn.answer",
                FieldKind::U64,
                "kind of the responder's first message, 8 for its own reset",
            ),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => {
                Openings { forward: FirstBytes::when(|high| high <= 4).or_silence(), backward: FirstBytes::NONE }
            }
            Carrier::Udp => Openings { forward: FirstBytes::of(&[RESET_V2, RESET_V3]), backward: FirstBytes::NONE },
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = stream.forward;
        if stream.carrier == Carrier::Udp {
            return if wrapping(bytes).is_some() { Probe::Certain } else { Probe::No };
        }
        // Over TCP each packet has its length in front.
        match *bytes {
            [] | [0..=4] => Probe::Unsure,
            [high @ 0..=4, low] if fits(usize::from(u16::from_be_bytes([high, low]))) => Probe::Unsure,
            [high, low, RESET_V2 | RESET_V3, ref rest @ ..] => {
                let len = usize::from(u16::from_be_bytes([high, low]));
                if !fits(len) {
                    return Probe::No;
                }
                match bytes.get(2..2 + len) {
                    Some(packet) if wrapping(packet).is_some() => Probe::Certain,
                    None if rest.len() < len => Probe::Unsure,
                    _ => Probe::No,
                }
            }
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let skipped = if stream.carrier == Carrier::Tcp { 2 } else { 0 };
        let packet = first(stream);
        let opcode = |bytes: &[u8]| bytes.first().map(|first| Value::U64((first >> 3).into()));
        let answer = stream.backward.get(skipped..).and_then(opcode);
        out.fields(&self.0, &[opcode(packet), wrapping_of(packet).map(|word| Value::Bytes(word.as_bytes())), answer]);
        Ok(Progress::of(stream, true, answer.is_some()))
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let first = first(stream);
        let wrapping = wrapping_of(first);
        // All packets have codes of the same length.
        let code = CODES.into_iter().find(|code| first.get(..PLAIN + 8 + code).and_then(self::wrapping).is_some());
        draw(stream, "OpenVPN", tree, |packet, tree| draw_packet(packet, wrapping, code.unwrap_or_default(), tree));
    }
}

/// The client's first packet; where it is not known where datagrams end, with those behind it.
fn first<'a>(stream: &StreamView<'a>) -> &'a [u8] {
    match (stream.carrier, stream.forward.first_chunk()) {
        (Carrier::Tcp, Some(&[high, low])) => {
            stream.forward.get(2..2 + usize::from(u16::from_be_bytes([high, low]))).unwrap_or_default()
        }
        (Carrier::Udp, _) => stream.datagrams(Direction::Forward).next().map_or(stream.forward, |(_, packet)| packet),
        _ => stream.forward,
    }
}

/// How the reset is wrapped with which these bytes begin.
fn wrapping_of(packet: &[u8]) -> Option<&'static str> {
    let lengths = [PLAIN, CRYPTED].into_iter().chain(CODES.map(|code| PLAIN + 8 + code));
    lengths.chain([packet.len()]).find_map(|len| packet.get(..len).and_then(wrapping))
}

fn draw_packet(mut packet: Piece<'_>, wrapping: Option<&'static str>, code: usize, tree: &mut TreeSink<'_>) {
    let opcode = packet.bytes.first().map_or(0, |first| first >> 3);
    tree.open("Packet", opcode_name(opcode), packet.range());
    let drawn = draw_members(opcode, &mut packet, wrapping, code, tree);
    if drawn.is_none() && wrapping.is_some() {
        tree.leaf("The rest", "is not there", None);
    }
    let what = match (opcode, wrapping) {
        _ if drawn.is_none() => "Not read",
        (6 | 9, _) | (_, Some("tls-crypt")) => "Encrypted",
        (_, Some("tls-crypt-v2")) => "Encrypted, and the client's key",
        _ => "TLS",
    };
    packet.all(what, tree);
    tree.close();
}

/// What stands before that which is carried; nothing where it ends within it.
fn draw_members(
    opcode: u8,
    packet: &mut Piece<'_>,
    wrapping: Option<&str>,
    code: usize,
    tree: &mut TreeSink<'_>,
) -> Option<()> {
    let words = |first: &[u8]| {
        let first = first.first().copied().unwrap_or_default();
        format!("{}, {}, key {}", opcode_name(first >> 3), first >> 3, first & 7)
    };
    packet.leaf("Opcode", 1, words, tree)?;
    match opcode {
        1..=5 | 7 | 8 | 10 | 11 => {}
        9 => {
            packet.leaf("Peer", 3, big, tree)?;
            return Some(());
        }
        _ => return Some(()),
    }
    packet.leaf("Session", 8, hex, tree)?;
    match wrapping? {
        "tls-auth" => {
            packet.leaf("Code", code, hex, tree)?;
            packet.leaf("Packet number", 4, big, tree)?;
            packet.leaf("Seconds since 1970", 4, big, tree)?;
        }
        "plain" => {}
        _ => {
            packet.leaf("Packet number", 4, big, tree)?;
            packet.leaf("Seconds since 1970", 4, big, tree)?;
            packet.leaf("Code", 32, hex, tree)?;
            return Some(());
        }
    }
    let count = packet.leaf("Acknowledgements", 1, big, tree)?.first().copied()?;
    for _ in 0..count {
        if tree.is_full() {
            return Some(());
        }
        packet.leaf("Acknowledged", 4, big, tree)?;
    }
    if count > 0 {
        packet.leaf("Session of the other", 8, hex, tree)?;
    }
    if opcode != 5 {
        packet.leaf("Message", 4, big, tree)?;
    }
    Some(())
}

/// Kinds of packets (OpenVPN's `ssl_pkt.h` has the numbers).
fn opcode_name(opcode: u8) -> &'static str {
    match opcode {
        1 => "client's reset, version 1",
        2 => "server's reset, version 1",
        3 => "soft reset",
        4 => "control",
        5 => "acknowledgement",
        6 => "data, version 1",
        7 => "client's reset, version 2",
        8 => "server's reset, version 2",
        9 => "data, version 2",
        10 => "client's reset, version 3",
        11 => "control, with the client's key",
        _ => "unknown",
    }
}

/// Whether a client's reset can have this length.
fn fits(len: usize) -> bool {
    (PLAIN..=CRYPTED + CLIENT_KEY + 2).contains(&len)
}

/// How a client's reset is wrapped, if this is one, whole.
fn wrapping(packet: &[u8]) -> Option<&'static str> {
    let first = *packet.first()?;
    if first != RESET_V2 && first != RESET_V3 {
        return None;
    }
    let word = |at: usize| Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    // Packet numbers begin with 1; newer programs say in the upper byte that they can do more.
    let first_packet = |at: usize| matches!(word(at), Some(1 | 0x0f00_0001));
    if first == RESET_V3 {
        let with_key = packet.len() > CRYPTED + 2 && packet.len() <= CRYPTED + CLIENT_KEY + 2;
        return (with_key && first_packet(SESSION)).then_some("tls-crypt-v2");
    }
    let plain = |at: usize| packet.get(at..) == Some(&[0; 5]);
    if plain(SESSION) {
        return Some("plain");
    }
    if CODES.iter().any(|code| first_packet(SESSION + code) && plain(SESSION + code + 8)) {
        return Some("tls-auth");
    }
    (packet.len() == CRYPTED && first_packet(SESSION)).then_some("tls-crypt")
}
