//! Records (RFC 6347 section 4.1, RFC 9147 section 4).

use veilwatch_core::plugin::Reader;

/// Content types (IANA, TLS ContentType).
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;
/// A record with a connection id, whose length nobody but its receiver knows (RFC 9146).
pub(crate) const WITH_ID: u8 = 25;
/// RFC 9147 section 7.
pub(crate) const ACK: u8 = 26;

/// Bytes of a record's header.
pub(crate) const HEADER: usize = 13;

/// The most that an encrypted record may hold (RFC 6347 section 4.1, RFC 5246 section 6.2.3).
const MOST: usize = (1 << 14) + 2048;

/// What OpenSSL spoke before DTLS had a number.
const BEFORE: u16 = 0x0100;
pub(crate) const DTLS_10: u16 = 0xfeff;
pub(crate) const DTLS_12: u16 = 0xfefd;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: u8,
    /// 0 where the header is that of DTLS 1.3, which does not say.
    pub(crate) version: u16,
    /// 0 as long as nothing is encrypted; of DTLS 1.3 the lowest two bits.
    pub(crate) epoch: u16,
    pub(crate) sequence: u64,
    /// Where it begins in its datagram.
    pub(crate) at: usize,
    /// What it says that it holds.
    pub(crate) length: usize,
    /// What is there of that.
    pub(crate) body: &'a [u8],
}

impl Record<'_> {
    /// Whether what it holds is in clear.
    pub(crate) fn is_clear(&self) -> bool {
        self.epoch == 0 && self.kind != WITH_ID
    }

    /// Where it ends in its datagram, as far as it is there.
    pub(crate) fn end(&self) -> usize {
        self.at + HEADER + self.body.len()
    }
}

/// The records of a datagram, up to what is none. Behind one of DTLS 1.3 that is encrypted nothing is looked for: its
/// length may be left out, and what follows is encrypted too.
pub(crate) fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = datagram.get(at..).filter(|rest| !rest.is_empty())?;
        let record = read(rest, at)?;
        at = if record.version == 0 || record.kind == WITH_ID { datagram.len() } else { record.end() };
        Some(record)
    })
}

/// The record that these bytes begin with, `at` bytes into a datagram.
pub(crate) fn read(bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8()?;
    // The unified header of DTLS 1.3 (RFC 9147 section 4) begins with the bits 001.
    if kind >> 5 == 1 {
        let body = reader.rest();
        return Some(Record {
            kind: APPLICATION_DATA,
            version: 0,
            epoch: u16::from(kind & 3),
            sequence: 0,
            at,
            length: body.len(),
            body,
        });
    }
    let version = reader.u16()?;
    if !(CHANGE_CIPHER_SPEC..=ACK).contains(&kind) || !matches!(version, DTLS_10 | DTLS_12 | BEFORE) {
        return None;
    }
    let epoch = reader.u16()?;
    let sequence = u64::from(reader.u16()?) << 32 | u64::from(reader.u32()?);
    let length = usize::from(reader.u16()?);
    if kind == WITH_ID {
        // The id stands before the length.
        let body = reader.rest();
        return (epoch > 0).then_some(Record { kind, version, epoch, sequence, at, length: body.len(), body });
    }
    // In clear, each kind but the handshake has its size.
    let sensible = match (kind, epoch) {
        (CHANGE_CIPHER_SPEC, 0) => length == 1,
        (ALERT, 0) => length == 2,
        // The head of a message.
        (HANDSHAKE, 0) => length >= 12,
        (APPLICATION_DATA | HEARTBEAT, 0) => false,
        _ => length > 0,
    };
    let rest = reader.rest();
    (sensible && length <= MOST).then(|| Record {
        kind,
        version,
        epoch,
        sequence,
        at,
        length,
        body: rest.get(..length).unwrap_or(rest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn a_datagram_may_hold_several() {
        let bytes =
            [record(HANDSHAKE, 0, &[1; 40]), record(CHANGE_CIPHER_SPEC, 0, &[1]), record(HANDSHAKE, 1, &[9; 40])];
        let all = bytes.concat();
        let told: Vec<_> = records(&all).map(|record| (record.kind, record.epoch, record.at, record.end())).collect();
        assert_eq!(told, [(22, 0, 0, 53), (20, 0, 53, 67), (22, 1, 67, 120)]);
        // What a capture cuts is there as far as it goes, and what is none ends it.
        let cut: Vec<_> = records(&all[..100]).map(|record| (record.length, record.body.len())).collect();
        assert_eq!(cut, [(40, 40), (1, 1), (40, 20)]);
        assert_eq!(records(&[&all[..67], b"GET / HTTP/1.1"].concat()).count(), 2);
    }

    #[test]
    fn in_clear_everything_has_its_size() {
        for (kind, epoch, body, good) in [
            (ALERT, 0, &[2, 40][..], true),
            (ALERT, 0, &[2, 40, 1], false),
            (ALERT, 1, &[7; 26], true),
            (CHANGE_CIPHER_SPEC, 0, &[1, 1], false),
            (HANDSHAKE, 0, &[1; 11], false),
            (APPLICATION_DATA, 0, &[1; 40], false),
            (APPLICATION_DATA, 1, &[1; 40], true),
            (APPLICATION_DATA, 1, &[], false),
            (WITH_ID, 1, &[1; 40], true),
            (WITH_ID, 0, &[1; 40], false),
            (19, 1, &[1; 40], false),
            (27, 1, &[1; 40], false),
        ] {
            assert_eq!(read(&record(kind, epoch, body), 0).is_some(), good, "{kind} {epoch} {body:?}");
        }
        let mut other = record(HANDSHAKE, 0, &[1; 40]);
        other[1..3].copy_from_slice(&[3, 3]);
        assert_eq!(read(&other, 0), None);
    }

    #[test]
    fn the_header_of_dtls_13_says_little() {
        let record = read(&[0x2f, 1, 2, 0, 9, 7, 7], 5).unwrap();
        assert_eq!((record.version, record.epoch, record.at, record.is_clear()), (0, 3, 5, false));
    }
}
