use super::compression::{self, Failure, Input};
use super::error::shown;
use super::format::{Format, Why};
use super::{Block, Damage, InputLimits, SourceError, SourceStatus};
use crate::filter::Filter;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A capture that is being read.
pub struct Source {
    from: From,
    /// Whether the input was told to stop.
    interrupted: bool,
    /// Which packets count; without one all do.
    filter: Option<Filter>,
    status: SourceStatus,
}

/// Where packets come from.
enum From {
    /// A file, or what is read like one.
    Records(Box<Records>),
    /// They come by themselves.
    Feed(Box<dyn Feed>),
}

/// Packets that come by themselves, as from an interface.
pub trait Feed: Send {
    /// Waits for packets and puts those that came into `block`, which is empty and knows its first packet's number. After a
    /// while it returns without any, so that what has ended meanwhile is not waited for, and marks the block as a
    /// [`Look`](super::Look). `false` ends the capture, of which [`SourceStatus::damage`] may say why; then the block is
    /// empty.
    fn fill(&mut self, block: &mut Block, status: &mut SourceStatus) -> bool;
}

/// Records of a capture file that are being read.
struct Records {
    input: Input,
    format: Format,
    /// Bytes read but not yet parsed: a record's beginning that the next block starts with.
    carried: Vec<u8>,
    block_bytes: usize,
    /// Whether to hand out what one read brought rather than wait for a block to fill: a pipe may be live.
    prompt: bool,
    /// Whether the input has no more bytes.
    ended: bool,
    /// Why not, if that was not the capture's end.
    failure: Option<Failure>,
    /// Whether everything has been handed out.
    finished: bool,
    /// Bytes read from the file.
    meter: Arc<AtomicU64>,
}

impl Source {
    /// Opens a capture file of any format, compressed or not; only its content counts, never its name.
    pub fn open(path: &Path, limits: &InputLimits) -> Result<Self, SourceError> {
        Self::open_as(path, &path.to_string_lossy(), limits)
    }

    /// The same with another name in messages, for a file whose own name nobody knows it by.
    pub fn open_as(path: &Path, name: &str, limits: &InputLimits) -> Result<Self, SourceError> {
        let name = shown(name);
        let (file, metadata) = File::open(path)
            .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
            .map_err(|why| SourceError::opening(name.clone(), why))?;
        if metadata.is_dir() {
            return Err(SourceError::Folder { name });
        }
        let regular = metadata.is_file();
        Self::start(name, file, limits, regular.then_some(metadata.len()))
    }

    /// Reads an open file from its begin on; `name` is what messages call it.
    pub(crate) fn from_file(mut file: File, name: &str, limits: &InputLimits) -> Result<Self, SourceError> {
        let name = shown(name);
        let failed = |why| SourceError::opening(name.clone(), why);
        file.rewind().map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Self::start(name, file, limits, Some(bytes))
    }

    /// Reads a capture from anything that gives bytes, such as standard input. `name` is what messages call it.
    pub fn from_reader(
        name: String,
        reader: impl Read + Send + 'static,
        limits: &InputLimits,
    ) -> Result<Self, SourceError> {
        Self::start(shown(&name), reader, limits, None)
    }

    fn start(
        name: String,
        input: impl Read + Send + 'static,
        limits: &InputLimits,
        total_bytes: Option<u64>,
    ) -> Result<Self, SourceError> {
        let meter = Arc::new(AtomicU64::new(0));
        let unpacked = compression::unpack(&name, input, limits, &meter)?;
        let (format, done) = Format::open(&name, &unpacked.head, limits)?;
        let status = SourceStatus {
            total_bytes,
            file_bytes: meter.load(Ordering::Relaxed),
            unpacked_bytes: unpacked.head.len() as u64,
            compression: unpacked.compression,
            ..SourceStatus::begin(name, format.name())
        };
        let records = Records {
            input: unpacked.rest,
            format,
            carried: unpacked.head[done..].to_vec(),
            block_bytes: limits.block(),
            prompt: total_bytes.is_none() && unpacked.compression.is_none(),
            ended: false,
            failure: None,
            finished: false,
            meter,
        };
        Ok(Self { from: From::Records(Box::new(records)), interrupted: false, filter: None, status })
    }

