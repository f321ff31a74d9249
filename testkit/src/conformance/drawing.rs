//! What the trees of protocol templates keep to.

use super::Boundary;
use super::subject::{Stop, Subject, ensure};
use super::template::{conversations, wired};
use crate::talk::Wired;
use std::collections::BTreeSet;
use veilwatch_core::abi::export::guard;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{NODES, Tree};
use veilwatch_core::plugin::{Carrier, Instance, PluginError, StreamView};

/// Nodes that one may draw before it is drawing without an end: what goes past [`NODES`] is left out, but costs time.
const DRAWN: usize = 16 * NODES;

/// What is drawn: both streams, their carrier, and whether they have ended.
type Scene = ([Vec<u8>; 2], bool, bool);

/// The streams of all conversations, each once, and both sides of each sample cut at the same time; nothing at all too.
fn scenes(subject: &Subject) -> BTreeSet<Scene> {
    let mut scenes: BTreeSet<Scene> = BTreeSet::new();
    for talk in conversations(subject) {
        let mut streams = [Vec::new(), Vec::new()];
        talk.packets().iter().for_each(|packet| streams[packet.direction.index()].extend(&packet.payload));
        let udp = talk.packets().iter().any(|packet| packet.tcp.is_none());
        scenes.insert((streams, udp, true));
    }
    for sample in &subject.how.samples {
        for part in 0..16 {
            let cut = sample.each_ref().map(|stream| stream[..stream.len() * part / 16].to_vec());
            scenes.insert((cut, false, false));
        }
    }
    for (udp, ended) in [(false, false), (false, true), (true, true)] {
        scenes.insert(([Vec::new(), Vec::new()], udp, ended));
    }
    scenes
}

/// A template that knows its fields, from an instance.
type Make<'a> = &'a dyn Fn() -> Result<Instance, Stop>;

/// What a fresh instance draws.
fn drawn(make: Make<'_>, (streams, udp, ended): &Scene) -> Result<Result<Tree, PluginError>, Stop> {
    let template: Wired = wired(make()?)?;
    let view = StreamView {
        forward: &streams[0],
        backward: &streams[1],
        forward_ended: *ended,
        backward_ended: *ended,
        carrier: if *udp { Carrier::Udp } else { Carrier::Tcp },
        originator_port: 50_000,
        responder_port: 443,
        ..StreamView::default()
    };
    let template = template.templates().first().ok_or_else(|| Stop::Skipped("it cannot be wired".into()))?;
    Ok(guard(|| Ok(Tree::of(&**template, &view))))
}

/// What is drawn in a message.
fn shown((streams, ..): &Scene) -> String {
    let part = |direction: Direction, mark: char| {
        let bytes = &streams[direction.index()];
        let more = if bytes.len() > 40 { "…" } else { "" };
        format!("{mark} {}{more}", bytes[..bytes.len().min(40)].escape_ascii())
    };
    format!("it drew {} {}", part(Direction::Forward, '>'), part(Direction::Backward, '<'))
}

/// No panic, no more than can be shown, and a tree in which each node has its place.
pub(super) fn draws(subject: &Subject) -> Result<(), Stop> {
    for scene in scenes(subject) {
        let tree = drawn(&|| subject.instance(), &scene)?
            .map_err(|error| Stop::Failed(format!("{}; {}", error.message, shown(&scene))))?;
        if let Some(why) = tree.failed.filter(|why| why.starts_with("panicked")) {
            return Err(Stop::Failed(format!("{why}; {}", shown(&scene))));
        }
        let nodes = tree.nodes.len() + tree.left_out + tree.too_deep;
        ensure(nodes <= DRAWN, || {
            format!(
                "{nodes} nodes, of which {NODES} are kept; end where the tree is full (`is_full`); {}",
                shown(&scene)
            )
        })?;
        ensure(!tree.unbalanced, || {
            format!("a node is closed that is not open, or left open; close each once; {}", shown(&scene))
        })?;
    }
    Ok(())
}

/// A tree is a function of the bytes, whoever draws it and from which side of the boundary.
pub(super) fn same_trees(subject: &Subject) -> Result<(), Stop> {
    draws(subject).map_err(|_| Stop::Skipped("it fails, or draws without bounds".into()))?;
    for scene in scenes(subject) {
        let instance = || subject.instance();
        let known = drawn(&instance, &scene)?;
        ensure(known == drawn(&instance, &scene)?, || {
            format!("another instance draws another tree of the same bytes; {}", shown(&scene))
        })?;
        if subject.how.boundary == Boundary::Both {
            ensure(known == drawn(&|| subject.foreign(), &scene)?, || {
                format!("another tree comes through the boundary; {}", shown(&scene))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "drawing_tests.rs"]
mod tests;
