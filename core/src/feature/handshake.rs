//! Where the handshake of a TLS flow ends, for features that must not know what was said in it.

use super::FlowView;
use crate::flow::Direction;
use crate::record::{ClientHello, ServerHello, TlsRecords};

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// RFC 8446 section 4.2.10.
const EARLY_DATA: u16 = 42;
/// Version 1.3, and where those of its drafts begin.
const TLS_13: u16 = 0x0304;
const DRAFTS_OF_13: u16 = 0x7f00;
/// Bytes before each record (RFC 8446 section 5.1).
const HEADER: u64 = 5;

/// The first records and the first payload packet behind a handshake.
///
/// Found by what each side's records say of their lengths. In TLS 1.3 the client's side ends with its first encrypted
/// record; how many of the server's belong to the handshake cannot be seen, so that all that it had sent by then do.
/// Packets are found by counting payload bytes: where any were sent again or out of order, that would deceive, and packets
/// are `None`. What goes before TLS in a flow (a proxy's answer, STARTTLS) is not known here either: a pipeline that takes
/// these to have no part in a row has no templates that hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeEnd {
    /// The client's records that belong to it.
    pub client_records: usize,
    /// The server's records that belong to it.
    pub server_records: Option<usize>,
    /// The payload packets that belong to it, as their place in the [`SpltView`](super::SpltView).
    pub packets: Option<usize>,
}

impl HandshakeEnd {
    /// Where the handshake of a flow ends; `None` where that was not seen, or there is none.
    pub fn of(flow: &FlowView<'_>) -> Option<Self> {
        let records = flow.record::<TlsRecords<'_>>()?;
        let version = flow.record::<ServerHello<'_>>()?.selected_version;
        let is_13 = (TLS_13..0x0400).contains(&version) || version >> 8 == DRAFTS_OF_13 >> 8;
        let stats = [Direction::Forward, Direction::Backward].map(|direction| flow.direction(direction));
        let in_order = stats.iter().all(|stats| stats.retransmitted == 0 && stats.reordered == 0);
        let sizes = flow.splt().sizes;
        if is_13 {
            let early = |hello: ClientHello<'_>| hello.extensions.contains(&EARLY_DATA);
            if flow.record::<ClientHello<'_>>().is_none_or(early) {
                return None;
            }
            let client_records = records.client_types.iter().position(|kind| *kind == APPLICATION_DATA)? + 1;
            let last = place(sizes, true, bytes(records.client, client_records)).filter(|_| in_order);
            let server_records = last.map(|last| {
                let sent = sizes.iter().take(last + 1).filter(|size| **size < 0);
                let sent: u64 = sent.map(|size| u64::from(size.unsigned_abs())).sum();
                let mut at = 0;
                let before = |length: &&u16| {
                    let begins_before = at < sent;
                    at += u64::from(**length) + HEADER;
                    begins_before
                };
                records.server.iter().take_while(before).count()
            });
            return Some(Self { client_records, server_records, packets: last.map(|last| last + 1) });
        }
        let client_records = finished(records.client_types)?;
        let server_records = finished(records.server_types)?;
        let lasts = [
            place(sizes, true, bytes(records.client, client_records)),
            place(sizes, false, bytes(records.server, server_records)),
        ];
        let packets = match lasts {
            [Some(client), Some(server)] if in_order => Some(client.max(server) + 1),
            _ => None,
        };
        Some(Self { client_records, server_records: Some(server_records), packets })
    }
}

/// Records up to the first of the handshake behind the ChangeCipherSpec: Finished (RFC 5246 section 7.4.9).
fn finished(types: &[u8]) -> Option<usize> {
    let changed = types.iter().position(|kind| *kind == CHANGE_CIPHER_SPEC)?;
    let behind = types.iter().skip(changed).position(|kind| *kind == HANDSHAKE)?;
    Some(changed + behind + 1)
}

fn bytes(lengths: &[u16], records: usize) -> u64 {
    lengths.iter().take(records).map(|length| u64::from(*length) + HEADER).sum()
}

