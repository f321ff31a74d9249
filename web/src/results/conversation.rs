//! The flows of one host and one service over time: its calls, and whether they come by the clock.

use std::net::IpAddr;

use rusqlite::types::Value;
use veilwatch::engine::{BeaconSnapshot, Rhythm};

use super::read::{FLOW_COLUMNS, FlowRow, ResultError, ResultFile};

/// Calls of a conversation that are looked at, the first ones.
pub const MAX_CALLS: u32 = 10_000;
/// Gaps that the rhythm is taken from, the latest ones; as the features do.
pub const RHYTHM_GAPS: usize = 32;
/// Likeness to a beacon from which on calls come by the clock; beacons that are early or late by a tenth of their period
/// stay above it in the tests of [`Rhythm`].
pub const CLOCKWORK: f32 = 0.85;
/// Likeness from which on they have something of a clock: there, people at a browser stay below .65, and beacons that are early
/// or late by half of their period above .7.
pub const SOMEWHAT: f32 = 0.7;
/// What is believed of fewer gaps is said to be little.
pub const BELIEVED: f32 = 0.5;

/// Who talks to what. A service is a name, where one was asked for over TCP, or else an address, as the features have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationOf {
    /// The host that opens flows.
    pub client: IpAddr,
    /// The service.
    pub service: Service,
    /// The service's port.
    pub port: u16,
}

/// What a host talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// The server name as lists of flows have it: the capture's text.
    Name(String),
    /// An address that was asked for by no name.
    Address(IpAddr),
}

impl ConversationOf {
    /// The conversation of a flow.
    pub fn flow(flow: &FlowRow) -> Self {
        let service = match &flow.sni {
            Some(name) if flow.protocol == 6 => Service::Name(name.clone()),
            _ => Service::Address(flow.dest_ip),
        };
        Self { client: flow.src_ip, service, port: flow.dest_port }
    }
}

/// One flow of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The flow.
    pub flow: FlowRow,
    /// Bytes on the wire that the host sent.
    pub sent: u64,
    /// Nanoseconds since the begin of the call before.
    pub gap_ns: Option<u64>,
    /// The rhythm of the latest calls when this one was judged, over bytes on the wire.
    pub rhythm: BeaconSnapshot,
}

/// The calls of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// By their begin.
    pub calls: Vec<Call>,
    /// Whether there are no others.
    pub is_whole: bool,
}

impl Conversation {
    /// The rhythm at the end; none of nothing.
    pub fn rhythm(&self) -> Option<&BeaconSnapshot> {
        self.calls.iter().max_by_key(|call| call.flow.n).map(|call| &call.rhythm)
    }

    /// The call at which it was most like a beacon.
    pub fn best(&self) -> Option<&Call> {
        let rated = self.calls.iter().filter(|call| !call.rhythm.score.is_nan());
        // The first among equals.
        rated.rev().max_by(|a, b| worth(a).total_cmp(&worth(b)))
    }

    /// Half of the calls send up to so many bytes; and half of them deviate from that by no more than this.
    pub fn usual_bytes(&self) -> Option<(u64, u64)> {
        let sent = || self.calls.iter().map(|call| call.sent);
        let median = median(sent())?;
        Some((median, self::median(sent().map(|bytes| bytes.abs_diff(median)))?))
    }
}

/// A likeness counts for what it is worth.
fn worth(call: &Call) -> f32 {
    call.rhythm.score * call.rhythm.confidence
}

/// The middle of them, or between the two in the middle.
pub(super) fn median(all: impl Iterator<Item = u64>) -> Option<u64> {
    let mut all: Vec<u64> = all.collect();
    let at = all.len().checked_sub(1)? / 2;
    let is_even = all.len().is_multiple_of(2);
    let (_, low, above) = all.select_nth_unstable(at);
    let high = above.iter().min().filter(|_| is_even).unwrap_or(low);
    Some(low.midpoint(*high))
}

