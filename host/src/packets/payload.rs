//! The payload in the tree: what templates make of it, and what the tables know of it.

use super::browser::Browser;
use super::graft::{Brought, graft};
use super::streams::{Spot, alone, ask};
use crate::engine::Pipeline;
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

impl Browser<'_> {
    /// Draws a payload.
    pub(super) fn payload(
        &mut self,
        payload: &Payload<'_>,
        flow: Option<(&Spot, &Decoded<'_>)>,
        draw: &mut PacketDrawing,
    ) -> Told {
        let mut told = Told::default();
        let bytes = payload.at..payload.at + payload.bytes.len();
        if let Some((spot, packet)) = flow {
            if !payload.bytes.is_empty() {
                self.templates(payload, spot, packet, draw, &mut told);
            }
            self.warnings(payload, spot, packet, draw, &mut told);
        }
        if told.template.is_none() && payload.wire_len > 0 {
            let there = payload.bytes.len();
            let words = match payload.wire_len - there.min(payload.wire_len) {
                0 => format!("{there} bytes"),
                _ => format!("{there} of {} bytes captured", payload.wire_len),
            };
            draw.leaf("data", "Data", &words, Datum::Bytes, Some(bytes.clone()));
        }
        if let Some(file) = self.tables().file_type(payload.bytes) {
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
        let brought =
            |offset| Brought { direction: spot.direction, offset, length: payload.bytes.len(), at: payload.at };
        if let (Some(template), Some(offset)) = (spot.template, spot.offset)
            && let Some(view) = self.streams.view(spot)
            && draw_part(pipeline, template, &view, &brought(offset), "", draw, told)
        {
            return;
        }
        // Over UDP a datagram stands by itself; in TCP another protocol may begin here, behind a proxy or STARTTLS.
        let ends = [payload.bytes.len() as u32];
        let view = alone(spot.direction, &ends, packet);
        if let (Some(template), _) = ask(&view, 0, templates)
            && draw_part(pipeline, template, &view, &brought(0), ", this packet by itself", draw, told)
        {
            return;
        }
        let Some(id) = spot.template.and_then(|template| ids.get(template)) else { return };
        told.words = format!("continuation of {id}");
        let bytes = Some(payload.at..payload.at + payload.bytes.len());
        draw.leaf(id.clone(), id, &format!("continuation, {} bytes", payload.bytes.len()), Datum::Bytes, bytes);
        told.template = Some(id.clone());
    }

    /// Warnings about the responder's port, and about bytes of this packet.
    fn warnings(
        &self,
        payload: &Payload<'_>,
        spot: &Spot,
        packet: &Decoded<'_>,
        draw: &mut PacketDrawing,
        told: &mut Told,
    ) {
        let facts = Facts {
            transport: Transport::of_protocol(packet.protocol),
            port: spot.service,
            name: &[],
            bytes: payload.bytes,
        };
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

/// Draws what a template makes of a packet's part of a stream, and says whether that is anything.
fn draw_part(
    pipeline: &Pipeline,
    template: usize,
    view: &StreamView<'_>,
    brought: &Brought,
    how: &str,
    draw: &mut PacketDrawing,
    told: &mut Told,
) -> bool {
    let (Some(plugin), Some(id)) = (pipeline.templates().get(template), pipeline.template_ids().get(template)) else {
        return false;
    };
    let tree = Tree::of(&**plugin, view);
    let bytes = Some(brought.at..brought.at + brought.length);
    let failed = tree.failed.as_deref().map(|why| format!(", failed: {why}")).unwrap_or_default();
    let value = format!("{} bytes{how}{failed}", brought.length);
    draw.open(id.clone(), id, &value, Datum::Bytes, bytes);
    let words = graft(&tree, brought, id, draw);
    draw.close();
    told.words = words.unwrap_or_default();
    told.template = Some(id.clone());
    true
}
