//! SOCKS 4, 4a and 5.

use serde::Deserialize;
use std::net::{Ipv4Addr, Ipv6Addr};
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView, within,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The settings: how much is kept of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes kept of each text.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_bytes: 255 }
    }
}

/// Reads how a client asks a SOCKS proxy for a connection, on any port, and hands over what goes through it once the proxy
/// has agreed.
///
/// Recognised by both sides together: a client's first bytes alone are too few to tell.
#[derive(Debug, Clone)]
pub struct Socks {
    limits: Limits,
    ids: Vec<FieldId>,
}

/// Connecting, of the commands (RFC 1928 section 4); the same in version 4.
pub(crate) const CONNECT: u8 = 1;
/// Name and password in clear (RFC 1929).
pub(crate) const PASSWORD: u8 = 2;
/// Longest user or host of version 4, which end with a zero.
const NAME: usize = 256;

/// What was read.
#[derive(Default)]
struct Told<'a> {
    version: u8,
    method: Option<u8>,
    user: Option<&'a [u8]>,
    clear_credentials: bool,
    command: Option<u8>,
    host: Option<Host<'a>>,
    port: Option<u16>,
    reply: Option<u8>,
}

/// Where a client wants to go.
#[derive(Clone, Copy)]
enum Host<'a> {
    Name(&'a [u8]),
    V4([u8; 4]),
    V6([u8; 16]),
}

/// Why reading stopped.
enum Stop {
    /// More of the client's bytes are needed, or of the server's.
    Client,
    Server,
    Over,
}

impl Socks {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Limits = settings.read()?;
        within("text_bytes", limits.text_bytes, 16..=1024)?;
        Ok(Self { limits, ids: Vec::new() })
    }
}

