//! Headers and checksums of single packets: what we show is what tshark shows.
//!
//! A few captures of the data beside the checkout; `VEILWATCH_ORACLE_CAPTURES` says how many instead. Differences that are
//! meant have a class here, with the reason, and any other fails the test.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch::config::Config;
use veilwatch::engine::{Pipeline, Progress};
use veilwatch::packets::{Numbers, PacketSink, PacketView, ReadOptions, read};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_core::packet::dissect::Datum;

/// What is compared, by the names that both have for it.
const FIELDS: [&str; 40] = [
    "eth.src",
    "eth.dst",
    "eth.type",
    "vlan.id",
    "arp.opcode",
    "arp.src.proto_ipv4",
    "arp.dst.proto_ipv4",
    "ip.src",
    "ip.dst",
    "ip.hdr_len",
    "ip.len",
    "ip.id",
    "ip.ttl",
    "ip.proto",
    "ip.frag_offset",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.plen",
    "ipv6.nxt",
    "ipv6.hlim",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.hdr_len",
    "tcp.len",
    "tcp.window_size_value",
    "tcp.checksum.status",
    "tcp.options.mss_val",
    "tcp.options.timestamp.tsval",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "udp.checksum.status",
    "icmp.type",
    "icmp.code",
    "icmp.checksum.status",
    "icmpv6.type",
];
/// Packets of a capture that are compared.
const PACKETS: u64 = 400;
/// Captures of each folder, unless somebody asks for more.
const CAPTURES: usize = 5;
/// The largest of them in bytes.
const LARGEST: u64 = 1 << 20;

/// A packet's values, each with those of all its nodes.
type Values = Vec<Vec<String>>;

/// What we say of a packet.
struct Said {
    values: Values,
    /// A header ends behind what was captured, or a length reaches out of it.
    cut: bool,
    /// The link type is one that we decode.
    known: bool,
    /// It quotes a packet, or is a part of one.
    partly: bool,
}

/// A value as both can write it.
fn same(field: &str, value: &str) -> String {
    if field.ends_with(".status") {
        let words = ["bad", "good", "not verified", "none"];
        let number = value.parse::<usize>().ok();
        return number.and_then(|number| words.get(number)).map_or(value, |word| *word).to_owned();
    }
    let hex = value.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    hex.map_or_else(|| value.to_owned(), |number| number.to_string())
}

/// What tshark says; nothing where it reads nothing.
fn theirs(capture: &Path) -> BTreeMap<u64, Values> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=,"]);
    tshark.args(["-c", &PACKETS.to_string(), "-e", "frame.number"]);
    FIELDS.iter().for_each(|field| _ = tshark.args(["-e", field]));
    for option in [
        "ip.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
        "ip.tso_support:TRUE",
    ] {
        tshark.args(["-o", option]);
    }
    let output = tshark.arg("-r").arg(capture).output().unwrap();
    let mut rows = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut cells = line.split('\t');
        let Some(number) = cells.next().and_then(|number| number.parse().ok()) else { continue };
        let values = |(field, cell): (&&str, &str)| {
            cell.split(',').filter(|value| !value.is_empty()).map(|value| same(field, value)).collect()
        };
        rows.insert(number, FIELDS.iter().zip(cells).map(values).collect());
    }
    rows
}

/// What we say.
#[derive(Default)]
struct Ours(BTreeMap<u64, Said>);

