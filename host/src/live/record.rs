//! Packets are written down as capture files: one, or many in turn, of which the oldest go.
//!
//! A file holds whole records whatever happens: where the disk is full, it is cut behind the last one that fits. It is a
//! pcapng, or a classic pcap where the name ends with `.pcap`.

use crate::source::write;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};
use veilwatch_core::packet::LinkType;

/// Why packets cannot be written down.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be made.
    #[error("{path}: the capture cannot be written there: {error}")]
    Open {
        /// Which.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is there already.
    #[error("{path} is there already; name another file, or move that one away")]
    Exists {
        /// Which.
        path: String,
    },
    /// Classic pcap cannot hold it.
    #[error("{path}: a pcap file has packets of one kind of interface; name it `.pcapng`")]
    Kinds {
        /// Which.
        path: String,
    },
}

/// Where packets are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The file; with a ring, the names of its files are this one's with a time and a number.
    pub path: PathBuf,
    /// Many files in turn instead of one.
    pub ring: Option<FileRing>,
}

/// Files that are written in turn, the oldest of which goes when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRing {
    /// Bytes of each, more or less.
    pub bytes: u64,
    /// How many are kept.
    pub files: u32,
}

impl FromStr for FileRing {
    type Err = String;

    /// Reads `100M×10` or `100Mx10`: the size of each file, and how many of them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give the size of each file and how many are kept, such as 100M×10".to_owned();
        let (size, files) = text.split_once(['×', 'x', 'X', '*']).ok_or_else(wrong)?;
        let size = size.trim();
        let digits = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
        let (number, unit) = size.split_at(digits);
        let shift = match unit.trim().trim_end_matches(['B', 'b']).trim_end_matches('i') {
            "" => 0,
            "K" | "k" => 10,
            "M" | "m" => 20,
            "G" | "g" => 30,
            "T" | "t" => 40,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(wrong)?;
        let files = files.trim().parse().ok().filter(|files| (1..=1_000_000).contains(files)).ok_or_else(wrong)?;
        if bytes < SMALLEST {
            return Err(format!("files of less than {SMALLEST} bytes are too small"));
        }
        Ok(Self { bytes, files })
    }
}

impl fmt::Display for FileRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.bytes, self.files)
    }
}

/// Bytes of the smallest file of a ring.
const SMALLEST: u64 = 64 << 10;
/// Between two tries to write again to a ring whose disk was full.
const AGAIN: Duration = Duration::from_secs(30);

/// Names that are tried for a file of a ring.
const TRIES: u32 = 1000;

/// What was written so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    pub(super) bytes: u64,
    /// Packets that could not be written.
    pub(crate) lost: u64,
}

/// Writes packets down.
pub(crate) struct Recorder {
    recording: Recording,
    is_pcapng: bool,
    /// The interfaces, by their numbers in the file.
    interfaces: Vec<(String, LinkType)>,
    file: Option<Open>,
    /// When the last file could not be written on.
    failed: Option<Instant>,
    /// Records that are to be written next, and where each of them ends.
    waiting: Vec<u8>,
    ends: Vec<usize>,
    /// Files of the ring, the oldest first.
    kept: VecDeque<PathBuf>,
    number: u32,
    last_ns: u64,
    counts: Counts,
}

struct Open {
    file: File,
    path: PathBuf,
    /// Bytes in it, to the end of the last record.
    bytes: u64,
    /// Whether there is no record in it yet.
    is_fresh: bool,
}

/// Writes until all is written or that fails; says how much was.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

