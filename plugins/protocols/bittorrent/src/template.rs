use veilwatch_core::plugin::dissect::{TreeSink, hex};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of BitTorrent.
pub struct BitTorrent(Vec<FieldId>);

/// How a handshake begins.
pub(crate) const BEGIN: &[u8] = b"\x13BitTorrent protocol";
/// Behind it come eight bytes of extensions, the hash of what is shared, and what a peer calls itself.
pub(crate) const HASH: std::ops::Range<usize> = 28..48;
pub(crate) const PEER: std::ops::Range<usize> = 48..68;

/// How messages of the DHT begin: dictionaries are in the order of their keys, so that it is one of few.
const BEGINS: [&[u8]; 6] = [b"d1:ad2:id20:", b"d1:rd2:id20:", b"d2:ip6:", b"d2:ip18:", b"d1:eli20", b"d1:ad2:bs"];
/// What kind of message it is, which each must say.
const KINDS: [&[u8]; 3] = [b"1:y1:q", b"1:y1:r", b"1:y1:e"];
/// Longest message that is looked through.
const MESSAGE: usize = 2048;

impl BitTorrent {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for BitTorrent {
    fn fields(&self) -> Vec<FieldSpec> {
        let bytes = |name, words| FieldSpec::new(name, FieldKind::Bytes, words);
        vec![
            bytes("bittorrent.info_hash", "hash of what is shared, hexadecimal"),
            bytes("bittorrent.peer", "what the originator calls its program: the first eight bytes of its name"),
            bytes("bittorrent.answer", "the same of the responder"),
            bytes("bittorrent_dht.request_type", "what the first message of the DHT asks for"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::either(FirstBytes::of(&BEGIN[..1])),
            Carrier::Udp => Openings::either(FirstBytes::of(b"d")),
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        if stream.carrier == Carrier::Udp {
            let dht = bytes.first() == Some(&b'd')
                && BEGINS.iter().any(|begin| bytes.starts_with(begin))
                && bytes.last() == Some(&b'e')
                && KINDS.iter().any(|kind| find(bytes, kind).is_some());
            return if dht { Probe::Certain } else { Probe::No };
        }
        match bytes.get(..BEGIN.len()) {
            Some(begin) if begin == BEGIN => Probe::Certain,
            None if BEGIN.starts_with(bytes) => Probe::Unsure,
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        if stream.carrier == Carrier::Udp {
            let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
            out.fields(&self.0, &[None, None, None, asked(bytes).map(Value::Bytes)]);
            return Ok(Progress::Done);
        }
        let part = |bytes: &'_ [u8], range| bytes.get(range).filter(|_| bytes.starts_with(BEGIN)).map(<[u8]>::to_vec);
        let hash = part(stream.forward, HASH).or_else(|| part(stream.backward, HASH)).map(|hash| hex(&hash));
        let program = |bytes| part(bytes, PEER.start..PEER.start + 8);
        let [peer, answer] = [program(stream.forward), program(stream.backward)];
        let hash = hash.as_ref().map(|hash| Value::Bytes(hash.as_bytes()));
        let [peer, answer] = [&peer, &answer].map(|name| name.as_deref().map(Value::Bytes));
        out.fields(&self.0, &[hash, peer, answer, None]);
        let wanted = |bytes: &[u8]| if bytes.len() < PEER.end { PEER.end } else { usize::MAX };
        match [stream.forward, stream.backward].map(wanted) {
            [usize::MAX, usize::MAX] => Ok(Progress::Done),
            [forward, backward] => Ok(Progress::More { forward, backward }),
        }
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, tree);
    }
}

/// Where something stands in a message.
fn find(message: &[u8], what: &[u8]) -> Option<usize> {
    message[..message.len().min(MESSAGE)].windows(what.len()).position(|part| part == what)
}

/// What a message asks for: the text behind `1:q`.
fn asked(message: &[u8]) -> Option<&[u8]> {
    let rest = message.get(find(message, b"e1:q")? + 4..)?;
    let digits = rest.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
    let (len, rest) = rest.split_at_checked(digits)?;
    let len = len.iter().fold(0, |len, digit| len * 10 + usize::from(digit - b'0'));
    rest.strip_prefix(b":")?.get(..len)
}
