//! The PROXY protocol, versions 1 and 2, as HAProxy's documentation has it (`proxy-protocol.txt`).

use std::net::{IpAddr, SocketAddr};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
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

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let bytes = stream.forward;
        let in_words = bytes.starts_with(TEXT);
        let header = if in_words { text(bytes) } else { binary(bytes) };
        let (len, words) = match header {
            Header::Whole { len, .. } => (len, ""),
            Header::Wants(_) => (bytes.len(), "cut off here"),
            Header::Broken => (0, "none that is known"),
        };
        if bytes.is_empty() {
            return;
        }
        let place = |at, len| Some(ByteRange::new(Direction::Forward, at, len));
        tree.open("PROXY", words, place(0, len));
        let drawn = if in_words { draw_text(&bytes[..len], tree) } else { draw_binary(&bytes[..len], tree) };
        if drawn.is_none() {
            tree.leaf("The rest", "is not there", place(len, 0));
        }
        tree.close();
        if len < bytes.len() {
            tree.leaf("What is passed on", "", place(len, bytes.len() - len));
        }
        if !stream.backward.is_empty() {
            tree.leaf("Its answer", "", Some(ByteRange::new(Direction::Backward, 0, stream.backward.len())));
        }
    }
}

/// The words of version 1; nothing where some are missing.
fn draw_text(line: &[u8], tree: &mut TreeSink<'_>) -> Option<()> {
    let labels = ["Signature", "Family", "Client", "Server", "Client's port", "Server's port"];
    let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
    let mut at = 0;
    for label in labels {
        let word = words.next()?;
        tree.leaf(label, &String::from_utf8_lossy(word), Some(ByteRange::new(Direction::Forward, at, word.len())));
        if label == "Family" && word == b"UNKNOWN" {
            break;
        }
        at += word.len() + 1;
    }
    Some(())
}

/// The members of version 2; nothing where it ends within one.
fn draw_binary(header: &[u8], tree: &mut TreeSink<'_>) -> Option<()> {
    let place = |at, len| Some(ByteRange::new(Direction::Forward, at, len));
    let mut reader = Reader::new(header);
    reader.take(BINARY.len())?;
    tree.leaf("Signature", "version 2", place(0, BINARY.len()));
    let (command, family, len) = (reader.u8()?, reader.u8()?, reader.u16()?);
    let name = match command & 15 {
        0 => "local, of the balancer itself",
        1 => "proxy, for a client",
        _ => "unknown",
    };
    tree.leaf("Command", name, place(12, 1));
    let (addresses, name) = match family >> 4 {
        1 => (4, "IPv4"),
        2 => (16, "IPv6"),
        3 => (0, "local sockets"),
        _ => (0, "not told"),
    };
    let transport = match family & 15 {
        1 => ", TCP",
        2 => ", UDP",
        _ => "",
    };
    tree.leaf("Family", &format!("{name}{transport}"), place(13, 1));
    tree.leaf("Length", &format!("{len} bytes"), place(14, 2));
    if addresses == 0 {
        return Some(());
    }
    let at = BINARY.len() + 4;
    let both = [reader.take(addresses)?, reader.take(addresses)?];
    let ports = [reader.u16()?, reader.u16()?];
    for (which, label) in ["Client", "Server"].into_iter().enumerate() {
        let ip = match <[u8; 16]>::try_from(both[which]) {
            Ok(ip) => IpAddr::from(ip),
            Err(_) => IpAddr::from(<[u8; 4]>::try_from(both[which]).ok()?),
        };
        tree.leaf(label, &SocketAddr::new(ip, ports[which]).to_string(), place(at + which * addresses, addresses));
    }
    // What else it may say: a kind, a length, and a value.
    while let Some(kind) = reader.u8().filter(|_| !tree.is_full()) {
        let at = header.len() - reader.rest().len() - 1;
        let value = reader.u16().and_then(|len| reader.take(len.into()))?;
        let (name, said) = match kind {
            1 => ("ALPN", String::from_utf8_lossy(value).into_owned()),
            2 => ("Host name", String::from_utf8_lossy(value).into_owned()),
            3 => ("CRC-32C", format!("{} bytes", value.len())),
            4 => ("Filler", format!("{} bytes", value.len())),
            5 => ("Unique ID", format!("{} bytes", value.len())),
            0x20 => ("TLS", format!("{} bytes", value.len())),
            _ => ("Something else", format!("kind {kind}, {} bytes", value.len())),
        };
        tree.leaf(name, &said, place(at, 3 + value.len()));
    }
    Some(())
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