impl Recorder {
    pub(crate) fn open(recording: &Recording, interfaces: &[(String, LinkType)]) -> Result<Self, RecordError> {
        let path = &recording.path;
        let shown = || path.display().to_string();
        let is_pcapng = path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("pcap"));
        let interfaces = interfaces.to_vec();
        if !is_pcapng && interfaces.windows(2).any(|two| two[0].1 != two[1].1) {
            return Err(RecordError::Kinds { path: shown() });
        }
        let left = recording.ring.map_or_else(Vec::new, |_| earlier(path));
        let mut recorder = Self {
            is_pcapng,
            interfaces,
            file: None,
            failed: None,
            waiting: Vec::new(),
            ends: Vec::new(),
            number: left.last().map_or(0, |(number, _)| *number),
            kept: left.into_iter().map(|(_, path)| path).collect(),
            last_ns: 0,
            counts: Counts::default(),
            recording: recording.clone(),
        };
        recorder.next_file().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => RecordError::Exists { path: shown() },
            _ => RecordError::Open { path: shown(), error },
        })?;
        Ok(recorder)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a packet whose bytes are those of `parts`, to be written at the next [`flush`](Self::flush).
    pub(crate) fn add(&mut self, interface: usize, time_ns: u64, wire_len: u32, parts: [&[u8]; 3]) {
        let out = &mut self.waiting;
        if self.is_pcapng {
            write::pcapng_packet(out, interface as u32, time_ns, wire_len, parts);
        } else {
            let captured = parts.iter().map(|part| part.len()).sum::<usize>() as u32;
            out.extend(write::pcap_record(time_ns, captured, wire_len));
            parts.iter().for_each(|part| out.extend_from_slice(part));
        }
        self.ends.push(out.len());
        self.last_ns = self.last_ns.max(time_ns);
    }

    /// Writes what waits; says what a person should know of.
    pub(crate) fn flush(&mut self) -> Option<String> {
        if self.waiting.is_empty() {
            return None;
        }
        let outcome = self.write();
        let lost = self.ends.len() as u64;
        self.counts.lost += lost;
        self.waiting.clear();
        self.ends.clear();
        match outcome {
            Ok(()) => None,
            Err(error) => self.fail(&error),
        }
    }

    /// Writes what waits; what stays in `ends` could not be.
    fn write(&mut self) -> io::Result<()> {
        let mut from = 0;
        while !self.ends.is_empty() {
            if self.file.is_none() {
                // Where the disk was full there may be room again.
                let again = self.recording.ring.is_some() && self.failed.is_some_and(|when| when.elapsed() >= AGAIN);
                if !again {
                    return Ok(());
                }
                self.next_file()?;
                self.failed = None;
            }
            let Some(open) = &mut self.file else { return Ok(()) };
            // As many records as the file has room for; one at least goes into a fresh one.
            let room = self.recording.ring.map_or(u64::MAX, |ring| ring.bytes.saturating_sub(open.bytes));
            let fit = self.ends.partition_point(|end| (*end - from) as u64 <= room);
            let fit = if fit == 0 && open.is_fresh { 1 } else { fit };
            let Some(to) = fit.checked_sub(1).and_then(|last| self.ends.get(last)).copied() else {
                self.next_file()?;
                continue;
            };
            let (written, outcome) = write_all(&mut open.file, self.waiting.get(from..to).unwrap_or_default());
            let whole = self.ends.partition_point(|end| *end - from <= written);
            let bytes = whole.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| *end - from);
            open.bytes += bytes as u64;
            open.is_fresh &= whole == 0;
            self.counts.bytes += bytes as u64;
            self.counts.packets += whole as u64;
            self.ends.drain(..whole);
            from += bytes;
            outcome?;
        }
        Ok(())
    }

    /// Ends the file whole where it cannot be written on.
    fn fail(&mut self, error: &io::Error) -> Option<String> {
        let first = self.failed.replace(Instant::now()).is_none();
        let Some(open) = self.file.take() else {
            let path = self.recording.path.display();
            return first
                .then(|| format!("{path}: no other file can be begun: {error}; one is tried every half minute"));
        };
        let cut = open.file.set_len(open.bytes);
        let what = match (self.recording.ring, cut) {
            (_, Err(_)) => "its last record may be cut off",
            (Some(_), _) => "it ends with the last packet that fits; another file is tried every half minute",
            (None, _) => "it ends with the last packet that fits, and no more are written down",
        };
        Some(format!("{}: {error}; {what}; detection goes on", open.path.display()))
    }

    /// Writes what waits and the last records, which tell what the kernel counted, interface by interface; says what a person
    /// should know of.
    pub(crate) fn finish(&mut self, counts: &[[u64; 2]]) -> Option<String> {
        let told = self.flush();
        let Some(open) = &mut self.file else { return told };
        let mut out = Vec::new();
        for (interface, [received, dropped]) in (0..).zip(counts).filter(|_| self.is_pcapng) {
            write::pcapng_statistics(&mut out, interface, self.last_ns, *received, *dropped);
        }
        if write_all(&mut open.file, &out).1.is_err() {
            let _ = open.file.set_len(open.bytes);
        }
        let _ = open.file.sync_all();
        told
    }

    /// Begins another file, and lets the oldest go.
    fn next_file(&mut self) -> io::Result<()> {
        let Some(ring) = self.recording.ring else {
            let path = self.recording.path.clone();
            return self.begin(path);
        };
        self.file = None;
        while self.kept.len() >= ring.files as usize {
            let Some(oldest) = self.kept.front() else { break };
            match std::fs::remove_file(oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => _ = self.kept.pop_front(),
            }
        }
        // Somebody else may write a ring of the same name.
        for _ in 0..TRIES {
            self.number = self.number.saturating_add(1);
            let path = in_turn(&self.recording.path, Timestamp::now(), self.number);
            match self.begin(path.clone()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => {
                    self.kept.push_back(path);
                    return other;
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn begin(&mut self, path: PathBuf) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path)?;
        let head = self.head();
        if let Err(error) = file.write_all(&head) {
            // Less than a header is no capture.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        self.counts.bytes += head.len() as u64;
        self.file = Some(Open { file, path, bytes: head.len() as u64, is_fresh: true });
        Ok(())
    }

    fn head(&self) -> Vec<u8> {
        if self.is_pcapng {
            return write::pcapng_header(&self.interfaces);
        }
        write::pcap_header(self.interfaces.first().map_or(LinkType::ETHERNET, |(_, link)| *link)).to_vec()
    }
}

/// The name of a ring's file: their numbers go on over all captures of the ring, whatever the clock says.
fn in_turn(path: &Path, now: Timestamp, number: u32) -> PathBuf {
    let (stem, ending) = parts(path);
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    path.with_file_name(format!("{stem}_{number:05}_{time}{ending}"))
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let ending = text(path.extension()).map(|ending| format!(".{ending}")).unwrap_or_default();
    (text(path.file_stem()).unwrap_or_default(), ending)
}

/// Files that an earlier capture of the same name left, with their numbers, the oldest first: they are of the ring.
fn earlier(path: &Path) -> Vec<(u32, PathBuf)> {
    let (stem, ending) = parts(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let ours = |name: &str| -> Option<u32> {
        let middle = name.strip_prefix(&stem)?.strip_prefix('_')?.strip_suffix(&ending)?;
        let (number, time) = middle.split_once('_')?;
        let of = |text: &str, length: usize| text.len() == length && text.chars().all(|c| c.is_ascii_digit());
        let (day, hour) = time.strip_suffix('Z')?.split_once('T')?;
        (of(day, 8) && of(hour, 6) && number.len() >= 5 && of(number, number.len())).then(|| number.parse().ok())?
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(u32, PathBuf)> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| Some((entry.file_name().to_str().and_then(ours)?, entry.path())))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{InputLimits, Source};

    fn interface(name: &str, link: u16) -> (String, LinkType) {
        (name.to_owned(), LinkType(link))
    }

    /// Times, lengths on the wire and bytes of a capture's packets.
    fn read(path: &Path) -> Vec<(u64, u32, u16, Vec<u8>)> {
        let mut source = Source::open(path, &InputLimits::default()).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = source.next_block(None).unwrap() {
            packets.extend(block.packets().map(|p| (p.time_ns, p.wire_len, p.link.0, p.data.to_vec())));
        }
        assert_eq!(source.status().damage, None, "{}", path.display());
        packets
    }

    const TIME: u64 = 1_764_000_000_123_456_789;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.pcap", "a.pcapng", "a"] {
            let path = folder.path().join(name);
            let interfaces = match name {
                "a.pcap" => vec![interface("one", 1)],
                _ => vec![interface("one", 1), interface("two", 101)],
            };
            let recording = Recording { path: path.clone(), ring: None };
            let mut recorder = Recorder::open(&recording, &interfaces).unwrap();
            let mut wanted = Vec::new();
            for length in 0..70u32 {
                let data: Vec<u8> = (0..length as u8).collect();
                let at = if interfaces.len() == 2 { length as usize % 2 } else { 0 };
                let (head, rest) = data.split_at(data.len() / 3);
                recorder.add(at, TIME + u64::from(length), length + 7, [head, &[], rest]);
                wanted.push((TIME + u64::from(length), length + 7, if at == 0 { 1 } else { 101 }, data));
                if length % 9 == 0 {
                    assert_eq!(recorder.flush(), None);
                }
            }
            assert_eq!(recorder.finish(&[[70, 0], [3, 1]][..interfaces.len()]), None);
            assert_eq!(recorder.counts().packets, 70);
            assert_eq!(read(&path), wanted, "{name}");
            let again = Recorder::open(&recording, &interfaces).err().unwrap();
            assert!(again.to_string().contains("is there already"), "{again}");
        }
        let two = [interface("one", 1), interface("two", 101)];
        let recording = Recording { path: folder.path().join("b.pcap"), ring: None };
        assert!(Recorder::open(&recording, &two).err().unwrap().to_string().contains("pcapng"));
    }

    #[test]
    fn the_oldest_files_of_a_ring_go_also_those_of_an_earlier_run() {
        let folder = tempfile::tempdir().unwrap();
        let recording =
            Recording { path: folder.path().join("ring.pcapng"), ring: Some(FileRing { bytes: 64 << 10, files: 3 }) };
        std::fs::write(folder.path().join("ring_00007_20260101T000000Z.pcapng"), "old").unwrap();
        std::fs::write(folder.path().join("ring_of_mine.pcapng"), "not of the ring").unwrap();
        let mut recorder = Recorder::open(&recording, &[interface("one", 1)]).unwrap();
        for packet in 0..300 {
            recorder.add(0, TIME + packet, 1000, [&[packet as u8; 1000], &[], &[]]);
            assert_eq!(recorder.flush(), None);
        }
        assert_eq!(recorder.finish(&[[300, 0]]), None);
        let mut names: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names[3].ends_with("ring_of_mine.pcapng"));
        let packets: Vec<u64> = names[..3].iter().flat_map(|path| read(path)).map(|packet| packet.0 - TIME).collect();
        assert!(packets.len() > 100 && packets.is_sorted() && packets.last() == Some(&299), "{packets:?}");
        assert!(names[..3].iter().all(|path| path.metadata().unwrap().len() <= 65 << 10));
        assert!(names[0].to_str().unwrap().contains("ring_000") && !names[0].to_str().unwrap().contains("00007"));
        assert_eq!(recorder.counts().packets, 300);
    }

    #[test]
    fn sizes_of_rings_are_read_as_people_write_them() {
        for (text, bytes) in
            [("100M×10", 100 << 20), ("100MiBx10", 100 << 20), ("65536 × 10", 65536), ("2gx10", 2 << 30)]
        {
            assert_eq!(text.parse(), Ok(FileRing { bytes, files: 10 }), "{text}");
        }
        for text in ["", "100M", "x10", "100Mx0", "100Qx1", "1x1", "99999999999Gx1", "-1Mx1"] {
            assert!(text.parse::<FileRing>().is_err(), "{text}");
        }
    }
}
