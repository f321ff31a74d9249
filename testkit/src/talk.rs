//! One conversation, packet by packet, without a capture.
//!
//! ```
//! use veilwatch_testkit::talk::Talk;
//!
//! let talk = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:443").open().forward(b"hello").wait_ms(20).close();
//! let flow = talk.flow(&veilwatch_core::flow::Templates::default());
//! assert_eq!(flow.stats[0].payload_bytes, 5);
//! assert_eq!(flow.responder.port, 443);
//! ```

#![allow(clippy::panic, reason = "helpers of tests: what was asked for wrongly shows in the test that asked")]

use crate::fuzz::seeds;
use std::net::{IpAddr, SocketAddr};
use veilwatch_core::flow::{Direction, Endpoint, FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::{Decoded, Tcp};
use veilwatch_core::plugin::dissect::{Tree, TreeNode};
use veilwatch_core::plugin::{
    Carrier, Declaration, Instance, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, FieldTable, Value};

/// When a talk begins, in nanoseconds since 1970: the first second of 2024.
pub const BEGIN_NS: u64 = 1_704_067_200_000_000_000;

/// Nanoseconds from one packet to the next, where nobody waits.
const STEP_NS: u64 = 1000;

/// Bytes of the IP and transport headers.
const HEADERS: [u32; 2] = [40, 28];

/// One packet of a talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalkPacket {
    /// Packet time in nanoseconds since 1970.
    pub time_ns: u64,
    /// Which way it goes.
    pub direction: Direction,
    /// The TCP header's fields, for TCP.
    pub tcp: Option<Tcp>,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// One conversation under construction: each call adds packets, or says how later ones look.
///
/// Times are packet times. A packet comes a microsecond after the one before it, unless [`wait_ms`](Self::wait_ms) says
/// otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Talk {
    protocol: u8,
    /// Originator and responder.
    ends: [Endpoint; 2],
    /// Next sequence number of each direction.
    next: [u32; 2],
    now_ns: u64,
    /// Size in which payloads are cut; 0 for "as they come".
    segment: usize,
    packets: Vec<TalkPacket>,
}

impl Talk {
    /// A conversation over TCP, between two made-up hosts until [`between`](Self::between) names others.
    pub fn tcp() -> Self {
        Self::over(6)
    }

    /// A conversation over UDP.
    pub fn udp() -> Self {
        Self::over(17)
    }

    fn over(protocol: u8) -> Self {
        let end = |text: &str| endpoint(text);
        Self {
            protocol,
            ends: [end("10.0.0.1:50000"), end("192.0.2.1:443")],
            next: [1000, 2000],
            now_ns: BEGIN_NS,
            segment: 0,
            packets: Vec::new(),
        }
    }

    /// Names originator and responder, each as `address:port`, or `[address]:port` for IPv6.
    ///
    /// # Panics
    /// Where one of them is no such text.
    pub fn between(mut self, originator: &str, responder: &str) -> Self {
        self.ends = [endpoint(originator), endpoint(responder)];
        self
    }

    /// The same hosts, with another port at the responder's.
    pub(crate) fn at_port(mut self, port: u16) -> Self {
        self.ends[1].port = port;
        self
    }

