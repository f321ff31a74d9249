use super::super::testing::{declare, fails_only, passes};
use super::super::{Boundary, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use veilwatch_core::plugin::{
    Carrier, Declaration, FirstBytes, Instance, Openings, PluginError, PluginKind, Probe, Progress, ProtocolTemplate,
    RecordSink, StreamView, TLS_HANDSHAKE,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// What a made-up template does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    ChangingWords,
    BadName,
    TwoAlike,
    FailsOnShort,
    WantsTooLittle,
    PanicsInProbe,
    PanicsOnNothing,
    ForeignField,
    OtherKind,
    ByInstance,
    Remembers,
    OneAtATime,
    CountsQuestions,
    FailsOverMade,
    ForeignFieldOfMade,
    ReadsAnything,
}

/// Recognises what begins with `SSH-`, and writes how it goes on and a number for whatever is wrong.
struct Template {
    fault: Fault,
    instance: u64,
    asked: AtomicU64,
    longest: AtomicU64,
    busy: AtomicBool,
    ids: Vec<FieldId>,
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl ProtocolTemplate for Template {
    fn fields(&self) -> Vec<FieldSpec> {
        let asked = self.asked.fetch_add(1, SeqCst);
        let spec =
            |name: &str, kind, words: String| FieldSpec { name: name.to_owned().into(), kind, words: words.into() };
        let name = match self.fault {
            Fault::BadName => "Odd number",
            Fault::TwoAlike => "odd.number",
            _ => "odd.line",
        };
        let kind = if self.fault == Fault::TwoAlike { FieldKind::U64 } else { FieldKind::Bytes };
        let words = if self.fault == Fault::ChangingWords { format!("asked {asked} times") } else { "a line".into() };
        vec![spec(name, kind, words), spec("odd.number", FieldKind::U64, "a number".into())]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, _: Carrier) -> Openings {
        // It waits for a client that is silent yet, and must be asked about it.
        let forward = FirstBytes::of(b"S");
        let forward = if self.fault == Fault::WantsTooLittle { forward } else { forward.or_silence() };
        Openings { forward, backward: FirstBytes::NONE }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        assert!(self.fault != Fault::PanicsInProbe || stream.forward.len() != 3, "three bytes!");
        assert!(self.fault != Fault::PanicsOnNothing || !stream.forward.is_empty() || !stream.backward.is_empty());
        match stream.forward {
            [b'S', b'S', b'H', b'-', ..] => Probe::Certain,
            start if b"SSH-".starts_with(start) => Probe::Unsure,
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let alone = !self.busy.swap(true, SeqCst);
        let said = &stream.forward[..stream.forward.len().min(8)];
        let len = said.len() as u64;
        let longest = self.longest.fetch_max(len, SeqCst).max(len);
        let number = match self.fault {
            Fault::FailsOnShort if len < 6 => return Err(PluginError::failed("this is too short for me")),
            Fault::ForeignField => {
                out.field(FieldId(9000), Value::U64(1));
                0
            }
            Fault::ByInstance => self.instance,
            Fault::Remembers => longest,
            Fault::CountsQuestions => self.asked.load(SeqCst),
            Fault::OneAtATime => {
                std::thread::sleep(Duration::from_millis(2));
                u64::from(alone)
            }
            _ => 0,
        };
        if let [line, odd] = self.ids[..] {
            let kind = if self.fault == Fault::TwoAlike { Value::U64(1) } else { Value::Bytes(&said[4..]) };
            out.field(line, kind);
            out.field(odd, if self.fault == Fault::OtherKind { Value::F64(0.5) } else { Value::U64(number) });
        }
        self.busy.store(false, SeqCst);
        Ok(if len < 8 { Progress::More { forward: 8, backward: usize::MAX } } else { Progress::Done })
    }

    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        if contents != TLS_HANDSHAKE && self.fault != Fault::ReadsAnything {
            return Ok(None);
        }
        if self.fault == Fault::FailsOverMade && stream.forward.len() == 5 {
            return Err(PluginError::failed("five bytes!"));
        }
        let id = if self.fault == Fault::ForeignFieldOfMade { FieldId(9000) } else { self.ids[1] };
        out.field(id, Value::U64(stream.forward.len() as u64));
        Ok(Some(Progress::Done))
    }
}

fn plugin(fault: Fault) -> Declaration {
    let create = move |settings: veilwatch_core::plugin::Settings<'_>| {
        settings.none()?;
        Ok(Instance::Protocol(Box::new(Template {
            fault,
            instance: INSTANCES.fetch_add(1, SeqCst),
            asked: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            ids: Vec::new(),
        })))
    };
    declare(PluginKind::Protocol, Arc::new(create))
}

fn samples(forward: &[u8]) -> Options {
    Options { samples: vec![[forward.to_vec(), b"yes".to_vec()]], ..Options::default() }
}

#[test]
fn a_good_one_passes() {
    passes(&plugin(Fault::None), &samples(b"SSH-2.0-x\r\n"), &["draws its samples"]);
    passes(&plugin(Fault::None), &Options::default(), &["samples are recognised", "draws its samples"]);
    let adapter = Options { boundary: Boundary::Adapter, ..samples(b"SSH-2.0-x\r\n") };
    passes(&plugin(Fault::None), &adapter, &["same through the boundary", "draws its samples"]);
}

#[test]
fn each_fault_is_found_by_its_check() {
    for (fault, name) in [
        (Fault::ChangingWords, "fields are steady"),
        (Fault::BadName, "fields are named and described"),
        (Fault::TwoAlike, "fields are named and described"),
        (Fault::FailsOnShort, "never fails, whatever comes"),
        (Fault::PanicsInProbe, "never fails, whatever comes"),
        (Fault::PanicsOnNothing, "never fails, whatever comes"),
        (Fault::WantsTooLittle, "is asked about all that it knows"),
        (Fault::ForeignField, "only its own fields are written"),
        (Fault::OtherKind, "only its own fields are written"),
        (Fault::ByInstance, "same bytes, same fields"),
        (Fault::Remembers, "nothing is kept between calls"),
        (Fault::OneAtATime, "called from two threads"),
        (Fault::CountsQuestions, "same through the boundary"),
        (Fault::FailsOverMade, "reads what others made, or leaves it"),
        (Fault::ForeignFieldOfMade, "reads what others made, or leaves it"),
        (Fault::ReadsAnything, "reads what others made, or leaves it"),
    ] {
        fails_only(name, &plugin(fault), &Options::default());
    }
    fails_only("samples are recognised", &plugin(Fault::None), &samples(b"HELO"));
    // Through the boundary, as every library comes, a value that is left out is found by its being missed.
    let adapter = || Options { boundary: Boundary::Adapter, ..Options::default() };
    for fault in [Fault::ForeignField, Fault::OtherKind] {
        fails_only("only its own fields are written", &plugin(fault), &adapter());
    }
}
