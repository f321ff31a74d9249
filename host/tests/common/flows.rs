//! The flows of a capture, read with templates alone.

use veilwatch::source::Source;
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::{DecodeLimits, Decoder};

/// All flows of a capture; panics where a template failed.
pub(crate) fn flows(mut source: Source, templates: &Templates) -> Vec<FlowRecord> {
    // One table instead of 64: it may hold as much as they do together.
    let limits = FlowLimits { flows_per_shard: 1 << 20, prefix_bytes_per_shard: 256 << 20, ..FlowLimits::default() };
    let mut table = FlowTable::new(limits, 1);
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    let mut spare = None;
    while let Some(block) = source.next_block(spare.take()).unwrap() {
        for packet in block.packets() {
            if let Ok(decoded) = decoder.decode(0, &packet) {
                table.push(packet.number, packet.time_ns, &decoded, templates);
            }
        }
        spare = Some(block);
    }
    table.finish_all(0, templates);
    assert_eq!(table.counters().template_errors, 0);
    table.take_finished()
}
