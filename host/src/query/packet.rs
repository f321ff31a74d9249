use super::check::check;
use super::fields::{Fields, Read, ReadNode, is_of_verdict};
use super::program::{Program, Values};
use super::syntax::Expression;
use super::{QueryError, parse};
use crate::packets::{Extent, PacketView};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use veilwatch_core::detect::{Category, Verdict};
use veilwatch_core::packet::dissect::Names;

/// What is known of a packet's flow, for whoever knows flows beside packets.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OfFlow {
    /// What the model says.
    pub verdict: Option<Verdict>,
    /// How sure it is.
    pub score: Option<f64>,
    /// How new the flow is to it.
    pub novelty: Option<f64>,
    /// Whether training held nothing like it, where that was asked.
    pub novel: Option<bool>,
    /// What it is for.
    pub category: Option<Category>,
}

/// An expression about packets.
#[derive(Debug, Clone)]
pub struct PacketQuery {
    expression: Expression,
    program: Program<Read>,
    /// What is read of the nodes with a name.
    nodes: HashMap<Box<str>, Vec<Reader>, foldhash::fast::RandomState>,
    extent: Extent,
    names: Arc<Names>,
}

/// Whether an expression about packets names the verdict on their flow, for whoever must know before there are any fields to
/// check it against. What cannot be parsed names nothing. Of no expression it says less than [`PacketQuery::asks_verdicts`].
pub fn asks_verdicts(text: &str) -> bool {
    parse(text).is_ok_and(|expression| expression.has_name(is_of_verdict))
}

/// How a field reads nodes.
#[derive(Debug, Clone)]
struct Reader {
    slot: usize,
    depth: Option<u8>,
    read: ReadNode,
}

impl PacketQuery {
    /// Parses an expression, and checks it against the fields of packets.
    pub fn new(text: &str, fields: &Fields) -> Result<Self, QueryError> {
        let expression = parse(text)?;
        let program: Program<Read> = check(text, &expression, fields)?;
        let mut nodes: HashMap<Box<str>, Vec<Reader>, _> = HashMap::default();
        let mut extent = Extent::RECORD;
        for (slot, source) in program.sources.iter().enumerate() {
            let rules = match source {
                Read::Nodes(rules) => rules,
                Read::View(_, needs) => {
                    extent = extent.and(*needs);
                    continue;
                }
                Read::Flow(_) => continue,
            };
            for rule in rules {
                extent = extent.and(rule.extent);
                let reader = Reader { slot, depth: rule.depth, read: rule.read };
                nodes.entry((*rule.node).into()).or_default().push(reader);
            }
        }
        let names = Arc::new(nodes.keys().cloned().collect());
        Ok(Self { expression, program, nodes, extent, names })
    }

    /// How much of a packet must be looked at for it to be answered.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Names of the nodes whose text it reads.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Whether it speaks of the verdicts on flows.
    pub fn asks_verdicts(&self) -> bool {
        self.program.sources.iter().any(|source| matches!(source, Read::Flow(_)))
    }

    /// Whether it holds of a packet, of whose flow nothing is known.
    pub fn holds(&self, view: &PacketView<'_>) -> bool {
        self.holds_with(view, &OfFlow::default())
    }

    /// Whether it holds of a packet of a flow.
    pub fn holds_with(&self, view: &PacketView<'_>, flow: &OfFlow) -> bool {
        let mut values: Values<'_> = vec![Vec::new(); self.program.sources.len()];
        for (source, values) in self.program.sources.iter().zip(&mut values) {
            match source {
                Read::View(read, _) => read(view, values),
                Read::Flow(read) => read(flow, values),
                Read::Nodes(_) => {}
            }
        }
        if !self.nodes.is_empty() {
            for (at, node) in view.tree.nodes.iter().enumerate() {
                for reader in self.nodes.get(&*node.field).into_iter().flatten() {
                    if reader.depth.is_none_or(|depth| depth == node.depth)
                        && let Some(values) = values.get_mut(reader.slot)
                    {
                        (reader.read)(at, node, view, values);
                    }
                }
            }
        }
        self.program.holds(&values)
    }

    /// The expression.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }
}

impl fmt::Display for PacketQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}
