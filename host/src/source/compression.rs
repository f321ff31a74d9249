use super::{InputLimits, SourceError, sniff::Kind};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A capture's bytes after decompression.
pub(super) type Input = Box<dyn Read + Send>;

/// How a capture may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Zstd,
}

impl Codec {
    /// By a file's first bytes.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, 8, _] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] => Some(Self::Zstd),
            // A skippable frame, which pzstd and seekable zstd files start with.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Puts the decoder on top of `packed`.
    fn decoder(self, packed: impl Read + Send + 'static) -> io::Result<Input> {
        let packed = Pieces(BufReader::with_capacity(64 << 10, packed));
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            // Frames that ask for a window above the library's default of 128 MiB are refused there.
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        })
    }
}

/// An opened capture, decompressed as far as it was compressed.
pub(super) struct Unpacked {
    /// The first bytes: as many as its [`Kind`] needs, fewer where there are no more.
    pub(super) head: Vec<u8>,
    /// What comes after `head`.
    pub(super) rest: Input,
    /// Name of the compression.
    pub(super) compression: Option<&'static str>,
}

/// Reads the first bytes of `input` and undoes compression, also twice over. `meter` counts what `input` gave.
pub(super) fn unpack(
    name: &str,
    input: impl Read + Send + 'static,
    limits: &InputLimits,
    meter: &Arc<AtomicU64>,
) -> Result<Unpacked, SourceError> {
    let unreadable = |failure: Failure| match failure {
        Failure { interrupted: true, .. } => SourceError::Interrupted { name: name.to_owned() },
        Failure { what, .. } => SourceError::Read { name: name.to_owned(), what },
    };
    let mut input: Input = Box::new(Metered { inner: input, meter: Arc::clone(meter) });
    let mut codecs = Vec::new();
    loop {
        let head = peek(&mut input).map_err(|error| unreadable(Failure::of(error)))?;
        let Kind::Compressed(codec) = Kind::of(&head) else {
            return Ok(Unpacked { head, rest: input, compression: compression(&codecs) });
        };
        if codecs.len() == 2 {
            return Err(SourceError::Nested { name: name.to_owned() });
        }
        codecs.push(codec);
        let packed = Cursor::new(head).chain(input);
        input = Box::new(Unpacking {
            inner: codec.decoder(packed).map_err(|error| unreadable(Failure::of(error)))?,
            codec,
            produced: 0,
            ratio: u64::from(limits.expansion_ratio),
            most: limits.unpacked_bytes,
            meter: Arc::clone(meter),
        });
    }
}

fn compression(codecs: &[Codec]) -> Option<&'static str> {
    Some(match codecs {
        [] => return None,
        [Codec::Zstd, Codec::Gzip] => "gzip in zstd",
        [Codec::Gzip, Codec::Zstd] => "zstd in gzip",
        [Codec::Gzip, Codec::Gzip, ..] => "gzip in gzip",
        [Codec::Zstd, Codec::Zstd, ..] => "zstd in zstd",
        [codec, ..] => codec.name(),
    })
}

/// Reads as many first bytes as what they turn out to be needs, and not one more: on a live pipe that one may be long
/// in coming.
fn peek(input: &mut Input) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut want = super::sniff::MAGIC_BYTES;
    while head.len() < want {
        let missing = (want - head.len()) as u64;
        if input.by_ref().take(missing).read_to_end(&mut head)? == 0 {
            break;
        }
        want = Kind::of(&head).head_bytes();
    }
    Ok(head)
}

/// The error of a reader that was told to stop: it ends reading without damage, and what was read before it stays.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("reading was interrupted")]
pub struct Interrupted;

/// A failed read, with the sentence for it. It travels inside an [`io::Error`] through the decoders, which only know
/// those.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub(super) struct Failure {
    /// Whether the file could not be read, rather than that it holds nonsense.
    pub(super) device: bool,
    /// Whether nothing is wrong: reading was to stop.
    pub(super) interrupted: bool,
    /// What is wrong.
    pub(super) what: String,
}

impl Failure {
    /// The failure inside `error`, or one made of it.
    pub(super) fn of(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => {
                let interrupted = error.get_ref().is_some_and(|inner| inner.is::<Interrupted>());
                Self { device: true, interrupted, what: format!("reading failed: {error}") }
            }
        }
    }
}

