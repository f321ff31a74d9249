mod dissect;

use crate::dissect::draw;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of STUN (RFC 8489), TURN's messages (RFC 8656) among it, by its cookie.
pub struct Stun(Vec<FieldId>);

/// Messages of one direction, behind which nothing else is waited for.
const MESSAGES: usize = 16;
const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The attribute in which a program names itself.
const SOFTWARE: u16 = 0x8022;
/// Most bytes of that name; the RFC allows fewer than 763.
const NAME: usize = 255;

impl Stun {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for Stun {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new(
                "stun.type",
                FieldKind::U64,
                "type of the originator's first message: 1 asks for its address",
            ),
            FieldSpec::new("stun.answer", FieldKind::U64, "type of the responder's first message"),
            FieldSpec::new("stun.software", FieldKind::Bytes, "what the originator's program calls itself"),
            FieldSpec::new("stun.server_software", FieldKind::Bytes, "what the responder's calls itself"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, _: Carrier) -> Openings {
        Openings::either(FirstBytes::when(|first| first & 0xc0 == 0))
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        match (length(bytes), stream.carrier) {
            (Ok(len), Carrier::Udp) if len == bytes.len() => Probe::Certain,
            (Ok(_), Carrier::Tcp) => Probe::Certain,
            (Err(true), Carrier::Tcp) => Probe::Unsure,
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let [forward, backward] = [stream.forward, stream.backward].map(Message::read);
        let kind = |message: Option<Message<'_>>| message.map(|message| Value::U64(message.kind.into()));
        let name =
            |message: Option<Message<'_>>| message.and_then(|message| message.software).map(|name| name.to_vec());
        let [asks, answers] = [name(forward), name(backward)];
        let [asks, answers] = [&asks, &answers].map(|name| name.as_deref().map(Value::Bytes));
        out.fields(&self.0, &[kind(forward), kind(backward), asks, answers]);
        if stream.carrier == Carrier::Udp {
            return Ok(match behind(stream) {
                Behind::Dtls(forward, backward) => {
                    out.hand_over(forward, backward);
                    Progress::Done
                }
                Behind::Nothing if !stream.forward_ended || !stream.backward_ended => {
                    Progress::More { forward: stream.forward.len() + 1, backward: stream.backward.len() + 1 }
                }
                Behind::Nothing | Behind::Other => Progress::Done,
            });
        }
        let wanted = |bytes: &[u8]| match length(bytes) {
            Ok(len) if bytes.len() >= len => usize::MAX,
            Ok(len) => len,
            Err(true) => HEADER,
            Err(false) => usize::MAX,
        };
        match [stream.forward, stream.backward].map(wanted) {
            [usize::MAX, usize::MAX] => Ok(Progress::Done),
            [forward, backward] => Ok(Progress::More { forward, backward }),
        }
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        draw(stream, "STUN", tree, dissect::draw_message);
    }
}

/// What comes behind the messages with which a flow of datagrams begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// DTLS, in one direction at least; these are the offsets behind the messages of both.
    Dtls(usize, usize),
    /// Something else, or too many messages.
    Other,
    Nothing,
}

/// Calls agree on their keys by DTLS between the same ports (RFC 5764), and who looks for the way asks again and again
/// meanwhile. First bytes tell what a datagram is (RFC 7983).
fn behind(stream: &StreamView<'_>) -> Behind {
    let mut offsets = [stream.forward.len(), stream.backward.len()];
    let (mut dtls, mut other) = (false, false);
    for (direction, offset) in [Direction::Forward, Direction::Backward].into_iter().zip(&mut offsets) {
        let is_message = |datagram: &[u8]| length(datagram) == Ok(datagram.len());
        let mut messages = 0;
        for (at, datagram) in stream.datagrams(direction) {
            if !is_message(datagram) {
                *offset = at;
                dtls |= matches!(datagram.first(), Some(20..=63));
                other |= !matches!(datagram.first(), Some(20..=63));
                break;
            }
            messages += 1;
        }
        other |= messages >= MESSAGES;
    }
    match (dtls, other, offsets) {
        (true, _, [forward, backward]) => Behind::Dtls(forward, backward),
        (false, true, _) => Behind::Other,
        (false, false, _) => Behind::Nothing,
    }
}

/// The length of the message with which bytes begin, its header included; the error says whether more could change that.
#[inline]
fn length(bytes: &[u8]) -> Result<usize, bool> {
    // The first two bits are zero (section 5). So should the last two of the length be, but not all programs fill
    // attributes up to whole words.
    if bytes.first().is_some_and(|first| first & 0xc0 != 0) {
        return Err(false);
    }
    if !bytes.get(4..).unwrap_or_default().iter().zip(&COOKIE).all(|(byte, cookie)| byte == cookie) {
        return Err(false);
    }
    match *bytes {
        [_, _, high, low, ..] if bytes.len() >= 8 => Ok(HEADER + usize::from(u16::from_be_bytes([high, low]))),
        _ => Err(true),
    }
}

#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    kind: u16,
    software: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let len = length(bytes).ok()?;
        let kind = u16::from_be_bytes(*bytes.first_chunk()?);
        let mut attributes = Reader::new(bytes.get(HEADER..len.min(bytes.len())).unwrap_or_default());
        let mut software = None;
        while let (Some(number), Some(len)) = (attributes.u16(), attributes.u16()) {
            let Some(value) = attributes.take(len.into()) else { break };
            if number == SOFTWARE && software.is_none() {
                software = Some(&value[..value.len().min(NAME)]);
            }
            // Each is filled up to whole words.
            attributes.take(usize::from(len).next_multiple_of(4) - usize::from(len));
        }
        Some(Self { kind, software })
    }
}
