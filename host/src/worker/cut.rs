//! The packets of one flow as a capture of their own: classic pcap with nanoseconds, little-endian.

use super::events::failed;
use super::order::{CutFlow, Event, Failed, FailedWhy};
use super::run::unreadable;
use crate::engine::Progress;
use crate::source::write::{PCAP_HEADER, PCAP_RECORD, pcap_header, pcap_record};
use crate::source::{Source, SourceError};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use veilwatch_core::flow::{Endpoint, FlowKey};
use veilwatch_core::packet::{Decoded, LinkType, Packet, decode};

/// What was cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Packets written.
    pub packets: u64,
    /// Whether all of the flow's packets fitted.
    pub complete: bool,
}

/// Why nothing could be cut out.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The capture cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The packets cannot be written.
    #[error("the packets cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Writes the packets of `flow` to `out`, `limit` bytes at most. Packets of a flow share a link type, which a pcap has one
/// of; any others are left out. `progress` is kept up to date, and `stop` ends it with what was found so far.
pub fn cut(
    mut source: Source,
    flow: &CutFlow,
    out: impl Write,
    limit: u64,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Cut, CutError> {
    let wanted = Wanted::of(flow);
    let mut pcap = Pcap { out, link: None, room: limit };
    let mut cut = Cut { packets: 0, complete: true };
    let mut spare = None;
    'blocks: while let Some(block) = source.next_block(spare.take())? {
        for packet in block.packets() {
            if !wanted.is(&packet) || pcap.link.is_some_and(|link| link != packet.link) {
                continue;
            }
            if !pcap.write(&packet)? {
                cut.complete = false;
                break 'blocks;
            }
            cut.packets += 1;
        }
        progress.bytes.store(source.status().file_bytes, Ordering::Relaxed);
        progress.packets.store(source.status().packets, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            cut.complete = false;
            break;
        }
        spare = Some(block);
    }
    pcap.finish()?;
    Ok(cut)
}

/// [`cut`] into a file that is there.
pub(super) fn write(
    source: Source,
    flow: &CutFlow,
    result: &Path,
    limit: u64,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Event, Failed> {
    // Emptied once it is open: the sandbox lets no file be opened that way.
    let file = OpenOptions::new().write(true).open(result).and_then(|file| file.set_len(0).map(|()| file));
    let file = file.map_err(|error| failed(FailedWhy::Output, CutError::Output(error)))?;
    match cut(source, flow, BufWriter::new(file), limit, stop, progress) {
        Ok(Cut { packets, complete }) => Ok(Event::Cut { packets, complete }),
        Err(CutError::Source(error)) => Err(unreadable(&error)),
        Err(error @ CutError::Output(_)) => Err(failed(FailedWhy::Output, error)),
    }
}

/// A flow as packets show it.
struct Wanted {
    low: Endpoint,
    high: Endpoint,
    protocol: u8,
    first_packet: u64,
    last_ns: u64,
}

impl Wanted {
    fn of(flow: &CutFlow) -> Self {
        let end = |ip: IpAddr, port| {
            let address = match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            Endpoint { address, port }
        };
        let (a, b) = (end(flow.src_ip, flow.src_port), end(flow.dest_ip, flow.dest_port));
        Self {
            low: a.min(b),
            high: a.max(b),
            protocol: flow.protocol,
            first_packet: flow.first_packet,
            last_ns: flow.last_ns,
        }
    }

    fn is(&self, packet: &Packet<'_>) -> bool {
        let same = |decoded: Decoded<'_>| {
            let (key, _) = FlowKey::of(&decoded);
            key.low == self.low && key.high == self.high && key.protocol == self.protocol
        };
        packet.number >= self.first_packet && packet.time_ns <= self.last_ns && decode(packet).is_ok_and(same)
    }
}

/// A pcap that is being written.
struct Pcap<W> {
    out: W,
    /// Link type of the first packet, once there is one.
    link: Option<LinkType>,
    /// Bytes that may still be written.
    room: u64,
}

impl<W: Write> Pcap<W> {
    /// Writes a packet; `false` where it does not fit any more.
    fn write(&mut self, packet: &Packet<'_>) -> io::Result<bool> {
        let header = if self.link.is_none() { PCAP_HEADER } else { 0 };
        let need = (header + PCAP_RECORD + packet.data.len()) as u64;
        if need > self.room {
            return Ok(false);
        }
        self.room -= need;
        if self.link.is_none() {
            self.begin(packet.link)?;
        }
        self.out.write_all(&pcap_record(packet.time_ns, packet.data.len() as u32, packet.wire_len))?;
        self.out.write_all(packet.data)?;
        Ok(true)
    }

    fn begin(&mut self, link: LinkType) -> io::Result<()> {
        self.link = Some(link);
        self.out.write_all(&pcap_header(link))
    }

    /// Without a packet it is a capture all the same.
    fn finish(mut self) -> io::Result<()> {
        if self.link.is_none() && self.room >= PCAP_HEADER as u64 {
            self.begin(LinkType::ETHERNET)?;
        }
        self.out.flush()
    }
}