/// The file itself: counts what was read of it.
struct Metered<R> {
    inner: R,
    meter: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Ok(bytes) => {
                    self.meter.fetch_add(bytes as u64, Ordering::Relaxed);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::new(error.kind(), Failure::of(error))),
            }
        }
    }
}

/// Hands a decoder its input in small pieces.
///
/// Both decoders forget what they have unpacked in the call in which they notice an error. With 256 KiB of output in a
/// call that would be a whole small capture; with small pieces in and out it is a packet or two.
struct Pieces<R>(R);

const PIECE_IN: usize = 512;
const PIECE_OUT: usize = 8 << 10;

impl<R: BufRead> BufRead for Pieces<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.0.fill_buf()?;
        Ok(&buffer[..buffer.len().min(PIECE_IN)])
    }

    fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
    }
}

impl<R: BufRead> Read for Pieces<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// How much may be unpacked before the expansion ratio counts.
const FREE_BYTES: u64 = 64 << 20;

/// A decoder: stops bombs and says in plain words what is wrong.
struct Unpacking {
    inner: Input,
    codec: Codec,
    produced: u64,
    ratio: u64,
    /// Bytes that may be produced.
    most: u64,
    meter: Arc<AtomicU64>,
}

impl Read for Unpacking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.meter.load(Ordering::Relaxed).saturating_mul(self.ratio).max(FREE_BYTES);
        if self.produced > allowed {
            let what = format!(
                "it unpacks to more than {} times its size, as decompression bombs do (limit expansion_ratio)",
                self.ratio
            );
            return Err(io::Error::other(Failure { device: false, interrupted: false, what }));
        }
        let left = self.most - self.produced;
        if left == 0 && !buffer.is_empty() {
            // Whether this is its very end, only one byte more can tell.
            if self.inner.read(&mut [0]).map_err(|error| self.explain(error))? == 0 {
                return Ok(0);
            }
            let what = format!("it unpacks to more than {} bytes (limit unpacked_bytes)", self.most);
            return Err(io::Error::other(Failure { device: false, interrupted: false, what }));
        }
        let room = buffer.len().min(PIECE_OUT).min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = self.inner.read(&mut buffer[..room]).map_err(|error| self.explain(error))?;
        self.produced += bytes as u64;
        Ok(bytes)
    }
}

