//! What is read of a stream does not depend on the packets in which it comes.
//!
//! A template sees more of a stream each time it is called, and may hand the rest over, leave out the bodies of frames, or
//! go on where it was. All of this has to come to the same end, wherever packets begin. Over UDP packets are messages, so
//! that where they begin may well matter: only TCP is looked at. And only what is recognised when it comes whole.

use super::subject::{Stop, Subject, ensure};
use super::template::{readings, shown, wired};
use crate::talk::Talk;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use veilwatch_core::abi::export::guard;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{Instance, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView};
use veilwatch_core::record::{FieldId, FieldSpec, Mark};

/// Sizes of the pieces in which a stream comes, after it came whole.
const PIECES: [usize; 5] = [1, 7, 64, 536, 1460];

/// The same for long streams, of which single bytes would take too long.
const LARGE_PIECES: [usize; 3] = [700, 1460, 5000];

/// Bytes of a long stream: more than a flow keeps of either direction.
const LONG: usize = 20_000;

/// Recognised conversations of the kit that are cut, beside the exchanges and the samples.
const PICKED: usize = 12;

/// Bytes that are compared of what is handed over.
const REST: usize = 64;

/// A record of TLS.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// A message of TLS's handshake.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(u32::from(kind) << 24 | body.len() as u32).to_be_bytes()[..], body].concat()
}

/// A hello of TLS with one cipher suite and these extensions.
fn hello(kind: u8, extensions: &[u8]) -> Vec<u8> {
    let suites: &[u8] = if kind == 1 { b"\0\x02\x13\x01\x01\0" } else { b"\x13\x01\0" };
    let len = (extensions.len() as u16).to_be_bytes();
    message(kind, &[&[3, 3][..], &[7; 32], &[0], suites, &len, extensions].concat())
}

