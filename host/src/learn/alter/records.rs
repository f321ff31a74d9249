//! What was read of a flow is changed before anything is made of it.

use super::{Alteration, Hidden};
use crate::engine::Pipeline;
use veilwatch_core::context::DnsSnapshot;
use veilwatch_core::flow::{DirectionStats, FlowRecord};
use veilwatch_core::record::{CertificateInfo, ClientHello, Dns, FieldId, FieldStore, Mark, Record, TlsRecords};

/// What is changed of every flow.
#[derive(Debug, Default)]
pub(in super::super) struct RecordChanges {
    names: bool,
    dns: bool,
    /// Fields to forget.
    forgotten: Vec<FieldId>,
    certificates: bool,
    pad: Option<u16>,
}

/// A record's type for handshakes and for application data (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// The extension that names the server (RFC 6066 section 3).
const SERVER_NAME: u16 = 0;
/// The header of a record.
const RECORD_HEADER: usize = 5;
/// The most that a record may hold when it is encrypted (RFC 8446 section 5.2).
const RECORD_MOST: u16 = 16_384 + 256;

impl RecordChanges {
    /// What these alterations change of flows that a pipeline reads.
    pub(in super::super) fn new(alterations: &[Alteration], pipeline: &Pipeline) -> Self {
        let hides = |hidden| alterations.contains(&Alteration::Hide(hidden));
        let mut forgotten = Vec::new();
        let declared = |begin: &[&str]| -> Vec<FieldId> {
            let theirs =
                pipeline.fields().declared().filter(|(_, spec)| begin.iter().any(|b| spec.name.starts_with(b)));
            theirs.map(|(id, _)| id).collect()
        };
        if hides(Hidden::Certificates) {
            forgotten.extend(ids::<CertificateInfo<'_>>());
            forgotten.extend(declared(&["tls.certificate", "tls.client_certificate"]));
        }
        // Histograms are of the bytes that hold both; parts cannot be taken out of them.
        if hides(Hidden::Names) || hides(Hidden::Certificates) {
            forgotten.extend(declared(&["tls.bytes."]));
        }
        if hides(Hidden::Dns) {
            forgotten.extend(ids::<Dns<'_>>());
            forgotten.extend(declared(&["dns."]));
        }
        let pad = alterations.iter().rev().find_map(|alteration| match alteration {
            Alteration::Pad(bytes) => Some(*bytes),
            _ => None,
        });
        Self {
            names: hides(Hidden::Names),
            dns: hides(Hidden::Dns),
            certificates: hides(Hidden::Certificates),
            forgotten,
            pad,
        }
    }

    /// Changes one flow.
    pub(in super::super) fn apply(&self, flow: &mut FlowRecord) {
        if self.names {
            hide_name(flow);
        }
        if self.dns {
            flow.names = DnsSnapshot::default();
        }
        if self.certificates {
            flow.marks[Mark::Certificate as usize] = None;
        }
        if !self.forgotten.is_empty() {
            flow.fields.remove(&self.forgotten);
        }
        if let Some(multiple) = self.pad {
            pad(flow, multiple);
        }
    }
}

/// The ids of a typed record's fields.
fn ids<'a, R: Record<'a>>() -> impl Iterator<Item = FieldId> {
    (0..R::FIELDS.len() as u16).map(|at| FieldId(R::FIRST.0 + at))
}

/// Writes a typed record in the place of what was read.
fn rewrite<'a, R: Record<'a>>(fields: &mut FieldStore, record: &R) {
    record.write(|id, value| {
        // Nothing is longer than it was, and so it fits.
        if fields.get(id).is_some() {
            fields.set(id, value);
        }
    });
}

/// The header of a handshake message (RFC 8446 section 4).
const MESSAGE_HEADER: u32 = 4;

/// Takes the server's name out of the ClientHello.
fn hide_name(flow: &mut FlowRecord) {
    let read = flow.fields.clone();
    let Some(hello) = read.record::<ClientHello<'_>>() else { return };
    if let Some(certificate) = read.record::<CertificateInfo<'_>>() {
        // Without a name there is none that the certificate could cover.
        rewrite(&mut flow.fields, &CertificateInfo { matches_sni: false, ..certificate });
    }
    let named = |kind: u16| kind == SERVER_NAME;
    let Some(place) = hello.extensions.iter().position(|kind| named(*kind)) else {
        return rewrite(&mut flow.fields, &ClientHello { sni: &[], ..hello });
    };
    let kept = |list: &[u16]| -> Vec<u16> {
        list.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, value)| *value).collect()
    };
    let (extensions, extension_lens) = (kept(hello.extensions), kept(hello.extension_lens));
    // Behind its type and length.
    let gone = hello.extension_lens.get(place).copied().unwrap_or_default().saturating_add(4);
    rewrite(
        &mut flow.fields,
        &ClientHello {
            sni: &[],
            extensions: &extensions,
            extension_lens: &extension_lens,
            message_len: hello.message_len.saturating_sub(gone.into()),
            ..hello
        },
    );
    // The record that carried all of it, and the packet, where it carried nothing else.
    let Some(records) = read.record::<TlsRecords<'_>>() else { return };
    let (Some(first), Some(&HANDSHAKE)) = (records.client.first(), records.client_types.first()) else { return };
    let message = hello.message_len.saturating_add(MESSAGE_HEADER);
    if u32::from(gone) > message || message > u32::from(*first) {
        return;
    }
    let mut client = records.client.to_vec();
    client[0] = first - gone;
    rewrite(&mut flow.fields, &TlsRecords { client: &client, ..records });
    let whole = RECORD_HEADER as i32 + i32::from(*first);
    if let Some(size) = flow.splt.sizes.iter_mut().find(|size| **size > 0)
        && *size == whole
        && *size > i32::from(gone)
    {
        *size -= i32::from(gone);
        grow(&mut flow.stats[0], -f64::from(gone));
    }
}

