//! What an expression can speak of: the fields of packets and of flows, with their kinds, words and origins.
//!
//! | module | story |
//! |---|---|
//! | `headers` | what core's dissection draws |
//! | `packets` | what the capture says of a packet, and what templates draw of its payload |
//! | `flows` | both ends, counts, verdicts, typed records as output has them |
//!
//! To these come the pipeline's own: its templates' layers, the fields that they declare, the columns of its rows.

mod flows;
mod headers;
mod packets;

pub(super) use flows::ReadFlow;
pub(super) use packets::{ReadNode, ReadOfFlow, ReadView};

use super::parse::is_name;
use super::{Completion, Kind, Level};
use crate::engine::Pipeline;
use crate::packets::Extent;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use veilwatch_core::record::{FieldId, FieldKind};

/// Where the values of a packet's field come from.
#[derive(Debug, Clone)]
pub(super) enum Read {
    /// From nodes of its tree.
    Nodes(Vec<Rule>),
    /// From what is known of it as a whole, where so much was looked at.
    View(ReadView, Extent),
    /// From what is known of its flow.
    Flow(ReadOfFlow),
}

/// Nodes that have values of a field.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Their name.
    pub(super) node: Cow<'static, str>,
    /// How deep they lie, where others may have the same name.
    pub(super) depth: Option<u8>,
    /// What must be looked at for them to be there.
    pub(super) extent: Extent,
    pub(super) read: ReadNode,
}

/// Where the values of a flow's field come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum FlowRead {
    /// Computed.
    Known(ReadFlow),
    /// From the fields that templates wrote.
    Field(FieldId),
    /// Whether a template read it, by its place.
    Template(u8),
    /// From its row, by the place of the column.
    Column(usize),
}

/// A field at one level.
#[derive(Debug, Clone)]
struct At<S> {
    kind: Kind,
    words: Cow<'static, str>,
    source: S,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    packet: Option<At<Read>>,
    flow: Option<At<FlowRead>>,
}

/// The sources of a level's fields.
pub(super) trait Known: Sized {
    const LEVEL: Level;
    /// A field of this level by its name.
    fn find(fields: &Fields, name: &str) -> Option<(Kind, Self)>;
}

impl Known for Read {
    const LEVEL: Level = Level::Packet;

    fn find(fields: &Fields, name: &str) -> Option<(Kind, Self)> {
        if let Some(at) = fields.by_name.get(name).and_then(|entry| entry.packet.as_ref()) {
            return Some((at.kind, at.source.clone()));
        }
        fields.drawn(name).map(|node| (Kind::Text, packets::node(node, &fields.templates)))
    }
}

impl Known for FlowRead {
    const LEVEL: Level = Level::Flow;

    fn find(fields: &Fields, name: &str) -> Option<(Kind, Self)> {
        let at = fields.by_name.get(name)?.flow.as_ref()?;
        Some((at.kind, at.source))
    }
}

/// A field, for those who show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its values are.
    pub kind: Kind,
    /// What it says, in a few words.
    pub words: &'a str,
}

/// Whether a name is one by which packets are asked for the verdict on their flow ([`Fields::with_verdicts`]).
pub(super) fn is_of_verdict(name: &str) -> bool {
    packets::OF_FLOW.iter().any(|(known, ..)| *known == name)
}

/// What stands before the name of a node of a template's tree.
pub(super) const TREE: &str = "tree.";

/// All fields that expressions over a pipeline's packets and flows may speak of.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    by_name: BTreeMap<Cow<'static, str>, Entry>,
    templates: Vec<String>,
}

impl Fields {
    /// The fields of a pipeline. Names that are fixed come before those that plugins give.
    pub fn of(pipeline: &Pipeline) -> Self {
        let mut fields = Self { by_name: BTreeMap::new(), templates: pipeline.template_ids().to_vec() };
        fields.packets();
        for (name, kind, read, words) in flows::FLOWS {
            fields.flow(*name, *kind, *words, FlowRead::Known(*read));
        }
        for (at, id) in pipeline.template_ids().iter().enumerate().filter(|(_, id)| is_name(id)) {
            let extent = packets::extent(id, true, pipeline.template_ids());
            let rule = Rule { node: Cow::Owned(id.clone()), depth: Some(0), extent, read: packets::layer };
            let words = format!("payload that template `{id}` reads");
            fields.packet(id.clone(), Kind::Bytes, words, Read::Nodes(vec![rule]));
            if let Ok(at) = u8::try_from(at) {
                let words = format!("whether template `{id}` read it");
                fields.flow(id.clone(), Kind::Flag, words, FlowRead::Template(at));
            }
        }
        for (id, spec) in pipeline.fields().iter() {
            let kind = match spec.kind {
                FieldKind::U64 | FieldKind::U16List => Kind::Number,
                FieldKind::F64 => Kind::Real,
                FieldKind::Bytes => Kind::Text,
            };
            fields.flow(spec.name.to_string(), kind, spec.words.to_string(), FlowRead::Field(id));
        }
        for (at, column) in pipeline.schema().columns().iter().enumerate().filter(|(_, column)| is_name(&column.name)) {
            let words = format!("feature: {} ({})", column.words, column.unit);
            fields.flow(format!("feature.{}", column.name), Kind::Real, words, FlowRead::Column(at));
        }
        fields
    }