impl Unpacking {
    fn explain(&self, error: io::Error) -> io::Error {
        if error.get_ref().is_some_and(|inner| inner.is::<Failure>()) {
            return error;
        }
        let codec = self.codec.name();
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the {codec} stream is cut off"),
            _ => format!("the {codec} stream is broken: {error}"),
        };
        io::Error::other(Failure { device: false, interrupted: false, what })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Made, drain, gzip, open, pcap, zstd};
    use super::super::{InputLimits, Source, SourceStatus};
    use std::io::Cursor;

    /// A capture of random-looking bytes, so that its compressed form is long enough to be broken in many places.
    fn noise() -> (Vec<Made>, Vec<u8>) {
        let mut state = 1u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8 & 0x3f
        };
        let made = |number| Made {
            number,
            time_ns: number * 1000,
            link: 1,
            wire_len: 1000,
            data: (0..1000).map(|_| byte()).collect(),
        };
        let packets: Vec<Made> = (1..=300).map(made).collect();
        let bytes = pcap(&packets, 0xa1b2_c3d4, false);
        (packets, bytes)
    }

    fn read(bytes: &[u8]) -> (Vec<Made>, SourceStatus) {
        drain(open(bytes).unwrap())
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let (packets, bytes) = noise();
        let (start, end) = bytes.split_at(5000);
        for packed in [[gzip(start), gzip(b""), gzip(end)].concat(), [zstd(start), zstd(end)].concat()] {
            let (got, status) = read(&packed);
            assert_eq!(got, packets);
            assert_eq!(status.damage, None);
            assert_eq!(status.unpacked_bytes, bytes.len() as u64);
        }
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4], zstd(&bytes).as_slice()].concat();
        assert_eq!(read(&skippable).0, packets);
    }

    #[test]
    fn a_cut_stream_gives_what_came_before() {
        let (packets, bytes) = noise();
        // A zstd block of 128 KiB comes whole or not at all.
        for (packed, what, least) in
            [(gzip(&bytes), "the gzip stream is cut off", 290), (zstd(&bytes), "the zstd stream is cut off", 170)]
        {
            let (got, status) = read(&packed[..packed.len() - 3]);
            assert_eq!(status.damage.unwrap().what, what);
            assert_eq!(got, packets[..got.len()]);
            assert!(got.len() >= least, "{what}: {} packets", got.len());
        }
    }

    #[test]
    fn a_broken_stream_gives_what_came_before() {
        let (packets, bytes) = noise();
        // The check sum at the end of gzip's member: everything before it is whole.
        let mut packed = gzip(&bytes);
        let end = packed.len();
        packed[end - 6] ^= 1;
        let (got, status) = read(&packed);
        assert_eq!(got, packets);
        assert!(status.damage.unwrap().what.starts_with("the gzip stream is broken: "));
        // A block of an impossible type, after 200 packets.
        let whole = gzip(&bytes[..24 + 200 * 1016]);
        let mut packed = whole.clone();
        packed.truncate(whole.len() - 8);
        packed.extend(gzip(&bytes[24 + 200 * 1016..]));
        let (got, status) = read(&packed);
        assert_eq!(got, packets[..200]);
        assert!(status.damage.is_some());
        // Something else behind.
        let (got, status) = read(&[whole.as_slice(), b"garbage"].concat());
        assert_eq!(got, packets[..200]);
        assert!(status.damage.is_some());
    }

    #[test]
    fn flipped_bytes_cost_no_more_than_what_follows_them() {
        let (packets, bytes) = noise();
        for (packed, block) in [(gzip(&bytes), 16), (zstd(&bytes), 140)] {
            for at in (200..packed.len()).step_by(packed.len() / 23) {
                let mut broken = packed.clone();
                broken[at] ^= 0x55;
                let (got, _) = read(&broken);
                let before = at * packets.len() / packed.len();
                let same = got.iter().zip(&packets).take_while(|(got, packet)| got == packet).count();
                assert!(same + block >= before, "{same} of {before} packets before byte {at}");
            }
        }
    }

    #[test]
    fn a_bomb_goes_off_in_the_open() {
        let limits = InputLimits { expansion_ratio: 10, ..InputLimits::default() };
        let mut bytes = pcap(&[], 0xa1b2_c3d4, false);
        bytes.resize(80 << 20, 0);
        let inside = Source::from_reader(String::new(), Cursor::new(gzip(&gzip(&bytes))), &limits).unwrap();
        let (_, status) = drain_quietly(inside);
        let damage = status.damage.unwrap();
        assert!(damage.what.contains("(limit expansion_ratio)"), "{damage}");
        assert!(damage.offset >= super::FREE_BYTES && damage.offset < super::FREE_BYTES + (1 << 20));
    }

    #[test]
    fn unpacking_ends_at_the_limit_and_not_before() {
        let (packets, bytes) = noise();
        let read = |packed: &[u8], unpacked_bytes| {
            let limits = InputLimits { unpacked_bytes, ..InputLimits::default() };
            drain(Source::from_reader(String::new(), Cursor::new(packed.to_vec()), &limits).unwrap())
        };
        let size = bytes.len() as u64;
        for packed in [gzip(&bytes), zstd(&bytes), gzip(&zstd(&bytes))] {
            let (got, status) = read(&packed, size);
            assert_eq!((got, status.damage), (packets.clone(), None));
            // A header and 100 packets fit.
            let (got, status) = read(&packed, 24 + 100 * 1016);
            assert_eq!(got, packets[..100]);
            let damage = status.damage.unwrap();
            assert_eq!(damage.what, "it unpacks to more than 101624 bytes (limit unpacked_bytes)");
            assert_eq!((damage.offset, status.unpacked_bytes), (101_624, 101_624));
        }
        // Nothing is unpacked of a plain file.
        assert_eq!(read(&bytes, 1000).0, packets);
    }

    /// Like [`drain`], for more packets than anybody wants to keep.
    fn drain_quietly(mut source: Source) -> (u64, SourceStatus) {
        let mut recycled = None;
        while let Some(block) = source.next_block(recycled.take()).unwrap() {
            recycled = Some(block);
        }
        (source.status().packets, source.status().clone())
    }
}
