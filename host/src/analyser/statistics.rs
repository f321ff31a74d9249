use super::{Index, IndexedFlow};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use veilwatch_core::packet::LinkType;
use veilwatch_core::tables::{Tables, Transport};

/// What the packets of a capture come to. All bytes are those that packets had on the wire.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// Protocols, from the outside in: each stands behind the one that carries it.
    pub protocols: Vec<ProtocolCount>,
    /// Flows by what they carried, the largest first.
    pub flows: Vec<FlowCount>,
    /// Hosts by what they sent and got, the largest first.
    pub hosts: Vec<HostCount>,
    /// Packets by their lengths, the shortest first; lengths that no packet has are left out.
    pub lengths: Vec<LengthCount>,
    /// Packets and bytes over time.
    pub rate: Rate,
}

/// What a protocol carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolCount {
    /// Protocols around it.
    pub depth: usize,
    /// Its name; of a service the one its port usually stands for.
    pub name: String,
    /// Packets of it.
    pub packets: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// What a flow carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowCount {
    /// Its number in the index.
    pub flow: u32,
    /// Packets, both ways.
    pub packets: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// What a host sent and got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCount {
    /// Its address.
    pub host: IpAddr,
    /// Packets and bytes that it sent.
    pub sent: (u64, u64),
    /// Packets and bytes that it got.
    pub got: (u64, u64),
}

/// Packets of like lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LengthCount {
    /// The shortest and the longest, in bytes; the last range has no end.
    pub range: (u32, u32),
    /// How many packets.
    pub packets: u64,
}

/// Packets and bytes in equal stretches of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rate {
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
            protocols: protocols(index, tables),
            flows: flows(index),
            hosts: hosts(index),
            lengths: lengths(index),
            rate: rate(index),
        }
    }
}

fn total(flow: &IndexedFlow) -> (u64, u64) {
    (flow.packets.iter().sum(), flow.bytes.iter().sum())
}

fn add(sum: &mut (u64, u64), (packets, bytes): (u64, u64)) {
    *sum = (sum.0 + packets, sum.1 + bytes);
}

fn protocols(index: &Index, tables: &Tables) -> Vec<ProtocolCount> {
    let mut links: BTreeMap<LinkType, (u64, u64)> = BTreeMap::new();
    for place in index.places.from(0) {
        add(links.entry(place.link).or_default(), (1, place.wire_len.into()));
    }
    let mut counted: BTreeMap<Vec<String>, (u64, u64)> = BTreeMap::new();
    for flow in &index.flows {
        let family = if flow.key.low.is_ipv4() { "IPv4" } else { "IPv6" };
        let transport = if flow.key.protocol == 6 { "TCP" } else { "UDP" };
        let port = flow.key.low.port.min(flow.key.high.port);
        let service = tables.service_name(Transport::of_protocol(flow.key.protocol), port);
        let path = [family, transport, service.unwrap_or("other ports")].map(str::to_owned);
        for depth in 1..=path.len() {
            add(counted.entry(path[..depth].to_vec()).or_default(), total(flow));
        }
    }
    let name = |link: LinkType| link.name().map_or_else(|| format!("link type {}", link.0), str::to_owned);
    let links =
        links.into_iter().map(|(link, (packets, bytes))| ProtocolCount { depth: 0, name: name(link), packets, bytes });
    let others = counted.into_iter().map(|(mut path, (packets, bytes))| {
        let depth = path.len();
        ProtocolCount { depth, name: path.pop().unwrap_or_default(), packets, bytes }
    });
    links.chain(others).take(LINES).collect()
}

fn flows(index: &Index) -> Vec<FlowCount> {
    let count = |(flow, known)| {
        let (packets, bytes) = total(known);
        FlowCount { flow, packets, bytes }
    };
    let mut all: Vec<FlowCount> = (0..).zip(&index.flows).map(count).collect();
    all.sort_by_key(|count| (std::cmp::Reverse(count.bytes), count.flow));
    all.truncate(LINES);
    all
}

fn hosts(index: &Index) -> Vec<HostCount> {
    let mut hosts: HashMap<IpAddr, [(u64, u64); 2]> = HashMap::new();
    for flow in &index.flows {
        let (first, second) = if flow.upward { (flow.key.low, flow.key.high) } else { (flow.key.high, flow.key.low) };
        let [there, back] = [0, 1].map(|way| (flow.packets[way], flow.bytes[way]));
        for (host, ways) in [(first.ip(), [there, back]), (second.ip(), [back, there])] {
            let known = hosts.entry(host).or_default();
            known.iter_mut().zip(ways).for_each(|(sum, more)| add(sum, more));
        }
    }
    let mut all: Vec<HostCount> = hosts.into_iter().map(|(host, [sent, got])| HostCount { host, sent, got }).collect();
    all.sort_by_key(|count| (std::cmp::Reverse(count.sent.1 + count.got.1), count.host));
    all.truncate(LINES);
    all
}

fn lengths(index: &Index) -> Vec<LengthCount> {
    const ENDS: [u32; 9] = [19, 39, 79, 159, 319, 639, 1279, 2559, 5119];
    let mut counts = [0u64; ENDS.len() + 1];
    for place in index.places.from(0) {
        counts[ENDS.partition_point(|end| *end < place.wire_len)] += 1;
    }
    let begins = std::iter::once(0).chain(ENDS.iter().map(|end| end + 1));
    let ends = ENDS.iter().copied().chain([u32::MAX]);
    let count = |(range, packets)| LengthCount { range, packets };
    begins.zip(ends).zip(counts).filter(|(_, packets)| *packets > 0).map(count).collect()
}

fn rate(index: &Index) -> Rate {
    let times = || index.places.from(0).map(|place| place.time_ns);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Rate::default() };
    let stretch = (last - first) / STRETCHES as u64 + 1;
    let mut stretches = vec![(0, 0); STRETCHES];
    for place in index.places.from(0) {
        if let Some(count) = stretches.get_mut(((place.time_ns - first) / stretch) as usize) {
            add(count, (1, place.wire_len.into()));
        }
    }
    Rate { seconds: stretch as f64 / 1e9, stretches }
}
