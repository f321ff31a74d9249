//! What protocol templates keep to.

use super::Rule;
use super::drawing::{draws, draws_samples, same_trees};
use super::made::made;
use super::segments::{exchanges, segments};
use super::subject::{Stop, Subject, at_once, ensure};
use crate::flows::Chance;
use crate::talk::{Talk, Wired};
use std::collections::BTreeSet;
use veilwatch_core::abi::export::guard;
use veilwatch_core::flow::{Direction, FlowRecord};
use veilwatch_core::plugin::{Carrier, Instance, Openings, PluginError, Probe, ProtocolTemplate, StreamView};
use veilwatch_core::record::{FieldStore, FieldTable, Mark};

pub(super) const RULES: [Rule; 15] = [
    ("fields are steady", steady),
    ("fields are named and described", described),
    ("never fails, whatever comes", never_fails),
    ("is asked about all that it knows", asked),
    ("only its own fields are written", own_fields),
    ("same bytes, same fields", twice),
    ("nothing is kept between calls", forgets),
    ("samples are recognised", samples),
    ("called from two threads", threads),
    ("same through the boundary", boundary),
    ("segments do not matter", segments),
    ("reads what others made, or leaves it", made),
    ("draws whatever comes, within bounds", draws),
    ("draws the same twice and through the boundary", same_trees),
    ("draws its samples", draws_samples),
];

/// What was read of one conversation: fields and their values, and where marks lead.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) recognised: bool,
    fields: FieldStore,
    marks: [Option<u64>; Mark::COUNT],
    /// How often it was handed over.
    handed: usize,
    /// Templates that read what another made.
    guests: usize,
    /// Values that were left out.
    refused: u32,
}

impl Reading {
    fn of(flow: FlowRecord) -> Self {
        let refused = flow.templates().map(|(_, refused)| refused).chain(flow.guests.iter().map(|guest| guest.refused));
        Self {
            recognised: flow.template.is_some(),
            marks: flow.marks,
            handed: flow.handed.len(),
            guests: flow.guests.len(),
            refused: refused.sum(),
            fields: flow.fields,
        }
    }

    /// Whether somebody read what another made.
    pub(super) fn has_guests(&self) -> bool {
        self.guests > 0
    }

    /// What is wrong with the fields where they are not the template's own, or of another kind than it declared.
    pub(super) fn others_values(&self, fields: &FieldTable) -> Option<String> {
        // Behind a library's boundary such values are left out before anybody sees them, and counted.
        if self.refused > 0 {
            return Some(format!(
                "{} values are left out: they are another's fields, or of another kind",
                self.refused
            ));
        }
        self.fields.iter().find_map(|(id, value)| match fields.spec(id) {
            None => Some(format!("field {} is nobody's; use the ids that `wire` gives", id.0)),
            Some(spec) if spec.kind != value.kind() => {
                Some(format!("`{}` is declared as {:?}, and {:?} was written", spec.name, spec.kind, value.kind()))
            }
            Some(_) => None,
        })
    }
}

/// Most places of one sample at which it is cut, or a byte of it changed.
const PLACES: usize = 256;

/// Beginnings of protocols, and of nothing: each is also read cut after every byte, and with every byte changed.
const TEXTS: [&[u8]; 7] = [
    // A ClientHello of TLS 1.2.
    b"\x16\x03\x01\0\x32\x01\0\0\x2e\x03\x03\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
      \x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\0\0\x02\x13\x01\x01\0\0\0",
    b"SSH-2.0-one two\r\n\0\0",
    b"Welcome.\r\nSSH-1.99-three\n",
    b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n",
    // A query of DNS.
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01",
    // A CONNECT of MQTT.
    b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04node",
    b"\xff\0SSH-\n\n\n\r\x16\x03\x01\x10\xff\xff\xff\x7f",
];

/// Two streams and the size of the pieces in which they come.
struct Conversation {
    streams: [Vec<u8>; 2],
    piece: usize,
    udp: bool,
}

