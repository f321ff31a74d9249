//! The part of a template's tree that one packet brought.

use std::ops::Range;
use veilwatch_core::flow::Direction;
use veilwatch_core::packet::dissect::{Datum, PacketDrawing};
use veilwatch_core::plugin::dissect::{Tree, TreeNode};

/// Where the bytes of a packet stand in what a template was shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brought {
    pub(super) direction: Direction,
    /// Bytes of the direction before them.
    pub(super) offset: usize,
    pub(super) length: usize,
    /// Bytes of the frame before them.
    pub(super) at: usize,
}

impl Brought {
    /// What of a node's bytes the packet brought, as a range of the frame. A node without any bytes belongs to the packet
    /// that brought the next one.
    fn part(&self, node: &TreeNode) -> Option<Range<usize>> {
        let range = node.bytes.filter(|range| range.direction == self.direction)?;
        let end = self.offset + self.length;
        let (from, to) = (range.offset.max(self.offset), (range.offset + range.length).min(end));
        let is_in = if range.length == 0 { (self.offset..end).contains(&range.offset) } else { from < to };
        is_in.then(|| self.at + from - self.offset..self.at + to - self.offset)
    }
}

/// A node that is shown.
struct Kept<'t> {
    node: &'t TreeNode,
    bytes: Option<Range<usize>>,
    depth: usize,
}

/// What a packet brought of a tree.
///
/// A node belongs to the packets that brought its bytes; one that names none belongs to those of the node that it stands
/// under, and one that has such nodes below it is shown as well. A root that holds others is shown for them alone.
pub(super) struct Graft<'t> {
    kept: Vec<Kept<'t>>,
}

impl<'t> Graft<'t> {
    pub(super) fn of(tree: &'t Tree, brought: &Brought) -> Self {
        Self { kept: kept(tree, brought) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Draws it under what is open.
    pub(super) fn draw(&self, template: &str, draw: &mut PacketDrawing) {
        let mut open = 0;
        for Kept { node, bytes, depth } in &self.kept {
            while open > *depth {
                draw.close();
                open -= 1;
            }
            let field = format!("{template}.{}", slug(&node.label));
            let datum = if node.value.is_empty() { Datum::Bytes } else { Datum::Words };
            draw.open(field, &node.label, &node.value, datum, bytes.clone());
            open += 1;
        }
        (0..open).for_each(|_| draw.close());
    }

    /// The words of the packet's line: its messages, which are nodes with others below them, two levels deep at most.
    pub(super) fn words(&self) -> String {
        words(&self.kept)
    }
}

fn kept<'t>(tree: &'t Tree, brought: &Brought) -> Vec<Kept<'t>> {
    let nodes = &tree.nodes;
    // Whether each node is the packet's by its own bytes or by those of the nearest node above that names some.
    let mut shown = vec![false; nodes.len()];
    let mut path: Vec<bool> = Vec::new();
    for (node, shown) in nodes.iter().zip(&mut shown) {
        path.truncate(node.depth.into());
        let above = path.last().copied().unwrap_or(false);
        *shown = if node.bytes.is_some() { brought.part(node).is_some() } else { above };
        path.push(*shown);
    }
    // A side as a whole says nothing of a packet: another protocol may have begun where none of its nodes is.
    for at in 0..nodes.len() {
        let holds = nodes.get(at + 1).is_some_and(|next| next.depth > nodes[at].depth);
        shown[at] &= nodes[at].depth > 0 || !holds;
    }
    // What stands above a node that is shown is shown as well: from below, the depth that asks for it.
    let mut wanted = None;
    for (node, shown) in nodes.iter().zip(&mut shown).rev() {
        *shown |= wanted.is_some_and(|depth: u8| node.depth < depth);
        wanted = if *shown { Some(node.depth) } else { wanted.filter(|depth| node.depth >= *depth) };
    }
    let shown = nodes.iter().zip(shown).filter(|(_, shown)| *shown);
    shown.map(|(node, _)| Kept { node, bytes: brought.part(node), depth: node.depth.into() }).collect()
}

fn words(kept: &[Kept<'_>]) -> String {
    /// Messages that are told.
    const MOST: usize = 4;
    let holds = |at: usize| kept.get(at + 1).is_some_and(|next| next.depth > kept[at].depth);
    let word = |node: &TreeNode| {
        // A code behind its name is for the tree.
        let coded = node.value.rsplit_once(", ").filter(|(_, code)| code.bytes().all(|byte| byte.is_ascii_digit()));
        let value = coded.map_or(node.value.as_str(), |(name, _)| name);
        if value.is_empty() { node.label.clone() } else { format!("{} {value}", node.label) }
    };
    // What a message is about: the name that it asks for.
    let about = |at: usize| {
        let below = kept.iter().skip(at + 1).take_while(|other| other.depth > kept[at].depth);
        below.map(|kept| kept.node).find_map(|node| match node.label.as_str() {
            "Extension" => node.value.strip_prefix("server_name: "),
            "Question" => Some(node.value.as_str()),
            _ => None,
        })
    };
    let told = |at: usize| match about(at) {
        Some(name) => format!("{} {name}", word(kept[at].node)),
        None => word(kept[at].node),
    };
    let inner = |depth| (0..kept.len()).filter(move |at| kept[*at].depth == depth && holds(*at));
    let messages: Vec<String> = [2, 1, 0]
        .into_iter()
        .map(|depth| inner(depth).map(told).collect::<Vec<_>>())
        .find(|messages| !messages.is_empty())
        .unwrap_or_else(|| kept.iter().map(|kept| word(kept.node)).collect());
    let mut words = messages.iter().take(MOST).cloned().collect::<Vec<_>>().join("; ");
    if messages.len() > MOST {
        words.push_str("; …");
    }
    words
}

/// A label as a part of a field's name: `Session ID` is `session_id`.
fn slug(label: &str) -> String {
    let mut slug = String::with_capacity(label.len());
    for c in label.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            _ if slug.ends_with('_') || slug.is_empty() => {}
            _ => slug.push('_'),
        }
    }
    slug.truncate(slug.trim_end_matches('_').len());
    slug
}
