//! What a template keeps to, whatever comes.

use super::input::Input;
use super::{Look, Seen};
use crate::conformance::across;
use crate::talk::{Talk, Wired};
use std::hash::Hash;
use veilwatch_core::flow::{FlowRecord, FlowTable};
use veilwatch_core::plugin::dissect::{NODES, Tree};
use veilwatch_core::plugin::{Carrier, Declaration, Instance, PluginError, Settings, StreamView};
use veilwatch_core::record::{FieldStore, Mark, Value};

/// Nodes that a template may draw before it draws without an end.
const DRAWN: usize = 16 * NODES;

/// Templates as a pipeline has them, on both sides of a library's boundary: the first one is looked at, and the others
/// take what it hands on.
pub struct Reading {
    direct: Wired,
    across: Wired,
    /// The first one by itself.
    alone: Wired,
    /// Segments do not matter behind a SYN alone.
    behind_a_syn: bool,
}

/// What was read of a conversation.
#[derive(Debug, PartialEq)]
struct Told {
    recognised: bool,
    fields: FieldStore,
    marks: [Option<u64>; Mark::COUNT],
    handed: Vec<u8>,
    guests: usize,
}

impl Told {
    fn of(flow: &FlowRecord) -> Self {
        Self {
            recognised: flow.templates().next().is_some(),
            fields: flow.fields.clone(),
            marks: flow.marks,
            handed: flow.handed.iter().map(|part| part.template).collect(),
            guests: flow.guests.len(),
        }
    }
}

impl Reading {
    /// Makes the templates, each with empty settings.
    ///
    /// # Errors
    /// What a plugin says when it is made or wired; that it is no template.
    pub fn new(declarations: &[Declaration]) -> Result<Self, PluginError> {
        let make = |boundary: bool, most: usize| {
            let instances = declarations.iter().take(most).map(|declaration| {
                let instance = (declaration.create)(Settings::new(""))?;
                Ok(if boundary { across(instance) } else { instance })
            });
            Wired::several(instances.collect::<Result<Vec<Instance>, PluginError>>()?)
        };
        Ok(Self {
            direct: make(false, usize::MAX)?,
            across: make(true, usize::MAX)?,
            alone: make(false, 1)?,
            behind_a_syn: false,
        })
    }

    /// For a template that without a SYN may take the sides for one another, where they say what nobody would: then it is
    /// not held to read the same in any segments.
    #[must_use]
    pub fn behind_a_syn(self) -> Self {
        Self { behind_a_syn: true, ..self }
    }

    /// Reads an input, and holds what is read to what a template keeps to.
    ///
    /// # Errors
    /// What it does not keep to.
    pub fn read(&self, input: &Input, look: Look) -> Result<Seen, String> {
        let talk = input.talk();
        let told = Self::told(&self.direct, input, &talk)?;
        if look.has(Look::TWICE) {
            same(&told, &Self::told(&self.direct, input, &talk)?, "what was read before changes what is read")?;
        }
        if look.has(Look::ACROSS) {
            same(&told, &Self::told(&self.across, input, &talk)?, "other fields come through the boundary")?;
        }
        if look.has(Look::PIECES) {
            self.pieces(input, look)?;
        }
        let mut seen = Seen::default();
        if look.has(Look::TREE) {
            self.draw(input, &talk, &mut seen)?;
        }
        for flow in &told {
            (flow.recognised, flow.handed.len(), flow.guests).hash(&mut seen);
            for (id, value) in flow.fields.iter() {
                id.0.hash(&mut seen);
                if let Value::U64(number) = value {
                    // Counts and codes, roughly.
                    number.checked_ilog2().hash(&mut seen);
                }
            }
        }
        Ok(seen)
    }

    /// The flows of a conversation, whose records are sound.
    fn told(templates: &Wired, input: &Input, talk: &Talk) -> Result<Vec<Told>, String> {
        let mut table = FlowTable::new(input.limits(), 1);
        for (number, packet) in (1..).zip(talk.packets()) {
            table.push(number, packet.time_ns, &talk.decoded(packet), templates.templates());
        }
        table.finish_all(0, templates.templates());
        let mut flows = table.take_finished();
        flows.sort_by_key(|flow| flow.first_packet);
        let errors = table.counters().template_errors;
        if errors > 0 {
            let said = flows.iter().find_map(|flow| Some(flow.template_error.as_ref()?.message.clone()));
            let said =
                said.or_else(|| flows.iter().find_map(|flow| Some(flow.probe_errors.first()?.1.message.clone())));
            return Err(format!("bad traffic is not an error: {}", said.unwrap_or_default()));
        }
        for flow in &flows {
            sound(templates, flow, talk.packets().len() as u64)?;
        }
        Ok(flows.iter().map(Told::of).collect())
    }