impl Conversation {
    /// The pieces in turns; every other conversation over TCP begins with a handshake.
    fn talk(&self, opened: bool) -> Talk {
        let mut talk = if self.udp { Talk::udp() } else { Talk::tcp() };
        if opened {
            talk = talk.open();
        }
        let mut parts = self.streams.each_ref().map(|stream| stream.chunks(self.piece.max(1)));
        loop {
            let [forward, backward] = parts.each_mut().map(Iterator::next);
            if forward.is_none() && backward.is_none() {
                return talk;
            }
            talk = talk.say(Direction::Forward, forward.unwrap_or_default());
            talk = talk.say(Direction::Backward, backward.unwrap_or_default());
        }
    }
}

pub(super) fn conversations(subject: &Subject) -> Vec<Talk> {
    let own = subject.how.samples.iter().flatten().map(Vec::as_slice).filter(|text| !text.is_empty());
    let mut streams: Vec<Vec<u8>> = Vec::new();
    for text in TEXTS.into_iter().chain(own) {
        let step = text.len().div_ceil(PLACES);
        for at in (0..text.len()).step_by(step) {
            streams.push(text[..=at].to_vec());
            let mut changed = text.to_vec();
            changed[at] ^= 0xa5;
            streams.push(changed);
        }
        streams.push(text.to_vec());
    }
    let mut chance = Chance(7);
    streams.extend((0..24).map(|len| chance.bytes(len * 11 + 1)));
    let mut talks = Vec::new();
    for (at, stream) in streams.iter().enumerate() {
        let other = match at % 5 {
            0 => Vec::new(),
            _ => streams[(at * 7 + 3) % streams.len()].clone(),
        };
        for (which, piece) in [1, 9, usize::MAX].into_iter().enumerate() {
            let streams = if at % 4 == 1 { [other.clone(), stream.clone()] } else { [stream.clone(), other.clone()] };
            let conversation = Conversation { streams, piece, udp: which == 2 && at % 3 == 0 };
            talks.push(conversation.talk(at % 2 == 0));
        }
    }
    // The samples come last: a rule of their own looks for them there.
    for streams in exchanges().into_iter().chain(subject.how.samples.iter().cloned()) {
        talks.push(Conversation { streams, piece: usize::MAX, udp: false }.talk(true));
    }
    talks
}

/// A template, or that there is none to look at.
pub(super) fn wired(instance: Instance) -> Result<Wired, Stop> {
    guard(|| Wired::of(instance)).map_err(|_| Stop::Skipped("it cannot be wired".into()))
}

pub(super) fn read(template: &Wired, talk: &Talk) -> Result<Reading, PluginError> {
    let (flows, errors) = talk.flows_and_errors(template.templates());
    let Some(flow) = flows.into_iter().next() else {
        return Ok(Reading::default());
    };
    if errors > 0 {
        return Err(
            match flow.template_error.map(|error| *error).or(flow.probe_errors.into_iter().next().map(|said| said.1)) {
                Some(error) => error,
                None => PluginError::failed("it failed, and said nothing"),
            },
        );
    }
    Ok(Reading::of(flow))
}

/// What fresh instances read of all conversations.
fn all(subject: &Subject, talks: &[Talk]) -> Result<Vec<Reading>, PluginError> {
    let fresh = |talk| {
        let template = wired(subject.make()?).map_err(|_| PluginError::failed("it cannot be wired"))?;
        guard(|| read(&template, talk)).map_err(|error| {
            let message = format!("{}; it read {}", error.message, shown(talk));
            PluginError { message, ..error }
        })
    };
    talks.iter().map(fresh).collect()
}

/// The conversations, and what is read of them.
pub(super) fn readings(subject: &Subject) -> Result<(Vec<Talk>, &[Reading]), Stop> {
    wired(subject.instance()?)?;
    let talks = conversations(subject);
    let known = subject.readings.known(|| all(subject, &talks), |first, again| first == again)?;
    Ok((talks, known))
}

