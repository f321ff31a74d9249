use super::checksum::{Checksum, ChecksumStatus, judge, sum};
use super::outline::{Address, Outline};
use super::part::Part;
use super::tree::{Datum, PacketDrawing};
use super::{Surroundings, ether, extension, icmp, ip, link, other, tcp, tunnel, udp};
use crate::packet::{LinkType, Packet, Skip};
use crate::tables::Tables;
use std::net::IpAddr;
use std::ops::Range;

/// Most headers of a packet: as many as the smallest extension headers fill the largest packet. An attacker may well send
/// hundreds, and what the engine finds behind them must not be hidden here; the tree has bounds of its own.
const LAYERS: usize = 8192;
/// How many times the length of its frame the checksums of a packet's transports may cover together. Each covers all that
/// is inside it, the next one's bytes among them: without this, a thousand tunnels would have them added a thousand times.
const SUMS: usize = 4;

/// What comes next, and where.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next<'a> {
    /// A frame of a link type.
    Link(LinkType, Part<'a>),
    /// What an EtherType announces.
    Ether(u16, Part<'a>),
    /// An IP packet.
    Ip(Part<'a>),
    /// What an IP protocol carries.
    Protocol(u8, Part<'a>, Envelope),
    /// Nothing that is known.
    End,
}

/// What the IP header says of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// It is a part of a packet.
    pub(super) fragment: bool,
    /// Nobody knows the address that checksums cover: a route that cannot be read has others to come.
    pub(super) routed: bool,
}

impl Envelope {
    /// The sum of the pseudo-header that transports' checksums cover (RFC 9293, RFC 8200 section 8.1).
    pub(super) fn pseudo(&self, protocol: u8, length: usize) -> u16 {
        // Both numbers are short enough for 16 bits each: higher bits add to the same sum.
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let tail = [length[0], length[1], length[2], length[3], 0, 0, 0, protocol];
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => sum(&[&src.octets(), &dst.octets(), &tail]),
            (IpAddr::V6(src), IpAddr::V6(dst)) => sum(&[&src.octets(), &dst.octets(), &tail]),
            _ => sum(&[&tail]),
        }
    }
}

/// A packet while it is dissected.
pub(super) struct Walk<'t, 'a> {
    pub(super) draw: PacketDrawing,
    pub(super) outline: Outline<'a>,
    pub(super) around: Surroundings<'t>,
    /// Whether this is what an error message quotes, of which the outline says nothing.
    pub(super) quoted: bool,
    /// Bytes that checksums of transports may still cover.
    sums: usize,
}

impl<'t, 'a> Walk<'t, 'a> {
    pub(super) fn new(packet: &Packet<'a>, around: &Surroundings<'t>) -> Self {
        let draw = PacketDrawing::new(packet.data.len());
        Self { draw, outline: Outline::default(), around: *around, quoted: false, sums: packet.data.len() * SUMS }
    }

    pub(super) fn tables(&self) -> &'t Tables {
        self.around.tables
    }

    /// From header to header, until nothing follows.
    pub(super) fn run(&mut self, mut next: Next<'a>) {
        for _ in 0..LAYERS {
            next = match next {
                Next::Link(kind, part) => link::draw(self, kind, part),
                Next::Ether(kind, part) => ether::draw(self, kind, part),
                Next::Ip(part) => ip::draw(self, part),
                Next::Protocol(protocol, part, envelope) => self.protocol(protocol, part, envelope),
                Next::End => return,
            };
        }
        if !matches!(next, Next::End) {
            let words = format!("more than {LAYERS} headers; the rest is not looked into");
            self.draw.leaf("_ws.malformed", "Malformed", &words, Datum::Words, None);
        }
    }

    fn protocol(&mut self, protocol: u8, part: Part<'a>, envelope: Envelope) -> Next<'a> {
        match protocol {
            6 => tcp::draw(self, part, envelope),
            17 => udp::draw(self, part, envelope),
            1 | 58 => icmp::draw(self, protocol, part, envelope),
            4 | 41 => Next::Ip(part),
            47 => tunnel::gre(self, part, envelope),
            50 | 51 => extension::security(self, protocol, part, envelope),
            0 | 43 | 44 | 60 | 135 | 139 | 140 if envelope.src.is_ipv6() => {
                extension::draw(self, protocol, part, envelope)
            }
            97 | 137 => tunnel::by_protocol(self, protocol, part),
            _ => other::draw(self, protocol, part),
        }
    }

    /// Names who sends and who gets the packet; the innermost header that knows has the word.
    pub(super) fn between(&mut self, src: Address, dst: Address) {
        if !self.quoted {
            (self.outline.src, self.outline.dst) = (Some(src), Some(dst));
        }
    }

    /// Lets a header have the word.
    pub(super) fn say(&mut self, protocol: &str, info: impl Into<String>) {
        if !self.quoted {
            self.outline.say(protocol, info);
        }
    }

    /// What the checksum of a transport says that stands at the even offset `at` of all that it covers. `pseudo` is the
    /// protocol in the pseudo-header, where it covers one too.
    pub(super) fn verify(
        &mut self,
        part: Part<'a>,
        at: usize,
        pseudo: Option<u8>,
        envelope: &Envelope,
    ) -> ChecksumStatus {
        let unknown = envelope.fragment || !part.is_whole() || (envelope.routed && pseudo.is_some());
        match self.sums.checked_sub(part.data.len()).filter(|_| !unknown) {
            Some(left) => {
                self.sums = left;
                let beside = pseudo.map_or(0, |protocol| envelope.pseudo(protocol, part.wire));
                judge(part.data, at, beside, pseudo.is_some())
            }
            None => ChecksumStatus::NotVerified,
        }
    }

    /// Draws a checksum and what it says.
    pub(super) fn checksum(
        &mut self,
        fields: (&'static str, &'static str),
        found: u16,
        status: ChecksumStatus,
        bytes: Range<usize>,
    ) {
        let (field, status_field) = fields;
        self.draw.open(
            field,
            "Checksum",
            &format!("{found:#06x}, {status}"),
            Datum::Number(found.into()),
            Some(bytes.clone()),
        );
        self.draw.leaf(status_field, "Status", status.word(), Datum::Words, Some(bytes));
        self.draw.close();
        if !self.quoted {
            self.outline.checksums.push(Checksum { field, status });
        }
    }

    /// A header of which too little was captured, or whose own lengths cannot be; nothing follows it.
    pub(super) fn cut(&mut self, field: &'static str, label: &str, part: Part<'a>, need: usize) -> Next<'a> {
        let words = format!("cut off: {} of {need} bytes are there", part.data.len());
        self.stop(field, label, part, &words)
    }

    /// A layer that is named, and nothing more.
    pub(super) fn stop(&mut self, field: &'static str, label: &str, part: Part<'a>, words: &str) -> Next<'a> {
        self.draw.leaf(field, label, words, Datum::Bytes, Some(part.all()));
        self.say(label, words);
        Next::End
    }

    /// What lies between a header that is known by name alone and the IP packet that a step of decoding found in it.
    pub(super) fn by_name(
        &mut self,
        field: &'static str,
        label: &str,
        part: Part<'a>,
        found: Result<(&'a [u8], u32), Skip>,
    ) -> Next<'a> {
        match found {
            Ok(inner) => {
                let inner = part.found(inner);
                self.draw.leaf(field, label, "", Datum::Bytes, Some(part.at..inner.at));
                Next::Ip(inner)
            }
            Err(skip) => self.stop(field, label, part, words(skip)),
        }
    }
}

/// Why no IP packet was found.
fn words(skip: Skip) -> &'static str {
    match skip {
        Skip::Truncated => "cut off in its headers",
        Skip::Malformed => "its headers contradict themselves",
        Skip::Encrypted => "encrypted",
        Skip::UnknownLink => "not decoded",
        Skip::NotIp | Skip::Fragment | Skip::OtherTransport | Skip::TooNested => "no IP inside",
    }
}
