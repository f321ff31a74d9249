use crate::message::{Header, Message, Name};
use crate::probe::probe;
use serde::Deserialize;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView, within,
};
use veilwatch_core::record::{Dns, DnsLinks, FieldId, FieldKind, FieldSpec, Value};

/// Settings of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DnsSettings {
    /// Bytes kept of a flow's names and the addresses that they led to; an address takes 20.
    link_bytes: u32,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self { link_bytes: 4096 }
    }
}

/// The template of DNS, mDNS and LLMNR.
pub struct DnsTemplate {
    settings: DnsSettings,
    ids: Vec<FieldId>,
}

impl DnsTemplate {
    /// Makes it from its settings.
    ///
    /// # Errors
    /// Settings that are unknown or out of range.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: DnsSettings = settings.read()?;
        within("link_bytes", settings.link_bytes, 64..=12_288)?;
        Ok(Self { settings, ids: Vec::new() })
    }
}

/// The port of DNS.
const DNS: u16 = 53;
/// The port of mDNS, and the field's word for it.
const MDNS: (u16, &[u8]) = (5353, b"mdns");
/// The port of LLMNR, and the field's word for it.
const LLMNR: (u16, &[u8]) = (5355, b"llmnr");

impl ProtocolTemplate for DnsTemplate {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("dns.variant", FieldKind::Bytes, "`mdns` or `llmnr`, where it is one of these by its port"),
            FieldSpec::limit("dns", "link_bytes"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let ports = [stream.originator_port, stream.responder_port];
        let of_its_port = [MDNS, LLMNR].into_iter().find(|(port, _)| ports.contains(port)).map(|(_, word)| word);
        // A client's own port may be any.
        let variant = of_its_port.filter(|_| !ports.contains(&DNS));
        // What everybody hears leads nobody anywhere. Who asks from another port is answered alone (RFC 6762 section 6.7),
        // and who answers the port of mDNS answers everybody.
        let to_all = ports == [MDNS.0; 2] || ports[1] == MDNS.0 && answers(stream);
        let [mut asked, mut answered] = [stream.forward, stream.backward];
        if !to_all && answers(stream) {
            // The capture began between question and answer.
            out.swap_directions();
            std::mem::swap(&mut asked, &mut answered);
        }
        let mut said = Said { most: self.settings.link_bytes as usize, to_all, ..Said::default() };
        let forward = said.read(asked, stream.carrier, Side::Asks);
        let backward = said.read(answered, stream.carrier, Side::Answers);
        said.write(out);
        let limited = said.limited.then_some(Value::U64(1));
        out.fields(&self.ids, &[variant.map(Value::Bytes), limited]);
        if forward == usize::MAX && backward == usize::MAX {
            return Ok(Progress::Done);
        }
        Ok(Progress::More { forward, backward })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, tree);
    }
}

/// Whether the originator is who answers, as far as the first messages tell. Whoever is called the originator, the answer
/// comes to the same: where both sides answer, the lower port is the server's.
fn answers(stream: &StreamView<'_>) -> bool {
    let skipped = if stream.carrier == Carrier::Tcp { 2 } else { 0 };
    let response = |bytes: &[u8]| {
        bytes.get(skipped..).is_some_and(|first| Header::read(first).is_ok_and(|header| header.response))
    };
    response(stream.forward) && (!response(stream.backward) || stream.originator_port < stream.responder_port)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Asks,
    Answers,
}

/// What was read of a flow.
#[derive(Debug, Default)]
struct Said {
    /// Name and type that were asked for first.
    asked: Option<(Name, u16)>,
    /// Of the first response: its name and type, and its code.
    answered: Option<(Option<(Name, u16)>, u8)>,
    queries: u32,
    responses: u32,
    nxdomains: u32,
    answers: u32,
    ttl: Option<u32>,
    links: Vec<u8>,
    /// Most bytes of `links`.
    most: usize,
    limited: bool,
    /// Whether everybody answers everybody.
    to_all: bool,
}

impl Said {
    /// Reads one side's messages; returns how many bytes of it would tell more, `usize::MAX` for none.
    fn read(&mut self, bytes: &[u8], carrier: Carrier, side: Side) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            if carrier == Carrier::Tcp {
                // A message that cannot be followed is passed over by its length.
                let Some((&[high, low], behind)) = rest.split_first_chunk() else { return at + 2 };
                let len = usize::from(u16::from_be_bytes([high, low]));
                let Some((message, next)) = behind.split_at_checked(len) else { return at + 2 + len };
                if let Ok(message) = Message::read(message) {
                    self.take(&message, side);
                }
                rest = next;
                continue;
            }
            // Where a message cannot be followed nobody knows where the next one begins.
            let Ok(message) = Message::read(rest) else { return usize::MAX };
            self.take(&message, side);
            match message.end.ok().and_then(|end| rest.get(end..)) {
                Some(next) => rest = next,
                None => return usize::MAX,
            }
        }
        bytes.len() + 1
    }

    fn take(&mut self, message: &Message<'_>, side: Side) {
        let header = message.header;
        match (side, header.response) {
            (Side::Asks, false) => {
                self.queries += 1;
                self.asked = self.asked.or(message.first);
            }
            (Side::Answers, true) => self.take_response(message),
            (_, true) if self.to_all => self.take_response(message),
            _ => {}
        }
    }

    fn take_response(&mut self, message: &Message<'_>) {
        self.responses += 1;
        self.nxdomains += u32::from(message.header.rcode == 3);
        self.answered.get_or_insert((message.first, message.header.rcode));
        let mut addresses = Vec::new();
        for answer in message.answers() {
            self.answers += 1;
            self.ttl = Some(self.ttl.map_or(answer.ttl, |ttl| ttl.min(answer.ttl)));
            addresses.extend(answer.address().map(|address| (address, answer.ttl)));
        }
        let Some((name, _)) = message.first.filter(|_| !addresses.is_empty() && !self.to_all) else { return };
        // Only what is whole counts: behind a bound nothing more is added, so that the list grows at its end alone.
        let len = 2 + name.text().len() + 20 * addresses.len();
        self.limited |= self.links.len() + len > self.most || addresses.len() > 255;
        if !self.limited {
            DnsLinks::push(&mut self.links, name.text(), &addresses);
        }
    }

    fn write(&self, out: &mut RecordSink<'_>) {
        let (answered, rcode) = self.answered.unzip();
        let first = self.asked.or(answered.flatten());
        if first.is_none() && self.queries == 0 && self.responses == 0 {
            return;
        }
        out.record(&Dns {
            rrname: first.as_ref().map_or(b"", |(name, _)| name.text()),
            rrtype: first.map_or(0, |(_, kind)| kind),
            rcode: rcode.unwrap_or_default(),
            queries: self.queries,
            responses: self.responses,
            nxdomains: self.nxdomains,
            answers: self.answers,
            ttl: self.ttl.unwrap_or_default(),
            links: &self.links,
        });
    }
}
