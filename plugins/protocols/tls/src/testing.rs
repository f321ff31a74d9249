//! Hellos and records made by hand, for the tests.

use crate::Tls;
use veilwatch_core::flow::{Direction, FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::{Decoded, Tcp};
use veilwatch_core::plugin::{ProtocolTemplate, Settings, StreamView};
use veilwatch_core::record::{FieldId, Record};

pub(crate) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

pub(crate) fn vec8(body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8][..], body].concat()
}

pub(crate) fn vec16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

pub(crate) fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vec16(body)].concat()
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(u32::from(kind) << 24 | body.len() as u32).to_be_bytes()[..], body].concat()
}

pub(crate) const SESSION: [u8; 32] = [5; 32];

/// The extensions of a client of today, GREASE included.
pub(crate) fn client_extensions(name: &str) -> Vec<u8> {
    let server_name = vec16(&[&[0][..], &vec16(name.as_bytes())].concat());
    [
        extension(0x1a1a, &[]),
        extension(0, &server_name),
        extension(10, &vec16(&[0x2a, 0x2a, 0, 29, 0, 23])),
        extension(11, &vec8(&[0])),
        extension(13, &vec16(&[4, 3, 8, 4])),
        extension(16, &vec16(b"\x02h2\x08http/1.1")),
        extension(35, b"ticket"),
        extension(43, &vec8(&[0x3a, 0x3a, 3, 4, 3, 3])),
        extension(45, &vec8(&[1])),
        extension(51, &vec16(&[&[0x2a, 0x2a][..], &vec16(&[0]), &[0, 29], &vec16(&[8; 32])].concat())),
        extension(0xfe0d, &[0; 9]),
    ]
    .concat()
}

pub(crate) fn client_hello_with(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[1; 32],
        &vec8(&SESSION),
        &vec16(&[0x0a, 0x0a, 0x13, 1, 0xc0, 0x2f]),
        &vec8(&[0]),
        &vec16(extensions),
    ]
    .concat();
    message(1, &body)
}

pub(crate) fn client_hello(name: &str) -> Vec<u8> {
    client_hello_with(&client_extensions(name))
}

pub(crate) fn server_hello_with(random: &[u8; 32], session: &[u8], extensions: &[u8]) -> Vec<u8> {
    message(2, &[&[3, 3][..], random, &vec8(session), &[0xc0, 0x2f, 0], &vec16(extensions)].concat())
}

pub(crate) fn view<'a>(forward: &'a [u8], backward: &'a [u8], ended: bool) -> StreamView<'a> {
    StreamView {
        forward,
        backward,
        forward_ended: ended,
        backward_ended: ended,
        originator_port: 50_000,
        responder_port: 443,
        ..StreamView::default()
    }
}

/// The id of the template's own field at this place.
pub(crate) fn declared(at: usize) -> FieldId {
    FieldId(FieldId::FIRST_DECLARED.0 + at as u16)
}

/// A flow of these segments, as the flow table reads it with the template of these settings.
pub(crate) fn flow_with(settings: &str, segments: &[(Direction, &[u8])]) -> FlowRecord {
    read_flow(settings, false, segments)
}

/// The same behind a SYN of the forward side, which then is the originator whatever the handshake says.
pub(crate) fn flow_behind_syn(segments: &[(Direction, &[u8])]) -> FlowRecord {
    let opened: Vec<_> = [(Direction::Forward, &b""[..])].into_iter().chain(segments.iter().copied()).collect();
    read_flow("", true, &opened)
}

fn read_flow(settings: &str, syn: bool, segments: &[(Direction, &[u8])]) -> FlowRecord {
    let mut tls = Tls::create(Settings::new(settings)).expect("settings");
    let ids: Vec<FieldId> = (0..tls.fields().len()).map(declared).collect();
    tls.wire(&ids).expect("ids");
    let templates = Templates::new(vec![Box::new(tls)]);
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    let mut seqs = [1000u32, 2000];
    for (number, (direction, payload)) in segments.iter().enumerate() {
        let (from, to) = if *direction == Direction::Forward { (1, 2) } else { (2, 1) };
        let seq = &mut seqs[direction.index()];
        let packet = Decoded {
            src: [from; 16],
            dst: [to; 16],
            src_port: u16::from(from),
            dst_port: u16::from(to),
            protocol: 6,
            lan: 0,
            ip_len: payload.len() as u32 + 40,
            payload_len: payload.len() as u32,
            tcp: Some(Tcp { seq: *seq, flags: if syn && number == 0 { Tcp::SYN } else { Tcp::ACK } }),
            payload,
        };
        *seq += payload.len() as u32 + u32::from(syn && number == 0);
        table.push(number as u64 + 1, number as u64 * 1_000_000, &packet, &templates);
    }
    table.finish_all(0, &templates);
    table.take_finished().pop().expect("one flow")
}

pub(crate) fn flow(segments: &[(Direction, &[u8])]) -> FlowRecord {
    flow_with("", segments)
}

/// Reads a typed record of a flow.
pub(crate) fn read<'a, R: Record<'a>>(flow: &'a FlowRecord) -> Option<R> {
    R::read(|id| flow.fields.get(id))
}

