//! What a template reads of bytes that another one made.

use super::segments::messages;
use super::subject::{Stop, Subject, ensure};
use super::template::{Reading, read, shown, wired};
use crate::flows::Chance;
use crate::talk::{Talk, Wired};
use veilwatch_core::abi::export::guard;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Instance, Made, Piece, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView, TLS_HANDSHAKE,
};
use veilwatch_core::record::{FieldId, FieldSpec};

/// Contents of which nobody can know what they are.
const NOBODYS: &str = "testkit-nobody-reads-this";

/// Bytes from one place at which a handshake is cut, or changed, to the next.
const STEP: usize = 5;

/// The template under test, which recognises nothing by itself.
struct Deaf(Box<dyn ProtocolTemplate>);

impl ProtocolTemplate for Deaf {
    fn fields(&self) -> Vec<FieldSpec> {
        self.0.fields()
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0.wire(ids)
    }
    fn probe(&self, _: &StreamView<'_>) -> Probe {
        Probe::No
    }
    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        Ok(Progress::Done)
    }
    fn dissect(&self, _: &StreamView<'_>, _: &mut TreeSink<'_>) {}
    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        self.0.parse_contents(contents, stream, out)
    }
}

/// Hands on all that is said, as contents of one kind.
struct Hands(&'static str);

impl ProtocolTemplate for Hands {
    fn probe(&self, _: &StreamView<'_>) -> Probe {
        Probe::Certain
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let whole = [Piece { at: 0, from: 0 }];
        out.hand_bytes(self.0, Made { bytes: [stream.forward, stream.backward], pieces: [&whole, &whole] });
        Ok(Progress::of(stream, false, false))
    }
}

/// Messages of handshakes, whole, cut and changed, and bytes of nothing.
fn talks() -> Vec<Talk> {
    let mut talks = Vec::new();
    let mut chance = Chance(11);
    for [forward, backward] in messages() {
        let mut said = vec![(forward.clone(), backward.clone()), (backward.clone(), forward.clone())];
        for at in (0..forward.len()).step_by(STEP) {
            let mut changed = forward.clone();
            changed[at] ^= 0xa5;
            said.extend([(forward[..at].to_vec(), backward.clone()), (changed, backward.clone())]);
        }
        said.extend((0..backward.len()).step_by(STEP).map(|at| (forward.clone(), backward[..at].to_vec())));
        said.extend((1..9).map(|len| (chance.bytes(len * 7), chance.bytes(len * 3))));
        talks.extend(said.into_iter().map(|(forward, backward)| Talk::udp().forward(&forward).backward(&backward)));
    }
    talks
}

fn behind(instance: Instance, contents: &'static str) -> Result<Wired, Stop> {
    let Instance::Protocol(inner) = instance else {
        return Err(Stop::Skipped("it is of another kind than declared".into()));
    };
    Ok(wired(Instance::Protocol(Box::new(Deaf(inner))))?.and(Box::new(Hands(contents))))
}

/// It reads such bytes, or leaves them: without harm, the same twice and through the boundary, and by its own fields.
pub(super) fn made(subject: &Subject) -> Result<(), Stop> {
    wired(subject.instance()?)?;
    let same = |talk: &Talk, one: &Reading, other: &Reading, what: &str| {
        ensure(one == other, || format!("{what}; it was handed {}", shown(talk)))
    };
    for talk in talks() {
        let told = |instance, contents| {
            let template = behind(instance, contents)?;
            let reading = guard(|| read(&template, &talk)).map_err(|error| {
                Stop::Failed(format!("{}; bad traffic is not an error; it was handed {}", error.message, shown(&talk)))
            })?;
            Ok::<_, Stop>((reading, template))
        };
        let (first, template) = told(subject.instance()?, TLS_HANDSHAKE)?;
        let mistake = first.others_values(template.fields());
        ensure(mistake.is_none(), || format!("{}; it was handed {}", mistake.unwrap_or_default(), shown(&talk)))?;
        same(&talk, &first, &told(subject.instance()?, TLS_HANDSHAKE)?.0, "other fields are read the second time")?;
        if let Ok(foreign) = subject.foreign() {
            same(&talk, &first, &told(foreign, TLS_HANDSHAKE)?.0, "other fields come through the boundary")?;
        }
        let (nothing, _) = told(subject.instance()?, NOBODYS)?;
        ensure(!nothing.has_guests(), || {
            format!("it reads contents that it cannot know (`{NOBODYS}`); give `None` for all that is not yours")
        })?;
    }
    Ok(())
}