    /// Takes what a feed brings; `name` is what messages call it, and `packets` were taken from it before, so that the next
    /// one's number is one more.
    pub fn feed(name: &str, packets: u64, feed: impl Feed + 'static) -> Self {
        let status = SourceStatus { packets, ..SourceStatus::begin(shown(name), "live") };
        Self { from: From::Feed(Box::new(feed)), interrupted: false, filter: None, status }
    }

    /// Whether packets come by themselves, and are lost where nobody takes them in time.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.from, From::Feed(_))
    }

    /// Has every packet that is handed out from now on marked with what a filter says of it.
    pub(crate) fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
    }

    /// The filter, which knows by now for which link types its expression could not be compiled.
    pub(crate) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// Whether it ended because its reader gave [`Interrupted`](super::Interrupted).
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// The next packets of the capture, at least one or a [`Look`](super::Look); `None` at its end, also where [`Damage`] made
    /// it end early.
    ///
    /// A `recycled` block gives its memory to the new one. The only error is that the device failed before there was
    /// any packet.
    pub fn next_block(&mut self, recycled: Option<Block>) -> Result<Option<Block>, SourceError> {
        let mut block = recycled.unwrap_or_default();
        let first = self.status.packets + 1;
        match &mut self.from {
            From::Feed(feed) => {
                block.restart(first, FEED_BLOCK, &[]);
                if !feed.fill(&mut block, &mut self.status) {
                    return Ok(None);
                }
            }
            From::Records(records) => {
                block.restart(first, records.block_bytes, &records.carried);
                records.fill_with_packets(&mut block, &mut self.status)?;
                block.ends_at(self.status.unpacked_bytes);
                self.interrupted |= records.failure.take().is_some_and(|failure| failure.interrupted);
                self.status.file_bytes = records.meter.load(Ordering::Relaxed);
            }
        }
        if let Some(filter) = &mut self.filter {
            block.judge(filter);
        }
        self.status.packets += block.len() as u64;
        Ok((!block.is_empty() || block.look().is_some()).then_some(block))
    }

    /// How far reading got, up to and including the last block handed out.
    pub fn status(&self) -> &SourceStatus {
        &self.status
    }
}

/// A capture as a file that can be read anywhere, and whether it had to be unpacked for that: into a file that has no name.
/// What cannot be unpacked is missing at its end.
pub(crate) fn unpacked(path: &Path, limits: &InputLimits) -> Result<Plain, SourceError> {
    let name = shown(&path.to_string_lossy());
    let failed = |why| SourceError::opening(name.clone(), why);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(SourceError::Folder { name });
    }
    let Some(mut unpacking) = Unpacking::of(&file, &name, limits)? else {
        return Ok(Plain { file, was_packed: false, damage: None });
    };
    let mut plain = tempfile::tempfile().map_err(failed)?;
    while unpacking.more(&mut plain).map_err(failed)? {}
    Ok(Plain { file: plain, was_packed: true, damage: unpacking.damage })
}

/// A capture as a file that can be read anywhere.
pub(crate) struct Plain {
    pub(crate) file: File,
    /// Whether it is a copy.
    pub(crate) was_packed: bool,
    /// What ended unpacking before the capture's end.
    pub(crate) damage: Option<Damage>,
}

/// A compressed capture on its way into a file that can be read anywhere.
pub(crate) struct Unpacking {
    unpacked: compression::Unpacked,
    piece: Vec<u8>,
    meter: Arc<AtomicU64>,
    written: u64,
    damage: Option<Damage>,
}

impl Unpacking {
    /// Begins with an open file; nothing where it is not compressed.
    pub(crate) fn of(file: &File, name: &str, limits: &InputLimits) -> Result<Option<Self>, SourceError> {
        let meter = Arc::new(AtomicU64::new(0));
        let packed = file.try_clone().map_err(|why| SourceError::opening(name.to_owned(), why))?;
        let unpacked = compression::unpack(name, packed, limits, &meter)?;
        Ok(unpacked.compression.is_some().then(|| Self {
            unpacked,
            piece: Vec::new(),
            meter,
            written: 0,
            damage: None,
        }))
    }