    /// The originator's port and the responder's.
    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ends.map(|end| end.port)
    }

    /// One side says something that nobody captured.
    pub(crate) fn lose(mut self, direction: Direction, bytes: &[u8]) -> Self {
        if !bytes.is_empty() {
            self.push(direction, Tcp::ACK | Tcp::PSH, bytes);
            self.packets.pop();
        }
        self
    }

    /// The last packet but one comes last.
    pub(crate) fn late(mut self) -> Self {
        if let [.., one, other] = &mut self.packets[..] {
            std::mem::swap(one, other);
            std::mem::swap(&mut one.time_ns, &mut other.time_ns);
        }
        self
    }

    /// The handshake of TCP: SYN, SYN with ACK, ACK. Over UDP nothing.
    pub fn open(self) -> Self {
        self.flags(Direction::Forward, Tcp::SYN)
            .flags(Direction::Backward, Tcp::SYN | Tcp::ACK)
            .flags(Direction::Forward, Tcp::ACK)
    }

    /// The end of TCP: both sides send FIN. Over UDP nothing.
    pub fn close(self) -> Self {
        self.flags(Direction::Forward, Tcp::FIN | Tcp::ACK)
            .flags(Direction::Backward, Tcp::FIN | Tcp::ACK)
            .flags(Direction::Forward, Tcp::ACK)
    }

    /// The originator says something.
    pub fn forward(self, bytes: &[u8]) -> Self {
        self.say(Direction::Forward, bytes)
    }

    /// The responder says something.
    pub fn backward(self, bytes: &[u8]) -> Self {
        self.say(Direction::Backward, bytes)
    }

    /// One side says something: one packet, or as many as [`segments`](Self::segments) makes of it; none for no bytes.
    pub fn say(mut self, direction: Direction, bytes: &[u8]) -> Self {
        let size = if self.segment == 0 { bytes.len().max(1) } else { self.segment };
        for payload in bytes.chunks(size) {
            self.push(direction, Tcp::ACK | Tcp::PSH, payload);
        }
        self
    }

    /// Lets packet time pass.
    pub fn wait_ms(mut self, milliseconds: u64) -> Self {
        self.now_ns = self.now_ns.saturating_add(milliseconds.saturating_mul(1_000_000));
        self
    }

    /// Lets packet time pass until so many milliseconds after the talk began; nothing where it is later already.
    pub fn until_ms(mut self, milliseconds: u64) -> Self {
        self.now_ns = self.now_ns.max(BEGIN_NS.saturating_add(milliseconds.saturating_mul(1_000_000)));
        self
    }

    /// Cuts later payloads into packets of at most this many bytes; 0 leaves them whole.
    pub fn segments(mut self, bytes: usize) -> Self {
        self.segment = bytes;
        self
    }

    fn flags(mut self, direction: Direction, flags: u8) -> Self {
        if self.protocol == 6 {
            self.push(direction, flags, &[]);
        }
        self
    }

    fn push(&mut self, direction: Direction, flags: u8, payload: &[u8]) {
        let seq = &mut self.next[direction.index()];
        let tcp = (self.protocol == 6).then_some(Tcp { seq: *seq, flags });
        // SYN and FIN take a number each (RFC 9293 section 3.4).
        let taken = u32::from(flags & (Tcp::SYN | Tcp::FIN) != 0) + u32::try_from(payload.len()).unwrap_or(u32::MAX);
        *seq = seq.wrapping_add(taken);
        self.packets.push(TalkPacket { time_ns: self.now_ns, direction, tcp, payload: payload.to_vec() });
        self.now_ns += STEP_NS;
    }

    /// What was said, a line for each packet that says something: `>` forward, `<` backward.
    pub fn lines(&self) -> String {
        let said = self.packets.iter().filter(|packet| !packet.payload.is_empty());
        let line = |packet: &TalkPacket| {
            let side = if packet.direction == Direction::Forward { '>' } else { '<' };
            format!("{side} {}\n", packet.payload.escape_ascii())
        };
        said.map(line).collect()
    }

    /// The packets so far, in order.
    pub fn packets(&self) -> &[TalkPacket] {
        &self.packets
    }

    /// A packet of this talk as the engine's decoder would hand it over.
    pub fn decoded<'a>(&self, packet: &'a TalkPacket) -> Decoded<'a> {
        let [from, to] = match packet.direction {
            Direction::Forward => self.ends,
            Direction::Backward => [self.ends[1], self.ends[0]],
        };
        let payload_len = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
        Decoded {
            src: from.address,
            dst: to.address,
            src_port: from.port,
            dst_port: to.port,
            protocol: self.protocol,
            lan: 0,
            ip_len: payload_len.saturating_add(HEADERS[usize::from(self.protocol != 6)]),
            payload_len,
            tcp: packet.tcp,
            payload: &packet.payload,
        }
    }

    /// What a template draws of all that was said. The sides stand as the talk has them, whoever the template takes for the
    /// client, and no more comes of either; over UDP it sees where the first 64 datagrams of each side end.
    pub fn tree(&self, template: &dyn ProtocolTemplate) -> Tree {
        let said = Said::of(self);
        let [originator, responder] = self.ends;
        let (originator_port, responder_port) = (originator.port, responder.port);
        Tree::of(template, &StreamView { originator_port, responder_port, ..said.view(true) })
    }

    /// The flows that the engine's own table makes of it, in order, and how often a template failed. More than one
    /// where it waits for so long that a flow ends.
    pub fn flows_and_errors(&self, templates: &Templates) -> (Vec<FlowRecord>, u64) {
        let mut table = FlowTable::new(FlowLimits::default(), 1);
        for (number, packet) in (1..).zip(&self.packets) {
            table.push(number, packet.time_ns, &self.decoded(packet), templates);
        }
        table.finish_all(0, templates);
        let mut flows = table.take_finished();
        flows.sort_by_key(|flow| flow.first_packet);
        (flows, table.counters().template_errors)
    }

    /// The one flow that it is, and how often a template failed on it.
    ///
    /// # Panics
    /// Where it is no flow or several.
    pub fn flow_and_errors(&self, templates: &Templates) -> (FlowRecord, u64) {
        seeds::keep(self);
        let (mut flows, errors) = self.flows_and_errors(templates);
        match flows.pop() {
            Some(flow) if flows.is_empty() => (flow, errors),
            Some(_) => panic!("this talk is {} flows: ask for `flows_and_errors`", flows.len() + 1),
            None => panic!("this talk has no packets"),
        }
    }

    /// The one flow that it is, read by these templates.
    ///
    /// # Panics
    /// Where it is no flow or several.
    pub fn flow(&self, templates: &Templates) -> FlowRecord {
        self.flow_and_errors(templates).0
    }
}

