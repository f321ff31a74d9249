use crate::packet::DecodeLimits;
use serde::{Deserialize, Serialize};

/// Bounds and times of one shard's flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowLimits {
    /// Open flows of one shard; past it the one that was quiet longest among a few is ended.
    pub flows_per_shard: u32,
    /// Open flows that one host may have opened in one shard; past it one of its own ends for each that it opens. Shards are
    /// by host pair: a host that talks to many has as many in several of them. No bound where `flows_per_shard` is none larger.
    pub flows_per_host: u32,
    /// Bytes kept of each direction's beginning.
    pub prefix_bytes: u32,
    /// Segments of one direction that may wait for a missing one.
    pub prefix_waiting: u32,
    /// Bytes that all prefixes of one shard may hold together; past it new flows get none.
    pub prefix_bytes_per_shard: u32,
    /// Seconds of silence after which a TCP flow has ended.
    pub tcp_idle_seconds: u32,
    /// Seconds of silence after which a UDP flow has ended.
    pub udp_idle_seconds: u32,
    /// Seconds after which a flow is ended and begun anew, however busy it is.
    pub active_seconds: u32,
    /// Seconds for which a closed TCP flow still takes its last packets in.
    pub linger_seconds: u32,
    /// Packets after which a flow gives an early record; 0 for none.
    pub early_packets: u32,
    /// Seconds from a flow's first packet to the one at which it gives an early record; 0 for none.
    pub early_seconds: u32,
    /// Times that a flow's templates may hand the rest of it over to others; and as often, in one parse, bytes that
    /// they made.
    pub hand_overs: u32,
    /// Datagrams of a UDP flow at which templates look, each by itself, until one of them is somebody's.
    pub probe_datagrams: u32,
    /// Warnings by their bytes that are kept of one flow; the worst ones.
    pub warnings: u32,
    /// Headers of one packet that may hold another packet or frame.
    pub nesting: u8,
    /// Packets that may wait for their other parts.
    pub fragments_per_shard: u32,
    /// Bytes that all packets that wait for parts may hold together.
    pub fragment_bytes_per_shard: u32,
    /// Seconds after which a packet no longer waits for its other parts.
    pub fragment_seconds: u32,
}

impl FlowLimits {
    /// Those that decoding keeps.
    pub fn decoding(&self) -> DecodeLimits {
        DecodeLimits {
            nesting: self.nesting,
            fragments_per_shard: self.fragments_per_shard,
            fragment_bytes_per_shard: self.fragment_bytes_per_shard,
            fragment_seconds: self.fragment_seconds,
        }
    }
}

impl Default for FlowLimits {
    fn default() -> Self {
        let decoding = DecodeLimits::default();
        Self {
            flows_per_shard: 2048,
            flows_per_host: 1024,
            prefix_bytes: 16_384,
            prefix_waiting: 32,
            prefix_bytes_per_shard: 8 << 20,
            tcp_idle_seconds: 300,
            udp_idle_seconds: 120,
            active_seconds: 3600,
            linger_seconds: 10,
            early_packets: 0,
            early_seconds: 0,
            hand_overs: 4,
            probe_datagrams: 64,
            warnings: 16,
            nesting: decoding.nesting,
            fragments_per_shard: decoding.fragments_per_shard,
            fragment_bytes_per_shard: decoding.fragment_bytes_per_shard,
            fragment_seconds: decoding.fragment_seconds,
        }
    }
}

/// What one table counted: every limit that was reached is here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Flows opened.
    pub opened: u64,
    /// Flows ended because the shard was full.
    pub evicted: u64,
    /// Flows ended because the host that opened them had too many.
    pub host_evicted: u64,
    /// Flows of which a direction's beginning was full while templates still read it.
    pub prefix_full: u64,
    /// Flows that were read no further because the shard's prefixes were full.
    pub without_prefix: u64,
    /// Segments dropped because too many waited for a missing one.
    pub segments_dropped: u64,
    /// Segments that repeated bytes with other contents.
    pub overlap_conflicts: u64,
    /// Values that templates wrote and a flow's record had no room for.
    pub fields_dropped: u64,
    /// Parses that a template could not finish, and looks that failed.
    pub template_errors: u64,
    /// Flows that were read no further because they were handed over too often.
    pub hand_overs_refused: u64,
    /// Warnings by bytes that were left out because a flow had too many.
    pub warnings_left_out: u64,
}

impl FlowCounters {
    /// Adds another table's counts.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.evicted += other.evicted;
        self.host_evicted += other.host_evicted;
        self.prefix_full += other.prefix_full;
        self.without_prefix += other.without_prefix;
        self.segments_dropped += other.segments_dropped;
        self.overlap_conflicts += other.overlap_conflicts;
        self.fields_dropped += other.fields_dropped;
        self.template_errors += other.template_errors;
        self.hand_overs_refused += other.hand_overs_refused;
        self.warnings_left_out += other.warnings_left_out;
    }
}