    /// With the verdicts on packets' flows as fields of packets, for whoever knows them
    /// ([`PacketQuery::holds_with`](super::PacketQuery::holds_with)).
    pub fn with_verdicts(mut self) -> Self {
        for (name, kind, read, words) in packets::OF_FLOW {
            self.packet(*name, *kind, *words, Read::Flow(*read));
        }
        self
    }

    fn packets(&mut self) {
        let templates = self.templates.clone();
        for (name, kind, extent, read, words) in packets::VIEW {
            self.packet(*name, *kind, *words, Read::View(*read, *extent));
        }
        for (name, kind, nodes, depth, read, words) in packets::DRAWN {
            let rule = |node: &&'static str| {
                let extent = packets::extent(node, false, &templates);
                Rule { node: Cow::Borrowed(*node), depth: *depth, extent, read: *read }
            };
            self.packet(*name, *kind, *words, Read::Nodes(nodes.iter().map(rule).collect()));
        }
        for (name, kind, words) in headers::HEADERS {
            // Layers are called by names that fields have, too.
            // What a layer carries may belong to it, as in an echo of ICMP.
            let is_layer = *kind == Kind::Bytes && !name.contains('.') && *name != "data";
            let depth = is_layer.then_some(0);
            let extent = packets::extent(name, depth.is_some(), &templates);
            let rule = Rule { node: Cow::Borrowed(*name), depth, extent, read: packets::datum(*kind) };
            self.packet(*name, *kind, *words, Read::Nodes(vec![rule]));
        }
        for (name, kind, nodes, words) in headers::BOTH {
            let rule = |node: &&'static str| {
                let (extent, read) = (packets::extent(node, false, &templates), packets::datum(*kind));
                Rule { node: Cow::Borrowed(*node), depth: None, extent, read }
            };
            self.packet(*name, *kind, *words, Read::Nodes(nodes.iter().map(rule).collect()));
        }
    }

    fn packet(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        words: impl Into<Cow<'static, str>>,
        source: Read,
    ) {
        let entry = self.by_name.entry(name.into()).or_default();
        entry.packet.get_or_insert(At { kind, words: words.into(), source });
    }

    fn flow(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        words: impl Into<Cow<'static, str>>,
        source: FlowRead,
    ) {
        let entry = self.by_name.entry(name.into()).or_default();
        entry.flow.get_or_insert(At { kind, words: words.into(), source });
    }

    /// A field of a level.
    pub fn get(&self, level: Level, name: &str) -> Option<FieldInfo<'_>> {
        let (name, entry) = self.by_name.get_key_value(name)?;
        info(level, name, entry)
    }

    /// All fields of a level, by their names. Nodes of templates' trees are not among them: what they are called is known
    /// when they are drawn, and `tree.TEMPLATE.NAME` speaks of them.
    pub fn iter(&self, level: Level) -> impl Iterator<Item = FieldInfo<'_>> {
        self.by_name.iter().filter_map(move |(name, entry)| info(level, name, entry))
    }

    /// The fields of a level whose names begin like this, by their names.
    pub fn complete(&self, level: Level, prefix: &str) -> Vec<FieldInfo<'_>> {
        let begins = |(name, _): &(&Cow<'static, str>, &Entry)| name.starts_with(prefix);
        let from = self.by_name.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).take_while(begins);
        from.filter_map(|(name, entry)| info(level, name, entry)).collect()
    }

    /// What may stand where the cursor is, `cursor` bytes into an expression.
    pub fn complete_at(&self, level: Level, text: &str, cursor: usize) -> Completion<'_> {
        super::complete::at(self, level, text, cursor)
    }

    /// The name of the node that a name under `tree.` speaks of, where some template could draw it.
    fn drawn<'n>(&self, name: &'n str) -> Option<&'n str> {
        let node = name.strip_prefix(TREE)?;
        let of =
            |id: &String| node.strip_prefix(id.as_str()).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'));
        self.templates.iter().any(of).then_some(node)
    }

    /// The name of a level's field that is nearest to another name, if one is near.
    pub fn nearest(&self, level: Level, name: &str) -> Option<&str> {
        super::complete::nearest(name, self.iter(level).map(|field| field.name))
    }

    /// What is wrong with a name that is no field of a level.
    pub(super) fn unknown(&self, level: Level, name: &str) -> String {
        if name.starts_with(TREE) && level == Level::Packet {
            return format!("behind `{TREE}` stands a template and the name of a node, as `{TREE}http.accept`");
        }
        let other = level.other();
        if self.get(other, name).is_some() || other == Level::Packet && self.drawn(name).is_some() {
            let command = match other {
                Level::Packet => "packets",
                Level::Flow => "detect",
            };
            return format!(
                "`{name}` is a field of {other}, and {level} are asked here (`veilwatch {command} --where` asks {other})"
            );
        }
        match self.nearest(level, name) {
            Some(near) => format!("{level} have no field `{name}`; the nearest is `{near}`"),
            None => format!("{level} have no field `{name}`"),
        }
    }
}

fn info<'a>(level: Level, name: &'a str, entry: &'a Entry) -> Option<FieldInfo<'a>> {
    let (kind, words) = match level {
        Level::Packet => entry.packet.as_ref().map(|at| (at.kind, &at.words)),
        Level::Flow => entry.flow.as_ref().map(|at| (at.kind, &at.words)),
    }?;
    Some(FieldInfo { name, kind, words })
}