/// What both sides of a talk say in all, with what a tree's template is told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    /// Forward first.
    pub(crate) streams: [Vec<u8>; 2],
    /// Over UDP, where the first datagrams of each side end.
    ends: Option<[Vec<u32>; 2]>,
}

impl Said {
    /// Datagrams of a side whose ends a flow's table keeps.
    const ENDS: usize = 64;

    pub(crate) fn of(talk: &Talk) -> Self {
        let mut streams = [Vec::new(), Vec::new()];
        let mut ends = [Vec::new(), Vec::new()];
        for TalkPacket { direction, payload, .. } in &talk.packets {
            let (stream, ends): (&mut Vec<u8>, &mut Vec<u32>) =
                (&mut streams[direction.index()], &mut ends[direction.index()]);
            stream.extend(payload);
            if !payload.is_empty() && ends.len() < Self::ENDS {
                ends.push(u32::try_from(stream.len()).unwrap_or(u32::MAX));
            }
        }
        Self { streams, ends: (talk.protocol != 6).then_some(ends) }
    }

    /// Two streams over TCP.
    pub(crate) fn over_tcp(streams: [Vec<u8>; 2]) -> Self {
        Self { streams, ends: None }
    }

    /// The same without knowing where datagrams end.
    pub(crate) fn without_ends(mut self) -> Self {
        self.ends = self.ends.map(|_| Default::default());
        self
    }

    pub(crate) fn view(&self, ended: bool) -> StreamView<'_> {
        let [forward, backward] = self.streams.each_ref().map(Vec::as_slice);
        StreamView {
            forward,
            backward,
            forward_ended: ended,
            backward_ended: ended,
            datagram_ends: self.ends.as_ref().map_or([&[]; 2], |ends| ends.each_ref().map(Vec::as_slice)),
            carrier: if self.ends.is_some() { Carrier::Udp } else { Carrier::Tcp },
            ..StreamView::default()
        }
    }
}

