use super::check::check;
use super::fields::{Fields, Read, ReadNode};
use super::program::{Program, Values};
use super::syntax::Expression;
use super::{QueryError, parse};
use crate::packets::PacketView;
use std::collections::HashMap;
use std::fmt;

/// An expression about packets.
#[derive(Debug, Clone)]
pub struct PacketQuery {
    expression: Expression,
    program: Program<Read>,
    /// What is read of the nodes with a name.
    nodes: HashMap<Box<str>, Vec<Reader>, foldhash::fast::RandomState>,
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
        for (slot, source) in program.sources.iter().enumerate() {
            let Read::Nodes(rules) = source else { continue };
            for rule in rules {
                let reader = Reader { slot, depth: rule.depth, read: rule.read };
                nodes.entry((*rule.node).into()).or_default().push(reader);
            }
        }
        Ok(Self { expression, program, nodes })
    }

    /// Whether it holds of a packet.
    pub fn holds(&self, view: &PacketView<'_>) -> bool {
        let mut values: Values<'_> = vec![Vec::new(); self.program.sources.len()];
        for (source, values) in self.program.sources.iter().zip(&mut values) {
            if let Read::View(read) = source {
                read(view, values);
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
