//! Real captures, where they are at hand, for the tests in here and within.

use std::io::Read;
use std::path::{Path, PathBuf};
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::{LinkType, Packet, decode};
use veilwatch_core::plugin::ProtocolTemplate;

/// Every capture whose file ends like this, in order; says so where there are none.
pub(crate) fn captures(endings: &[&str]) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data/train");
    let mut paths = Vec::new();
    find(&folder, endings, &mut paths);
    if paths.is_empty() {
        println!("skipped: no captures in {}", folder.display());
    }
    paths.sort();
    paths
}

fn find(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, endings, found);
        } else if path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending)) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).expect("readable");
    if path.extension().is_some_and(|extension| extension == "gz") {
        let packed = std::mem::take(&mut bytes);
        flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("whole");
    }
    bytes
}

/// The flows of a capture, as the flow table reads them with this template.
pub(crate) fn flows(path: &Path, template: impl ProtocolTemplate + 'static) -> Vec<FlowRecord> {
    let templates = Templates::new(vec![Box::new(template)]);
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    each_packet(&read(path), |packet| {
        if let Ok(decoded) = decode(&packet) {
            table.push(packet.number, packet.time_ns, &decoded, &templates);
        }
    });
    table.finish_all(0, &templates);
    table.take_finished()
}

/// Hands the packets of a classic pcap file out; what is cut off at the end is left.
fn each_packet(file: &[u8], mut take: impl FnMut(Packet<'_>)) {
    let Some(magic) = file.first_chunk::<4>() else { return };
    let (little, nanos) = match u32::from_le_bytes(*magic) {
        0xa1b2_c3d4 => (true, 1000),
        0xa1b2_3c4d => (true, 1),
        0xd4c3_b2a1 => (false, 1000),
        0x4d3c_b2a1 => (false, 1),
        _ => return,
    };
    let word = |at: usize| {
        let bytes = *file.get(at..)?.first_chunk::<4>()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let Some(link) = word(20).map(|link| LinkType(link as u16)) else { return };
    let mut at = 24;
    let mut number = 0;
    while let (Some(seconds), Some(part), Some(kept), Some(wire_len)) =
        (word(at), word(at + 4), word(at + 8), word(at + 12))
    {
        let Some(data) = file.get(at + 16..at + 16 + kept as usize) else { return };
        number += 1;
        let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(part) * nanos;
        take(Packet { number, time_ns, link, wire_len: wire_len.max(kept), data });
        at += 16 + kept as usize;
    }
}
