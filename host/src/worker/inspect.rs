use super::events::words;
use super::order::{Failed, Inspection};
use super::run::{unreadable, without_packets};
use crate::engine::Progress;
use crate::source::Source;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use veilwatch_core::packet::{DecodeLimits, Decoder};

/// Link types that are told of, those with the most packets: pcapng has room for 65,536.
const LINKS: usize = 64;

/// Looks at the first packets of a capture.
pub(super) fn inspect(
    mut source: Source,
    limit: u64,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Inspection, Failed> {
    let mut links: BTreeMap<u16, u64> = BTreeMap::new();
    let (mut packets, mut decoded) = (0, 0);
    let (mut first_ns, mut last_ns) = (None, None);
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    let mut complete = false;
    let mut spare = None;
    'blocks: while !stop.load(Ordering::Relaxed) {
        let Some(block) = source.next_block(spare.take()).map_err(|error| unreadable(&error))? else {
            complete = source.status().damage.is_none();
            break;
        };
        for packet in block.packets() {
            if packets == limit {
                break 'blocks;
            }
            packets += 1;
            *links.entry(packet.link.0).or_default() += 1;
            first_ns = Some(first_ns.map_or(packet.time_ns, |first: u64| first.min(packet.time_ns)));
            last_ns = last_ns.max(Some(packet.time_ns));
            decoded += u64::from(decoder.decode(0, &packet).is_ok());
        }
        progress.bytes.store(source.status().file_bytes, Ordering::Relaxed);
        progress.packets.store(packets, Ordering::Relaxed);
        spare = Some(block);
    }
    let status = source.status();
    if packets == 0 && (complete || status.damage.is_some()) {
        return Err(without_packets(status));
    }
    let mut links: Vec<(u16, u64)> = links.into_iter().collect();
    links.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    links.truncate(LINKS);
    links.sort_unstable();
    Ok(Inspection {
        format: status.format.into(),
        compression: status.compression.map(Into::into),
        packets,
        complete,
        bytes: status.file_bytes,
        first_ns,
        last_ns,
        links,
        decoded,
        damage: status.damage.as_ref().map(|damage| words(damage)),
    })
}
