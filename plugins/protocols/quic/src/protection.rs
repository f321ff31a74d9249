//! Initial packets: their keys are known to whoever has seen the client's first one (RFC 9001 section 5).

use crate::header::Packet;
use crate::version::Version;
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use hkdf::Hkdf;
use sha2::Sha256;

/// The keys of both sides.
pub(crate) struct Keys {
    pub(crate) client: Key,
    pub(crate) server: Key,
}

impl Keys {
    /// The keys of a connection by the destination connection id of the client's first Initial, or of the first one
    /// behind a Retry (section 5.2); none for a version that is not readable.
    pub(crate) fn new(version: Version, destination: &[u8]) -> Option<Self> {
        let cipher = version.cipher()?;
        let secret = Hkdf::<Sha256>::new(Some(cipher.salt), destination);
        let side = |label| Key::new(&Hkdf::from_prk(&expand::<32>(&secret, label)?).ok()?, cipher.labels);
        Some(Self { client: side("client in")?, server: side("server in")? })
    }
}

/// One side's key, vector and header protection.
pub(crate) struct Key {
    seal: Aes128Gcm,
    vector: [u8; 12],
    header: Aes128,
}

impl Key {
    fn new(secret: &Hkdf<Sha256>, [key, vector, header]: [&str; 3]) -> Option<Self> {
        Some(Self {
            seal: Aes128Gcm::new(&expand::<16>(secret, key)?.into()),
            vector: expand(secret, vector)?,
            header: Aes128::new(&expand::<16>(secret, header)?.into()),
        })
    }

    /// Takes the protection off a packet: its number and its frames, or nothing where it is another key's or damaged.
    /// `largest` is the largest number that was seen of this side.
    pub(crate) fn open(&self, packet: &Packet<'_>, largest: Option<u64>) -> Option<(u64, Vec<u8>)> {
        let at = packet.number_at;
        let mut block = aes::Block::try_from(packet.bytes.get(at + 4..at + 20)?).ok()?;
        self.header.encrypt_block(&mut block);
        let [mask, number_mask @ ..] = <[u8; 16]>::from(block);
        let first = *packet.bytes.first()? ^ (mask & 0x0f);
        let len = usize::from(first & 3) + 1;
        let mut header = packet.bytes.get(..at + len)?.to_vec();
        header.splice(..1, [first]);
        let mut truncated = 0;
        for (byte, mask) in header.iter_mut().skip(at).zip(number_mask) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = whole_number(truncated, len, largest);
        let (text, tag) = packet.bytes.get(at + len..)?.split_last_chunk::<16>()?;
        let mut text = text.to_vec();
        let nonce = self.nonce(number);
        let opened =
            self.seal.decrypt_inout_detached(&nonce.into(), &header, text.as_mut_slice().into(), &(*tag).into());
        opened.ok().map(|()| (number, text))
    }

    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.vector;
        for (byte, mask) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= mask;
        }
        nonce
    }

    /// Protects a packet, whose header is in clear and ends with a number of four bytes.
    #[cfg(test)]
    pub(crate) fn seal(&self, header: &[u8], number: u32, frames: &[u8]) -> Vec<u8> {
        let mut text = frames.to_vec();
        let nonce = self.nonce(number.into());
        let tag = self.seal.encrypt_inout_detached(&nonce.into(), header, text.as_mut_slice().into()).unwrap();
        let mut packet = [header, &text, &tag].concat();
        let at = header.len() - 4;
        let mut block = aes::Block::try_from(&packet[at + 4..at + 20]).unwrap();
        self.header.encrypt_block(&mut block);
        packet[0] ^= block[0] & 0x0f;
        for place in 0..4 {
            packet[at + place] ^= block[1 + place];
        }
        packet
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
fn expand<const LEN: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; LEN]> {
    let name = ["tls13 ", label].concat();
    let info = [&u16::try_from(LEN).ok()?.to_be_bytes()[..], &[u8::try_from(name.len()).ok()?], name.as_bytes(), &[0]];
    let mut out = [0; LEN];
    secret.expand(&info.concat(), &mut out).ok()?;
    Some(out)
}

