//! A capture that crosses many hand-overs.

/// A capture of `flows` short TLS-less and TLS-like flows between few hosts, long enough to cross many hand-overs, out
/// of order in places, with one broken clock.
pub(crate) fn long_capture(flows: u32, broken_clock: bool) -> Vec<u8> {
    let hello = &std::fs::read(crate::common::example("first-run.pcap")).unwrap()[200..900];
    let mut packets: Vec<(u64, Vec<u8>)> = Vec::new();
    for flow in 0..flows {
        let (client, server) = ([10, 0, (flow % 7) as u8, (flow % 23) as u8], [192, 0, 2, (flow % 11) as u8]);
        let port = 1024 + (flow % 60_000) as u16;
        let begin = 1_700_000_000_000_000 + u64::from(flow) * 1_700;
        let mut say = |after: u64, forth: bool, seq: u32, flags: u8, payload: &[u8]| {
            let (from, to) = if forth { (client, server) } else { (server, client) };
            let (a, b) = if forth { (port, 443) } else { (443, port) };
            let mut builder =
                etherparse::PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(from, to, 64).tcp(a, b, seq, 100);
            if flags & 2 != 0 {
                builder = builder.syn();
            }
            if flags & 1 != 0 {
                builder = builder.fin();
            }
            let mut frame = Vec::new();
            builder.ack(1).write(&mut frame, payload).unwrap();
            packets.push((begin + after, frame));
        };
        let record = [&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &hello[..194]].concat();
        say(0, true, 100, 0, b"");
        say(900, true, 141, 0, &record[40..]);
        say(1000, true, 101, 0, &record[..40]);
        say(4000 + u64::from(flow % 5) * 700_000, false, 500, 0, &hello[300..]);
        if flow % 3 != 0 {
            say(8000, true, 306, 1, b"");
            say(9000, false, 900, 1, b"");
        }
    }
    packets.sort_by_key(|packet| packet.0);
    let mut out = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1].map(u32::to_le_bytes).concat();
    for (at, (time, frame)) in packets.iter().enumerate() {
        let time = if broken_clock && at == 5000 { time + 1_000_000_000_000_000 } else { *time };
        let header = [(time / 1_000_000) as u32, (time % 1_000_000) as u32, frame.len() as u32, frame.len() as u32];
        out.extend(header.map(u32::to_le_bytes).concat());
        out.extend(frame);
    }
    out
}