/// A tree as text for a golden that one checks by hand: a line for each node, with the bytes that it stands in as `[>6+2]`:
/// forward, behind six bytes, two of them; and a line for what the tree says of itself.
///
/// ```
/// use veilwatch_core::flow::Direction;
/// use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
/// use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView};
/// use veilwatch_testkit::talk::{Talk, tree_lines};
///
/// struct Greeting;
///
/// impl ProtocolTemplate for Greeting {
///     fn probe(&self, _: &StreamView<'_>) -> Probe {
///         Probe::No
///     }
///     fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
///         Ok(Progress::Done)
///     }
///     fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
///         tree.open("Greeting", "", Some(ByteRange::new(Direction::Backward, 0, stream.backward.len())));
///         tree.leaf("Code", &String::from_utf8_lossy(&stream.backward[..3]), Some(ByteRange::new(Direction::Backward, 0, 3)));
///         tree.close();
///         tree.fail("the rest is not read");
///     }
/// }
///
/// let tree = Talk::tcp().backward(b"220 hello").tree(&Greeting);
/// assert_eq!(tree_lines(&tree), "Greeting [<0+9]\n  Code: 220 [<0+3]\nfailed: the rest is not read\n");
/// ```
pub fn tree_lines(tree: &Tree) -> String {
    let line = |node: &TreeNode| {
        let value = if node.value.is_empty() { String::new() } else { format!(": {}", node.value) };
        let place = node.bytes.map_or_else(String::new, |range| {
            let side = if range.direction == Direction::Forward { '>' } else { '<' };
            format!(" [{side}{}+{}]", range.offset, range.length)
        });
        format!("{}{}{value}{place}\n", "  ".repeat(node.depth.into()), node.label)
    };
    let mut lines: String = tree.nodes.iter().map(line).collect();
    let said = [
        (tree.left_out > 0, format!("left out: {} nodes", tree.left_out)),
        (tree.too_deep > 0, format!("too deep: {} nodes", tree.too_deep)),
        (tree.cut, "cut: some text".into()),
        (tree.outside, "outside: bytes that are not there".into()),
        (tree.unbalanced, "unbalanced: nodes opened and closed".into()),
        (tree.failed.is_some(), format!("failed: {}", tree.failed.as_deref().unwrap_or_default())),
    ];
    said.iter().filter(|(holds, _)| *holds).for_each(|(_, words)| lines.extend([words, "\n"]));
    lines
}

fn endpoint(text: &str) -> Endpoint {
    let address: SocketAddr =
        text.parse().unwrap_or_else(|_| panic!("`{text}` is no address with a port, such as `10.0.0.1:50000`"));
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    Endpoint { address: octets, port: address.port() }
}

/// A template that is made and wired as a pipeline does it, with the table of its fields.
pub struct Wired {
    templates: Templates,
    fields: FieldTable,
}

impl Wired {
    /// Makes the template of a declaration with settings (TOML text), declares its fields and tells it their ids.
    ///
    /// # Errors
    /// What the plugin says of its settings; that it is no template; that a field has a bad name.
    pub fn new(declaration: &Declaration, settings: &str) -> Result<Self, PluginError> {
        Self::of((declaration.create)(Settings::new(settings))?)
    }

    /// The same for an instance that was made already.
    ///
    /// # Errors
    /// That it is no template, that a field has a bad name, or what the plugin says when it is wired.
    pub fn of(instance: Instance) -> Result<Self, PluginError> {
        Self::several([instance])
    }

    /// The same for several, in the order in which they are asked.
    pub(crate) fn several(instances: impl IntoIterator<Item = Instance>) -> Result<Self, PluginError> {
        let (mut templates, mut fields) = (Vec::new(), FieldTable::new());
        for instance in instances {
            let Instance::Protocol(mut template) = instance else {
                return Err(PluginError::failed(format!("this is a {}, and no template", instance.kind())));
            };
            let ids = template.fields().into_iter().map(|spec| fields.declare(spec, "test"));
            let ids = ids.collect::<Result<Vec<_>, _>>().map_err(|error| PluginError::failed(error.to_string()))?;
            template.wire(&ids)?;
            templates.push(template);
        }
        Ok(Self { templates: Templates::new(templates), fields })
    }

    /// The same with another template behind it.
    pub(crate) fn and(mut self, other: Box<dyn ProtocolTemplate>) -> Self {
        self.templates.push(other);
        self
    }

    /// The same with a second template, which takes what the first one hands over where a side begins like a record of
    /// TLS, a handshake or an alert: [`Told::rest`] has it then.
    ///
    /// # Panics
    /// Where its fields cannot be declared, which are `rest.forward` and `rest.backward`.
    pub fn with_rest(mut self) -> Self {
        let mut rest = Rest::default();
        for (id, spec) in rest.ids.iter_mut().zip(Rest::specs()) {
            *id = self.fields.declare(spec, "testkit").unwrap_or_else(|error| panic!("{error}"));
        }
        self.and(Box::new(rest))
    }

    /// The template, as [`Talk::flow`] takes it.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// All fields that its records may have.
    pub fn fields(&self) -> &FieldTable {
        &self.fields
    }