    /// Writes the next piece; false where there is none, or [`damage`](Self::damage) ends it.
    pub(crate) fn more(&mut self, plain: &mut File) -> io::Result<bool> {
        if self.piece.is_empty() {
            plain.write_all(&self.unpacked.head)?;
            self.written = self.unpacked.head.len() as u64;
            self.piece = vec![0; 256 << 10];
        }
        match self.unpacked.rest.read(&mut self.piece) {
            Ok(0) => Ok(false),
            Ok(bytes) => {
                plain.write_all(self.piece.get(..bytes).unwrap_or_default())?;
                self.written += bytes as u64;
                Ok(true)
            }
            Err(error) => {
                self.damage = Some(Damage { offset: self.written, what: Failure::of(error).what });
                Ok(false)
            }
        }
    }

    /// What ended it before the capture's end: nonsense, a bound, a disk that cannot be read.
    pub(crate) fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Bytes of the compressed file that were read.
    pub(crate) fn read(&self) -> u64 {
        self.meter.load(Ordering::Relaxed)
    }
}

/// Bytes of a block that a feed fills.
const FEED_BLOCK: usize = 256 << 10;

impl Records {
    fn fill_with_packets(&mut self, block: &mut Block, status: &mut SourceStatus) -> Result<(), SourceError> {
        self.carried.clear();
        while !self.finished {
            self.fill(block, status);
            let (data, packets) = block.parts();
            let stop = self.format.parse(data, packets, status);
            let at = stop.consumed;
            match stop.why {
                Why::Broken(what) => self.end(block.rest(at).len(), what, status),
                Why::Boundary | Why::Need(_) if self.failure.is_some() => {
                    self.fail(status.packets == 0 && block.is_empty(), status)?;
                }
                Why::Boundary if self.ended => self.finished = true,
                Why::Need(need) if self.ended => {
                    let have = block.rest(at).len();
                    let more = need.saturating_sub(have);
                    let what = format!("the capture is cut off: {more} bytes or more of its last record are missing");
                    self.end(have, what, status);
                }
                Why::Boundary | Why::Need(_) if !block.is_empty() => {
                    self.carried.extend_from_slice(block.rest(at));
                    break;
                }
                Why::Boundary => block.drop_front(at),
                Why::Need(need) => {
                    block.drop_front(at);
                    block.grow(need);
                }
            }
        }
        Ok(())
    }

    /// Reads into `block` until it is full or, on a pipe, until anything came.
    fn fill(&mut self, block: &mut Block, status: &mut SourceStatus) {
        while !self.ended && !block.room().is_empty() {
            match self.input.read(block.room()) {
                Ok(0) => self.ended = true,
                Ok(bytes) => {
                    block.advance(bytes);
                    status.unpacked_bytes += bytes as u64;
                    if self.prompt {
                        break;
                    }
                }
                Err(error) => {
                    self.failure = Some(Failure::of(error));
                    self.ended = true;
                }
            }
        }
    }

    /// Ends reading because of what stands `before_end` bytes before the last byte read.
    fn end(&mut self, before_end: usize, what: String, status: &mut SourceStatus) {
        status.damage = Some(Damage { offset: status.unpacked_bytes - before_end as u64, what });
        self.finished = true;
    }

    /// Ends reading because the input failed. Without any packet before it, a failed device is an error.
    fn fail(&mut self, nothing_yet: bool, status: &mut SourceStatus) -> Result<(), SourceError> {
        self.finished = true;
        let Some(failure) = self.failure.as_ref().filter(|failure| !failure.interrupted) else { return Ok(()) };
        let what = failure.what.clone();
        if failure.device && nothing_yet {
            return Err(SourceError::Read { name: status.name.clone(), what });
        }
        self.end(0, what, status);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Trickle, drain, gzip, open, pcap, pcapng, read, sample, small, zstd};
    use super::*;
    use std::io::{self, Cursor};

