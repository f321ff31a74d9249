//! What the five templates share.

use crate::dialogue::{Dialogue, Stop};
use crate::dissect::{Rule, draw};
use crate::lines::Lines;
use serde::Deserialize;
use std::marker::PhantomData;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
    within,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The settings: how much is read of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes kept of each text.
    pub text_bytes: usize,
    /// Commands that are read.
    pub commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_bytes: 255, commands: 32 }
    }
}

/// What one side begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A server of this protocol.
    Server,
    /// A client of this protocol.
    Client,
    /// It may be a server, but also one of another protocol.
    LikeServer,
    /// It may be a client, but also one of another protocol.
    LikeClient,
    /// Not enough bytes to tell.
    Short,
    /// Nobody of this protocol.
    No,
}

/// What was read in clear.
#[derive(Debug, Default)]
pub(crate) struct Told<'a> {
    /// The greeting.
    pub(crate) banner: Option<&'a [u8]>,
    /// What the client calls itself.
    pub(crate) name: Option<&'a [u8]>,
    /// The user who logs in.
    pub(crate) user: Option<&'a [u8]>,
    /// How it logs in.
    pub(crate) mechanism: Option<&'a [u8]>,
    /// Whose mail it sends.
    pub(crate) sender: Option<&'a [u8]>,
    /// Whether the server agreed to TLS, where it was asked.
    pub(crate) tls: Option<bool>,
    /// A password went in clear.
    pub(crate) clear_credentials: bool,
}

/// One of the protocols.
pub trait Protocol: Send + Sync + 'static {
    /// Its name, and that of its fields.
    const NAME: &'static str;
    /// What else it tells beside the banner, TLS and passwords.
    const TEXTS: &'static [Text];

    /// Commands behind which a tree does not show everything.
    #[doc(hidden)]
    const RULES: &'static [Rule];
    /// What a client may say where it could also answer in a login.
    #[doc(hidden)]
    const COMMANDS: &'static [&'static [u8]];
    /// Whether a tag stands before each command.
    #[doc(hidden)]
    const TAGS: bool = false;
    /// Whether a line's end may say that so many bytes follow.
    #[doc(hidden)]
    const LITERALS: bool = false;

    /// What a side's first line says of it; `port` is that of the other one, or this one's.
    fn look(bytes: &[u8], ports: [u16; 2]) -> Look;

    /// Goes through commands and replies. Ends by why it stopped.
    #[doc(hidden)]
    fn read<'a>(talk: &mut Conversation<'a>) -> Ended;
}

/// A text that some of the protocols have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// What the client calls itself.
    Name,
    /// The user who logs in.
    User,
    /// How it logs in.
    Mechanism,
    /// Whose mail it sends.
    Sender,
}

impl Text {
    /// Name and words of its field.
    fn spec(self) -> (&'static str, &'static str) {
        match self {
            Self::Name => ("helo", "what the client calls itself"),
            Self::User => ("user", "the user who logs in; a password is not read"),
            Self::Mechanism => ("auth", "the mechanism by which the client logs in"),
            Self::Sender => ("mail_from", "the sender of the first message"),
        }
    }

    fn of<'a>(self, told: &Told<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Name => told.name,
            Self::User => told.user,
            Self::Mechanism => told.mechanism,
            Self::Sender => told.sender,
        }
    }
}

/// Both sides, and what was read of them.
#[derive(Debug)]
pub struct Conversation<'a> {
    pub(crate) said: Dialogue<'a>,
    pub(crate) told: Told<'a>,
}

/// Why reading a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended(pub(crate) Stop);

/// The template of one of the protocols.
///
/// Recognised on any port, by the greeting, by a command that no other protocol has, or by both sides together. Whoever
/// speaks like a server is the responder, where no SYN says otherwise.
#[derive(Debug, Clone)]
pub struct Commands<P> {
    limits: Limits,
    ids: Vec<FieldId>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Commands<P> {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Limits = settings.read()?;
        within("text_bytes", limits.text_bytes, 16..=1024)?;
        within("commands", limits.commands, 1..=1024)?;
        Ok(Self { limits, ids: Vec::new(), protocol: PhantomData })
    }
}

/// The first line, or nothing where it is not whole yet; a long one is cut.
pub(crate) fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    const LONGEST: usize = 512;
    let seen = bytes.get(..LONGEST).unwrap_or(bytes);
    match seen.iter().position(|byte| *byte == b'\n') {
        Some(end) => seen.get(..end),
        None => (seen.len() == LONGEST).then_some(seen),
    }
}

/// Whether a side begins with one of these commands, in capitals or not: a word by itself, or with a blank behind it.
/// Nothing where it is too short to tell.
pub(crate) fn is_command(bytes: &[u8], commands: &[&[u8]]) -> Option<bool> {
    let mut short = false;
    for command in commands {
        let seen = bytes.get(..command.len()).unwrap_or(bytes);
        if !seen.eq_ignore_ascii_case(command.get(..seen.len()).unwrap_or_default()) {
            continue;
        }
        match bytes.get(command.len()) {
            Some(b' ' | b'\r' | b'\n') => return Some(true),
            Some(_) => {}
            None => short = true,
        }
    }
    if short { None } else { Some(false) }
}