impl ResultFile {
    /// The calls of a conversation, [`MAX_CALLS`] at most.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn conversation(&self, of: &ConversationOf) -> Result<Conversation, ResultError> {
        let (condition, service) = match &of.service {
            Service::Name(name) => ("sni = ?2 AND protocol = 6", name.clone()),
            Service::Address(address) => ("dest_ip = ?2 AND (sni IS NULL OR protocol <> 6)", address.to_string()),
        };
        let sql = format!(
            "SELECT {FLOW_COLUMNS}, coalesce(json_extract(json, '$.flow.bytes_toserver'), 0) FROM flows \
             JOIN lines ON lines.n = flows.n WHERE src_ip = ?1 AND {condition} AND dest_port = ?3 ORDER BY flows.n LIMIT ?4"
        );
        let values = [
            Value::Text(of.client.to_string()),
            Value::Text(service),
            Value::Integer(of.port.into()),
            Value::Integer(i64::from(MAX_CALLS) + 1),
        ];
        let mut found = self.flows_with_number(&sql, &values)?;
        let is_whole = found.len() <= MAX_CALLS as usize;
        found.truncate(MAX_CALLS as usize);
        let mut rhythm = Rhythm::default();
        let mut calls: Vec<Call> = found
            .into_iter()
            .map(|(flow, sent)| Call { sent, gap_ns: None, rhythm: rhythm.flow(flow.first_ns, sent), flow })
            .collect();
        calls.sort_by_key(|call| (call.flow.first_ns, call.flow.n));
        let mut before = None;
        for call in &mut calls {
            call.gap_ns =
                before.replace(call.flow.first_ns).map(|before: u64| call.flow.first_ns.saturating_sub(before));
        }
        Ok(Conversation { calls, is_whole })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::results::tests::{example, open, pipeline, result};
    use crate::results::{FlowQuery, VerdictFilter};

    /// A call that begins at this time.
    pub(in crate::results) fn call(n: u64, first_ns: u64, sent: u64) -> Call {
        let flow = FlowRow {
            n: n.cast_signed(),
            flow_id: n,
            first_ns,
            last_ns: first_ns,
            first_packet: n + 1,
            src_ip: [10, 0, 0, 1].into(),
            src_port: 50_000,
            dest_ip: [203, 0, 113, 9].into(),
            dest_port: 443,
            protocol: 6,
            app: None,
            sni: None,
            verdict: [None, Some("malicious")][usize::from(n.is_multiple_of(3))],
            score: None,
            packets: 9,
            bytes: sent,
        };
        Call { flow, sent, gap_ns: None, rhythm: BeaconSnapshot::default() }
    }

    /// The calls of the beacon in the capture that ships with the project.
    pub(in crate::results) fn beacon() -> Conversation {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&result(folder.path(), &pipeline(), &example("malicious-beacon-tls12.pcap")));
        let alerts = FlowQuery { verdict: Some(VerdictFilter::Alerts), limit: 1, ..FlowQuery::default() };
        let alert = file.flows(&alerts).unwrap().rows.remove(0);
        file.conversation(&ConversationOf::flow(&alert)).unwrap()
    }

    #[test]
    fn a_beacon_is_seen_as_the_model_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        for capture in ["malicious-beacon-tls12.pcap", "malicious-beacon-tls13.pcap", "benign-office.pcapng"] {
            let file = open(&result(folder.path(), &pipeline(), &example(capture)));
            let all = file.flows(&FlowQuery { limit: 5000, ..FlowQuery::default() }).unwrap().rows;
            let mut compared = 0;
            let mut seen = std::collections::BTreeSet::new();
            for flow in &all {
                let of = ConversationOf::flow(flow);
                if !seen.insert(format!("{of:?}")) {
                    continue;
                }
                let found = file.conversation(&of).unwrap();
                assert!(found.is_whole && found.calls.iter().any(|call| call.flow == *flow));
                assert!(found.calls.is_sorted_by_key(|call| call.flow.first_ns));
                for call in &found.calls {
                    assert_eq!(ConversationOf::flow(&call.flow), of);
                    let features = file.flow(call.flow.flow_id).unwrap().unwrap().features;
                    let Some(period) = features.iter().find(|feature| feature.name == "conversation.period") else {
                        continue;
                    };
                    // Of times they know the same; sizes are on the wire here.
                    assert_eq!(period.value.to_bits(), call.rhythm.period.to_bits(), "{capture}: {call:?}");
                    compared += usize::from(!period.value.is_nan());
                }
            }
            assert!(compared > 0 || capture.starts_with("benign"), "{capture}");
        }
    }

    #[test]
    fn it_is_measured() {
        let found = beacon();
        assert!(found.calls.len() >= 8, "{}", found.calls.len());
        let rhythm = found.rhythm().unwrap();
        assert!(rhythm.score > SOMEWHAT, "{rhythm:?}");
        assert!(found.best().unwrap().rhythm.score >= SOMEWHAT);
        assert!(found.calls[0].gap_ns.is_none() && found.calls[1].gap_ns.is_some());
        let (usual, within) = found.usual_bytes().unwrap();
        assert!(usual > 100 && within < usual, "{usual} {within}");
        assert_eq!(
            [vec![], vec![7], vec![9, 4], vec![9, 1, 4]].map(|all| median(all.into_iter())),
            [None, Some(7), Some(6), Some(4)]
        );
        let empty = Conversation::default();
        assert!(empty.rhythm().is_none() && empty.best().is_none() && empty.usual_bytes().is_none());
    }
}
