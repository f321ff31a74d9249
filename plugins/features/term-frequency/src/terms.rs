//! What a flow says, as terms: each a hash over its group and what it is.

use veilwatch_core::feature::{FlowView, hash64};
use veilwatch_core::record::{CertificateInfo, ClientHello, ServerHello, TlsRecords, is_grease};

/// A kind of terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Group {
    Ciphers,
    Extensions,
    Groups,
    Signatures,
    Alpn,
    Versions,
    Server,
    Certificate,
    Names,
    Records,
    Packets,
}

/// What servers answer whatever their certificate is. Others come and go with it: a staple (5), its time stamps (18), its
/// type (20), and the acknowledgement of the name (0).
const OF_SERVERS: [u16; 11] = [1, 11, 22, 23, 24, 35, 41, 43, 51, 13_172, 65_281];

impl Group {
    /// All of them, with the name in settings and what it stands for.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::Ciphers, "ciphers", "cipher suites that the client offers, one by one and two in a row"),
        (Self::Extensions, "extensions", "extensions of the ClientHello, without those that go with names"),
        (Self::Groups, "groups", "groups that the client offers"),
        (Self::Signatures, "signatures", "signature algorithms that the client offers"),
        (Self::Alpn, "alpn", "application protocols that the client offers"),
        (Self::Versions, "versions", "versions that the client offers, and those of its record and hello"),
        (
            Self::Server,
            "server",
            "version, cipher suite, group and extensions that the server chooses, but for those that go with its certificate",
        ),
        (Self::Certificate, "certificate", "which attributes and marks the server's certificate has"),
        (Self::Names, "names", "three characters in a row of the server name and of names in the certificate"),
        (Self::Records, "records", "types and lengths by class of records, one by one and two in a row"),
        (Self::Packets, "packets", "direction and length by class of payload packets, one by one and two in a row"),
    ];
}

/// Terms of one group and flow at most, so that who says much of one thing silences no other.
const MOST: usize = 128;

/// Bytes of one name whose pieces count.
const NAME_BYTES: usize = 96;

/// Extensions that come and go with the server name or its length: the name's own, and padding. And ALPN, whose protocols
/// are terms of their own.
const OF_NAMES: [u16; 3] = [0, 16, 21];

/// The terms of one flow, as they are gathered.
#[derive(Debug)]
pub(crate) struct Terms {
    seed: u64,
    hashes: Vec<u64>,
    /// How many there are of each group.
    counts: [usize; Group::ALL.len()],
}

