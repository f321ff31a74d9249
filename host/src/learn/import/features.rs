//! A conversation becomes a row.

use super::super::LearnError;
use super::super::random::Random;
use super::packets::{Conversation, Packet};
use veilwatch_core::feature::{Column, Evidence, FeatureSchema};
use veilwatch_core::flow::Moments;

/// Columns that the words of summaries are hashed into.
const WORDS: usize = 64;

/// Protocols and services with a column of their own, by words that name them.
const SERVICES: [(&str, &[&str]); 8] = [
    ("web_encrypted", &["https"]),
    ("web", &["http", "http-alt"]),
    ("dns", &["dns", "domain", "mdns", "llmnr"]),
    ("names", &["netbios-ns", "netbios-dgm", "ssdp"]),
    ("addresses", &["dhcpv6-server", "dhcpv6-client", "bootps", "bootpc", "dhcp"]),
    ("arp", &["arp"]),
    ("control", &["icmp", "ipv6-icmp", "igmp"]),
    ("transport", &["tcp", "udp"]),
];

const NUMBERS: [(&str, &str, &str); 16] = [
    ("packets", "count", "packets"),
    ("bytes", "bytes", "bytes of all packets"),
    ("seconds", "seconds", "time from the first packet to the last"),
    ("length_mean", "bytes", "mean length of a packet"),
    ("length_min", "bytes", "shortest packet"),
    ("length_max", "bytes", "longest packet"),
    ("length_deviation", "bytes", "spread of the lengths"),
    ("forward_packets", "ratio", "share of packets that go the way of the first one"),
    ("forward_bytes", "ratio", "share of bytes that go the way of the first one"),
    ("gap_mean", "seconds", "mean time between packets"),
    ("gap_max", "seconds", "longest time between packets"),
    ("gap_deviation", "seconds", "spread of the times between packets"),
    ("ports_system", "ratio", "share of packets of a port below 1024"),
    ("ports_user", "ratio", "share of packets of a port from 1024 to 49151"),
    ("ports_dynamic", "ratio", "share of packets of higher ports alone"),
    ("services", "count", "different services"),
];

/// The columns of such a row.
pub fn schema() -> Result<FeatureSchema, LearnError> {
    let numbers = NUMBERS.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::Flow));
    let services = SERVICES.map(|(name, _)| {
        Column::new(format!("service_{name}"), "ratio", format!("share of packets of {name}"), Evidence::Flow)
    });
    let words = (0..WORDS).map(|at| {
        Column::new(
            format!("words_{at}"),
            "ratio",
            format!("share of the summary's words in place {at}"),
            Evidence::Flow,
        )
    });
    let columns = numbers.into_iter().chain(services).chain(words).collect();
    FeatureSchema::join([("import", columns)])
        .map_err(|error| LearnError::File { path: "columns of imported tables".into(), what: error.to_string() })
}

/// The row of a conversation; no cell is missing or negative, so that every classifier takes it.
pub(super) fn row(conversation: &Conversation) -> Vec<f32> {
    let packets = &conversation.packets;
    let (mut lengths, mut gaps) = (Moments::default(), Moments::default());
    packets.iter().for_each(|packet| lengths.add(packet.length));
    let mut times: Vec<f64> = packets.iter().map(|packet| packet.seconds).collect();
    times.sort_by(f64::total_cmp);
    times.windows(2).for_each(|pair| gaps.add(pair[1] - pair[0]));
    let bytes: f64 = packets.iter().map(|packet| packet.length).sum();
    let share = |is: &dyn Fn(&Packet) -> bool| {
        packets.iter().filter(|packet| is(packet)).count() as f64 / (packets.len() as f64).max(1.0)
    };
    let forward: f64 = packets.iter().filter(|packet| packet.forward).map(|packet| packet.length).sum();
    let ports = |from: u16, to: u16| share(&|packet| packet.port.is_some_and(|port| (from..=to).contains(&port)));
    let mut services: Vec<&str> = packets.iter().map(|packet| packet.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    let mut row = vec![
        packets.len() as f64,
        bytes,
        times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first),
        lengths.mean,
        lengths.min,
        lengths.max,
        lengths.deviation(),
        share(&|packet| packet.forward),
        if bytes > 0.0 { forward / bytes } else { 0.0 },
        gaps.mean,
        gaps.max,
        gaps.deviation(),
        ports(0, 1023),
        ports(1024, 49_151),
        ports(49_152, u16::MAX),
        services.len() as f64,
    ];
    row.extend(SERVICES.map(|(_, names)| share(&|packet| names.contains(&packet.service.as_str()))));
    let mut words = vec![0.0; WORDS];
    let all: Vec<&String> = packets.iter().flat_map(|packet| &packet.words).collect();
    for word in &all {
        words[place(word)] += 1.0 / all.len() as f64;
    }
    row.extend(words);
    row.into_iter().map(|value| value as f32).collect()
}

/// Where a word is counted.
fn place(word: &str) -> usize {
    (Random::of(0, &[word]).next() % WORDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_wide_as_its_schema_and_counts_what_was_said() {
        let packet = |seconds: f64, forward, words: &[&str]| Packet {
            seconds,
            forward,
            length: if forward { 100.0 } else { 300.0 },
            port: Some(443),
            service: "https".into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        let packets = vec![packet(10.0, true, &["tls", "tls"]), packet(12.0, false, &["tcp", "tls"])];
        let row = row(&Conversation { first_packet: 1, packets });
        let schema = schema().unwrap();
        assert_eq!(row.len(), schema.width());
        let of = |name: &str| {
            row[schema.columns().iter().position(|column| column.name == format!("import.{name}")).unwrap()]
        };
        assert_eq!([of("packets"), of("bytes"), of("seconds"), of("length_mean")], [2.0, 400.0, 2.0, 200.0]);
        assert_eq!([of("forward_bytes"), of("gap_mean"), of("ports_system")], [0.25, 2.0, 1.0]);
        assert_eq!(of("service_web_encrypted"), 1.0);
        let words: Vec<f32> =
            row[NUMBERS.len() + SERVICES.len()..].iter().copied().filter(|share| *share > 0.0).collect();
        assert!(words == [0.75, 0.25] || words == [0.25, 0.75], "{words:?}");
    }
}