/// Whole conversations of several protocols: what the originator says, and what the responder says.
pub(super) fn exchanges() -> Vec<[Vec<u8>; 2]> {
    let name = b"\0\0\0\x0e\0\x0c\0\0\x09a.example";
    let data = [record(23, &[1; 200]), record(23, &[2; 50]), record(23, &[3; 700]), record(21, &[4; 26])].concat();
    let finished = [record(20, &[1]), record(22, &[0xe7; 40])].concat();
    let (share, offered, chosen) = (&b"\0\x33\0\x02\0\x1d"[..], b"\0\x2b\0\x03\x02\x03\x04", b"\0\x2b\0\x02\x03\x04");
    let flight = [hello(2, b"\xff\x01\0\x01\0"), message(11, &[0, 0, 0]), message(14, &[])].concat();
    let text = |forward: &[u8], backward: &[u8]| [forward.to_vec(), backward.to_vec()];
    vec![
        // TLS 1.2, its handshake in one record and in many.
        [
            [record(22, &hello(1, name)), record(22, &message(16, &[6; 66])), finished.clone(), data.clone()].concat(),
            [record(22, &flight), finished.clone(), data.clone()].concat(),
        ],
        [
            [record(22, &hello(1, name)), record(22, &message(16, &[6; 66])), finished.clone(), data.clone()].concat(),
            [flight.chunks(9).flat_map(|part| record(22, part)).collect(), finished, data.clone()].concat(),
        ],
        // TLS 1.3.
        [
            [record(22, &hello(1, &[&name[..], offered, share].concat())), record(20, &[1]), data.clone()].concat(),
            [record(22, &hello(2, &[&chosen[..], share].concat())), record(20, &[1]), data].concat(),
        ],
        text(b"SSH-2.0-one two\r\n\0\0\x01\x0c\x0a\x14", b"SSH-2.0-three\r\n\0\0\x01\x0c\x0a\x14"),
        text(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        text(b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04node\xc0\0", b"\x20\x02\0\0\xd0\0"),
    ]
}

/// Handshakes of TLS without records: what the client says, and what the server says.
pub(super) fn messages() -> Vec<[Vec<u8>; 2]> {
    let (name, share) = (&b"\0\0\0\x0e\0\x0c\0\0\x09a.example"[..], b"\0\x33\0\x02\0\x1d");
    let flight = [hello(2, b"\xff\x01\0\x01\0"), message(11, &[0, 0, 0]), message(14, &[])].concat();
    vec![
        [
            hello(1, &[name, b"\0\x2b\0\x03\x02\x03\x04"].concat()),
            hello(2, &[&b"\0\x2b\0\x02\x03\x04"[..], share].concat()),
        ],
        [[hello(1, name), message(16, &[6; 66])].concat(), flight],
    ]
}

/// How two streams become packets.
#[derive(Debug, Clone, Copy)]
struct Cut {
    piece: usize,
    /// Whether a handshake of TCP comes first.
    opened: bool,
    /// Whether the sides speak in turns, and not one after the other.
    turns: bool,
}

impl Cut {
    fn talk(self, streams: &[Vec<u8>; 2]) -> Talk {
        let mut talk = if self.opened { Talk::tcp().open() } else { Talk::tcp() };
        let mut parts = streams.each_ref().map(|stream| stream.chunks(self.piece.max(1)));
        if !self.turns {
            let [forward, backward] = &mut parts;
            talk = forward.fold(talk, Talk::forward);
            return backward.fold(talk, Talk::backward);
        }
        loop {
            let [forward, backward] = parts.each_mut().map(Iterator::next);
            if forward.is_none() && backward.is_none() {
                return talk;
            }
            talk = talk.forward(forward.unwrap_or_default()).backward(backward.unwrap_or_default());
        }
    }

    fn words(self) -> String {
        let begin = if self.opened { "behind a SYN" } else { "without a SYN" };
        let order = if self.turns { "in turns" } else { "one side after the other" };
        match self.piece {
            usize::MAX => format!("whole, {begin}"),
            piece => format!("in pieces of {piece} bytes, {order}, {begin}"),
        }
    }
}

/// What is read, whatever the packets: marks without their numbers, but with who sent the packet.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    recognised: bool,
    fields: Vec<String>,
    marks: [Option<Direction>; Mark::COUNT],
    /// The beginnings of what is handed over.
    rest: Option<[Vec<u8>; 2]>,
}

impl Outcome {
    /// Where two of them differ, the one that came whole first.
    fn difference(&self, other: &Self) -> String {
        let missing = |from: &Self, of: &Self| from.fields.iter().find(|field| !of.fields.contains(field)).cloned();
        match (missing(self, other), missing(other, self)) {
            _ if self.recognised != other.recognised => "it is not recognised".into(),
            (None, None) if self.rest != other.rest => "another rest is handed over".into(),
            (None, None) => "other marks are set".into(),
            (wanted, found) => {
                let words = |field: Option<String>| field.unwrap_or_else(|| "nothing".into());
                format!("field {} is {} then", words(wanted), words(found))
            }
        }
    }
}

/// A template, and a note of it being sure.
struct Watched {
    inner: Box<dyn ProtocolTemplate>,
    sure: Arc<AtomicBool>,
}

impl ProtocolTemplate for Watched {
    fn fields(&self) -> Vec<FieldSpec> {
        self.inner.fields()
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.inner.wire(ids)
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.inner.probe(stream)
    }
    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        let probe = self.inner.try_probe(stream)?;
        self.sure.fetch_or(probe == Probe::Certain, SeqCst);
        Ok(probe)
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        self.inner.parse(stream, out)
    }
    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        self.inner.dissect(stream, tree);
    }
}

/// Takes what the watched one hands over: who is asked after that one was sure is asked about the rest.
struct Rest {
    sure: Arc<AtomicBool>,
    seen: Arc<Mutex<Option<[Vec<u8>; 2]>>>,
}

impl ProtocolTemplate for Rest {
    fn probe(&self, _: &StreamView<'_>) -> Probe {
        if self.sure.load(SeqCst) { Probe::Certain } else { Probe::Unsure }
    }
    fn parse(&self, stream: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let begin = |bytes: &[u8]| bytes[..bytes.len().min(REST)].to_vec();
        let seen = [begin(stream.forward), begin(stream.backward)];
        let whole = seen.iter().all(|bytes| bytes.len() == REST);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(if whole { Progress::Done } else { Progress::More { forward: REST, backward: REST } })
    }
}