impl PacketSink for Ours {
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
        let value = |field: &str| {
            let value = |node: &veilwatch_core::packet::dissect::PacketNode| match &node.datum {
                Datum::Number(number) => number.to_string(),
                Datum::Ip(address) => address.to_string(),
                _ => node.value.clone(),
            };
            view.tree.field(field).map(value).collect()
        };
        let values = FIELDS.iter().map(|field| value(field)).collect();
        let words = ["cut off", "more than there is", "less than"];
        let cut = view.tree.nodes.iter().any(|node| words.iter().any(|words| node.value.contains(words)));
        let partly =
            ["icmp.quoted", "ip.fragment", "ipv6.fragment"].iter().any(|name| view.tree.field(name).count() > 0);
        self.0.insert(view.packet.number, Said { values, cut, known: view.packet.link.is_known(), partly });
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ours(pipeline: &Pipeline, capture: &Path) -> BTreeMap<u64, Said> {
    let Ok(source) = Source::open(capture, &pipeline.config().input) else { return BTreeMap::new() };
    let numbers: Numbers = format!("-{PACKETS}").parse().unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = ReadOptions { numbers: &numbers, query: None, stop: &stop, progress: &progress };
    let mut sink = Ours::default();
    read(pipeline, source, options, &mut sink).unwrap();
    sink.0
}

/// Why a difference is meant; nothing where it is not.
fn class(capture: &str, said: &Said, field: &str, theirs: &[String], ours: &[String]) -> Option<&'static str> {
    const OFFLOAD: &str = "not computed (offload)";
    let same_but_offload = |(their, our): (&String, &String)| their == our || (their == "bad" && our == OFFLOAD);
    if theirs.len() == ours.len() && theirs.iter().zip(ours).all(same_but_offload) {
        return Some("tshark calls bad what was left to the network card");
    }
    if field == "ip.len" && ours.iter().zip(theirs).any(|(our, their)| our == "0" && our != their) {
        return Some("a total length of zero: tshark prints the frame's");
    }
    if field == "vlan.id" && ours.ends_with(theirs) {
        return Some("tshark has other names for the outer tag (802.1ad)");
    }
    if said.partly && theirs.is_empty() && field.starts_with("tcp.") {
        return Some("of a TCP header in a fragment or in what an error quotes tshark reads less");
    }
    // Where a capture stands for something that tshark follows and we do not, or the other way round.
    const KNOWN: [(&str, &str); 17] = [
        ("nhrp", "NHRP, of which the quoted packet is not read"),
        ("eoip", "EoIP, which is not followed"),
        ("PcapPlusPlus__ipv6.dmp", "LISP, which is not followed"),
        ("IcmpV6Redirect", "the packet that an ICMPv6 redirect quotes stands in an option, which is not read"),
        ("someip_sd_sample", "behind PPI only IP is looked for, and the frame around it has no layer"),
        ("boundary_wireshark__arp.pcap", "ARP over Frame Relay, behind which only IP is looked for"),
        ("IPcomp", "IPComp, which is not unpacked"),
        ("pbb_truncated_inner_arp", "ARP over a provider's backbone, behind which only IP is looked for"),
        ("pppoe_session_unsupported", "a version or code of PPPoE that there is not: tshark reads on"),
        ("sflow", "sFlow, whose samples are not followed"),
        ("pdp_ctx", "GTP of version 0, which is not followed"),
        ("ayiya", "AYIYA, which is not followed"),
        ("gre-aruba", "Aruba's frames in GRE, which are not followed"),
        ("gtpu_udp_port_direction", "GTP-U from its port, where we follow what goes to it"),
        ("ntop_nDPI__ajp", "FabricPath, where tshark takes the last four bytes of a packet for the frame's checksum"),
        ("bigtcp", "lengths of zero in jumbograms, which tshark 4.0 does not take for the frame's"),
        ("pcapng_unknown_blocks", "tshark numbers blocks that hold no packet"),
    ];
    if let Some((_, why)) = KNOWN.iter().find(|(part, _)| capture.contains(part)) {
        return Some(why);
    }
    if field == "udp.checksum.status" && theirs == ["4"] && ours == [OFFLOAD] {
        return Some("no checksum over IPv6: tshark says that it is not allowed");
    }
    if !said.known {
        return Some("a link type that is not decoded");
    }
    let eighth = |(their, our): (&String, &String)| our.parse::<u64>().is_ok_and(|our| *their == (our / 8).to_string());
    if field == "ip.frag_offset" && theirs.len() == ours.len() && theirs.iter().zip(ours).all(eighth) {
        return Some("tshark gives a fragment's place in units of eight bytes");
    }
    if said.cut {
        return Some("a header is cut or its length lies: which fields are read before that, each decides by itself");
    }
    None
}

/// So many captures of a folder, evenly spread over the order of their names.
fn captures(root: &Path, most: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let (path, bytes) = (entry.path(), entry.metadata().unwrap().len());
            let list = path.extension().is_some_and(|ending| ["csv", "md"].iter().any(|list| ending == *list));
            if path.is_dir() {
                folders.push(path);
            } else if bytes <= LARGEST && !list {
                found.push(path);
            }
        }
    }
    found.sort();
    let step = found.len().div_ceil(most).max(1);
    found.into_iter().step_by(step).collect()
}

#[test]
fn headers_and_checksums_are_tsharks() {
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("skipped: there is no tshark");
        return;
    }
    let asked = std::env::var("VEILWATCH_ORACLE_CAPTURES").ok().and_then(|number| number.parse().ok());
    let mut list = Vec::new();
    for folder in ["train", "badinput"] {
        let Some(root) = common::shared(folder) else { return };
        list.extend(captures(&root, asked.unwrap_or(CAPTURES)));
    }
    let mut config = Config::builtin().unwrap();
    // A machine that has much else to do is no plugin's fault.
    config.plugins.batch_milliseconds = 600_000;
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let (next, packets, values) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let (classes, others) =
        (Mutex::new(BTreeMap::<&str, usize>::new()), Mutex::new(BTreeMap::<(String, &str), (usize, String)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(capture) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (theirs, ours) = (theirs(capture), ours(&pipeline, capture));
                    for (number, their_row) in &theirs {
                        let Some(said) = ours.get(number) else { continue };
                        packets.fetch_add(1, Ordering::Relaxed);
                        for (field, (their, our)) in FIELDS.iter().zip(their_row.iter().zip(&said.values)) {
                            values.fetch_add(our.len(), Ordering::Relaxed);
                            if their == our {
                                continue;
                            }
                            match class(&capture.to_string_lossy(), said, field, their, our) {
                                Some(class) => *classes.lock().unwrap().entry(class).or_default() += 1,
                                None => {
                                    let place = (capture.display().to_string(), *field);
                                    let first = || (0, format!("packet {number}: tshark {their:?}, we {our:?}"));
                                    others.lock().unwrap().entry(place).or_insert_with(first).0 += 1;
                                }
                            }
                        }
                    }
                }
            });
        }
    });
    let (packets, values) = (packets.into_inner(), values.into_inner());
    println!("{} captures, {packets} packets, {values} values", list.len());
    classes.into_inner().unwrap().iter().for_each(|(class, count)| println!("{count} times: {class}"));
    let told = |((capture, field), (count, first)): (&(String, &str), &(usize, String))| {
        format!("{capture} {field}: {count} times, such as {first}")
    };
    let others: Vec<String> = others.into_inner().unwrap().iter().map(told).collect();
    assert!(packets > 500 && values > 10_000, "{packets} packets, {values} values");
    assert!(others.is_empty(), "differences in\n{}", others.join("\n"));
}
