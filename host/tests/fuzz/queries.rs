//! Display filters: hostile expressions, and packets as hostile as their trees can be.

use super::Target;
use std::borrow::Cow;
use std::hash::Hash;
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::packets::{Browser, PacketView};
use veilwatch::plugins::Registry;
use veilwatch::query::{Fields, FlowQuery, Level, PacketQuery, parse};
use veilwatch_core::packet::dissect::{Datum, PacketNode, PacketTree};
use veilwatch_core::packet::{LinkType, Packet};
use veilwatch_core::plugin::PluginError;
use veilwatch_testkit::fuzz::{Input, Look, Piece, Seen};

/// A piece is no frame, but a tree: lines, each a node, whose first byte chooses its name.
const TREE: u8 = 4;

/// Names of nodes out of whose words values are taken.
const NODES: [&str; 26] = [
    "tls.record",
    "dtls.record",
    "tls.handshake",
    "tls.extension",
    "tls.cipher_suite",
    "tls.random",
    "tls.session_id",
    "tls.alert",
    "tls.issuer",
    "tls.serial",
    "tls.sha_256",
    "dns.id",
    "dns.flags",
    "dns.message",
    "dns.counts",
    "dns.question",
    "dns.name",
    "dns.type",
    "dns.time_to_live",
    "dns.data",
    "http.request",
    "http.response",
    "http.host",
    "http.content_length",
    "ip.src",
    "tcp.port",
];

/// The target.
///
/// # Errors
/// What a plugin says when it is made.
pub(crate) fn target() -> Result<Target, PluginError> {
    let refused = |error: &dyn std::fmt::Display| PluginError::failed(error.to_string());
    let config = Config::load("protocols".as_ref()).map_err(|error| refused(&error))?;
    let mut registry = Registry::with_builtins().map_err(|error| refused(&error))?;
    let pipeline = Pipeline::untrained(config, &mut registry).map_err(|error| refused(&error))?;
    let fields = Fields::of(&pipeline);
    Ok(Target::new("queries", move |input, look| queries(&pipeline, &fields, input, look)))
}

/// The first piece is an expression, the others are packets; the first two bytes give their link type, and a field of which
/// is asked what must be so of any.
fn queries(pipeline: &Pipeline, fields: &Fields, input: &Input, look: Look) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let Some((first, packets)) = input.pieces.split_first() else { return Ok(seen) };
    let text = String::from_utf8_lossy(&first.bytes);
    let query = match PacketQuery::new(&text, fields) {
        Ok(query) => Some(query),
        Err(error) => {
            if text.get(error.place()).is_none() || error.to_string().lines().count() != 3 {
                return Err(format!("an error that points nowhere: {error:?}"));
            }
            error.what().split('`').next().hash(&mut seen);
            None
        }
    };
    if let Ok(expression) = parse(&text) {
        let printed = expression.to_string();
        // What is printed may be longer than what was typed, as escapes are.
        if printed.len() <= veilwatch::query::EXPRESSION_BYTES && parse(&printed).as_ref() != Ok(&expression) {
            return Err(format!("`{text}` is printed as `{printed}`, and is another expression then"));
        }
        FlowQuery::new(&text, fields).is_ok().hash(&mut seen);
    }
    fields.complete_at(Level::Packet, &text, usize::from(input.how[0])).fields.is_empty().hash(&mut seen);
    let names: Vec<&str> = fields.iter(Level::Packet).map(|field| field.name).collect();
    let asked = names.get(usize::from(input.how[1]) % names.len().max(1)).copied().unwrap_or("frame");
    let compiled = |text: &str| PacketQuery::new(text, fields).map_err(|error| error.to_string());
    let pairs = [(compiled(asked)?, compiled(&format!("count({asked}) >= 1"))?)];
    let negated = query.as_ref().and_then(|_| PacketQuery::new(&format!("!({text})"), fields).ok());
    let mut browser = Browser::new(pipeline);
    for (number, piece) in (1..).zip(packets) {
        let packet = Packet {
            number,
            time_ns: number * 1_000,
            link: LinkType(u16::from_be_bytes(input.how)),
            wire_len: piece.bytes.len() as u32,
            data: &piece.bytes,
        };
        let mut view = browser.view(&packet);
        if piece.mark & TREE != 0 {
            view.tree = tree(piece);
        }
        for (there, counted) in &pairs {
            if there.holds(&view) != counted.holds(&view) {
                return Err(format!("`{there}` and `{counted}` are not the same of {view:?}"));
            }
        }
        let Some(query) = &query else { continue };
        let holds = query.holds(&view);
        let contradicts = |other: &PacketQuery, view: &PacketView<'_>| other.holds(view) == holds;
        if negated.as_ref().is_some_and(|negated| contradicts(negated, &view)) {
            return Err(format!("`{text}` and its negation are the same of {view:?}"));
        }
        if look == Look::ALL && query.holds(&view) != holds {
            return Err(format!("`{text}` is another thing the second time"));
        }
        holds.hash(&mut seen);
    }
    Ok(seen)
}

/// A tree that no template would draw.
fn tree(piece: &Piece) -> PacketTree {
    let node = |(at, line): (usize, &[u8])| {
        let (first, words) = line.split_first()?;
        Some(PacketNode {
            depth: first >> 5,
            field: Cow::Borrowed(NODES.get(usize::from(*first) % NODES.len())?),
            label: String::new(),
            value: String::from_utf8_lossy(words).into_owned(),
            datum: if first & 1 == 0 { Datum::Words } else { Datum::Number((*first).into()) },
            // Some reach out of the frame, which no tree does.
            bytes: (first & 2 != 0).then(|| at..at + words.len() * 2),
            cut: false,
        })
    };
    let nodes = piece.bytes.split(|byte| *byte == b'\n').enumerate().filter_map(node).collect();
    PacketTree { nodes, left_out: 0 }
}
