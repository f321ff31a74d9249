use super::say::*;
use crate::analyser::FlowLine;
use crate::engine::{Detection, Sink};
use crate::output::bounded;
use crate::worker::events::Events;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use veilwatch_core::flow::Endpoint;

/// Says a thing on the line to the parent.
pub(super) fn say(events: &Events, said: &LiveSaid) {
    // All texts are bounded, so that it fits.
    if let Ok(line) = serde_json::to_vec(said) {
        events.line(line);
    }
}

/// Tells the parent of alerts: of some flows twice, early and when they have ended.
pub(super) struct Telling<'a> {
    events: &'a Events,
    templates: Vec<Arc<str>>,
    /// Flows that may still be told.
    left: u64,
    /// Flows that were told and go on: what becomes of them is told, whatever it is.
    early: HashSet<u64>,
}

impl<'a> Telling<'a> {
    pub(super) fn new(events: &'a Events, templates: Vec<Arc<str>>, most: u64) -> Self {
        Self { events, templates, left: most, early: HashSet::new() }
    }

    fn tell(&self, detection: &Detection<'_>, is_final: bool) {
        let line = FlowLine::of(detection, &self.templates);
        let Some(verdict) = line.judged.verdict else { return };
        let end = |end: &Endpoint| std::net::SocketAddr::new(end.ip(), end.port).to_string();
        let mut packets = line.packets_to_look_at();
        packets.truncate(ALERT_PACKETS);
        let reason = |words: &str| bounded(words.as_bytes(), ALERT_REASON_BYTES);
        let alert = LiveAlert {
            flow_id: line.id,
            is_final,
            verdict: verdict.name().to_owned(),
            score: line.judged.score.unwrap_or_default(),
            src: end(&line.originator),
            dest: end(&line.responder),
            name: bounded(line.name.as_bytes(), ALERT_NAME_BYTES),
            reasons: line.reasons.iter().take(ALERT_REASONS).map(|words| reason(words)).collect(),
            packets,
            first_ns: line.first_ns,
        };
        say(self.events, &LiveSaid::Alert(Box::new(alert)));
    }
}

fn is_alert(detection: &Detection<'_>) -> bool {
    let verdict = detection.scored.and_then(|scored| scored.verdict);
    verdict.is_some_and(|verdict| verdict.is_alert())
}

impl Sink for Telling<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        if self.early.remove(&detection.flow.id) {
            self.tell(detection, true);
        } else if is_alert(detection) && self.left > 0 {
            self.left -= 1;
            self.tell(detection, true);
        }
        Ok(())
    }

    fn early(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        let id = detection.flow.id;
        if is_alert(detection) && (self.left > 0 || self.early.contains(&id)) {
            if self.early.insert(id) {
                self.left -= 1;
            }
            self.tell(detection, false);
        }
        Ok(())
    }
}
