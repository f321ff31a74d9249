use super::compression::Codec;

/// What the first bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Classic pcap, in any of its variants.
    Pcap,
    /// pcapng.
    Pcapng,
    /// Something compressed that may hold a capture.
    Compressed(Codec),
    /// None of ours.
    Other,
}

/// Bytes that tell any [`Kind`].
pub(super) const MAGIC_BYTES: usize = 4;

/// The four bytes a pcapng file starts with; the same in either byte order.
pub(super) const PCAPNG: [u8; MAGIC_BYTES] = [0x0a, 0x0d, 0x0d, 0x0a];

impl Kind {
    pub(super) fn of(head: &[u8]) -> Self {
        let Some(&magic) = head.first_chunk::<MAGIC_BYTES>() else {
            return Self::Other;
        };
        match magic {
            PCAPNG => Self::Pcapng,
            _ if super::pcap::variant(magic).is_some() => Self::Pcap,
            _ => Codec::of(magic).map_or(Self::Other, Self::Compressed),
        }
    }

    /// How many of the first bytes it takes to open it, or to say what it is instead.
    pub(super) fn head_bytes(self) -> usize {
        match self {
            Self::Pcap => super::pcap::HEADER,
            Self::Pcapng => super::pcapng::HEADER,
            Self::Compressed(_) => MAGIC_BYTES,
            Self::Other => 64,
        }
    }
}

/// What people hand over instead of a capture, with a hint where one helps.
const LOOKS: &[(&[u8], &str)] = &[
    (b"version https://git-lfs", "a Git LFS pointer (fetch the file itself: git lfs pull)"),
    (b"snoop\0\0\0", "a Solaris snoop capture (convert it: editcap -F pcapng IN OUT)"),
    (b"GMBU", "a Network Monitor capture (convert it: editcap -F pcapng IN OUT)"),
    (b"RTSS", "a Network Monitor capture (convert it: editcap -F pcapng IN OUT)"),
    (b"btsnoop\0", "a Bluetooth capture"),
    (b"PK\x03\x04", "a ZIP archive (unpack it first)"),
    (b"BZh", "a bzip2 file (unpack it first)"),
    (b"\xfd7zXZ\0", "an xz file (unpack it first)"),
    (b"\x04\x22\x4d\x18", "an lz4 file (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (unpack it first)"),
    (b"Rar!", "a RAR archive (unpack it first)"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"<?xml", "an XML document"),
    (b"{", "JSON text"),
    (b"#!", "a script"),
];

/// Says what `head`, the first bytes of a file, looks like.
pub(super) fn looks(head: &[u8]) -> String {
    if let Some((_, what)) = LOOKS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*what).to_owned();
    }
    let start = head.trim_ascii_start().to_ascii_lowercase();
    if start.starts_with(b"<!doctype html") || start.starts_with(b"<html") {
        return "an HTML page (was a download answered by an error page?)".to_owned();
    }
    if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')) {
        let line = head.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or_default();
        return format!("text (\"{}\")", String::from_utf8_lossy(&line[..line.len().min(32)]));
    }
    if head.iter().all(|&byte| byte == 0) {
        return "nothing but zeros".to_owned();
    }
    let bytes: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("nothing known (first bytes {})", bytes.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_formats_by_content() {
        assert_eq!(Kind::of(&[0xd4, 0xc3, 0xb2, 0xa1, 0]), Kind::Pcap);
        assert_eq!(Kind::of(&[0xa1, 0xb2, 0x3c, 0x4d]), Kind::Pcap);
        assert_eq!(Kind::of(&[0x0a, 0x0d, 0x0d, 0x0a]), Kind::Pcapng);
        assert_eq!(Kind::of(&[0x1f, 0x8b, 8, 0]), Kind::Compressed(Codec::Gzip));
        assert_eq!(Kind::of(&[0x28, 0xb5, 0x2f, 0xfd]), Kind::Compressed(Codec::Zstd));
        assert_eq!(Kind::of(&[0x5e, 0x2a, 0x4d, 0x18]), Kind::Compressed(Codec::Zstd));
        assert_eq!(Kind::of(b"PK\x03\x04"), Kind::Other);
        assert_eq!(Kind::of(&[0xd4, 0xc3]), Kind::Other);
    }

    #[test]
    fn says_what_it_is_instead() {
        assert_eq!(looks(b"\x7fELF\x02\x01"), "an ELF program");
        assert_eq!(looks(b"\n <!DOCTYPE html>"), "an HTML page (was a download answered by an error page?)");
        assert_eq!(looks(b"hello\nworld"), "text (\"hello\")");
        assert_eq!(looks(&[0; 64]), "nothing but zeros");
        assert_eq!(looks(&[1, 2, 0xff]), "nothing known (first bytes 01 02 ff)");
    }
}
