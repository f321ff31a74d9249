use super::fragments::{FragmentCounters, Fragments, Whole};
use super::part::{Fragment, Left};
use super::transport::Envelope;
use super::walk::Rest;
use super::{DecodeLimits, Decoded, Packet, Skip, ip, walk_down};

/// Decodes the packets of one logical shard, and puts together those that come in parts.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: DecodeLimits,
    fragments: Fragments,
    /// The packet that was put together last.
    whole: Option<Whole>,
    counters: FragmentCounters,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new(limits: DecodeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Decodes one packet down to its innermost transport payload. A packet that comes in parts is decoded with the
    /// part that completes it, as if it had come whole: its lengths are those of the whole packet.
    #[inline]
    pub fn decode<'a>(&'a mut self, packet: &Packet<'a>) -> Result<Decoded<'a>, Skip> {
        let mut left = None;
        let decoded = walk_down(packet, self.limits.nesting, &mut left);
        match left {
            None => decoded,
            Some(fragment) => self.join(fragment, packet.time_ns),
        }
    }

    #[cold]
    #[inline(never)]
    fn join(&mut self, fragment: Fragment<'_>, time_ns: u64) -> Result<Decoded<'_>, Skip> {
        let (limits, counters) = (self.limits, &mut self.counters);
        let mut whole = self.fragments.add(&fragment, time_ns, &limits, counters)?;
        // What was put together may be a tunnel that carries a part of another packet.
        loop {
            let mut left = None;
            let decoded = whole.decode(&mut left).map(|_| ());
            let Some(fragment) = left else {
                decoded?;
                break;
            };
            whole = self.fragments.add(&fragment, time_ns, &limits, counters)?;
        }
        self.whole.insert(whole).decode(&mut None)
    }

    /// Ends the capture: what still waits stays in parts. Returns all that was counted.
    pub fn finish(&mut self) -> FragmentCounters {
        self.fragments.finish(&mut self.counters);
        self.counters
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        self.fragments.footprint()
    }
}

impl Whole {
    /// Goes on behind the headers that were repeated.
    fn decode<'a>(&'a self, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
        let envelope = Envelope { src: self.key.src, dst: self.key.dst, ip_len: self.headers + self.wire };
        let rest = Rest { data: &self.data, wire: self.wire };
        // Only IPv6 has extension headers, but then their numbers mean the same in IPv4.
        ip::extensions(self.walk.enter()?, self.next, rest, envelope, left)
    }
}