    #[test]
    fn every_way_to_write_a_capture_reads_the_same() {
        let packets = sample();
        let mut ways: Vec<Vec<u8>> = Vec::new();
        for big in [false, true] {
            ways.push(pcapng(&packets, big));
            ways.extend([0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34].map(|magic| pcap(&packets, magic, big)));
        }
        for plain in ways {
            for bytes in [gzip(&plain), zstd(&plain), zstd(&gzip(&plain)), plain] {
                let (got, status) = read(&bytes);
                assert_eq!(got, packets, "{} {:?}", status.format, status.compression);
                assert_eq!(status.damage, None);
                assert_eq!(status.file_bytes, bytes.len() as u64);
            }
        }
    }

    #[test]
    fn a_file_reads_like_a_stream() {
        let packets = sample();
        let bytes = gzip(&pcap(&packets, 0xa1b2_c3d4, false));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not named so");
        std::fs::write(&path, &bytes).unwrap();
        let (got, status) = drain(Source::open(&path, &InputLimits::default()).unwrap());
        assert_eq!(got, packets);
        assert_eq!(status.total_bytes, Some(bytes.len() as u64));
        assert_eq!((status.format, status.compression), ("pcap", Some("gzip")));
    }

    #[test]
    fn a_cut_keeps_what_is_whole_wherever_it_is() {
        let mut packets = sample();
        packets.retain(|packet| packet.data.len() < 400);
        (1..).zip(&mut packets).for_each(|(number, packet)| packet.number = number);
        for (bytes, header) in [(pcap(&packets, 0xa1b2_c3d4, true), 24), (pcapng(&packets, false), 28)] {
            let ends: Vec<u64> =
                (0..=packets.len())
                    .map(|n| {
                        if header == 24 { pcap(&packets[..n], 0xa1b2_c3d4, true) } else { pcapng(&packets[..n], false) }
                    })
                    .map(|file| file.len() as u64)
                    .collect();
            for length in header..bytes.len() {
                let (got, status) =
                    drain(Source::from_reader(String::new(), Cursor::new(bytes[..length].to_vec()), &small()).unwrap());
                assert_eq!(got, packets[..got.len()]);
                let whole = ends.iter().filter(|&&end| end <= length as u64).count();
                assert!(got.len() + 1 >= whole, "{length} bytes gave {} packets", got.len());
                if let Some(damage) = &status.damage {
                    assert!(damage.what.starts_with("the capture is cut off"), "{damage}");
                    assert!(damage.offset < length as u64);
                }
                assert!(status.damage.is_some() || header == 28 || ends.contains(&(length as u64)), "{length}");
            }
        }
    }

