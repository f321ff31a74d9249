//! Tests of templates that make bytes for others.

use super::super::{Direction, FlowCounters, FlowLimits, FlowRecord, FlowTable, Templates};
use crate::packet::{Decoded, Tcp};
use crate::plugin::{Made, Piece, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView};
use crate::record::{FieldId, Mark, Value};

const OWN: FieldId = FieldId(2000);
const INSIDE: FieldId = FieldId(2001);

/// Recognises what begins with `(`, on the originator's side where it `swaps`, and hands on every second byte of both
/// directions as `half`.
struct Maker {
    swaps: bool,
    often: usize,
}

impl ProtocolTemplate for Maker {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let all = [stream.forward, stream.backward];
        if all.iter().any(|bytes| bytes.starts_with(b"(")) { Probe::Certain } else { Probe::No }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let mut sides = [stream.forward, stream.backward];
        if self.swaps && stream.backward.starts_with(b"(") {
            out.swap_directions();
            sides.reverse();
        }
        out.field(OWN, Value::U64(1));
        let half = sides.map(|side| side.iter().copied().skip(1).step_by(2).collect::<Vec<_>>());
        let pieces =
            half.each_ref().map(|half| (0..half.len()).map(|at| Piece { at, from: 2 * at + 1 }).collect::<Vec<_>>());
        for _ in 0..self.often {
            let (bytes, pieces) = (half.each_ref().map(Vec::as_slice), pieces.each_ref().map(Vec::as_slice));
            out.hand_bytes("half", Made { bytes, pieces });
        }
        Ok(Progress::of(stream, false, false))
    }
}

/// Reads `half`: writes it down, marks its last byte; hands all but the first byte on, if that is a `>`. Fails over
/// `!`.
struct Reader;

impl ProtocolTemplate for Reader {
    fn probe(&self, _: &StreamView<'_>) -> Probe {
        Probe::No
    }
    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        Err(PluginError::failed("it reads no flows"))
    }
    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        if contents != "half" {
            return Ok(None);
        }
        let text = [stream.forward, b"|", stream.backward].concat();
        out.field(INSIDE, Value::Bytes(&text));
        if stream.forward.contains(&b'!') {
            return Err(PluginError::failed("no luck"));
        }
        out.mark(Mark::ClientHello, Direction::Forward, stream.forward.len().saturating_sub(1));
        if let [b'>', rest @ ..] = stream.forward {
            out.hand_bytes("rest", Made { bytes: [rest, &[]], pieces: [&[Piece { at: 0, from: 1 }], &[]] });
        }
        Ok(Some(Progress::Done))
    }
}

/// Reads `rest`, and hands it on for ever: as `half`, which another reads, and which that hands back.
struct Rest;

impl ProtocolTemplate for Rest {
    fn probe(&self, _: &StreamView<'_>) -> Probe {
        Probe::No
    }
    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        Err(PluginError::failed("it reads no flows"))
    }
    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        if contents != "rest" {
            return Ok(None);
        }
        out.field(FieldId(INSIDE.0 + 1), Value::Bytes(stream.forward));
        out.mark(Mark::ServerHello, Direction::Forward, 0);
        if stream.forward.ends_with(b"*") {
            out.hand_bytes("half", Made { bytes: [b">*", &[]], pieces: [&[], &[]] });
        }
        Ok(Some(Progress::Done))
    }
}

/// A flow of packets in their order, over UDP or behind a SYN.
fn flow(limits: FlowLimits, maker: Maker, udp: bool, said: &[(bool, &[u8])]) -> (FlowRecord, FlowCounters) {
    let templates = Templates::new(vec![Box::new(Reader), Box::new(maker), Box::new(Rest)]);
    let mut table = FlowTable::new(limits, 1);
    let mut next = [1000u32, 2000];
    let syn = [(true, &b""[..])];
    let opening = if udp { &[][..] } else { &syn[..] };
    for (number, (forth, payload)) in (1..).zip(opening.iter().chain(said)) {
        let (from, to) = if *forth { (1, 2) } else { (2, 1) };
        let seq = next[usize::from(!forth)];
        let is_syn = !udp && number == 1;
        let packet = Decoded {
            src: [from; 16],
            dst: [to; 16],
            src_port: u16::from(from),
            dst_port: u16::from(to),
            protocol: if udp { 17 } else { 6 },
            lan: 0,
            ip_len: 40 + payload.len() as u32,
            payload_len: payload.len() as u32,
            tcp: (!udp).then_some(Tcp { seq, flags: if is_syn { Tcp::SYN } else { Tcp::ACK } }),
            payload,
        };
        next[usize::from(!forth)] += payload.len() as u32 + u32::from(is_syn);
        table.push(number, number * 1000, &packet, &templates);
    }
    table.finish_all(0, &templates);
    (table.take_finished().remove(0), *table.counters())
}

const ONCE: Maker = Maker { swaps: false, often: 1 };

fn text(flow: &FlowRecord, id: FieldId) -> &str {
    match flow.fields.get(id) {
        Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).unwrap(),
        _ => "",
    }
}