    /// What the template draws of a talk ([`Talk::tree`]).
    pub fn tree(&self, talk: &Talk) -> Tree {
        self.templates.first().map(|template| talk.tree(&**template)).unwrap_or_default()
    }

    /// What the template reads of a talk.
    ///
    /// # Panics
    /// Where the talk is no flow or several.
    pub fn read(&self, talk: &Talk) -> Told<'_> {
        let (flow, errors) = talk.flow_and_errors(&self.templates);
        Told { flow, errors, fields: &self.fields }
    }
}

/// Takes what begins like a record of TLS, and keeps it as it is.
struct Rest {
    ids: [FieldId; 2],
}

impl Default for Rest {
    fn default() -> Self {
        Self { ids: [FieldId::FIRST_DECLARED; 2] }
    }
}

impl Rest {
    fn specs() -> [FieldSpec; 2] {
        ["rest.forward", "rest.backward"].map(|name| FieldSpec::new(name, FieldKind::Bytes, "what was handed over"))
    }
}

impl ProtocolTemplate for Rest {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let begins = [stream.forward, stream.backward].map(|bytes| bytes.first().copied());
        match begins {
            [Some(0x15 | 0x16), _] | [None, Some(0x15 | 0x16)] => Probe::Certain,
            [None, None] => Probe::Unsure,
            _ => Probe::No,
        }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        out.fields(&self.ids, &[stream.forward, stream.backward].map(|bytes| Some(Value::Bytes(bytes))));
        Ok(Progress::of(stream, false, false))
    }
}

/// What a template read of a talk, by the names of its fields.
pub struct Told<'a> {
    /// The flow.
    pub flow: FlowRecord,
    /// How often the template failed.
    pub errors: u64,
    fields: &'a FieldTable,
}

impl Told<'_> {
    /// Whether the template recognised the flow.
    pub fn recognised(&self) -> bool {
        self.flow.templates().any(|(template, _)| template == 0)
    }

    /// What was handed over, forward first, where a template [`with_rest`](Wired::with_rest) took it.
    pub fn rest(&self) -> Option<[&[u8]; 2]> {
        self.fields.id("rest.forward")?;
        Some([self.bytes("rest.forward")?, self.bytes("rest.backward")?])
    }

    /// All declared fields that the flow has, a line each, as `name = value`: for a golden that one reads.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for (id, spec) in self.fields.declared() {
            let value = match self.flow.fields.get(id) {
                None => continue,
                Some(Value::U64(number)) => number.to_string(),
                Some(Value::F64(number)) => number.to_string(),
                Some(Value::Bytes(bytes)) => format!("\"{}\"", bytes.escape_ascii()),
                Some(Value::U16List(list)) => format!("{list:?}"),
            };
            lines.push_str(&format!("{} = {value}\n", spec.name));
        }
        lines
    }

    /// The value of a field; `None` where the flow has none.
    ///
    /// # Panics
    /// Where no such field is declared.
    pub fn value(&self, name: &str) -> Option<Value<'_>> {
        let Some(id) = self.fields.id(name) else {
            let declared: Vec<&str> = self.fields.declared().map(|(_, spec)| spec.name.as_ref()).collect();
            panic!("no field is named `{name}`; declared are {}", declared.join(", "))
        };
        self.flow.fields.get(id)
    }

    /// The value of a field of bytes, where it is text.
    ///
    /// # Panics
    /// Where no such field is declared.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// The value of a field of bytes.
    ///
    /// # Panics
    /// Where no such field is declared.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = self.value(name)? { Some(bytes) } else { None }
    }

    /// The value of a field of unsigned numbers.
    ///
    /// # Panics
    /// Where no such field is declared.
    pub fn number(&self, name: &str) -> Option<u64> {
        if let Value::U64(number) = self.value(name)? { Some(number) } else { None }
    }

    /// The value of a field of numbers with a fraction.
    ///
    /// # Panics
    /// Where no such field is declared.
    pub fn float(&self, name: &str) -> Option<f64> {
        if let Value::F64(number) = self.value(name)? { Some(number) } else { None }
    }

    /// The value of a field of code points.
    ///
    /// # Panics
    /// Where no such field is declared.
    pub fn list(&self, name: &str) -> Option<&[u16]> {
        if let Value::U16List(list) = self.value(name)? { Some(list) } else { None }
    }
}