/// The number whose last `len` bytes are these and which is nearest to the next one (RFC 9000 appendix A.3).
fn whole_number(truncated: u64, len: usize, largest: Option<u64>) -> u64 {
    let expected = largest.map_or(0, |largest| largest + 1);
    let window = 1u64 << (len * 8);
    let candidate = (expected & !(window - 1)) | truncated;
    if candidate + window / 2 <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{Found, read};
    use crate::testing::hex;

    fn packet(bytes: &[u8]) -> Packet<'_> {
        match read(bytes) {
            Some(Found::Packet(packet)) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_completed() {
        // RFC 9000 appendix A.3.
        assert_eq!(whole_number(0x9b32, 2, Some(0xa82f_30ea)), 0xa82f_9b32);
        assert_eq!((whole_number(0, 1, Some(255)), whole_number(255, 1, Some(256))), (256, 255));
        assert_eq!((whole_number(7, 4, None), whole_number(200, 1, None)), (7, 200));
    }

    /// RFC 9001 appendix A.1.
    #[test]
    fn keys_of_the_first_version() {
        let secret = Hkdf::<Sha256>::new(Some(Version(1).cipher().unwrap().salt), &hex("8394c8f03e515708"));
        let client = expand::<32>(&secret, "client in").unwrap();
        assert_eq!(client.to_vec(), hex("c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea"));
        let client = Hkdf::from_prk(&client).unwrap();
        assert_eq!(expand::<16>(&client, "quic key").unwrap().to_vec(), hex("1f369613dd76d5467730efcbe3b1a22d"));
        assert_eq!(expand::<12>(&client, "quic iv").unwrap().to_vec(), hex("fa044b2f42a3fd3b46fb255c"));
        assert_eq!(expand::<16>(&client, "quic hp").unwrap().to_vec(), hex("9f50449e04a0e810283a1e9933adedd2"));
        let server = Hkdf::from_prk(&expand::<32>(&secret, "server in").unwrap()).unwrap();
        assert_eq!(expand::<16>(&server, "quic key").unwrap().to_vec(), hex("cf3a5331653c364c88f0f379b6067e37"));
        assert_eq!(expand::<12>(&server, "quic iv").unwrap().to_vec(), hex("0ac1493ca1905853b0bba03e"));
        assert_eq!(expand::<16>(&server, "quic hp").unwrap().to_vec(), hex("c206b8d9b9f0f37644430b490eeaa314"));
    }

    /// RFC 9001 appendix A.2: the packet that these frames give, byte by byte where the RFC shows it.
    #[test]
    fn a_clients_packet_of_the_appendix() {
        let keys = Keys::new(Version(1), &hex("8394c8f03e515708")).unwrap();
        let hello = hex(CLIENT_FRAMES);
        let mut frames = hello.clone();
        frames.resize(1162, 0);
        let header = hex("c300000001088394c8f03e5157080000449e00000002");
        let sealed = keys.client.seal(&header, 2, &frames);
        assert_eq!(sealed.len(), 1200);
        assert_eq!(sealed[..32], hex("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11")[..]);
        assert_eq!(sealed[1184..], hex("e221af44860018ab0856972e194cd934")[..]);
        let (number, opened) = keys.client.open(&packet(&sealed), None).unwrap();
        assert_eq!((number, opened), (2, frames));
        assert!(keys.server.open(&packet(&sealed), None).is_none(), "another key");
        let mut damaged = sealed;
        damaged[600] ^= 1;
        assert!(keys.client.open(&packet(&damaged), None).is_none(), "another byte");
    }

    /// RFC 9001 appendix A.3, and RFC 9369 appendix A.3.
    #[test]
    fn servers_packets_of_the_appendices() {
        for (version, sealed) in [(1, SERVER_1), (0x6b33_43cf, SERVER_2)] {
            let keys = Keys::new(Version(version), &hex("8394c8f03e515708")).unwrap();
            let sealed = hex(sealed);
            let (number, frames) = keys.server.open(&packet(&sealed), None).unwrap();
            assert_eq!(number, 1);
            assert_eq!(frames, hex(SERVER_FRAMES), "{version}");
        }
    }

    /// RFC 9369 appendix A.1.
    #[test]
    fn keys_of_the_second_version() {
        let cipher = Version(0x6b33_43cf).cipher().unwrap();
        let secret = Hkdf::<Sha256>::new(Some(cipher.salt), &hex("8394c8f03e515708"));
        let client = Hkdf::from_prk(&expand::<32>(&secret, "client in").unwrap()).unwrap();
        assert_eq!(expand::<16>(&client, cipher.labels[0]).unwrap().to_vec(), hex("8b1a0bc121284290a29e0971b5cd045d"));
        assert_eq!(expand::<12>(&client, cipher.labels[1]).unwrap().to_vec(), hex("91f73e2351d8fa91660e909f"));
        assert_eq!(expand::<16>(&client, cipher.labels[2]).unwrap().to_vec(), hex("45b95e15235d6f45a6b19cbcb0294ba9"));
    }

    /// The CRYPTO frame of RFC 9001 appendix A.2.
    const CLIENT_FRAMES: &str = "\
        060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c\
        00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006\
        001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa4\
        7fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e040305\
        0306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff0504800\
        0ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff";

    /// The frames of RFC 9001 appendix A.3: ACK and CRYPTO.
    const SERVER_FRAMES: &str = "\
        02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a\
        045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311\
        bcf32bb9da1a002b00020304";

    const SERVER_1: &str = "\
        cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c6979\
        7554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f\
        3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc421\
        58407dd074ee";

    const SERVER_2: &str = "\
        dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b8923\
        7bbf87263017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a\
        393e42757507698075b2c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84b\
        ed8521e2e140";
}
