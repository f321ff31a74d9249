use super::{Beginning, DirectionStats, Endpoint, Splt};
use crate::context::{ConversationSnapshot, DnsSnapshot, HostSnapshot, SpreadSnapshot};
use crate::feature::FlowShape;
use crate::plugin::PluginError;
use crate::record::{FieldId, FieldStore, Mark};

/// Why a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Both sides sent FIN.
    Finished,
    /// A RST.
    Reset,
    /// Silence.
    Idle,
    /// It was open for so long that it is reported and begun anew.
    Active,
    /// The same five-tuple began anew with a SYN.
    Reused,
    /// The shard was full.
    Evicted,
    /// The capture ended.
    EndOfCapture,
    /// It had not: this is the flow's early record.
    Early,
}

impl EndReason {
    /// The reason's name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "fin",
            Self::Reset => "rst",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Reused => "reused",
            Self::Evicted => "evicted",
            Self::EndOfCapture => "end",
            Self::Early => "early",
        }
    }
}

/// What a flow's record was when a template handed the rest of the flow over.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed {
    /// The template, as its place in the pipeline.
    pub template: u8,
    /// What was read until then, by all templates so far.
    pub fields: FieldStore,
    /// What was marked until then.
    pub marks: [Option<u64>; Mark::COUNT],
    /// Values that this template had no right to write.
    pub refused: u32,
}

/// A template that read bytes which another one had made of the flow, and what is its in the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Guest {
    /// The template, as its place in the pipeline.
    pub template: u8,
    /// Templates that had handed the flow over before the one that made the bytes.
    pub behind: usize,
    /// The fields that it wrote.
    pub fields: Vec<FieldId>,
    /// What it marked; index by [`Mark`].
    pub marks: [bool; Mark::COUNT],
    /// Values that it had no right to write.
    pub refused: u32,
}

/// What was seen in a flow's payload, packet by packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sights {
    /// What each direction's first payload looks like, where no template knew it then; index by
    /// [`super::Direction::index`].
    pub beginnings: [Option<Beginning>; 2],
    /// The type of file that each direction, or the first HTTP message of it, begins with: its place among
    /// [`Tables::files`](crate::tables::Tables::files).
    pub files: [Option<u16>; 2],
    /// Warnings whose bytes were seen; the worst of them, where they are more than
    /// [`FlowLimits::warnings`](super::FlowLimits::warnings).
    pub warned: Vec<SeenWarning>,
}

/// A warning of which bytes were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenWarning {
    /// Its place in [`Tables::warn`](crate::tables::Tables::warn): the worse, the smaller.
    pub warning: u16,
    /// The packet in which they were seen first.
    pub packet: u64,
}

/// A finished flow, or one that gives its early record: everything that later stages know of it.
///
/// The order is that of memory: what every packet changes stands first.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct FlowRecord {
    /// Time of the last packet.
    pub last_ns: u64,
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: u64,
    /// Lengths and times of the first payload packets.
    pub splt: Splt,
    /// Counts of both directions; index by [`super::Direction::index`].
    pub stats: [DirectionStats; 2],
    /// A number that stands for the flow: the same for the same five-tuple and begin, in any run; below 2^53.
    pub id: u64,
    /// When the flow counted as ended, or the time of the packet at which it gave its early record: the order of output.
    pub ended_ns: u64,
    /// Number of its first packet in the capture.
    pub first_packet: u64,
    /// Who opened it.
    pub originator: Endpoint,
    /// Who answered.
    pub responder: Endpoint,
    /// IP protocol number.
    pub protocol: u8,
    /// Why it ended.
    pub end: EndReason,
    /// Which template recognised it, as its place in the pipeline; the last one, where others handed it over.
    pub template: Option<u8>,
    /// Values that `template` wrote and had no right to; they were left out.
    pub refused: u32,
    /// What the template read.
    pub fields: FieldStore,
    /// Packet numbers of what the template marked; index by [`Mark`].
    pub marks: [Option<u64>; Mark::COUNT],
    /// The templates that handed it over, in order; `template` is none of them, unless nobody recognised the rest.
    pub handed: Vec<Handed>,
    /// The templates that read bytes which those made, in order.
    pub guests: Vec<Guest>,
    /// Templates that failed while they looked, with what they said; each counted as not recognising it. And those that
    /// failed over bytes that another one had made, of which nothing is there.
    pub probe_errors: Vec<(u8, PluginError)>,
    /// What the template said, where it failed; the flow is read no further then.
    pub template_error: Option<Box<PluginError>>,
    /// What was seen in its payload beside what templates read; nothing for most flows.
    pub sights: Option<Box<Sights>>,
    /// What was known of its conversation.
    pub conversation: ConversationSnapshot,
    /// What its originator had asked for before.
    pub names: DnsSnapshot,
    /// What was known of its originator.
    pub host: HostSnapshot,
    /// What its originator tried elsewhere.
    pub spread: SpreadSnapshot,
}

