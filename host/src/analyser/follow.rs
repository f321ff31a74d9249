use super::{Indexed, Numbering};
use crate::source::{Damage, InputLimits, Source, SourceError};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;

/// Indexes a pcapng that somebody still writes, as this program writes them: block behind block, little-endian, in one section.
/// Only blocks that are there whole are read; what is written of the next one waits.
pub struct Follower {
    file: File,
    name: String,
    limits: InputLimits,
    numbering: Numbering,
    /// The section and its interfaces, which every piece is read behind.
    head: Vec<u8>,
    /// Where the next block begins.
    at: u64,
    waiting: Vec<Indexed>,
    damage: Option<Damage>,
}

/// Bytes that are read at once; more than the longest block of a packet.
const PIECE: usize = 2 << 20;
/// Bytes of a block's type and length, and of the shortest block.
const FRONT: usize = 8;
const SHORTEST: usize = 12;
/// Types of blocks of `draft-ietf-opsawg-pcapng`: a section's begin, and an interface.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;

impl Follower {
    /// Begins at the begin of a file, whose section and interfaces are there whole.
    pub fn new(file: File, name: &str, limits: &InputLimits, nesting: u8, seed: u64) -> io::Result<Self> {
        let (name, limits, numbering) = (name.to_owned(), limits.clone(), Numbering::new(nesting, seed));
        let mut follower =
            Self { file, name, limits, numbering, head: Vec::new(), at: 0, waiting: Vec::new(), damage: None };
        let begin = follower.piece()?;
        let mut head = 0;
        while let Some((SECTION | INTERFACE, length)) = front(begin.get(head..).unwrap_or_default()) {
            if length < SHORTEST || head + length > begin.len() {
                break;
            }
            head += length;
        }
        follower.head = begin.get(..head).unwrap_or_default().to_vec();
        follower.at = head as u64;
        if head == 0 {
            follower.damage = Some(Damage { offset: 0, what: "it does not begin as a capture of ours".to_owned() });
        }
        Ok(follower)
    }

    /// Bytes that were read.
    pub fn read(&self) -> u64 {
        self.at
    }

    /// What ended it, if anything did: it is no capture that this program writes.
    pub fn damage(&self) -> Option<Damage> {
        self.damage.clone()
    }

    /// The next packets; nothing where none is there yet.
    pub fn more(&mut self) -> Result<Option<Indexed>, SourceError> {
        if let Some(next) = self.waiting.pop() {
            return Ok(Some(next));
        }
        if self.damage.is_some() {
            return Ok(None);
        }
        let failed =
            |error: io::Error, name: &str| SourceError::Read { name: name.to_owned(), what: error.to_string() };
        let mut piece = self.piece().map_err(|error| failed(error, &self.name))?;
        let whole = self.whole(&piece);
        if whole == 0 {
            return Ok(None);
        }
        piece.truncate(whole);
        let (head, begin) = (self.head.len() as u64, self.at);
        let reader = Cursor::new(self.head.clone()).chain(Cursor::new(piece));
        let mut source = Source::from_reader(self.name.clone(), reader, &self.limits)?;
        while let Some(block) = source.next_block(None)? {
            // Where it lies in the file, and not behind the head.
            let offsets = block.offsets().map(|offset| offset.saturating_sub(head) + begin);
            self.waiting.push(self.numbering.indexed(&block, offsets));
        }
        self.at += whole as u64;
        if let Some(damage) = &source.status().damage {
            let offset = damage.offset.saturating_sub(head) + begin;
            self.damage = Some(Damage { offset, what: damage.what.clone() });
        }
        self.waiting.reverse();
        Ok(self.waiting.pop())
    }

    /// What comes next in the file.
    fn piece(&self) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; PIECE];
        let mut there = 0;
        while there < piece.len() {
            match self.file.read_at(piece.get_mut(there..).unwrap_or_default(), self.at + there as u64) {
                Ok(0) => break,
                Ok(more) => there += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        piece.truncate(there);
        Ok(piece)
    }

    /// Bytes of the blocks that are there whole.
    fn whole(&mut self, piece: &[u8]) -> usize {
        let mut at = 0;
        while let Some((_, length)) = front(piece.get(at..).unwrap_or_default()) {
            if length < SHORTEST || !length.is_multiple_of(4) || length > PIECE {
                if at == 0 {
                    let what = format!("a block of {length} bytes, which none of ours has");
                    self.damage = Some(Damage { offset: self.at, what });
                }
                break;
            }
            // Its length stands at its end again, which is written last.
            let end = piece.get(at + length - 4..at + length).and_then(|end| end.try_into().ok());
            if end.map(u32::from_le_bytes) != u32::try_from(length).ok() {
                break;
            }
            at += length;
        }
        at
    }
}

/// Type and length of the block that begins here.
fn front(bytes: &[u8]) -> Option<(u32, usize)> {
    let (kind, rest) = bytes.get(..FRONT)?.split_first_chunk::<4>()?;
    let length = rest.first_chunk::<4>()?;
    Some((u32::from_le_bytes(*kind), u32::from_le_bytes(*length) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyser::Index;
    use crate::source::write;
    use std::io::Write;
    use veilwatch_core::packet::LinkType;

    const TIME: u64 = 1_764_000_000_000_000_000;

    fn follow(file: &File) -> Follower {
        Follower::new(file.try_clone().unwrap(), "this", &InputLimits::default(), 4, 7).unwrap()
    }

    fn take(follower: &mut Follower, index: &mut Index) {
        while let Some(more) = follower.more().unwrap() {
            index.take(more);
        }
    }

    #[test]
    fn packets_are_known_as_soon_as_they_are_there_whole() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&write::pcapng_header(&[("one".to_owned(), LinkType::ETHERNET)])).unwrap();
        let (mut follower, mut index) = (follow(&file), Index::default());
        take(&mut follower, &mut index);
        assert!(index.is_empty());
        let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
        for at in 0..40u64 {
            let data: Vec<u8> = (0..at as u8 * 3).collect();
            write::pcapng_packet(&mut bytes, 0, TIME + at, 1000, [&data, &[], &[]]);
            wanted.push(data);
        }
        write::pcapng_statistics(&mut bytes, 0, TIME, 40, 0);
        // However it is cut into pieces.
        for piece in bytes.chunks(17) {
            file.write_all(piece).unwrap();
            take(&mut follower, &mut index);
        }
        assert_eq!((index.len(), follower.damage()), (40, None));
        for (place, data) in index.from(1).map(|(_, place)| place).zip(&wanted) {
            let mut there = vec![0; place.len as usize];
            file.read_exact_at(&mut there, place.offset).unwrap();
            assert_eq!(&there, data);
        }
        assert_eq!(index.place(40).map(|place| (place.time_ns, place.wire_len)), Some((TIME + 39, 1000)));
    }

    #[test]
    fn what_is_none_of_ours_ends_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"something else, and long enough").unwrap();
        assert!(follow(&file).damage().is_some());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&write::pcapng_header(&[("one".to_owned(), LinkType::ETHERNET)])).unwrap();
        file.write_all(&[0xff; 64]).unwrap();
        let mut follower = follow(&file);
        assert!(follower.more().unwrap().is_none() && follower.damage().is_some());
    }
}
