use super::fragments::{FragmentCounters, Fragments, Whole};
use super::part::{Fragment, Left};
use super::transport::Envelope;
use super::walk::{Found, Rest, Walk};
use super::{DecodeLimits, Decoded, Packet, Skip, ip, link, pair_hint, transport};

/// A packet whose link layer has been read: enough to know its shard.
#[derive(Debug, Clone, Copy)]
pub struct Outer<'a> {
    found: Found<'a>,
}

impl<'a> Outer<'a> {
    /// Reads the link layer; headers that hold other packets or frames may be nested so deep.
    #[inline]
    pub fn of(packet: &Packet<'a>, nesting: u8) -> Self {
        Self { found: link::to_ip(Walk::new(nesting), packet.link, Rest::of(packet)) }
    }

    /// As [`super::shard_hint`] says.
    #[inline]
    pub fn shard_hint(&self) -> u32 {
        self.found.map_or(0, |(_, rest)| pair_hint(rest.data))
    }

    /// Decodes the packet by itself; a part of one is [`Skip::Fragment`], and a [`Decoder`] may know the other parts.
    #[inline]
    pub fn decode(&self) -> Result<Decoded<'a>, Skip> {
        self.walk_down(&mut None)
    }

    #[inline(always)]
    fn walk_down(&self, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
        let (walk, network) = self.found?;
        ip::outer_packet(walk, network, left)
    }
}

/// Decodes packets, and puts together those that come in parts, for each logical shard by itself.
#[derive(Debug)]
pub struct Decoder {
    limits: DecodeLimits,
    /// One for each shard.
    fragments: Vec<Fragments>,
    /// The packet that was put together last.
    whole: Option<Whole>,
    counters: FragmentCounters,
}

impl Decoder {
    /// A decoder that has seen nothing, for so many shards.
    pub fn new(limits: DecodeLimits, shards: usize) -> Self {
        let fragments = (0..shards).map(|_| Fragments::default()).collect();
        Self { limits, fragments, whole: None, counters: FragmentCounters::default() }
    }

    /// Decodes one packet down to its innermost transport payload. A packet that comes in parts is decoded with the
    /// part that completes it, as if it had come whole: its lengths are those of the whole packet. Parts of a shard
    /// that there is not are [`Skip::Fragment`].
    #[inline]
    pub fn decode<'a>(&'a mut self, shard: usize, packet: &Packet<'a>) -> Result<Decoded<'a>, Skip> {
        let mut left = None;
        let decoded = Outer::of(packet, self.limits.nesting).walk_down(&mut left);
        match left {
            None => decoded,
            Some(fragment) => self.join(shard, fragment, packet.time_ns),
        }
    }

    #[cold]
    #[inline(never)]
    fn join(&mut self, shard: usize, fragment: Fragment<'_>, time_ns: u64) -> Result<Decoded<'_>, Skip> {
        let (limits, counters) = (self.limits, &mut self.counters);
        let fragments = self.fragments.get_mut(shard).ok_or(Skip::Fragment)?;
        let mut whole = fragments.add(&fragment, time_ns, &limits, counters)?;
        // What was put together may be a tunnel that carries a part of another packet.
        loop {
            let mut left = None;
            let decoded = whole.decode(&mut left).map(|_| ());
            let Some(fragment) = left else {
                decoded?;
                break;
            };
            whole = fragments.add(&fragment, time_ns, &limits, counters)?;
        }
        self.whole.insert(whole).decode(&mut None)
    }

    /// Ends the capture: what still waits stays in parts. Returns all that was counted.
    pub fn finish(&mut self) -> FragmentCounters {
        self.fragments.iter_mut().for_each(|waiting| waiting.finish(&mut self.counters));
        self.counters
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        self.fragments[0].footprint()
    }
}

impl Whole {
    /// Goes on behind the headers that were repeated.
    fn decode<'a>(&'a self, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
        let envelope = Envelope { src: self.key.src, dst: self.key.dst, ip_len: self.headers + self.wire };
        let rest = Rest { data: &self.data, wire: self.wire };
        let walk = self.walk.enter()?;
        // Only IPv6 has extension headers, and its parts name no protocol.
        match self.key.protocol {
            None => ip::extensions(walk, self.next, rest, envelope, left),
            Some(_) => transport::rare(walk, self.next, rest, envelope, left),
        }
    }
}