#[test]
fn made_bytes_are_read_into_the_same_record() {
    let said: [(bool, &[u8]); 3] = [(true, b"(a)b"), (false, b"-x-y"), (true, b"-c")];
    let (record, counters) = flow(FlowLimits::default(), ONCE, true, &said);
    assert_eq!((text(&record, INSIDE), record.template), ("abc|xy", Some(1)));
    assert_eq!(record.fields.get(OWN), Some(Value::U64(1)));
    // The packet that brought the last byte, and no trace of earlier parses.
    assert_eq!((record.marks[Mark::ClientHello as usize], record.guests.len()), (Some(3), 1));
    assert_eq!(counters, FlowCounters { opened: 1, ..FlowCounters::default() });
}

#[test]
fn what_is_handed_on_twice_keeps_its_origin() {
    let (record, _) = flow(FlowLimits::default(), ONCE, true, &[(true, b"(>"), (true, b"-i-n"), (false, b"-x")]);
    assert_eq!((text(&record, INSIDE), text(&record, FieldId(INSIDE.0 + 1))), (">in|x", "in"));
    assert_eq!(record.marks[Mark::ServerHello as usize], Some(2), "the second packet brought the i");
    assert_eq!(record.guests.iter().map(|guest| guest.template).collect::<Vec<_>>(), [0, 2]);
    // What one reader wrote can be forgotten without the other.
    let mut kept = record.clone();
    kept.forget_guest(2);
    assert_eq!((text(&kept, INSIDE), text(&kept, FieldId(INSIDE.0 + 1))), (">in|x", ""));
    assert_eq!((kept.marks[Mark::ServerHello as usize], kept.marks[Mark::ClientHello as usize]), (None, Some(2)));
    kept.forget_template();
    assert!(kept.guests.is_empty() && kept.fields.is_empty());
}

#[test]
fn directions_are_those_after_the_turn() {
    let maker = || Maker { swaps: true, often: 1 };
    let said: [(bool, &[u8]); 4] = [(true, b"junk"), (false, b"(a"), (true, b"-x"), (false, b"-b")];
    let (record, _) = flow(FlowLimits::default(), maker(), true, &said);
    assert_eq!((text(&record, INSIDE), record.originator.port), ("ab|x", 2));
    assert_eq!(record.marks[Mark::ClientHello as usize], Some(4));
    // Behind a SYN the flow keeps its directions, and marks travel back.
    let (record, _) = flow(FlowLimits::default(), maker(), false, &[(false, b"(a-b"), (true, b"-x")]);
    assert_eq!((text(&record, INSIDE), record.originator.port), ("ab|x", 1));
    assert_eq!(record.marks[Mark::ClientHello as usize], Some(2));
}

#[test]
fn a_reader_that_fails_costs_its_own_words() {
    let (record, counters) = flow(FlowLimits::default(), ONCE, true, &[(true, b"(!"), (true, b"-a"), (true, b"-b")]);
    assert_eq!((text(&record, INSIDE), record.template, record.template_error.is_none()), ("", Some(1), true));
    assert_eq!(record.fields.get(OWN), Some(Value::U64(1)));
    assert_eq!((record.probe_errors.len(), counters.template_errors), (1, 1), "asked once and no more");
}

#[test]
fn it_is_bounded() {
    let limits = |hand_overs| FlowLimits { hand_overs, ..FlowLimits::default() };
    // In one parse so many, side by side or one in the other; counted once a flow.
    for (hand_overs, often, said, guests, refused) in [
        (4, 4, &b"(a"[..], 4, 0),
        (4, 5, b"(a", 4, 1),
        (0, 1, b"(a", 0, 1),
        (4, 1, b"(>-*", 4, 1),
        (64, 1, b"(>-*", 64, 1),
    ] {
        let parts = [(true, said), (false, &b"-x"[..])];
        let (record, counters) = flow(limits(hand_overs), Maker { swaps: false, often }, true, &parts);
        let told = (record.guests.len(), counters.hand_overs_refused, counters.template_errors);
        assert_eq!(told, (guests, refused, 0), "{hand_overs} {often} {said:?}");
    }
    // So many bytes of each direction.
    let short = FlowLimits { prefix_bytes: 8, ..FlowLimits::default() };
    let (record, counters) = flow(short, ONCE, true, &[(true, b"(a-b-c-d-e-f")]);
    assert_eq!((text(&record, INSIDE), counters.prefix_full), ("abcd|", 1), "which the flow itself had not");
}

/// A datagram of nonsense hides nothing: later ones are looked at by themselves, so many of them.
#[test]
fn a_later_datagram_may_be_somebodys() {
    let said = |before: usize| [vec![(true, &b"junk"[..]); before], vec![(true, b"(a"), (false, b"-x")]].concat();
    for (most, before, found) in [(64, 0, true), (64, 1, true), (3, 2, true), (3, 3, false), (64, 64, false)] {
        let limits = FlowLimits { probe_datagrams: most, ..FlowLimits::default() };
        let (record, _) = flow(limits, ONCE, true, &said(before));
        assert_eq!(text(&record, INSIDE), if found { "a|x" } else { "" }, "{most} {before}");
        let mark = record.marks[Mark::ClientHello as usize];
        assert_eq!(mark, found.then_some(before as u64 + 1), "the packet keeps its number");
    }
    // TCP begins once.
    assert_eq!(flow(FlowLimits::default(), ONCE, false, &said(1)).0.template, None);
}
