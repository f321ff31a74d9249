//! Tests of templates that hand the rest of a flow over to others.

use super::{Direction, FlowLimits, FlowRecord, FlowTable, Templates};
use crate::packet::{Decoded, Tcp};
use crate::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView,
};
use crate::record::{FieldId, Mark, Value};

/// A tunnel: `name`, `/`, then whatever is inside; the responder answers `ok` before its part of the inside.
struct Tunnel(u8);

const NOTES: FieldId = FieldId(2000);

impl ProtocolTemplate for Tunnel {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match stream.forward {
            [first, b'/', ..] if *first == self.0 => Probe::Certain,
            [first] if *first == self.0 => Probe::Unsure,
            [] => Probe::Unsure,
            _ => Probe::No,
        }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        out.field(FieldId(NOTES.0 + u16::from(self.0)), Value::U64(stream.forward.len() as u64));
        out.mark(Mark::ClientHello, Direction::Forward, 0);
        if stream.backward.len() < 2 && !stream.backward_ended {
            return Ok(Progress::More { forward: usize::MAX, backward: 2 });
        }
        out.hand_over(2, 2);
        Ok(Progress::Done)
    }
}

/// What is inside: `hi` and on until the responder has said four bytes.
struct Inside;

impl ProtocolTemplate for Inside {
    fn openings(&self, _: Carrier) -> Openings {
        Openings { forward: FirstBytes::of(b"h!?").or_silence(), backward: FirstBytes::NONE }
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match stream.forward {
            [b'h', b'i', ..] => Probe::Certain,
            [] | [b'h'] => Probe::Unsure,
            [b'!', ..] => panic!("a template that panics while it looks"),
            _ => Probe::No,
        }
    }
    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        if stream.forward.starts_with(b"?") { Err(PluginError::failed("no luck")) } else { Ok(self.probe(stream)) }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        out.field(NOTES, Value::Bytes(stream.forward));
        out.field(FieldId(NOTES.0 + 1), Value::Bytes(stream.backward));
        out.mark(Mark::ServerHello, Direction::Backward, 0);
        if stream.forward.starts_with(b"hi!") {
            return Err(PluginError::failed("no luck"));
        }
        let whole = stream.backward.len() >= 4;
        Ok(if whole { Progress::Done } else { Progress::More { forward: usize::MAX, backward: 4 } })
    }
}

/// Begins with an `S` of whoever speaks first.
struct Polite;

impl ProtocolTemplate for Polite {
    fn openings(&self, _: Carrier) -> Openings {
        Openings::either(FirstBytes::of(b"S"))
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match if stream.forward.is_empty() { stream.backward } else { stream.forward } {
            [] => Probe::Unsure,
            [b'S', ..] => Probe::Certain,
            _ => Probe::No,
        }
    }
    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        Ok(Progress::Done)
    }
}

#[test]
fn who_has_said_nothing_yet_may_be_anybodys() {
    for (inside, wanted) in [((false, 2, &b"S"[..]), Some(0)), ((true, 2, b"S"), Some(0)), ((true, 2, b"x"), Some(1))] {
        let templates = Templates::new(vec![Box::new(Polite), Box::new(Tunnel(b'a'))]);
        let mut table = FlowTable::new(FlowLimits::default(), 1);
        for (number, (forth, offset, payload)) in (1..).zip([(true, 0, &b"a/"[..]), (false, 0, b"ok"), inside]) {
            table.push(number, number * 1000, &packet(forth, Tcp::ACK, 1000 + offset, payload), &templates);
        }
        table.finish_all(0, &templates);
        assert_eq!(table.take_finished()[0].template, wanted, "{inside:?}");
    }
}

/// Reads on with each packet, and never sees again what it read.
struct ReadsOn;
impl ProtocolTemplate for ReadsOn {
    fn probe(&self, _: &StreamView<'_>) -> Probe {
        Probe::Certain
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        out.resume();
        out.field(NOTES, Value::Bytes(&[stream.forward.len() as u8; 1000]));
        Ok(Progress::More { forward: 0, backward: 0 })
    }
}

