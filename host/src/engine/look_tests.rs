//! Looks change when a flow is told, and nothing else; but for a clock that is set back (host/LIVE.md).

use super::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use crate::config::Config;
use crate::output::FlowLines;
use crate::plugins::Registry;
use crate::source::{Block, Feed, InputLimits, Look, Source, SourceStatus};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use veilwatch_core::packet::LinkType;

const SECOND: u64 = 1_000_000_000;

#[derive(Clone)]
struct Made {
    time_ns: u64,
    wire_len: u32,
    link: LinkType,
    data: Vec<u8>,
}

fn packets(name: &str) -> Vec<Made> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures").join(name);
    let mut source = Source::open(&path, &InputLimits::default()).unwrap();
    let mut all = Vec::new();
    while let Some(block) = source.next_block(None).unwrap() {
        all.extend(block.packets().map(|packet| Made {
            time_ns: packet.time_ns,
            wire_len: packet.wire_len,
            link: packet.link,
            data: packet.data.to_vec(),
        }));
    }
    all
}

/// Packets in pieces of any size, with looks in between or without.
struct Pieces {
    packets: Arc<Vec<Made>>,
    at: usize,
    random: Option<StdRng>,
}

impl Feed for Pieces {
    fn fill(&mut self, block: &mut Block, _: &mut SourceStatus) -> bool {
        let left = &self.packets[self.at..];
        if left.is_empty() {
            return false;
        }
        let most = self.random.as_mut().map_or(50, |random| random.gen_range(0..9));
        for packet in left.iter().take(most) {
            assert!(block.append(packet.time_ns, packet.wire_len, packet.link, [&packet.data, &[], &[]]));
        }
        self.at += block.len();
        if let Some(random) = &mut self.random
            && (block.is_empty() || random.gen_bool(0.5))
        {
            // As much as is true: no packet to come is earlier.
            let quiet = self.packets[self.at..].iter().map(|packet| packet.time_ns).min();
            let quiet = quiet.map_or(u64::MAX / 2, |quiet| quiet.saturating_sub(1));
            let quiet =
                if random.gen_bool(0.3) { quiet.saturating_sub(random.gen_range(0..20 * SECOND)) } else { quiet };
            block.ask(Look { nothing_before_ns: random.gen_bool(0.7).then_some(quiet) });
        }
        true
    }
}

/// Every record as a line, and its row.
struct Told {
    lines: FlowLines,
    told: BTreeMap<(u64, bool), (String, Vec<u32>)>,
    order: Vec<(u64, bool)>,
}

impl Told {
    fn take(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let mut line = Vec::new();
        self.lines.flow(detection, &mut line)?;
        let row = detection.scored.map(|scored| scored.row.iter().map(|value| value.to_bits()).collect());
        let key = (detection.flow.id, detection.flow.is_early());
        assert!(self.told.insert(key, (String::from_utf8(line).unwrap(), row.unwrap_or_default())).is_none());
        self.order.push(key);
        Ok(())
    }
}

impl Sink for Told {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.take(detection)
    }

    fn early(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.take(detection)
    }
}

fn told(pipeline: &Pipeline, packets: &Arc<Vec<Made>>, workers: usize, seed: Option<u64>) -> Told {
    let random = seed.map(StdRng::seed_from_u64);
    let source = Source::feed("made", 0, Pieces { packets: Arc::clone(packets), at: 0, random });
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers, packets: None, stop: &stop, progress: &progress };
    let mut told = Told { lines: FlowLines::new(None, 512), told: BTreeMap::new(), order: Vec::new() };
    run(pipeline, source, options, &mut told).unwrap();
    told
}

/// What may become of the times of a capture.
fn altered(packets: &[Made], how: &str) -> Vec<Made> {
    let mut packets = packets.to_vec();
    let half = packets.len() / 2;
    match how {
        // Longer than the clock takes for a leap: it believes the new time after some packets.
        "gap" => packets[half..].iter_mut().for_each(|packet| packet.time_ns += 700 * SECOND),
        "short gap" => packets[half..].iter_mut().for_each(|packet| packet.time_ns += 140 * SECOND),
        "a broken clock" => {
            packets.iter_mut().skip(50).step_by(97).for_each(|packet| packet.time_ns += 90_000 * SECOND)
        }
        "late" => {
            let mut random = StdRng::seed_from_u64(7);
            for at in 1..packets.len() {
                if random.gen_bool(0.2) && packets[at].time_ns - packets[at - 1].time_ns < SECOND {
                    packets.swap(at, at - 1);
                }
            }
        }
        _ => {}
    }
    packets
}

#[test]
fn looks_change_when_a_flow_is_told_and_nothing_else() {
    let text = crate::config::EXAMPLE
        .replace("early_packets = 0 ", "early_packets = 6 ")
        .replace("udp_idle_seconds = 120 ", "udp_idle_seconds = 5 ")
        .replace("linger_seconds = 10 ", "linger_seconds = 3 ");
    let config = Config::parse(&text, "made").unwrap();
    let pipeline = Pipeline::new(config, &mut Registry::with_builtins().unwrap()).unwrap();
    for name in ["first-run.pcap", "benign-odd.pcap"] {
        let packets = packets(name);
        for how in ["as it is", "gap", "short gap", "a broken clock", "late"] {
            let packets = Arc::new(altered(&packets, how));
            let without = told(&pipeline, &packets, 2, None);
            assert!(without.told.len() > 60);
            for seed in 0..6 {
                let with = told(&pipeline, &packets, 1 + seed as usize % 3, Some(seed));
                for (key, line) in &without.told {
                    assert_eq!(with.told.get(key), Some(line), "{name}, {how}, seed {seed}");
                }
                assert_eq!(with.order, without.order, "{name}, {how}, seed {seed}");
            }
        }
    }
}
