use super::{Index, Place};
use crate::engine::Pipeline;
use crate::packets::{Bitten, Browser, Extent, PacketView};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use veilwatch_core::packet::Packet;
use veilwatch_core::packet::dissect::{Checksum, Names, PacketTree};

/// Reads packets of a capture by their numbers.
#[derive(Clone)]
pub struct Book {
    file: Arc<File>,
    pipeline: Arc<Pipeline>,
}

/// One packet, with everything that is known of it.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its number.
    pub number: u64,
    /// Packet time in nanoseconds since 1970.
    pub time_ns: u64,
    /// Nanoseconds since the capture's first packet.
    pub since_ns: i128,
    /// Who sent it; empty where that is not known.
    pub src: String,
    /// For whom it is.
    pub dst: String,
    /// The template that reads it, else its innermost layer.
    pub protocol: String,
    /// Bytes it had on the wire.
    pub wire_len: u32,
    /// What it says, on one line.
    pub info: String,
    /// All its fields.
    pub tree: PacketTree,
    /// Its checksums.
    pub checksums: Vec<Checksum>,
    /// Warnings that fit it, in words.
    pub warnings: Vec<String>,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Book {
    /// A book of a capture's file, read with a pipeline's templates.
    pub fn new(file: File, pipeline: Arc<Pipeline>) -> Self {
        Self { file: Arc::new(file), pipeline }
    }

    /// Bytes of a packet.
    pub fn bytes(&self, place: &Place) -> io::Result<Vec<u8>> {
        let mut data = vec![0; place.len as usize];
        self.file.read_exact_at(&mut data, place.offset)?;
        Ok(data)
    }

    /// A packet; nothing where the index does not know it yet. Its flow's first packets are read with it.
    pub fn page(&self, index: &Index, number: u64) -> io::Result<Option<Page>> {
        let Some(place) = index.place(number) else { return Ok(None) };
        let mut browser = Browser::new(&self.pipeline);
        browser.begin(index.place(1).map_or(place.time_ns, |first| first.time_ns));
        for earlier in index.opening_before(number) {
            if let Some(place) = index.place(earlier) {
                let data = self.bytes(&place)?;
                browser.pass(&packet(earlier, &place, &data));
            }
        }
        let data = self.bytes(&place)?;
        let view = browser.view(&packet(number, &place, &data));
        Ok(Some(Page::of(view)))
    }
}

/// Bytes that are read at once where packets are looked at one after the other.
const AHEAD: usize = 256 << 10;

/// Looks at packets one after the other, and so at each as a part of its flow.
pub struct Walk<'b> {
    file: &'b File,
    browser: Browser<'b>,
    /// Bytes that were read, and where they begin in the file.
    ahead: Vec<u8>,
    begin: u64,
}

impl Book {
    /// Begins to look at packets one after the other, the first one first.
    pub fn walk(&self) -> Walk<'_> {
        Walk { file: &self.file, browser: Browser::new(&self.pipeline), ahead: Vec::new(), begin: 0 }
    }
}

impl Walk<'_> {
    /// Looks at the next packet, as far as somebody has a use for it: see [`Browser::show`].
    pub fn next<T>(
        &mut self,
        number: u64,
        place: &Place,
        (extent, names): (Extent, Option<&Arc<Names>>),
        see: impl FnOnce(&PacketView<'_>) -> T,
    ) -> io::Result<T> {
        let at = self.reach(place)?;
        let data = self.ahead.get(at..at + place.len as usize).unwrap_or_default();
        let packet = packet(number, place, data);
        let taken = self.browser.take(&packet);
        Ok(see(&self.browser.show(&packet, &taken, extent, names)))
    }

    /// How often bounds bit: what packets say may be missing then.
    pub fn bitten(&self) -> Bitten {
        self.browser.bitten()
    }

    /// Has a packet's bytes among those that were read, and says where.
    fn reach(&mut self, place: &Place) -> io::Result<usize> {
        let len = place.len as usize;
        let at = place.offset.checked_sub(self.begin).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = at.filter(|at| at.saturating_add(len) <= self.ahead.len()) {
            return Ok(at);
        }
        self.begin = place.offset;
        self.ahead.resize(len.max(AHEAD), 0);
        let mut there = 0;
        while there < self.ahead.len() {
            match self.file.read_at(self.ahead.get_mut(there..).unwrap_or_default(), self.begin + there as u64) {
                Ok(0) => break,
                Ok(more) => there += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.ahead.truncate(there);
        if there < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(0) }
    }
}

fn packet<'a>(number: u64, place: &Place, data: &'a [u8]) -> Packet<'a> {
    Packet { number, time_ns: place.time_ns, link: place.link, wire_len: place.wire_len, data }
}

impl Page {
    fn of(view: PacketView<'_>) -> Self {
        let protocol = view.protocol().to_owned();
        Self {
            number: view.packet.number,
            time_ns: view.packet.time_ns,
            since_ns: view.since_ns,
            src: view.src.map(|address| address.to_string()).unwrap_or_default(),
            dst: view.dst.map(|address| address.to_string()).unwrap_or_default(),
            protocol,
            wire_len: view.packet.wire_len,
            data: view.packet.data.to_vec(),
            info: view.info,
            tree: view.tree,
            checksums: view.checksums,
            warnings: view.warnings.iter().map(|warning| warning.words.clone()).collect(),
        }
    }
}