/// A conversation in a message.
pub(super) fn shown(talk: &Talk) -> String {
    let parts = talk.packets().iter().filter(|packet| !packet.payload.is_empty()).take(4);
    let parts: Vec<String> = parts
        .map(|packet| {
            let way = if packet.direction == Direction::Forward { '>' } else { '<' };
            let more = if packet.payload.len() > 40 { "…" } else { "" };
            format!("{way} {}{more}", packet.payload[..packet.payload.len().min(40)].escape_ascii())
        })
        .collect();
    parts.join(" ")
}

fn steady(subject: &Subject) -> Result<(), Stop> {
    let fields = |instance| match instance {
        Instance::Protocol(template) => Ok([template.fields(), template.fields()]),
        _ => Err(Stop::Skipped("it is of another kind than declared".into())),
    };
    let [first, again] = fields(subject.instance()?)?;
    let [other, _] = fields(subject.instance()?)?;
    ensure(first == again && first == other, || {
        "they change from call to call; `fields` depends on the settings alone".into()
    })
}

fn described(subject: &Subject) -> Result<(), Stop> {
    let Instance::Protocol(mut template) = subject.instance()? else {
        return Err(Stop::Skipped("it is of another kind than declared".into()));
    };
    let (mut table, mut ids) = (FieldTable::new(), BTreeSet::new());
    let mut order = Vec::new();
    for spec in template.fields() {
        let name = spec.name.clone();
        ensure((1..=1024).contains(&spec.words.len()), || format!("`{name}` needs words, at most 1024 bytes"))?;
        let id = table.declare(spec, "conformance").map_err(|error| Stop::Failed(error.to_string()))?;
        ensure(ids.insert(id), || format!("two fields are named `{name}`"))?;
        order.push(id);
    }
    Ok(guard(|| template.wire(&order))?)
}

fn never_fails(subject: &Subject) -> Result<(), Stop> {
    let template = wired(subject.instance()?)?;
    let talks = conversations(subject);
    if let Err(error) = subject.readings.both(|| all(subject, &talks)) {
        return Err(Stop::Failed(format!("{}; bad traffic is not an error", error.message)));
    }
    // What the flow table never offers: nothing at all.
    for (ended, carrier) in [(false, Carrier::Tcp), (true, Carrier::Tcp), (true, Carrier::Udp)] {
        let view = StreamView {
            forward: &[],
            backward: &[],
            forward_ended: ended,
            backward_ended: ended,
            carrier,
            originator_port: 0,
            responder_port: 0,
            ..StreamView::default()
        };
        template.templates().iter().for_each(|template| _ = template.probe(&view));
    }
    Ok(())
}

/// Samples and foreign beginnings, with every first byte on each side.
fn asked(subject: &Subject) -> Result<(), Stop> {
    let Instance::Protocol(template) = subject.instance()? else {
        return Err(Stop::Skipped("it is of another kind than declared".into()));
    };
    let openings = [Carrier::Tcp, Carrier::Udp].map(|carrier| (carrier, guard(|| Ok(template.openings(carrier)))));
    let texts = TEXTS.map(|text| [text.to_vec(), text.to_vec()]);
    for [mut forward, mut backward] in texts.into_iter().chain(subject.how.samples.iter().cloned()) {
        for byte in 0..=u8::MAX {
            for changed in [&mut forward, &mut backward] {
                changed.iter_mut().take(1).for_each(|first| *first = byte);
            }
            for [forward, backward] in [[&forward[..], &[]], [&[], &backward], [&forward, &backward]] {
                for (carrier, openings) in &openings {
                    left_out(&*template, *carrier, openings.as_ref().map_err(Clone::clone)?, [forward, backward])?;
                }
            }
        }
    }
    Ok(())
}

/// Ports at which a template may know more than elsewhere.
const ASKED_AT: [u16; 4] = [0, 53, 80, 443];