impl ProtocolTemplate for Socks {
    fn fields(&self) -> Vec<FieldSpec> {
        let number = |name, words| FieldSpec::new(name, FieldKind::U64, words);
        vec![
            number("socks.version", "4 (also for 4a) or 5"),
            number(
                "socks.method",
                "how the server wants to know the client: 0 not at all, 2 by name and password, 255 refused",
            ),
            FieldSpec::new("socks.user", FieldKind::Bytes, "the name that a client gives; a password is not read"),
            number("socks.clear_credentials", "1 where a password went in clear"),
            number("socks.command", "what the client asks for: 1 connect, 2 bind, 3 relay UDP"),
            FieldSpec::new("socks.host", FieldKind::Bytes, "where to: a name, or an address as text"),
            number("socks.port", "the port there"),
            number("socks.reply", "the server's answer: 0 granted in version 5, 90 in version 4"),
            FieldSpec::limit("socks", "text_bytes"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings { forward: FirstBytes::of(&[4, 5]), backward: FirstBytes::NONE },
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let first = stream.forward.first();
        if stream.carrier != Carrier::Tcp || first.is_some_and(|byte| !matches!(byte, 4 | 5)) {
            return Probe::No;
        }
        let asks = match first {
            // The server never speaks first.
            None if stream.backward.is_empty() => return Probe::Unsure,
            None => return Probe::No,
            Some(5) => asks_5(stream.forward),
            Some(_) => asks_4(stream.forward),
        };
        match (asks, stream.backward) {
            (Probe::Certain, []) => Probe::Unsure,
            (Probe::Certain, backward) => answers(stream.forward.first() == Some(&5), backward),
            (other, _) => other,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let (mut client, mut server) = (Reader::new(stream.forward), Reader::new(stream.backward));
        let mut told = Told::default();
        let stop = match stream.forward.first() {
            Some(4) => four(&mut client, &mut server, &mut told),
            _ => five(&mut client, &mut server, &mut told),
        };
        self.write(&told, out);
        let wants = |bytes: &[u8]| bytes.len() + 1;
        Ok(match stop {
            Ok(()) => {
                let read = |all: &[u8], left: &Reader<'_>| all.len() - left.rest().len();
                out.hand_over(read(stream.forward, &client), read(stream.backward, &server));
                Progress::Done
            }
            Err(Stop::Client) => Progress::More { forward: wants(stream.forward), backward: usize::MAX },
            Err(Stop::Server) => Progress::More { forward: usize::MAX, backward: wants(stream.backward) },
            Err(Stop::Over) => Progress::Done,
        })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, tree);
    }
}

impl Socks {
    fn write(&self, told: &Told<'_>, out: &mut RecordSink<'_>) {
        let address = match told.host {
            Some(Host::V4(ip)) => Ipv4Addr::from(ip).to_string(),
            Some(Host::V6(ip)) => Ipv6Addr::from(ip).to_string(),
            _ => String::new(),
        };
        let host = told.host.map(|host| if let Host::Name(name) = host { name } else { address.as_bytes() });
        let most = self.limits.text_bytes;
        let cut = [told.user, host].iter().flatten().any(|text| text.len() > most);
        let [user, host] =
            [told.user, host].map(|text| text.map(|text| Value::Bytes(text.get(..most).unwrap_or(text))));
        let flag = |set: bool| set.then_some(Value::U64(1));
        out.fields(
            &self.ids,
            &[
                Some(Value::number(told.version)),
                told.method.map(Value::number),
                user,
                flag(told.clear_credentials),
                told.command.map(Value::number),
                host,
                told.port.map(Value::number),
                told.reply.map(Value::number),
                flag(cut),
            ],
        );
    }
}

/// Whether a client of version 5 offers its methods.
fn asks_5(bytes: &[u8]) -> Probe {
    match bytes {
        [_, 0, ..] => Probe::No,
        // Nobody knows more than a handful, and each only once.
        [_, count, ..] if *count > 16 => Probe::No,
        [_, count, methods @ ..] if methods.len() >= usize::from(*count) => {
            let offered = methods.get(..usize::from(*count)).unwrap_or_default();
            let twice =
                offered.iter().enumerate().any(|(at, one)| offered.iter().skip(at + 1).any(|other| other == one));
            if twice { Probe::No } else { Probe::Certain }
        }
        _ => Probe::Unsure,
    }
}

/// Whether a client of version 4 asks for something.
fn asks_4(bytes: &[u8]) -> Probe {
    match bytes {
        [_, command, ..] if !matches!(command, 1 | 2) => Probe::No,
        [_, _, _, _, _, _, _, _, rest @ ..] => {
            let user = rest.get(..NAME).unwrap_or(rest);
            match user.iter().position(|byte| *byte == 0) {
                Some(_) => Probe::Certain,
                None if user.len() == NAME => Probe::No,
                None => Probe::Unsure,
            }
        }
        _ => Probe::Unsure,
    }
}

/// Whether a server answers: the method that it chose, or what became of the request.
fn answers(five: bool, bytes: &[u8]) -> Probe {
    match bytes {
        [5, 0..=9 | 0x80..=0xff, ..] if five => Probe::Certain,
        [5] if five => Probe::Unsure,
        // Some servers say 4 instead of 0.
        [0 | 4, 90..=93, ..] if !five => Probe::Certain,
        [0 | 4] if !five => Probe::Unsure,
        _ => Probe::No,
    }
}

/// Version 4, and 4a, where an address that cannot be says that a name follows.
fn four<'a>(client: &mut Reader<'a>, server: &mut Reader<'_>, told: &mut Told<'a>) -> Result<(), Stop> {
    told.version = client.u8().ok_or(Stop::Client)?;
    told.command = Some(client.u8().ok_or(Stop::Client)?);
    let port = client.u16().ok_or(Stop::Client)?;
    let address = client.u32().ok_or(Stop::Client)?.to_be_bytes();
    let user = zero_ended(client)?;
    told.user = Some(user).filter(|user| !user.is_empty());
    told.host = Some(match address {
        [0, 0, 0, last] if last != 0 => Host::Name(zero_ended(client)?),
        address => Host::V4(address),
    });
    told.port = Some(port);
    server.u8().ok_or(Stop::Server)?;
    told.reply = Some(server.u8().ok_or(Stop::Server)?);
    server.take(6).ok_or(Stop::Server)?;
    if (told.command, told.reply) == (Some(CONNECT), Some(90)) { Ok(()) } else { Err(Stop::Over) }
}

fn zero_ended<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Stop> {
    let seen = reader.rest().get(..NAME).unwrap_or(reader.rest());
    let Some(len) = seen.iter().position(|byte| *byte == 0) else {
        return Err(if seen.len() == NAME { Stop::Over } else { Stop::Client });
    };
    let text = reader.take(len).ok_or(Stop::Client)?;
    reader.u8().ok_or(Stop::Client)?;
    Ok(text)
}

/// Version 5.
fn five<'a>(client: &mut Reader<'a>, server: &mut Reader<'_>, told: &mut Told<'a>) -> Result<(), Stop> {
    told.version = client.u8().ok_or(Stop::Client)?;
    let methods = client.u8().ok_or(Stop::Client)?;
    client.take(methods.into()).ok_or(Stop::Client)?;
    server.u8().ok_or(Stop::Server)?;
    let method = server.u8().ok_or(Stop::Server)?;
    told.method = Some(method);
    match method {
        0 => {}
        PASSWORD => password(client, server, told)?,
        // What other methods say is not known, nor where it ends.
        _ => return Err(Stop::Over),
    }
    let [version, command, _] = array(client).ok_or(Stop::Client)?;
    if version != 5 {
        return Err(Stop::Over);
    }
    told.command = Some(command);
    told.host = Some(address(client, || Stop::Client)?);
    told.port = Some(client.u16().ok_or(Stop::Client)?);
    let [version, reply, _] = array(server).ok_or(Stop::Server)?;
    if version != 5 {
        return Err(Stop::Over);
    }
    told.reply = Some(reply);
    if reply != 0 || command != CONNECT {
        return Err(Stop::Over);
    }
    address(server, || Stop::Server)?;
    server.u16().ok_or(Stop::Server)?;
    Ok(())
}

/// Name and password (RFC 1929), of which the password is passed over.
fn password<'a>(client: &mut Reader<'a>, server: &mut Reader<'_>, told: &mut Told<'a>) -> Result<(), Stop> {
    let version = client.u8().ok_or(Stop::Client)?;
    if version != 1 {
        return Err(Stop::Over);
    }
    let len = client.u8().ok_or(Stop::Client)?;
    told.user = Some(client.take(len.into()).ok_or(Stop::Client)?);
    let len = client.u8().ok_or(Stop::Client)?;
    client.take(len.into()).ok_or(Stop::Client)?;
    told.clear_credentials = true;
    let [_, refused] = array(server).ok_or(Stop::Server)?;
    if refused == 0 { Ok(()) } else { Err(Stop::Over) }
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> Option<[u8; N]> {
    reader.take(N)?.try_into().ok()
}

/// An address with its kind in front (RFC 1928 section 5).
fn address<'a>(reader: &mut Reader<'a>, more: impl Fn() -> Stop) -> Result<Host<'a>, Stop> {
    match reader.u8().ok_or_else(&more)? {
        1 => array(reader).map(Host::V4).ok_or_else(more),
        3 => {
            let len = reader.u8().ok_or_else(&more)?;
            reader.take(len.into()).map(Host::Name).ok_or_else(more)
        }
        4 => array(reader).map(Host::V6).ok_or_else(more),
        _ => Err(Stop::Over),
    }
}
