use super::{Book, Index};
use std::io;
use veilwatch_core::flow::FlowKey;
use veilwatch_core::packet::{Outer, Packet};
use veilwatch_core::stream::{PrefixLimits, Spare, StreamPrefix};

/// What both sides of a flow said, in the order it came to be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// Piece after piece.
    pub said: Vec<Said>,
    /// Whether there is more than [`Stream::MOST`] bytes or [`Stream::PACKETS`], or something is missing in the capture.
    pub is_cut: bool,
}

/// A piece that one side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whether the side of the flow's first packet said it.
    pub first_side: bool,
    /// The packet with which all of it was there.
    pub packet: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl Stream {
    /// Bytes of each side that are followed.
    pub const MOST: u32 = 1 << 20;
    /// Packets of a flow that are read for that.
    pub const PACKETS: usize = 1 << 16;

    /// Follows a flow of TCP or UDP.
    pub fn of(book: &Book, index: &Index, flow: u32, nesting: u8) -> io::Result<Self> {
        let mut stream = Self::default();
        let Some(known) = index.flows().get(flow as usize) else { return Ok(stream) };
        let limits = PrefixLimits { bytes: Self::MOST, waiting: 256 };
        let mut sides = [StreamPrefix::default(), StreamPrefix::default()];
        let mut told = [0usize; 2];
        let mut spare = Spare::default();
        for (read, number) in index.packets_of(flow).enumerate() {
            let full = |(side, told): (&StreamPrefix, &usize)| side.is_full(limits) || *told >= Self::MOST as usize;
            if sides.iter().zip(&told).all(full) {
                break;
            }
            if read >= Self::PACKETS {
                stream.is_cut = true;
                break;
            }
            let Some(place) = index.place(number) else { break };
            let data = book.bytes(&place)?;
            let packet =
                Packet { number, time_ns: place.time_ns, link: place.link, wire_len: place.wire_len, data: &data };
            let Ok(decoded) = Outer::of(&packet, nesting).decode() else { continue };
            let back = usize::from(FlowKey::of(&decoded).1 != known.upward);
            let Some(side) = sides.get_mut(back) else { continue };
            let mut piece = match decoded.tcp {
                Some(tcp) => {
                    let syn = tcp.has(veilwatch_core::packet::Tcp::SYN);
                    if syn {
                        side.anchor(tcp.seq);
                    }
                    let cut = decoded.payload.len() < decoded.payload_len as usize;
                    if !decoded.payload.is_empty() {
                        side.push(
                            tcp.seq.wrapping_add(u32::from(syn)),
                            decoded.payload,
                            cut,
                            number,
                            limits,
                            &mut spare,
                        );
                    }
                    side.bytes().get(told[back]..).unwrap_or_default().to_vec()
                }
                None => decoded.payload.to_vec(),
            };
            if decoded.tcp.is_none() {
                let room = (Self::MOST as usize).saturating_sub(told[back]);
                stream.is_cut |= piece.len() > room;
                piece.truncate(room);
            }
            if piece.is_empty() {
                continue;
            }
            told[back] += piece.len();
            let first_side = back == 0;
            match stream.said.last_mut() {
                // Datagrams stay apart.
                Some(last) if last.first_side == first_side && decoded.tcp.is_some() => last.bytes.append(&mut piece),
                _ => stream.said.push(Said { first_side, packet: number, bytes: piece }),
            }
        }
        stream.is_cut |= sides.iter_mut().any(|side| side.is_full(limits) || side.take_dropped() > 0);
        Ok(stream)
    }
}