    #[test]
    fn an_interrupted_reader_is_no_damage() {
        struct Told;
        impl Read for Told {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other(super::super::Interrupted))
            }
        }
        let packets = sample();
        let plain = pcap(&packets, 0xa1b2_c3d4, false);
        for bytes in [&gzip(&plain), &zstd(&gzip(&plain)), &plain] {
            for length in [0, bytes.len() / 2, bytes.len() - 1] {
                let reader = Cursor::new(bytes[..length].to_vec()).chain(Told);
                match Source::from_reader("x".to_owned(), reader, &small()) {
                    Ok(mut source) => {
                        let mut got = 0;
                        while let Some(block) = source.next_block(None).unwrap() {
                            got += block.len();
                        }
                        assert!(source.interrupted() && got <= packets.len());
                        // All but the last byte is there: at most the last packet is missing of a plain file.
                        assert!(got + 1 >= packets.len() || length < plain.len() - 1);
                        assert_eq!(source.status().damage, None);
                    }
                    Err(error) => assert_eq!(error.to_string(), "x: interrupted before its header was there"),
                }
            }
        }
    }

    #[test]
    fn a_failing_device_is_damage_after_packets_and_an_error_before() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let packets = sample();
        let bytes = pcap(&packets, 0xa1b2_c3d4, false);
        let limits = InputLimits::default();
        let reader = Cursor::new(bytes.clone()).chain(Failing);
        let (got, status) = drain(Source::from_reader("x".to_owned(), reader, &limits).unwrap());
        assert_eq!(got, packets);
        let damage = status.damage.unwrap();
        assert_eq!((damage.what.as_str(), damage.offset), ("reading failed: the disk is gone", bytes.len() as u64));

        let reader = Cursor::new(bytes[..24].to_vec()).chain(Failing);
        let mut source = Source::from_reader("x".to_owned(), reader, &limits).unwrap();
        let error = source.next_block(None).unwrap_err();
        assert!(error.to_string().starts_with("cannot read x: reading failed: the disk is gone"), "{error}");
        assert!(source.next_block(None).unwrap().is_none());

        let error = Source::from_reader("x".to_owned(), Failing, &limits).err().unwrap();
        assert!(matches!(error, SourceError::Read { .. }));
    }

    #[test]
    fn refuses_in_one_helpful_line() {
        let refused = |bytes: &[u8]| open(bytes).err().unwrap().to_string();
        let mut old = pcap(&[], 0xa1b2_c3d4, false);
        old[6] = 9;
        for (bytes, start) in [
            (&b""[..], "test is empty;"),
            (b"hello", "test is no capture: it looks like text (\"hello\");"),
            (&[0xd4, 0xc3, 0xb2, 0xa1, 2], "test is cut off: 5 bytes of pcap's 24-byte header are there;"),
            (&[0x0a, 0x0d, 0x0d, 0x0a], "test is cut off: 4 bytes of pcapng's 28-byte header are there;"),
            (&[0xd4, 0xc3], "test is no capture: it looks like nothing known (first bytes d4 c3);"),
            (&gzip(b""), "test is empty;"),
            (&gzip(b"\x7fELF"), "test is no capture: it looks like an ELF program;"),
            (&gzip(&zstd(&gzip(b"x"))), "test is compressed more than twice over;"),
            (&gzip(b"hello")[..12], "cannot read test: the gzip stream is cut off;"),
            (&old, "test is pcap version 2.9, which is not supported;"),
        ] {
            let line = refused(bytes);
            assert!(line.starts_with(start), "{line}");
            assert!(!line.contains('\n'));
        }
        let limits = InputLimits::default();
        let error = Source::open(Path::new("/nowhere/x.pcap"), &limits).err().unwrap();
        assert_eq!(error.to_string(), "cannot open /nowhere/x.pcap: there is no such file; check the path");
        let error = Source::open(&std::env::temp_dir(), &limits).err().unwrap();
        assert!(matches!(error, SourceError::Folder { .. }));
    }

    #[test]
    fn blocks_travel_between_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Block>();
        let mut source = open(&pcap(&sample(), 0xa1b2_c3d4, false)).unwrap();
        let block = source.next_block(None).unwrap().unwrap();
        let numbers: Vec<u64> = block.packets().map(|packet| packet.number).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<u64>>());
        assert_eq!(block.get(3).map(|packet| packet.data.len()), Some(1514));
        assert!(block.get(12).is_none());
    }

    #[test]
    fn whatever_is_broken_reads_the_same_in_any_pieces() {
        let mut packets = sample();
        packets.retain(|packet| packet.data.len() < 400);
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for plain in [pcap(&packets, 0xa1b2_cd34, true), pcapng(&packets, true), pcapng(&packets, false)] {
            for _ in 0..300 {
                let mut bytes = plain.clone();
                for _ in 0..=random(4) {
                    // Beyond the magic number, so that most of them open; low bytes break lengths in small steps.
                    let at = 12 + random(bytes.len() - 12);
                    bytes[at] = [0, 1, 0xff, random(256) as u8][random(4)];
                }
                if open(&bytes).is_ok() {
                    read(&bytes);
                }
            }
        }
    }

    #[test]
    fn a_pipe_hands_out_what_came() {
        let packets = sample();
        let reader = Trickle(Cursor::new(pcap(&packets, 0xa1b2_c3d4, false)));
        let mut source = Source::from_reader(String::new(), reader, &InputLimits::default()).unwrap();
        assert_eq!(source.next_block(None).unwrap().unwrap().len(), 1);
    }
}