/// Rounds application-data records up.
fn pad(flow: &mut FlowRecord, multiple: u16) {
    let read = flow.fields.clone();
    let Some(records) = read.record::<TlsRecords<'_>>() else { return };
    let padded = |lengths: &[u16], types: &[u8]| -> Vec<u16> {
        let one = |(length, kind): (&u16, &u8)| match *kind {
            APPLICATION_DATA => {
                let up = length.checked_next_multiple_of(multiple).unwrap_or(RECORD_MOST);
                up.min(RECORD_MOST).max(*length)
            }
            _ => *length,
        };
        lengths.iter().zip(types).map(one).collect()
    };
    let client = padded(records.client, records.client_types);
    let server = padded(records.server, records.server_types);
    // Where another protocol came first, nobody knows which packet a record ends in.
    if flow.handed.is_empty() {
        for (direction, (before, after)) in
            [(records.client, &client), (records.server, &server)].into_iter().enumerate()
        {
            stretch(flow, direction, before, after);
        }
    }
    rewrite(&mut flow.fields, &TlsRecords { client: &client, server: &server, ..records });
}

/// Has the packets grow in which records end that grew.
fn stretch(flow: &mut FlowRecord, direction: usize, before: &[u16], after: &[u16]) {
    let mut ends = Vec::with_capacity(before.len());
    let mut end = 0;
    for (before, after) in before.iter().zip(after) {
        end += RECORD_HEADER + usize::from(*before);
        ends.push((end, i32::from(*after) - i32::from(*before)));
    }
    let mut ends = ends.into_iter().peekable();
    let (mut at, mut total) = (0, 0.0);
    for size in flow.splt.sizes.iter_mut().filter(|size| (**size < 0) == (direction == 1)) {
        at += size.unsigned_abs() as usize;
        while let Some((_, more)) = ends.next_if(|(end, _)| *end <= at) {
            *size += more * size.signum();
            total += f64::from(more);
        }
    }
    total += ends.map(|(_, more)| f64::from(more)).sum::<f64>();
    grow(&mut flow.stats[direction], total);
}

/// Has a direction carry so many bytes of payload more.
fn grow(stats: &mut DirectionStats, more: f64) {
    let grown = |bytes: u64| (bytes as f64 + more).max(0.0) as u64;
    (stats.bytes, stats.payload_bytes) = (grown(stats.bytes), grown(stats.payload_bytes));
    if stats.lengths.count > 0 {
        stats.lengths.mean += more / stats.lengths.count as f64;
    }
}