/// The packet of one direction with which so many bytes are there.
fn place(sizes: &[i32], forward: bool, bytes: u64) -> Option<usize> {
    let mut sent = 0;
    sizes.iter().position(|size| {
        if (*size > 0) == forward {
            sent += u64::from(size.unsigned_abs());
        }
        (*size > 0) == forward && sent >= bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::FlowBatch;
    use crate::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
    use crate::packet::Decoded;
    use crate::record::{Record, Value};

    fn flow(version: u16, client: &[(u8, u16)], server: &[(u8, u16)], sizes: &[i32]) -> FlowRecord {
        let packet = Decoded {
            src: [1; 16],
            dst: [2; 16],
            src_port: 1,
            dst_port: 443,
            protocol: 6,
            lan: 0,
            ip_len: 40,
            payload_len: 0,
            tcp: None,
            payload: &[],
        };
        let mut table = FlowTable::new(FlowLimits::default(), 0);
        table.push(1, 1, &packet, &Templates::default());
        table.finish_all(0, &Templates::default());
        let mut flow = table.take_finished().remove(0);
        sizes.iter().for_each(|size| flow.splt.add(*size, 0));
        let [client, server] = [client, server].map(|side| side.iter().copied().unzip::<u8, u16, Vec<_>, Vec<_>>());
        let records = TlsRecords {
            client: &client.1,
            client_types: &client.0,
            server: &server.1,
            server_types: &server.0,
            ..TlsRecords::default()
        };
        let mut put = |id, value: Value<'_>| assert!(flow.fields.set(id, value));
        ClientHello::default().write(&mut put);
        ServerHello { selected_version: version, ..ServerHello::default() }.write(&mut put);
        records.write(&mut put);
        flow
    }

    fn end(flow: &FlowRecord) -> Option<HandshakeEnd> {
        let flows = [flow];
        let source = &flows[..];
        FlowBatch::new(&source).iter().next().and_then(|flow| HandshakeEnd::of(&flow))
    }

    #[test]
    fn in_tls_1_2_both_sides_say_that_they_have_finished() {
        let client = [(22, 195), (22, 95), (20, 1), (22, 40), (23, 100), (22, 7)];
        let server = [(22, 91), (22, 2895), (20, 1), (22, 40), (23, 1000)];
        let flow = flow(0x0303, &client, &server, &[200, -1400, -1400, -196, 151, -51, 105, -1005]);
        let wanted = HandshakeEnd { client_records: 4, server_records: Some(4), packets: Some(6) };
        assert_eq!(end(&flow), Some(wanted));
        let mut again = flow.clone();
        again.stats[1].retransmitted = 1;
        assert_eq!(end(&again), Some(HandshakeEnd { packets: None, ..wanted }));
    }

    #[test]
    fn in_tls_1_3_it_ends_with_the_clients_first_encrypted_record() {
        let client = [(22, 512), (20, 1), (23, 53), (23, 90), (23, 5)];
        let server = [(22, 122), (20, 1), (23, 2000), (23, 53), (23, 250), (23, 250), (23, 900)];
        // Hello; the server's flight of 2,196 bytes and nothing more; Finished with the request behind it.
        let flow = flow(0x0304, &client, &server, &[517, -1400, -796, 64 + 95, -255, -255, -905, 10]);
        let wanted = HandshakeEnd { client_records: 3, server_records: Some(4), packets: Some(4) };
        assert_eq!(end(&flow), Some(wanted));
    }

    #[test]
    fn what_was_not_seen_is_not_there() {
        assert_eq!(end(&flow(0x0303, &[(22, 9), (20, 1)], &[(22, 9)], &[14])), None);
        assert_eq!(end(&flow(0x0304, &[(22, 9)], &[(22, 9)], &[14])), None);
        let cut = flow(0x0304, &[(22, 9), (23, 9)], &[(22, 9)], &[14]);
        assert_eq!(end(&cut), Some(HandshakeEnd { client_records: 2, server_records: None, packets: None }));
    }
}
