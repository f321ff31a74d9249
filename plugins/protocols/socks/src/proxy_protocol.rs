//! The PROXY protocol, versions 1 and 2, as HAProxy's documentation has it (`proxy-protocol.txt`).

use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// Reads the header that a load balancer puts in front of a connection that it passes on, on any port, and hands over what
/// follows.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    ids: Vec<FieldId>,
}

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, with the end of its line.
const LINE: usize = 107;

impl ProxyProtocol {
    /// Makes the template; there are no settings.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self { ids: Vec::new() })
    }
}

impl ProtocolTemplate for ProxyProtocol {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("proxy.version", FieldKind::U64, "version of the PROXY protocol, 1 or 2"),
            FieldSpec::new("proxy.src.port", FieldKind::U64, "port of the client whose connection is passed on"),
            FieldSpec::new("proxy.dst.port", FieldKind::U64, "port that this client had connected to"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings { forward: FirstBytes::of(&[TEXT[0], BINARY[0]]), backward: FirstBytes::NONE },
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        let bytes = stream.forward;
        let begins = |with: &[u8]| bytes.starts_with(with) || with.starts_with(bytes);
        match bytes.len() {
            // The side that passes on speaks first.
            0 if !stream.backward.is_empty() => Probe::No,
            0 => Probe::Unsure,
            len if begins(TEXT) => {
                if len < TEXT.len() {
                    Probe::Unsure
                } else {
                    Probe::Certain
                }
            }
            len if begins(BINARY) => {
                if len < BINARY.len() {
                    Probe::Unsure
                } else {
                    Probe::Certain
                }
            }
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let bytes = stream.forward;
        let (version, header) = if bytes.starts_with(TEXT) { (1, text(bytes)) } else { (2, binary(bytes)) };
        out.fields(&self.ids, &[Some(Value::U64(version))]);
        match header {
            Header::Whole { len, ports } => {
                let [source, target] = ports.map(|port| port.map(Value::number));
                out.fields(&self.ids, &[None, source, target]);
                out.hand_over(len, 0);
            }
            Header::Wants(forward) => return Ok(Progress::More { forward, backward: usize::MAX }),
            Header::Broken => {}
        }
        Ok(Progress::Done)
    }
}

/// A header, as far as it is there.
enum Header {
    /// Its length, and the ports of client and server where it names them.
    Whole {
        len: usize,
        ports: [Option<u16>; 2],
    },
    /// It is whole with this many bytes, or more.
    Wants(usize),
    Broken,
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 50000 443`
fn text(bytes: &[u8]) -> Header {
    let seen = bytes.get(..LINE).unwrap_or(bytes);
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if seen.len() == LINE { Header::Broken } else { Header::Wants(seen.len() + 1) };
    };
    let line = seen.get(..end).unwrap_or_default().trim_ascii_end();
    let mut words = line.split(|byte| *byte == b' ').skip(4);
    let mut port = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
    Header::Whole { len: end + 1, ports: [port(), port()] }
}

/// The signature, version and command, family, length; then addresses and ports, and whatever else fits.
fn binary(bytes: &[u8]) -> Header {
    let mut reader = Reader::new(bytes);
    let head = reader.take(BINARY.len()).and_then(|_| Some((reader.u8()?, reader.u8()?, reader.u16()?)));
    let Some((command, family, len)) = head else { return Header::Wants(BINARY.len() + 4) };
    if command >> 4 != 2 {
        return Header::Broken;
    }
    let whole = BINARY.len() + 4 + usize::from(len);
    let Some(body) = reader.take(len.into()) else { return Header::Wants(whole) };
    let addresses = match family >> 4 {
        1 => 8,
        2 => 32,
        // Local sockets, or nothing that is told.
        _ => return Header::Whole { len: whole, ports: [None; 2] },
    };
    let mut ports = Reader::new(body.get(addresses..).unwrap_or_default());
    Header::Whole { len: whole, ports: [ports.u16(), ports.u16()] }
}