/// What a fresh instance reads.
fn read(subject: &Subject, talk: &Talk) -> Result<Outcome, Stop> {
    let Instance::Protocol(inner) = subject.instance()? else {
        return Err(Stop::Skipped("it is of another kind than declared".into()));
    };
    let (sure, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let rest = Rest { sure: Arc::clone(&sure), seen: Arc::clone(&seen) };
    let template = wired(Instance::Protocol(Box::new(Watched { inner, sure })))?.and(Box::new(rest));
    let (flow, errors) = guard(|| Ok(talk.flows_and_errors(template.templates())))
        .map(|(flows, errors)| (flows.into_iter().next(), errors))?;
    let flow = flow.ok_or_else(|| Stop::Skipped("a conversation without packets".into()))?;
    ensure(errors == 0, || {
        let error = flow.template_error.as_ref().map_or("it failed, and said nothing", |error| error.message.as_str());
        format!("{error}; it read {}", shown(talk))
    })?;
    let sender = |number: u64| Some(talk.packets().get(usize::try_from(number).ok()?.checked_sub(1)?)?.direction);
    let mut rest = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A SYN may keep the sides as they are: the bytes are the same then, the other way round.
    rest.iter_mut().for_each(|rest| rest.sort());
    Ok(Outcome {
        recognised: flow.template == Some(0) || rest.is_some(),
        fields: flow.fields.iter().map(|(id, value)| format!("{} = {value:?}", id.0)).collect(),
        marks: flow.marks.map(|number| number.and_then(sender)),
        rest,
    })
}

/// Holds that a conversation is read the same in all cuts.
fn same(subject: &Subject, streams: &[Vec<u8>; 2], pieces: &[usize]) -> Result<(), Stop> {
    if streams[0].is_empty() {
        // Without a SYN the other side would be the originator.
        return Ok(());
    }
    let whole = Cut { piece: usize::MAX, opened: false, turns: false };
    let known = read(subject, &whole.talk(streams))?;
    if !known.recognised {
        return Ok(());
    }
    let opened = Cut { opened: true, ..whole };
    let longest = streams.iter().map(Vec::len).max().unwrap_or_default();
    let cuts = pieces.iter().filter(|piece| **piece < longest).flat_map(|piece| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(opened, turns)| Cut {
            piece: *piece,
            opened,
            turns,
        })
    });
    for cut in std::iter::once(opened).chain(cuts) {
        let talk = cut.talk(streams);
        let now = read(subject, &talk)?;
        ensure(known == now, || {
            format!(
                "what comes {} is read otherwise than what comes whole: {}; ask for the bytes that are missing \
                 (`Progress::More`), and read no others; it read {}",
                cut.words(),
                known.difference(&now),
                shown(&whole.talk(streams))
            )
        })?;
    }
    Ok(())
}

/// Streams as they are and with the sides changed, so that a SYN may speak against the one who begins.
pub(super) fn segments(subject: &Subject) -> Result<(), Stop> {
    let (talks, known) = readings(subject)?;
    let whole: Vec<[Vec<u8>; 2]> = exchanges().into_iter().chain(subject.how.samples.iter().cloned()).collect();
    let mut cut = whole.clone();
    let recognised: Vec<&Talk> = talks
        .iter()
        .zip(known)
        .filter(|(talk, known)| known.recognised && talk.packets().iter().all(|packet| packet.tcp.is_some()))
        .map(|(talk, _)| talk)
        .collect();
    for talk in recognised.iter().step_by(recognised.len().div_ceil(PICKED).max(1)) {
        let mut streams = [Vec::new(), Vec::new()];
        talk.packets().iter().for_each(|packet| streams[packet.direction.index()].extend(&packet.payload));
        cut.push(streams);
    }
    for [forward, backward] in cut {
        same(subject, &[forward.clone(), backward.clone()], &PIECES)?;
        same(subject, &[backward, forward], &PIECES)?;
    }
    for streams in whole {
        let [forward, backward] = streams.map(|stream| stream.into_iter().cycle().take(LONG).collect::<Vec<u8>>());
        same(subject, &[forward.clone(), backward.clone()], &LARGE_PIECES)?;
        same(subject, &[backward, forward], &LARGE_PIECES)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "segments_tests.rs"]
mod tests;