impl Terms {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, hashes: Vec::with_capacity(MOST), counts: Default::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.hashes.clear();
        self.counts = Default::default();
    }

    /// All terms, equal ones beside each other.
    pub(crate) fn sorted(&mut self) -> &[u64] {
        self.hashes.sort_unstable();
        &self.hashes
    }

    /// Takes in a term: a group, a kind within it, and what it is.
    fn add(&mut self, group: Group, kind: u8, what: &[u8]) {
        let Some(count) = self.counts.get_mut(group as usize).filter(|count| **count < MOST) else { return };
        *count += 1;
        let seed = self.seed ^ (u64::from(group as u8) << 56 | u64::from(kind) << 48);
        self.hashes.push(hash64(seed, what));
    }

    fn code(&mut self, group: Group, kind: u8, code: u16) {
        self.add(group, kind, &code.to_be_bytes());
    }

    /// Each code, without GREASE.
    fn codes(&mut self, group: Group, kind: u8, codes: &[u16]) {
        codes.iter().filter(|code| !is_grease(**code)).for_each(|code| self.code(group, kind, *code));
    }

    /// Each two neighbours, without GREASE.
    fn pairs(&mut self, group: Group, kind: u8, codes: impl Iterator<Item = u16>) {
        let mut before = None;
        for code in codes.filter(|code| !is_grease(*code)) {
            if let Some(before) = before.replace(code) {
                let (a, b) = (u16::to_be_bytes(before), code.to_be_bytes());
                self.add(group, kind, &[a[0], a[1], b[0], b[1]]);
            }
        }
    }

    /// Three bytes in a row, with a mark before the first and behind the last, so that short names have some as well.
    fn pieces(&mut self, kind: u8, name: &[u8]) {
        let name = name.get(..NAME_BYTES).unwrap_or(name);
        if name.is_empty() {
            return;
        }
        let at = |at: usize| match at.checked_sub(1) {
            None => b'^',
            Some(at) => name.get(at).map_or(b'$', u8::to_ascii_lowercase),
        };
        (0..name.len()).for_each(|begin| self.add(Group::Names, kind, &[at(begin), at(begin + 1), at(begin + 2)]));
    }

    /// Takes in what a flow says of one group.
    pub(crate) fn take(&mut self, group: Group, flow: &FlowView<'_>) {
        match group {
            Group::Server => self.server(flow),
            Group::Certificate => self.certificate(flow),
            Group::Names => self.names(flow),
            Group::Records => self.records(flow),
            Group::Packets => {
                let classes =
                    || flow.splt().sizes.iter().map(|size| class(size.unsigned_abs()) << 1 | u16::from(*size > 0));
                classes().for_each(|class| self.code(group, 0, class));
                self.pairs(group, 1, classes());
            }
            _ => self.client(group, flow),
        }
    }

    fn client(&mut self, group: Group, flow: &FlowView<'_>) {
        let Some(hello) = flow.record::<ClientHello<'_>>() else { return };
        match group {
            Group::Ciphers => {
                self.codes(group, 0, hello.ciphers);
                self.pairs(group, 1, hello.ciphers.iter().copied());
            }
            Group::Extensions => {
                let plain = hello.extensions.iter().filter(|code| !is_grease(**code) && !OF_NAMES.contains(code));
                plain.for_each(|code| self.code(group, 0, *code));
            }
            Group::Groups => self.codes(group, 0, hello.groups),
            Group::Signatures => self.codes(group, 0, hello.signature_algorithms),
            Group::Alpn => {
                let protocols = hello.alpn.split(|byte| *byte == b',').filter(|protocol| !protocol.is_empty());
                protocols.for_each(|protocol| self.add(group, 0, protocol));
            }
            Group::Versions => {
                self.code(group, 0, hello.record_version);
                self.code(group, 1, hello.version);
                self.codes(group, 2, hello.supported_versions);
            }
            Group::Server | Group::Certificate | Group::Names | Group::Records | Group::Packets => {}
        }
    }

    fn server(&mut self, flow: &FlowView<'_>) {
        let Some(hello) = flow.record::<ServerHello<'_>>() else { return };
        self.code(Group::Server, 0, hello.selected_version);
        self.code(Group::Server, 1, hello.cipher);
        self.code(Group::Server, 2, hello.key_share);
        let plain = hello.extensions.iter().filter(|code| OF_SERVERS.contains(code));
        plain.for_each(|code| self.code(Group::Server, 3, *code));
        self.add(Group::Server, 4, &[u8::from(hello.resumed), u8::from(hello.retry)]);
    }

    fn certificate(&mut self, flow: &FlowView<'_>) {
        let Some(certificate) = flow.record::<CertificateInfo<'_>>().filter(|it| it.parsed) else { return };
        for (kind, name) in [(0, certificate.subject), (1, certificate.issuer)] {
            let attributes =
                name.split(|byte| *byte == b',').filter_map(|part| part.split(|byte| *byte == b'=').next());
            attributes.for_each(|attribute| self.add(Group::Certificate, kind, attribute.trim_ascii()));
        }
        self.add(Group::Certificate, 2, &[certificate.key_kind, certificate.signature, certificate.version]);
        self.code(Group::Certificate, 3, certificate.key_bits);
        let marks = [
            certificate.self_signed,
            certificate.is_ca,
            certificate.wildcard,
            certificate.ct_stamps,
            certificate.has_policies,
            certificate.has_revocation,
        ];
        marks.iter().zip(0u8..).for_each(|(there, mark)| self.add(Group::Certificate, 4, &[mark, u8::from(*there)]));
        self.add(Group::Certificate, 5, &[certificate.chain_len]);
    }

    fn names(&mut self, flow: &FlowView<'_>) {
        if let Some(hello) = flow.record::<ClientHello<'_>>() {
            self.pieces(0, hello.sni);
        }
        if let Some(certificate) = flow.record::<CertificateInfo<'_>>() {
            self.pieces(1, certificate.subject_cn);
            self.pieces(2, certificate.issuer_cn);
        }
    }

    fn records(&mut self, flow: &FlowView<'_>) {
        let Some(records) = flow.record::<TlsRecords<'_>>() else { return };
        for (side, lengths, types) in
            [(0, records.client, records.client_types), (2, records.server, records.server_types)]
        {
            let classes =
                || lengths.iter().zip(types).map(|(length, kind)| u16::from(*kind) << 8 | class(u32::from(*length)));
            classes().for_each(|class| self.code(Group::Records, side, class));
            self.pairs(Group::Records, side + 1, classes());
        }
    }
}

/// A length by its class: four for each power of two, and all from 1,200 on in one, which packets reach by the size of
/// segments alone.
fn class(length: u32) -> u16 {
    let length = length.clamp(1, 1200);
    let power = length.ilog2();
    let quarter = if power < 2 { 0 } else { (length >> (power - 2)) & 3 };
    (power * 4 + quarter) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_four_for_each_power_of_two() {
        assert_eq!([0, 1, 2, 3].map(class), [0, 0, 4, 4]);
        assert_eq!([64, 79, 80, 96, 112, 127, 128].map(class), [24, 24, 25, 26, 27, 27, 28]);
        assert_eq!((class(1200), class(u32::MAX)), (40, 40));
    }

    #[test]
    fn names_are_cut_into_threes() {
        let mut terms = Terms::new(0);
        terms.pieces(0, b"aB");
        assert_eq!(terms.hashes.len(), 2);
        let mut other = Terms::new(0);
        [b"^ab", b"ab$"].iter().for_each(|piece| other.add(Group::Names, 0, *piece));
        assert_eq!(terms.hashes, other.hashes);
        terms.pieces(0, &[b'x'; 5000]);
        assert_eq!(terms.hashes.len(), 2 + NAME_BYTES);
    }

    #[test]
    fn there_is_an_end_to_terms() {
        let mut terms = Terms::new(0);
        terms.codes(Group::Ciphers, 0, &[1; 4000]);
        assert_eq!(terms.hashes.len(), MOST);
        // And the other groups are heard all the same.
        terms.codes(Group::Groups, 0, &[1; 4000]);
        assert_eq!(terms.sorted().len(), 2 * MOST);
        terms.clear();
        terms.codes(Group::Ciphers, 0, &[1, 2]);
        assert_eq!(terms.sorted().len(), 2);
    }
}
