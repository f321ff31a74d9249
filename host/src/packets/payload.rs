//! The payload in the tree: what templates make of it, and what the tables know of it.

use super::browser::{Browser, Extent, Payloads};
use super::graft::{Brought, Graft};
use super::streams::{Spot, alone, ask};
use veilwatch_core::packet::Decoded;
use veilwatch_core::packet::dissect::{Datum, PacketDrawing, Payload};
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::Tree;
use veilwatch_core::tables::{Facts, Severity, Transport};

/// A warning that fits a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketWarning {
    /// Its id in the tables.
    pub id: String,
    /// How much it weighs.
    pub severity: Severity,
    /// Why it is one.
    pub words: String,
}

/// What a payload turned out to be.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The template that reads it.
    pub(super) template: Option<String>,
    /// What that one says, for the packet's line.
    pub(super) words: String,
    pub(super) file_type: Option<String>,
    pub(super) warnings: Vec<PacketWarning>,
}

/// How a template was asked that knows nothing of the packet's flow.
const ALONE: &str = ", this packet by itself";

impl Told {
    /// Draws what a packet brought of a template's tree, and says whether that is anything.
    fn draw(&mut self, id: &str, tree: &Tree, brought: &Brought, how: &str, draw: &mut PacketDrawing) -> bool {
        let graft = Graft::of(tree, brought);
        if graft.is_empty() {
            return false;
        }
        let failed = tree.failed.as_deref().map(|why| format!(", failed: {why}")).unwrap_or_default();
        let value = format!("{} bytes{how}{failed}", brought.length);
        draw.open(id.to_owned(), id, &value, Datum::Bytes, Some(brought.at..brought.at + brought.length));
        graft.draw(id, draw);
        draw.close();
        self.words = graft.words();
        self.template = Some(id.to_owned());
        true
    }
}

impl Browser<'_> {
    /// Draws what was asked for of a payload; `port` is the responder's.
    pub(super) fn payload(
        &mut self,
        payload: &Payload<'_>,
        flow: Option<(&Spot, &Decoded<'_>)>,
        port: u16,
        extent: Extent,
        draw: &mut PacketDrawing,
    ) -> Told {
        let mut told = Told::default();
        let bytes = payload.at..payload.at + payload.bytes.len();
        if let Some((spot, packet)) = flow {
            if extent.payload != Payloads::None && !payload.bytes.is_empty() {
                self.templates(payload, spot, packet, draw, &mut told);
            }
            if extent.tables && self.pipeline.config().tables.look {
                self.warnings(payload, (Transport::of_protocol(packet.protocol), port), draw, &mut told);
            }
        }
        if extent.payload != Payloads::None && told.template.is_none() && payload.wire_len > 0 {
            let there = payload.bytes.len();
            let words = match payload.wire_len - there.min(payload.wire_len) {
                0 => format!("{there} bytes"),
                _ => format!("{there} of {} bytes captured", payload.wire_len),
            };
            draw.leaf("data", "Data", &words, Datum::Bytes, Some(bytes.clone()));
        }
        if extent.tables
            && self.pipeline.config().tables.look
            && let Some(file) = self.tables().file_type(payload.bytes)
        {
            draw.leaf("file.type", "File type", &file.name, Datum::Words, Some(bytes));
            told.file_type = Some(file.name.to_string());
        }
        told
    }

    /// What the flow's template makes of the part that this packet brought; else what one makes of the packet by itself.
    fn templates(
        &mut self,
        payload: &Payload<'_>,
        spot: &Spot,
        packet: &Decoded<'_>,
        draw: &mut PacketDrawing,
        told: &mut Told,
    ) {
        let pipeline = self.pipeline;
        let (templates, ids) = (pipeline.templates(), pipeline.template_ids());
        let part = |offset| Brought { direction: spot.direction, offset, length: payload.bytes.len(), at: payload.at };
        let tree = |template: usize, view: &StreamView<'_>| {
            templates.get(template).map_or_else(Tree::default, |template| Tree::of(&**template, view))
        };
        let id = |template: usize| ids.get(template).map_or("", String::as_str);
        if let (Some(template), Some(offset)) = (spot.template, spot.offset)
            && let Some(view) = self.streams.view(spot)
            && told.draw(id(template), &tree(template, &view), &part(offset), "", draw)
        {
            return;
        }
        // In TCP another protocol may begin where the flow's template says nothing, behind a proxy or STARTTLS; of what is
        // not kept nobody knows whether it begins anything. Over UDP each datagram stands by itself.
        let refused = match (spot.template, packet.tcp) {
            (Some(template), None) => !(1 << template),
            (Some(_), Some(_)) if spot.offset.is_none() => u64::MAX,
            _ => 0,
        };
        let ends = [payload.bytes.len() as u32];
        let view = alone(spot.direction, &ends, packet);
        let (found, _) = ask(&view, refused, templates);
        if let Some(template) = found
            && told.draw(id(template), &tree(template, &view), &part(0), ALONE, draw)
        {
            return;
        }
        let length = payload.bytes.len();
        let (template, words) = match (spot.template, spot.offset, found) {
            (Some(template), Some(_), _) => (template, format!("{length} bytes")),
            (Some(template), None, None) => {
                told.words = format!("continuation of {}", id(template));
                (template, format!("continuation, {length} bytes"))
            }
            (_, _, Some(template)) => (template, format!("{length} bytes{ALONE}")),
            (None, _, None) => return,
        };
        draw.leaf(id(template).to_owned(), id(template), &words, Datum::Bytes, Some(payload.at..payload.at + length));
        told.template = Some(id(template).to_owned());
    }

    /// Warnings about the responder's port, and about bytes of this packet.
    fn warnings(
        &self,
        payload: &Payload<'_>,
        (transport, port): (Transport, u16),
        draw: &mut PacketDrawing,
        told: &mut Told,
    ) {
        let facts = Facts { transport, port, name: &[], bytes: payload.bytes };
        for warning in self.tables().warnings(&facts) {
            let bytes = payload.at..payload.at + payload.bytes.len();
            let range = (!warning.bytes.is_empty()).then_some(bytes);
            let words = format!("{}: {}", warning.severity.name(), warning.words);
            draw.open("warning", "Warning", &words, Datum::Words, range);
            draw.leaf("warning.id", "Entry", &warning.id, Datum::Words, None);
            draw.leaf("warning.look", "Look at", &warning.look, Datum::Words, None);
            draw.close();
            told.warnings.push(PacketWarning {
                id: warning.id.to_string(),
                severity: warning.severity,
                words: warning.words.to_string(),
            });
        }
    }
}