/// `true` forward; the bytes at an offset of their direction.
type Segment<'a> = (bool, u32, &'a [u8]);

/// A TCP packet of the one host to the other, or back.
fn packet(forth: bool, flags: u8, seq: u32, payload: &[u8]) -> Decoded<'_> {
    let (from, to) = if forth { (1, 2) } else { (2, 1) };
    Decoded {
        src: [from; 16],
        dst: [to; 16],
        src_port: u16::from(from),
        dst_port: u16::from(to),
        protocol: 6,
        lan: 0,
        ip_len: 40 + payload.len() as u32,
        payload_len: payload.len() as u32,
        tcp: Some(Tcp { seq, flags }),
        payload,
    }
}

fn templates() -> Templates {
    Templates::new(vec![Box::new(Inside), Box::new(Tunnel(b'a')), Box::new(Tunnel(b'b'))])
}

fn flow(limits: FlowLimits, segments: &[Segment<'_>]) -> (FlowRecord, super::FlowCounters) {
    let templates = templates();
    let mut table = FlowTable::new(limits, 1);
    for (number, (forth, offset, payload)) in (1..).zip(segments) {
        let packet = packet(*forth, Tcp::ACK, 1000 + offset, payload);
        table.push(number, number * 1000, &packet, &templates);
    }
    table.finish_all(0, &templates);
    (table.take_finished().remove(0), *table.counters())
}

/// Name, inside forward, inside backward, and who handed it over.
fn told(flow: &FlowRecord) -> (Option<u8>, Vec<u8>, Vec<u8>, Vec<u8>) {
    let bytes = |id| match flow.fields.get(id) {
        Some(Value::Bytes(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    };
    let by = flow.handed.iter().map(|part| part.template).collect();
    (flow.template, bytes(NOTES), bytes(FieldId(NOTES.0 + 1)), by)
}

fn fields_of_tunnel(flow: &FlowRecord, name: u8) -> Option<Value<'_>> {
    flow.fields.get(FieldId(NOTES.0 + u16::from(name)))
}

#[test]
fn the_rest_of_a_packet_goes_to_the_other_template() {
    let (record, counters) = flow(FlowLimits::default(), &[(true, 0, b"a/hi there"), (false, 0, b"okyes!")]);
    assert_eq!(told(&record), (Some(0), b"hi there".to_vec(), b"yes!".to_vec(), vec![1]));
    assert_eq!(fields_of_tunnel(&record, b'a'), Some(Value::U64(10)), "what was written before stays");
    assert_eq!(
        (record.marks[Mark::ClientHello as usize], record.marks[Mark::ServerHello as usize]),
        (Some(1), Some(2))
    );
    assert_eq!((counters.template_errors, counters.hand_overs_refused), (0, 0));
}

#[test]
fn what_comes_in_pieces_gives_the_same() {
    let whole = [&b"a/b/hi there"[..], b"okokyes!"];
    for piece in [1, 2, 3, 5, 100] {
        for answers_first in [false, true] {
            // The first byte is the originator's: without a SYN it tells who that is.
            let mut segments: Vec<Segment<'_>> = vec![(true, 0, &whole[0][..1])];
            let rest = |forth: bool| {
                let (from, bytes) = if forth { (1, &whole[0][1..]) } else { (0, whole[1]) };
                bytes.chunks(piece).enumerate().map(move |(at, part)| (forth, from + (at * piece) as u32, part))
            };
            segments.extend(rest(!answers_first));
            segments.extend(rest(answers_first));
            let (record, _) = flow(FlowLimits::default(), &segments);
            let wanted = (Some(0), b"hi there".to_vec(), b"yes!".to_vec(), vec![1, 2]);
            let (name, inside, answer, by) = told(&record);
            assert_eq!((name, answer, by), (wanted.0, wanted.2, wanted.3), "{piece} {answers_first}");
            assert!(wanted.1.starts_with(&inside) && inside.len() >= 2, "{piece} {answers_first}");
            let mark = record.marks[Mark::ServerHello as usize].unwrap() as usize - 1;
            let (forth, offset, part) = segments[mark];
            assert!(!forth && (offset..offset + part.len() as u32).contains(&4), "the packet with the fifth byte");
        }
    }
}

#[test]
fn segments_in_any_order_give_the_same_and_a_hole_ends_it() {
    let (record, _) =
        flow(FlowLimits::default(), &[(true, 0, b"a"), (true, 4, b"there"), (true, 1, b"/hi"), (false, 0, b"okyes!")]);
    assert_eq!(told(&record), (Some(0), b"hithere".to_vec(), b"yes!".to_vec(), vec![1]));
    // What stood between is lost: the inside is never told, and the tunnel names the flow.
    let (record, counters) = flow(FlowLimits::default(), &[(true, 0, b"a/"), (false, 0, b"ok"), (true, 5, b"there")]);
    assert_eq!(told(&record), (Some(1), vec![], vec![], vec![1]));
    assert!(fields_of_tunnel(&record, b'a').is_some());
    assert_eq!(record.templates().collect::<Vec<_>>(), [(1, 0)]);
    assert_eq!(counters.template_errors, 0);
    // Within the inside.
    let (record, _) = flow(FlowLimits::default(), &[(true, 0, b"a/hi"), (false, 0, b"oky"), (false, 5, b"!")]);
    assert_eq!(told(&record), (Some(0), b"hi".to_vec(), b"y".to_vec(), vec![1]));
}

#[test]
fn a_flow_is_handed_over_at_its_end() {
    // No answer ever comes: the tunnels learn at the end that none will, and then all of it is read.
    let (record, _) = flow(FlowLimits::default(), &[(true, 0, b"a/b/hi there")]);
    assert_eq!(told(&record), (Some(0), b"hi there".to_vec(), vec![], vec![1, 2]));
}

#[test]
fn a_template_that_reads_on_needs_no_more_room_each_time() {
    let templates = Templates::new(vec![Box::new(ReadsOn)]);
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    for number in 1..60u32 {
        let packet = packet(true, Tcp::ACK, number, b"x");
        table.push(number.into(), number.into(), &packet, &templates);
    }
    table.finish_all(0, &templates);
    assert_eq!(table.counters().fields_dropped, 0);
    assert_eq!(table.take_finished()[0].fields.get(NOTES), Some(Value::Bytes(&[59; 1000])));
}

#[test]
fn chains_and_cycles_end_at_the_limit() {
    let limits = |hand_overs| FlowLimits { hand_overs, ..FlowLimits::default() };
    let said: [Segment<'_>; 2] = [(true, 0, b"a/b/a/b/a/b/hi"), (false, 0, b"okokokokokokyes!")];
    for (hand_overs, refused) in [(0, 1), (1, 1), (4, 1), (5, 1), (6, 0), (100, 0)] {
        let (record, counters) = flow(limits(hand_overs), &said);
        assert_eq!(record.handed.len(), (hand_overs as usize).min(6), "{hand_overs}");
        assert_eq!(counters.hand_overs_refused, refused, "{hand_overs}");
        let inside = refused == 0;
        assert_eq!(record.template == Some(0), inside, "{hand_overs}");
        assert_eq!(told(&record).1, if inside { b"hi".to_vec() } else { vec![] }, "{hand_overs}");
    }
    // Nobody is asked about what it has just handed over itself.
    let (record, counters) = flow(limits(100), &[(true, 0, b"a/a/hi"), (false, 0, b"okok")]);
    assert_eq!((told(&record).0, told(&record).3, counters.hand_overs_refused), (Some(1), vec![1], 0));
}

#[test]
fn an_error_costs_the_words_of_its_own_template() {
    let (record, counters) = flow(FlowLimits::default(), &[(true, 0, b"a/hi!"), (false, 0, b"okyes!")]);
    assert_eq!(told(&record), (Some(0), vec![], vec![], vec![1]));
    assert!(record.template_error.is_some() && fields_of_tunnel(&record, b'a').is_some());
    assert_eq!(counters.template_errors, 1);
    // As if nobody had recognised the inside; and as if nobody had recognised anything.
    let mut kept = record.clone();
    kept.keep_templates(1);
    assert_eq!(
        (kept.template, kept.templates().collect(), kept.template_error.is_none()),
        (Some(1), vec![(1, 0)], true)
    );
    assert!(fields_of_tunnel(&kept, b'a').is_some());
    kept.keep_templates(0);
    assert_eq!((kept.template, kept.fields == Default::default()), (None, true));
}

#[test]
fn who_fails_while_it_looks_is_passed_over() {
    let (record, counters) = flow(FlowLimits::default(), &[(true, 0, b"?"), (true, 1, b"/")]);
    assert_eq!((record.template, counters.template_errors), (None, 1), "asked once and no more");
    assert_eq!(record.probe_errors, [(0, PluginError::failed("no luck"))]);
    // Others are asked as if it were not there, and it is not asked about what they hand over.
    let (record, counters) = flow(FlowLimits::default(), &[(true, 0, b"a/?/hi"), (false, 0, b"okok")]);
    assert_eq!((told(&record).0, told(&record).3, counters.template_errors), (Some(1), vec![1], 1));
}

#[test]
fn both_directions_turn_round_together() {
    // Without a SYN: the first packet is the responder's, and the template inside says so.
    struct Turns;
    impl ProtocolTemplate for Turns {
        fn probe(&self, stream: &StreamView<'_>) -> Probe {
            if stream.forward.starts_with(b"ok") && stream.backward.starts_with(b"a/") {
                Probe::Certain
            } else {
                Probe::Unsure
            }
        }
        fn parse(&self, _: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            out.swap_directions();
            // As the directions will be then.
            out.hand_over(2, 3);
            Ok(Progress::Done)
        }
    }
    for syn in [false, true] {
        let templates = Templates::new(vec![Box::new(Turns), Box::new(Inside), Box::new(Echo)]);
        let mut table = FlowTable::new(FlowLimits::default(), 1);
        for (number, (forth, flags, seq, payload)) in (1..).zip([
            (true, if syn { Tcp::SYN } else { Tcp::ACK }, 999, &b""[..]),
            (true, Tcp::ACK, 1000, b"ok?xyz"),
            (false, Tcp::ACK, 1000, b"a/hi there"),
        ]) {
            let packet = packet(forth, flags, seq, payload);
            table.push(number, number * 1000, &packet, &templates);
        }
        table.finish_all(0, &templates);
        let record = table.take_finished().remove(0);
        let (name, inside, answer, by) = told(&record);
        let turned = if syn { Some(2) } else { Some(1) };
        assert_eq!((name, by), (turned, vec![0]), "{syn}");
        // Where a SYN decides, the flow keeps its directions: the bytes are the same, the other way round.
        let wanted =
            if syn { (b"xyz".to_vec(), b"hi there".to_vec()) } else { (b"hi there".to_vec(), b"xyz".to_vec()) };
        assert_eq!((inside, answer), wanted, "{syn}");
    }

    /// Takes what is there, if it begins with an `x`.
    struct Echo;
    impl ProtocolTemplate for Echo {
        fn probe(&self, stream: &StreamView<'_>) -> Probe {
            if stream.forward.starts_with(b"x") { Probe::Certain } else { Probe::No }
        }
        fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            out.field(NOTES, Value::Bytes(stream.forward));
            out.field(FieldId(NOTES.0 + 1), Value::Bytes(stream.backward));
            Ok(Progress::Done)
        }
    }
}
