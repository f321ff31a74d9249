use super::{Index, IndexedFlow};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use veilwatch_core::tables::{Tables, Transport};

/// What the packets of a capture come to.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// Protocols, from the outside in.
    pub hierarchy: Hierarchy,
    /// Flows by what they carried, the largest first.
    pub conversations: Vec<Conversation>,
    /// Hosts by the same.
    pub endpoints: Endpoints,
    /// Packets by their lengths.
    pub lengths: Lengths,
    /// Packets and bytes over time.
    pub rates: Rates,
}

/// Lines of protocols: how deep, its name, packets, bytes.
pub type Hierarchy = Vec<(usize, String, u64, u64)>;
/// Hosts: address, packets and bytes it sent, packets and bytes it got.
pub type Endpoints = Vec<(IpAddr, [u64; 4])>;
/// Ranges of lengths in bytes, with packets.
pub type Lengths = Vec<((u32, u32), u64)>;

/// A flow with what it carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its number in the index.
    pub flow: u32,
    /// All bytes of it on the wire.
    pub bytes: u64,
    /// All packets.
    pub packets: u64,
}

/// Packets and bytes in equal stretches of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    /// Seconds of each stretch.
    pub seconds: f64,
    /// Packets and bytes of each.
    pub stretches: Vec<(u64, u64)>,
}

/// Stretches that a capture's time is cut into.
const STRETCHES: usize = 60;
/// Lines of each list.
const LINES: usize = 1000;

impl Statistics {
    /// Counts all that is known of a capture.
    pub fn of(index: &Index, tables: &Tables) -> Self {
        Self {
            hierarchy: hierarchy(index, tables),
            conversations: conversations(index),
            endpoints: endpoints(index),
            lengths: lengths(index),
            rates: rates(index),
        }
    }
}

fn total(flow: &IndexedFlow) -> (u64, u64) {
    (flow.packets.iter().sum(), flow.bytes.iter().sum())
}

fn hierarchy(index: &Index, tables: &Tables) -> Hierarchy {
    let mut links: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for place in &index.places {
        let link = links.entry(place.link.0).or_default();
        *link = (link.0 + 1, link.1 + u64::from(place.wire_len));
    }
    let mut counted: BTreeMap<Vec<String>, (u64, u64)> = BTreeMap::new();
    for flow in &index.flows {
        let (packets, bytes) = total(flow);
        let family = if flow.key.low.is_ipv4() { "IPv4" } else { "IPv6" };
        let transport = Transport::of_protocol(flow.key.protocol);
        let word = if flow.key.protocol == 6 { "TCP" } else { "UDP" };
        let service = [flow.key.low.port, flow.key.high.port].iter().min().copied().unwrap_or_default();
        let service = tables.service_name(transport, service).unwrap_or("other ports").to_owned();
        let path = [family.to_owned(), word.to_owned(), service];
        for depth in 1..=path.len() {
            let known = counted.entry(path[..depth].to_vec()).or_default();
            *known = (known.0 + packets, known.1 + bytes);
        }
    }
    let mut lines = Vec::new();
    for (link, (packets, bytes)) in links {
        let name =
            veilwatch_core::packet::LinkType(link).name().map_or_else(|| format!("link type {link}"), str::to_owned);
        lines.push((0, name, packets, bytes));
    }
    lines.extend(
        counted
            .into_iter()
            .map(|(path, (packets, bytes))| (path.len(), path.last().cloned().unwrap_or_default(), packets, bytes)),
    );
    lines.truncate(LINES);
    lines
}

fn conversations(index: &Index) -> Vec<Conversation> {
    let numbered = (0..).zip(&index.flows);
    let mut all: Vec<Conversation> = numbered
        .map(|(flow, known)| {
            let (packets, bytes) = total(known);
            Conversation { flow, bytes, packets }
        })
        .collect();
    all.sort_by_key(|one| (std::cmp::Reverse(one.bytes), one.flow));
    all.truncate(LINES);
    all
}

fn endpoints(index: &Index) -> Endpoints {
    let mut hosts: HashMap<IpAddr, [u64; 4]> = HashMap::new();
    for flow in &index.flows {
        let (first, second) = if flow.upward { (flow.key.low, flow.key.high) } else { (flow.key.high, flow.key.low) };
        let there = [flow.packets[0], flow.bytes[0]];
        let back = [flow.packets[1], flow.bytes[1]];
        for (host, sent, got) in [(first.ip(), there, back), (second.ip(), back, there)] {
            let counts = hosts.entry(host).or_default();
            let more = [sent[0], sent[1], got[0], got[1]];
            counts.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }
    let mut all: Endpoints = hosts.into_iter().collect();
    all.sort_by_key(|(host, counts)| (std::cmp::Reverse(counts[1] + counts[3]), *host));
    all.truncate(LINES);
    all
}

fn lengths(index: &Index) -> Lengths {
    const ENDS: [u32; 9] = [19, 39, 79, 159, 319, 639, 1279, 2559, 5119];
    let mut counts = [0u64; ENDS.len() + 1];
    for place in &index.places {
        counts[ENDS.partition_point(|end| *end < place.wire_len)] += 1;
    }
    let begins = std::iter::once(0).chain(ENDS.iter().map(|end| end + 1));
    let ends = ENDS.iter().copied().chain([u32::MAX]);
    begins.zip(ends).zip(counts).filter(|(_, count)| *count > 0).collect()
}

fn rates(index: &Index) -> Rates {
    let times = || index.places.iter().map(|place| place.time_ns);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Rates::default() };
    let stretch = ((last - first) / STRETCHES as u64 + 1).max(1);
    let mut stretches = vec![(0, 0); STRETCHES];
    for place in &index.places {
        if let Some(count) = stretches.get_mut(((place.time_ns - first) / stretch) as usize) {
            *count = (count.0 + 1, count.1 + u64::from(place.wire_len));
        }
    }
    Rates { seconds: stretch as f64 / 1e9, stretches }
}
