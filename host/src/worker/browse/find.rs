use crate::analyser::{Index, Place};
use crate::engine::Pipeline;
use crate::packets::Browser;
use crate::query::PacketQuery;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;
use veilwatch_core::packet::Packet;

/// Bytes that are read at once.
const WINDOW: usize = 1 << 20;

/// A display filter that goes over a capture. Every packet is read once, in order, so that flows are understood.
pub(super) struct Search {
    /// The filter, as it was written.
    pub(super) text: String,
    query: PacketQuery,
    browser: Browser<'static>,
    window: Window,
    /// Packets of which it holds, in order.
    pub(super) hits: Vec<u32>,
    /// Packets that were looked at.
    pub(super) scanned: u64,
}

impl Search {
    pub(super) fn new(text: &str, query: PacketQuery, pipeline: &'static Pipeline) -> Self {
        let browser = Browser::new(pipeline);
        Self { text: text.to_owned(), query, browser, window: Window::default(), hits: Vec::new(), scanned: 0 }
    }

    /// Looks at more packets, until a time.
    pub(super) fn more(&mut self, file: &File, index: &Index, until: Instant) -> io::Result<()> {
        for (number, place) in index.from(self.scanned + 1) {
            let data = self.window.bytes(file, place)?;
            let Place { time_ns, link, wire_len, .. } = *place;
            let view = self.browser.view(&Packet { number, time_ns, link, wire_len, data });
            if self.query.holds(&view) {
                self.hits.push(u32::try_from(number).unwrap_or(u32::MAX));
            }
            self.scanned = number;
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }
}

/// A piece of the file, so that not every packet is a read of its own.
#[derive(Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn bytes(&mut self, file: &File, place: &Place) -> io::Result<&[u8]> {
        let len = place.len as usize;
        let is_in = |window: &Self| {
            let skipped = usize::try_from(place.offset.checked_sub(window.at)?).ok()?;
            Some(skipped..skipped.checked_add(len)?).filter(|range| range.end <= window.bytes.len())
        };
        let range = match is_in(self) {
            Some(range) => range,
            None => {
                self.at = place.offset;
                self.bytes.resize(len.max(WINDOW), 0);
                let mut read = 0;
                while let Some(rest @ [_, ..]) = self.bytes.get_mut(read..) {
                    match file.read_at(rest, place.offset + read as u64) {
                        Ok(0) => break,
                        Ok(more) => read += more,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                self.bytes.truncate(read);
                0..len
            }
        };
        self.bytes.get(range).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