    /// What is read does not depend on the segments in which it comes, one side after the other. In which order the sides
    /// come may matter: of bytes that nobody would send it can be all there is to go by.
    fn pieces(&self, input: &Input, look: Look) -> Result<(), String> {
        let streams = input.streams();
        if input.is_udp() || streams[0].is_empty() {
            return Ok(());
        }
        let longest = streams.iter().map(Vec::len).max().unwrap_or_default();
        // Of long streams single bytes would take too long.
        let few = if longest > 2000 { longest / 100 } else { 1 };
        for opened in look.openings().into_iter().filter(|opened| *opened || !self.behind_a_syn) {
            let read = |segment| {
                let talk = input.cut(&streams, segment, opened);
                let limits = Input { how: [input.how[0] & !Input::SMALL, 0], ..Input::default() };
                let mut told = Self::told(&self.alone, &limits, &talk)?;
                // Marks lead to who sent something, whatever its packet's number.
                let sender = |number: u64| {
                    let packet = talk.packets().get(usize::try_from(number).ok()?.checked_sub(1)?)?;
                    Some(packet.direction.index() as u64)
                };
                told.iter_mut().flat_map(|flow| &mut flow.marks).for_each(|mark| *mark = mark.and_then(sender));
                Ok::<_, String>(told)
            };
            let whole = read(usize::MAX)?;
            if !whole.first().is_some_and(|flow| flow.recognised) {
                continue;
            }
            let sizes = look.segments().into_iter().map(|segment| segment.max(few));
            for segment in sizes.filter(|segment| *segment < longest) {
                let what = format!("in segments of {segment} bytes (opened: {opened}) it is another");
                same(&whole, &read(segment)?, &what)?;
            }
        }
        Ok(())
    }

    /// A tree within its bounds.
    fn draw(&self, input: &Input, talk: &Talk, seen: &mut Seen) -> Result<(), String> {
        let streams = input.streams();
        let mut ends = [Vec::new(), Vec::new()];
        let mut at = [0u32; 2];
        for packet in talk.packets().iter().filter(|packet| packet.tcp.is_none()).take(64) {
            let side = packet.direction.index();
            at[side] += packet.payload.len() as u32;
            ends[side].push(at[side]);
        }
        let [originator_port, responder_port] = talk.ports();
        let view = StreamView {
            forward: &streams[0],
            backward: &streams[1],
            forward_ended: input.how[0] & Input::CLOSED != 0,
            backward_ended: input.how[0] & Input::CLOSED != 0,
            datagram_ends: [&ends[0], &ends[1]],
            carrier: if input.is_udp() { Carrier::Udp } else { Carrier::Tcp },
            originator_port,
            responder_port,
            ..StreamView::default()
        };
        let Some(template) = self.direct.templates().first() else { return Ok(()) };
        let tree = Tree::of(&**template, &view);
        let nodes = tree.nodes.len() + tree.left_out + tree.too_deep;
        if nodes > DRAWN {
            return Err(format!("{nodes} nodes are drawn, of which {NODES} are kept"));
        }
        if tree.unbalanced {
            return Err("a node is closed that is not open, or left open".into());
        }
        if let Some(why) = tree.failed.filter(|why| why.starts_with("panicked")) {
            return Err(format!("drawing {why}"));
        }
        tree.nodes.iter().take(64).for_each(|node| (node.depth, &node.label).hash(seen));
        Ok(())
    }
}

/// Own fields of the declared kinds, and marks that lead to packets.
fn sound(templates: &Wired, flow: &FlowRecord, packets: u64) -> Result<(), String> {
    for (id, value) in flow.fields.iter() {
        match templates.fields().spec(id) {
            None => return Err(format!("field {} is nobody's", id.0)),
            Some(spec) if spec.kind != value.kind() => return Err(format!("`{}` is {value:?}", spec.name)),
            Some(_) => {}
        }
    }
    let refused = flow.templates().map(|(_, refused)| refused).chain(flow.guests.iter().map(|guest| guest.refused));
    if refused.sum::<u32>() > 0 {
        return Err("values are left out, as they are another's or of another kind".into());
    }
    match flow.marks.iter().flatten().find(|number| !(1..=packets).contains(*number)) {
        Some(number) => Err(format!("a mark leads to packet {number} of {packets}")),
        None => Ok(()),
    }
}

fn same(known: &[Told], now: &[Told], what: &str) -> Result<(), String> {
    if known == now {
        return Ok(());
    }
    let fields = |told: &[Told]| -> Vec<String> {
        told.iter().flat_map(|flow| flow.fields.iter().map(|(id, value)| format!("{} = {value:?}", id.0))).collect()
    };
    let rest = |told: &[Told]| {
        format!("{:?}", told.iter().map(|it| (it.recognised, &it.handed, it.guests, it.marks)).collect::<Vec<_>>())
    };
    let (one, other) = (fields(known), fields(now));
    let missing =
        |from: &[String], of: &[String]| from.iter().filter(|field| !of.contains(field)).cloned().collect::<Vec<_>>();
    Err(format!(
        "{what}: {:?} is {:?} then; {} and {}",
        missing(&one, &other),
        missing(&other, &one),
        rest(known),
        rest(now)
    ))
}

impl Look {
    /// Sizes of the segments that are looked at.
    fn segments(self) -> Vec<usize> {
        const ALL: [usize; 4] = [1, 3, 64, 1400];
        if self.0 == Self::ALL.0 { ALL.to_vec() } else { vec![ALL[usize::from(self.0 >> 4 & 3)]] }
    }

    /// Whether a handshake comes first.
    fn openings(self) -> Vec<bool> {
        if self.0 == Self::ALL.0 { vec![false, true] } else { vec![self.0 & 0x80 != 0] }
    }
}
