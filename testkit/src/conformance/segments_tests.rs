use super::super::Options;
use super::super::testing::{declare, fails_only, passes};
use std::sync::Arc;
use veilwatch_core::flow::Direction::{Backward, Forward};
use veilwatch_core::plugin::{
    Declaration, Instance, PluginError, PluginKind, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Mark, Value};
use veilwatch_core::stream::Framing;

/// What a made-up template makes of where packets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    TakesWhatIsThere,
    AsksForNothing,
    WantsItsNameAtOnce,
    MarksWhatIsThere,
    FramesWhatIsThere,
    ResumesAndForgets,
    TrustsItsSwap,
    HandsOverWhatIsThere,
}

/// Reads what follows `KIT`, whoever says it: `T` and eight bytes; `H` and four bytes, after which the rest is others';
/// `F` and three frames, whose bodies it need not see.
struct Kit {
    fault: Fault,
    ids: Vec<FieldId>,
}

/// Where what it reads begins.
const HEAD: usize = 4;
/// A frame is a type, a length and a body.
const FRAMES: Framing = Framing { at: HEAD, header: 3, length_at: 1, length_bytes: 2, keep: 0 };

/// The lengths of the frames whose headers are there.
fn lengths(bytes: &[u8], framed: bool) -> Vec<u16> {
    let (mut at, mut lengths) = (HEAD, Vec::new());
    while lengths.len() < 3
        && let Some([_, high, low]) = bytes.get(at..at + 3)
    {
        let length = u16::from_be_bytes([*high, *low]);
        at += 3 + if framed { 0 } else { usize::from(length) };
        lengths.push(length);
    }
    lengths
}

impl Kit {
    fn more(&self, forward: usize) -> Progress {
        if self.fault == Fault::AsksForNothing {
            return Progress::Done;
        }
        Progress::More { forward, backward: usize::MAX }
    }
}

impl ProtocolTemplate for Kit {
    fn fields(&self) -> Vec<FieldSpec> {
        let field = |name: &str, kind| FieldSpec::new(format!("kit.{name}"), kind, "for tests");
        vec![field("said", FieldKind::Bytes), field("lengths", FieldKind::U16List)]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let sides = [stream.forward, stream.backward];
        if sides.into_iter().any(|bytes| bytes.starts_with(b"KIT") && bytes.len() >= HEAD) {
            return Probe::Certain;
        }
        let at_once = self.fault == Fault::WantsItsNameAtOnce;
        let may = |bytes: &[u8]| b"KIT".starts_with(bytes) && (bytes.is_empty() || !at_once);
        if sides.into_iter().any(may) { Probe::Unsure } else { Probe::No }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let is_framed = stream.framed.iter().any(Option::is_some);
        let trusts = self.fault == Fault::TrustsItsSwap && is_framed;
        let side = if trusts || stream.forward.starts_with(b"KIT") { Forward } else { Backward };
        if side == Backward {
            out.swap_directions();
        }
        let (bytes, ended) = (stream.bytes(side), stream.ended(side));
        let [said, told] = self.ids[..] else { return Ok(Progress::Done) };
        match bytes.get(HEAD - 1) {
            Some(b'T') => {
                let most = if self.fault == Fault::TakesWhatIsThere { usize::MAX } else { HEAD + 8 };
                out.field(said, Value::Bytes(&bytes[HEAD..bytes.len().min(most)]));
                let mark = self.fault == Fault::MarksWhatIsThere && bytes.len() > HEAD + 8;
                out.mark(if mark { Mark::Certificate } else { Mark::ClientHello }, Forward, 0);
                Ok(if ended || bytes.len() >= HEAD + 8 { Progress::Done } else { self.more(HEAD + 8) })
            }
            Some(b'H') if bytes.len() >= HEAD + 4 => {
                out.field(said, Value::Bytes(&bytes[HEAD..HEAD + 4]));
                let own = if self.fault == Fault::HandsOverWhatIsThere { bytes.len() } else { HEAD + 4 };
                out.hand_over(own, 0);
                Ok(Progress::Done)
            }
            Some(b'H') => Ok(self.more(HEAD + 4)),
            Some(b'F') => {
                let lengths = lengths(bytes, is_framed);
                if is_framed {
                    out.resume();
                } else {
                    out.field(said, Value::Bytes(&bytes[..HEAD]));
                }
                if !is_framed || self.fault != Fault::ResumesAndForgets {
                    out.field(told, Value::U16List(&lengths));
                }
                if ended || lengths.len() == 3 {
                    return Ok(Progress::Done);
                }
                let at = if self.fault == Fault::FramesWhatIsThere { bytes.len() } else { HEAD };
                out.frames(Forward, Framing { at, ..FRAMES });
                Ok(self.more(bytes.len() + 1))
            }
            _ => Ok(Progress::Done),
        }
    }
}

fn plugin(fault: Fault) -> Declaration {
    let create = move |settings: Settings<'_>| {
        settings.none()?;
        Ok(Instance::Protocol(Box::new(Kit { fault, ids: Vec::new() })))
    };
    declare(PluginKind::Protocol, Arc::new(create))
}

fn frame(len: usize) -> Vec<u8> {
    [&[b'f'][..], &(len as u16).to_be_bytes(), &vec![9; len]].concat()
}

fn samples() -> Options {
    let framed = [b"KITF".to_vec(), frame(8), frame(2), frame(6), frame(1)].concat();
    let samples = vec![
        [b"KITTwelve and on".to_vec(), b"yes".to_vec()],
        [b"KITHeads and tails".to_vec(), b"no".to_vec()],
        [framed, b"may be".to_vec()],
    ];
    Options { samples, ..Options::default() }
}

#[test]
fn who_asks_for_what_is_missing_passes() {
    passes(&plugin(Fault::None), &samples(), &["draws its samples"]);
}

#[test]
fn each_fault_is_found_by_its_check() {
    for fault in [
        Fault::TakesWhatIsThere,
        Fault::AsksForNothing,
        Fault::WantsItsNameAtOnce,
        Fault::MarksWhatIsThere,
        Fault::FramesWhatIsThere,
        Fault::ResumesAndForgets,
        Fault::TrustsItsSwap,
        Fault::HandsOverWhatIsThere,
    ] {
        fails_only("segments do not matter", &plugin(fault), &samples());
    }
}

#[test]
fn cuts_are_told_in_words() {
    let report = super::super::check(&plugin(Fault::TrustsItsSwap), &samples());
    let words = report.to_string();
    assert!(
        words.contains("bytes, one side after the other, behind a SYN is read otherwise than what comes whole"),
        "{words}"
    );
    let report = super::super::check(&plugin(Fault::HandsOverWhatIsThere), &samples());
    assert!(report.to_string().contains("another rest is handed over"), "{report}");
}
