//! What the trees of protocol templates keep to.

use super::Boundary;
use super::subject::{Stop, Subject, ensure};
use super::template::{conversations, readings, wired};
use crate::talk::{Said, Talk, Wired};
use std::collections::BTreeSet;
use veilwatch_core::abi::export::guard;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{NODES, Tree};
use veilwatch_core::plugin::{Instance, PluginError, StreamView};

/// Nodes that one may draw before it is drawing without an end: what goes past [`NODES`] is left out, but costs time.
const DRAWN: usize = 16 * NODES;

/// What is drawn: both streams as they came, and whether they have ended.
type Scene = (Said, bool);

/// The streams of all conversations, each once, and both sides of each sample cut at the same time; nothing at all too.
/// Over UDP a template may know where datagrams end, or not.
fn scenes(subject: &Subject) -> BTreeSet<Scene> {
    let mut scenes: BTreeSet<Scene> = BTreeSet::new();
    for talk in conversations(subject) {
        let said = Said::of(&talk);
        scenes.extend([(said.clone().without_ends(), true), (said, true)]);
    }
    for sample in &subject.how.samples {
        for part in 0..16 {
            let cut = sample.each_ref().map(|stream| stream[..stream.len() * part / 16].to_vec());
            scenes.insert((Said::over_tcp(cut), false));
        }
    }
    let nothing = [Said::default(), Said::of(&Talk::udp())];
    scenes.extend([(nothing[0].clone(), false), (nothing[0].clone(), true), (nothing[1].clone(), true)]);
    scenes
}

/// A template that knows its fields, from an instance.
type Make<'a> = &'a dyn Fn() -> Result<Instance, Stop>;

/// What a fresh instance draws.
fn drawn(make: Make<'_>, (said, ended): &Scene) -> Result<Result<Tree, PluginError>, Stop> {
    let template: Wired = wired(make()?)?;
    let view = StreamView { originator_port: 50_000, responder_port: 443, ..said.view(*ended) };
    let template = template.templates().first().ok_or_else(|| Stop::Skipped("it cannot be wired".into()))?;
    Ok(guard(|| Ok(Tree::of(&**template, &view))))
}

/// What is drawn in a message.
fn shown((said, _): &Scene) -> String {
    let part = |direction: Direction, mark: char| {
        let bytes = &said.streams[direction.index()];
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

/// Something is drawn of what is recognised. That a template draws nothing of anything is told, and no failure unless that
/// was asked for.
pub(super) fn draws_samples(subject: &Subject) -> Result<(), Stop> {
    if subject.how.samples.is_empty() {
        return Err(Stop::Skipped("no samples were given".into()));
    }
    let (talks, known) = readings(subject)?;
    let first = talks.len() - subject.how.samples.len();
    let (mut some, mut nothing) = (false, None);
    for (talk, _) in talks[first..].iter().zip(&known[first..]).filter(|(_, known)| known.recognised) {
        let scene = (Said::of(talk), true);
        let tree = drawn(&|| subject.instance(), &scene)?;
        match tree.is_ok_and(|tree| tree.nodes.is_empty()) {
            true => nothing = nothing.or(Some(scene)),
            false => some = true,
        }
    }
    match nothing {
        Some(scene) if some || subject.how.draws => {
            Err(Stop::Failed(format!("nothing of a sample that it recognises; {}", shown(&scene))))
        }
        Some(_) => Err(Stop::Skipped("it draws nothing; with `dissect`, people see what it reads of a flow".into())),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "drawing_tests.rs"]
mod tests;