/// One value in DER.
pub(crate) fn der(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = if len < 128 { vec![tag, len as u8] } else { vec![tag, 0x82, (len >> 8) as u8, len as u8] };
    [head, body.to_vec()].concat()
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

/// A name of one attribute, whose type is `2.5.4` and this.
pub(crate) fn attribute(last: u8, value: &[u8]) -> Vec<u8> {
    der(0x31, &sequence(&[&der(6, &[0x55, 4, last]), value]))
}

pub(crate) fn name(organisation: &str, common_name: &str) -> Vec<u8> {
    let text = |text: &str| der(0x0c, text.as_bytes());
    sequence(&[&attribute(10, &text(organisation)), &attribute(3, &text(common_name))])
}

pub(crate) fn algorithm(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
    sequence(&[&der(6, oid), parameters])
}

pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
pub(crate) const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];

pub(crate) fn public_key(algorithm: &[u8], bits: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &der(3, &[&[0][..], bits].concat())])
}

pub(crate) fn certificate_extension(oid: &[u8], body: &[u8]) -> Vec<u8> {
    sequence(&[&der(6, oid), &der(4, body)])
}

/// A list of so many certificate-transparency stamps, each as long as one with a signature of P-256 is.
pub(crate) fn stamp_list(count: usize) -> Vec<u8> {
    let signature = vec16(&[9; 70]);
    let stamp = [&[0][..], &[7; 32], &[0; 8], &vec16(&[]), &[4, 3], &signature].concat();
    vec16(&vec16(&stamp).repeat(count))
}

/// The extension of a certificate that holds them.
pub(crate) fn stamps_extension(count: usize) -> Vec<u8> {
    certificate_extension(&[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2], &der(4, &stamp_list(count)))
}

/// An OCSP response about one certificate: this tag as its status, and so many stamps.
pub(crate) fn ocsp_response(status: u8, stamps: usize) -> Vec<u8> {
    let time = der(0x18, b"20240101000000Z");
    let revoked = if status == 0xa1 { time.clone() } else { Vec::new() };
    let certificate = sequence(&[&algorithm(&[0x2b, 14, 3, 2, 26], &der(5, &[])), &der(4, &[1]), &der(4, &[2])]);
    let stamped = match stamps {
        0 => Vec::new(),
        _ => {
            let list = der(4, &stamp_list(stamps));
            let extension = certificate_extension(&[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 5], &list);
            der(0xa1, &der(0x30, &extension))
        }
    };
    let single = sequence(&[&certificate, &der(status, &revoked), &time, &der(0xa0, &time), &stamped]);
    let data = sequence(&[&der(0xa2, &der(4, &[3; 20])), &time, &sequence(&[&single])]);
    let basic = sequence(&[&data, &algorithm(SHA256_RSA, &der(5, &[])), &der(3, &[0, 1])]);
    let bytes = sequence(&[&der(6, &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]), &der(4, &basic)]);
    sequence(&[&der(10, &[0]), &der(0xa0, &bytes)])
}

/// A CertificateStatus message with one response.
pub(crate) fn status_message(response: &[u8]) -> Vec<u8> {
    message(22, &[&[1][..], &(response.len() as u32).to_be_bytes()[1..], response].concat())
}

/// The values that a certificate is made of, each whole; `extensions` are what is in their list.
#[derive(Debug, Clone)]
pub(crate) struct CertificateParts {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) validity: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) unique_ids: Vec<u8>,
    pub(crate) extensions: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl CertificateParts {
    /// A certificate of RSA 2048 with SHA-256, with these DNS names as alternatives.
    pub(crate) fn new(common_name: &str, alternatives: &[&str]) -> Self {
        let modulus = [&[0][..], &[0xc3; 256]].concat();
        let key = sequence(&[&der(2, &modulus), &der(2, &[1, 0, 1])]);
        let names: Vec<u8> = alternatives.iter().flat_map(|name| der(0x82, name.as_bytes())).collect();
        let mut extensions = vec![
            certificate_extension(&[0x55, 29, 19], &sequence(&[])),
            certificate_extension(&[0x55, 29, 32], &sequence(&[&sequence(&[&der(6, &[0x2a, 3])])])),
            certificate_extension(&[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2], &der(4, &[0, 0])),
        ];
        if !alternatives.is_empty() {
            extensions.push(certificate_extension(&[0x55, 29, 17], &der(0x30, &names)));
        }
        Self {
            version: der(0xa0, &der(2, &[2])),
            serial: der(2, &[0x12, 0x34]),
            issuer: name("Good, Ltd", "Root"),
            validity: sequence(&[&der(0x17, b"200101000000Z"), &der(0x17, b"300101000000Z")]),
            subject: name("Shop", common_name),
            key: public_key(&algorithm(RSA, &der(5, &[])), &key),
            unique_ids: Vec::new(),
            extensions: extensions.concat(),
            algorithm: algorithm(SHA256_RSA, &der(5, &[])),
            signature: der(3, &[0, 1, 2, 3]),
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let body = [
            &self.version,
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.key,
            &self.unique_ids,
            &der(0xa3, &der(0x30, &self.extensions)),
        ];
        sequence(&[&sequence(&body.map(Vec::as_slice)), &self.algorithm, &self.signature])
    }
}

/// [`CertificateParts::new`], put together.
pub(crate) fn certificate(common_name: &str, alternatives: &[&str]) -> Vec<u8> {
    CertificateParts::new(common_name, alternatives).build()
}

/// A Certificate message with this chain.
pub(crate) fn certificate_message(chain: &[&[u8]]) -> Vec<u8> {
    let three = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[1..], body].concat();
    let chain: Vec<u8> = chain.iter().flat_map(|der| three(der)).collect();
    message(11, &three(&chain))
}