/// Whether the template knows a flow about which it does not want to be asked.
fn left_out(
    template: &dyn ProtocolTemplate,
    carrier: Carrier,
    openings: &Openings,
    [forward, backward]: [&[u8]; 2],
) -> Result<(), Stop> {
    if openings.hold(forward.first().copied(), backward.first().copied()) {
        return Ok(());
    }
    let knows = |responder_port: u16| {
        let view = StreamView { forward, backward, carrier, responder_port, ..StreamView::default() };
        guard(|| template.try_probe(&view)).unwrap_or(Probe::No) != Probe::No
    };
    ensure(!ASKED_AT.into_iter().any(knows), || {
        let [forward, backward] = [forward, backward].map(|bytes| bytes[..bytes.len().min(20)].escape_ascii());
        format!("`openings` leaves out what `probe` may know over {carrier:?}: > {forward} < {backward}")
    })
}

fn own_fields(subject: &Subject) -> Result<(), Stop> {
    let (talks, _) = readings(subject)?;
    for talk in &talks {
        let template = wired(subject.instance()?)?;
        let (flows, _) = talk.flows_and_errors(template.templates());
        for flow in flows {
            let mistake = Reading::of(flow).others_values(template.fields());
            ensure(mistake.is_none(), || mistake.unwrap_or_default())?;
        }
    }
    Ok(())
}

fn same(talk: &Talk, known: &Reading, now: &Reading, what: &str) -> Result<(), Stop> {
    ensure(known == now, || format!("{what}; it read {}", shown(talk)))
}

fn twice(subject: &Subject) -> Result<(), Stop> {
    wired(subject.instance()?)?;
    let talks = conversations(subject);
    let both = subject.readings.both(|| all(subject, &talks));
    let [first, again] = both.map_err(|_| Stop::Skipped("it fails".into()))?;
    for (talk, (first, again)) in talks.iter().zip(first.iter().zip(again)) {
        same(talk, first, again, "another instance reads other fields of the same bytes")?;
    }
    Ok(())
}

fn forgets(subject: &Subject) -> Result<(), Stop> {
    let (talks, known) = readings(subject)?;
    let template = wired(subject.instance()?)?;
    // Backwards: those that were cut come after those that were whole.
    for (talk, known) in talks.iter().zip(known).rev() {
        let now = guard(|| read(&template, talk))?;
        same(talk, known, &now, "what was read earlier changes what is read")?;
    }
    Ok(())
}

fn samples(subject: &Subject) -> Result<(), Stop> {
    if subject.how.samples.is_empty() {
        return Err(Stop::Skipped("no samples were given".into()));
    }
    let (talks, known) = readings(subject)?;
    let first = talks.len() - subject.how.samples.len();
    talks[first..]
        .iter()
        .zip(&known[first..])
        .enumerate()
        .try_for_each(|(at, (talk, known))| ensure(known.recognised, || format!("sample {at} is not: {}", shown(talk))))
}

fn threads(subject: &Subject) -> Result<(), Stop> {
    let (talks, known) = readings(subject)?;
    // Those of which something was read tell most.
    let mut picked: Vec<usize> = (0..talks.len()).filter(|at| known[*at].recognised).take(24).collect();
    picked.extend((0..talks.len()).step_by(talks.len().div_ceil(24)));
    for at in picked {
        let template = wired(subject.instance()?)?;
        for reading in at_once(|| read(&template, &talks[at]))? {
            same(&talks[at], &known[at], &reading, "two threads at once read other fields")?;
        }
    }
    Ok(())
}

fn boundary(subject: &Subject) -> Result<(), Stop> {
    let (talks, known) = readings(subject)?;
    own_fields(subject).map_err(|_| Stop::Skipped("it writes fields that are not its own".into()))?;
    for (talk, known) in talks.iter().zip(known) {
        let template = wired(subject.foreign()?)?;
        let now = guard(|| read(&template, talk))?;
        same(talk, known, &now, "other fields come through the boundary")?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