impl FlowRecord {
    /// A record of a flow that begins with this packet.
    pub(super) fn beginning(time_ns: u64, number: u64) -> Self {
        let nobody = Endpoint { address: [0; 16], port: 0 };
        Self {
            id: 0,
            originator: nobody,
            responder: nobody,
            protocol: 0,
            first_ns: time_ns,
            last_ns: time_ns,
            ended_ns: time_ns,
            first_packet: number,
            end: EndReason::EndOfCapture,
            stats: Default::default(),
            splt: Splt::default(),
            template: None,
            handed: Vec::new(),
            guests: Vec::new(),
            probe_errors: Vec::new(),
            refused: 0,
            template_error: None,
            fields: FieldStore::default(),
            marks: [None; Mark::COUNT],
            sights: None,
            conversation: ConversationSnapshot::default(),
            names: DnsSnapshot::default(),
            host: HostSnapshot::default(),
            spread: SpreadSnapshot::default(),
        }
    }

    /// Becomes the record of another flow, in the memory that it has.
    pub(super) fn begin_anew(&mut self, time_ns: u64, number: u64) {
        let Self { splt, fields, .. } = std::mem::replace(self, Self::beginning(time_ns, number));
        (self.splt, self.fields) = (splt, fields);
        self.splt.clear();
        self.fields.clear();
    }

    /// Reads a little of each part, so that all of it is on its way from memory while others are touched; what it returns
    /// means nothing. Records that were laid aside for long lie all over memory.
    #[inline]
    pub fn touch(&self) -> u64 {
        let [forward, backward] = &self.stats;
        let splt = self.splt.sizes.first().zip(self.splt.times_us.first()).map_or(0, |(_, time)| u64::from(*time));
        forward.packets ^ backward.packets ^ forward.gaps.count ^ backward.gaps.count ^ splt ^ self.fields.touch()
    }

    /// Warnings whose bytes were seen.
    pub fn warned(&self) -> &[SeenWarning] {
        self.sights.as_ref().map_or(&[], |sights| &sights.warned)
    }

    /// Whether the flow goes on: a final record will follow.
    pub fn is_early(&self) -> bool {
        self.end == EndReason::Early
    }

    /// The record's name in output: `early` or `final`.
    pub fn record(&self) -> &'static str {
        if self.is_early() { "early" } else { "final" }
    }

    /// Forgets its template and all that it read, as if none had recognised the flow; who opened it stays as it is.
    pub fn forget_template(&mut self) {
        self.template = None;
        self.template_error = None;
        self.refused = 0;
        self.fields = FieldStore::default();
        self.marks = [None; Mark::COUNT];
        self.handed.clear();
        self.guests.clear();
    }

    /// Forgets all but the first `kept` templates of those that read it one after the other, as if nobody had recognised
    /// what the last of these handed over.
    pub fn keep_templates(&mut self, kept: usize) {
        let Some(last) = kept.checked_sub(1).and_then(|at| self.handed.get(at)).cloned() else {
            return self.forget_template();
        };
        self.template = Some(last.template);
        self.template_error = None;
        self.refused = last.refused;
        self.fields = last.fields;
        self.marks = last.marks;
        self.handed.truncate(kept);
        self.guests.retain(|guest| guest.behind < kept);
    }

    /// Forgets what one template read of bytes that others made, as if it read no such contents.
    pub fn forget_guest(&mut self, template: u8) {
        for guest in self.guests.extract_if(.., |guest| guest.template == template) {
            for fields in self.handed.iter_mut().map(|part| &mut part.fields).chain([&mut self.fields]) {
                fields.remove(&guest.fields);
            }
            for (mark, _) in self.marks.iter_mut().zip(guest.marks).filter(|(_, its)| *its) {
                *mark = None;
            }
        }
    }

    /// The templates that read it, in order, each with the values that it had no right to write.
    pub fn templates(&self) -> impl Iterator<Item = (u8, u32)> {
        // Where nobody recognised the rest, the last that handed it over names the flow, and stands there already.
        let last = self.handed.last().map(|part| part.template);
        let now = self.template.filter(|template| last != Some(*template)).map(|template| (template, self.refused));
        self.handed.iter().map(|part| (part.template, part.refused)).chain(now)
    }

    /// The facts that extractors see beside counts and fields.
    pub fn shape(&self) -> FlowShape {
        FlowShape {
            first_ns: self.first_ns,
            duration_ns: self.last_ns.saturating_sub(self.first_ns),
            responder_port: self.responder.port,
            protocol: self.protocol,
        }
    }

    /// The packet that a mark leads to; without one, the flow's first.
    pub fn packet_of(&self, mark: Option<Mark>) -> u64 {
        mark.and_then(|mark| self.marks[mark as usize]).unwrap_or(self.first_packet)
    }
}