impl<P: Protocol> ProtocolTemplate for Commands<P> {
    fn fields(&self) -> Vec<FieldSpec> {
        let field = |name: &str, kind, words: &'static str| FieldSpec::new(format!("{}.{name}", P::NAME), kind, words);
        let mut fields = vec![
            field("banner", FieldKind::Bytes, "the server's greeting, its first line"),
            field("starttls", FieldKind::U64, "whether the server agreed to TLS when it was asked"),
            field("clear_credentials", FieldKind::U64, "1 where a password went in clear"),
            FieldSpec::limit(P::NAME, "text_bytes"),
            FieldSpec::limit(P::NAME, "commands"),
        ];
        fields.extend(P::TEXTS.iter().map(|text| field(text.spec().0, FieldKind::Bytes, text.spec().1)));
        fields
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::either(FirstBytes::when(|first| P::look(&[first], [0; 2]) != Look::No)),
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        let ports = [stream.originator_port, stream.responder_port];
        // Who spoke first decides as far as it can, so that it does not matter in how many packets both come.
        match (P::look(stream.forward, ports), stream.forward.is_empty()) {
            (Look::Server | Look::Client, _) => Probe::Certain,
            (Look::No, _) => Probe::No,
            (Look::Short, false) => Probe::Unsure,
            (Look::LikeServer, _) => match P::look(stream.backward, ports) {
                Look::Client | Look::LikeClient => Probe::Certain,
                Look::Short => Probe::Unsure,
                _ => Probe::No,
            },
            (Look::LikeClient, _) => match P::look(stream.backward, ports) {
                Look::Server | Look::LikeServer => Probe::Certain,
                Look::Short => Probe::Unsure,
                _ => Probe::No,
            },
            (Look::Short, true) => match P::look(stream.backward, ports) {
                Look::Server | Look::Client => Probe::Certain,
                Look::No => Probe::No,
                _ => Probe::Unsure,
            },
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        // Nobody asks anything where there are two servers.
        let Some(reversed) = is_reversed::<P>(stream) else { return Ok(Progress::Done) };
        if reversed {
            out.swap_directions();
        }
        let mut talk = self.conversation(stream, reversed);
        let Ended(stop) = P::read(&mut talk);
        self.write(&talk, out);
        let wanted = |side: &Lines<'_>| side.at + side.rest().len() + 1;
        Ok(match stop {
            Stop::Client => Progress::More { forward: wanted(&talk.said.client), backward: usize::MAX },
            Stop::Server => Progress::More { forward: usize::MAX, backward: wanted(&talk.said.server) },
            Stop::Over => Progress::Done,
            Stop::Tls => {
                out.hand_over(talk.said.client.at, talk.said.server.at);
                Progress::Done
            }
        })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let reversed = is_reversed::<P>(stream).unwrap_or_default();
        let mut talk = self.conversation(stream, reversed);
        let tls = match P::read(&mut talk) {
            Ended(Stop::Tls) => [talk.said.client.at, talk.said.server.at],
            _ => [usize::MAX; 2],
        };
        draw::<P>(stream, reversed, tls, tree);
    }
}

/// Whether the originator is the server; nothing where both sides are.
fn is_reversed<P: Protocol>(stream: &StreamView<'_>) -> Option<bool> {
    let ports = [stream.originator_port, stream.responder_port];
    let is_server = |look| matches!(look, Look::Server | Look::LikeServer);
    let is_client = |look| matches!(look, Look::Client | Look::LikeClient);
    let [first, second] = [stream.forward, stream.backward].map(|bytes| P::look(bytes, ports));
    let reversed = is_server(first) || is_client(second) && !is_client(first);
    (!is_server(first) || !is_server(second)).then_some(reversed)
}

impl<P: Protocol> Commands<P> {
    /// Both sides, before anything was read.
    fn conversation<'a>(&self, stream: &StreamView<'a>, reversed: bool) -> Conversation<'a> {
        let forward = Lines::new(stream.forward, stream.forward_ended);
        let backward = Lines::new(stream.backward, stream.backward_ended);
        let (client, server) = if reversed { (backward, forward) } else { (forward, backward) };
        Conversation { said: Dialogue::new(client, server, self.limits.commands), told: Told::default() }
    }

    fn write(&self, talk: &Conversation<'_>, out: &mut RecordSink<'_>) {
        let told = &talk.told;
        let most = self.limits.text_bytes;
        let mut cut = false;
        let mut ids = self.ids.iter();
        let mut put = |value: Option<Value<'_>>| {
            if let (Some(id), Some(value)) = (ids.next(), value) {
                out.field(*id, value);
            }
        };
        let flag = |set: bool| set.then_some(Value::U64(1));
        let texts = || std::iter::once(told.banner).chain(P::TEXTS.iter().map(|text| text.of(told)));
        texts().flatten().for_each(|text| cut |= text.len() > most);
        let shown = |text: Option<&'_ [u8]>| text.map(|text| text.len().min(most));
        let bytes = |text| match (text, shown(text)) {
            (Some(text), Some(len)) if len > 0 => text.get(..len).map(Value::Bytes),
            _ => None,
        };
        put(bytes(told.banner));
        put(told.tls.map(Value::number));
        put(flag(told.clear_credentials));
        put(flag(cut));
        put(flag(talk.said.too_many));
        texts().skip(1).for_each(|text| put(bytes(text)));
    }
}
