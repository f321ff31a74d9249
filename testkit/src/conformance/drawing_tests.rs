use super::super::Options;
use super::super::testing::{declare, fails_only, passes};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use veilwatch_core::plugin::dissect::{DEPTH, TreeSink};
use veilwatch_core::plugin::{
    Declaration, Instance, PluginError, PluginKind, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::FieldSpec;

/// What a made-up template draws wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    PanicsOnNothing,
    PanicsOnHalfASample,
    HasNoEnd,
    Leaves,
    ClosesTwice,
    ByInstance,
    CountsQuestions,
    DrawsNothing,
    DrawsSome,
}

/// Draws each line that a side says, and reads nothing.
struct Draws {
    fault: Fault,
    instance: u64,
    asked: AtomicU64,
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl ProtocolTemplate for Draws {
    fn fields(&self) -> Vec<FieldSpec> {
        self.asked.fetch_add(1, SeqCst);
        Vec::new()
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match stream.forward {
            begin if begin.starts_with(b"SAMP") => Probe::Certain,
            begin if b"SAMP".starts_with(begin) => Probe::Unsure,
            _ => Probe::No,
        }
    }

    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        Ok(Progress::Done)
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let nothing = stream.forward.is_empty() && stream.backward.is_empty();
        assert!(self.fault != Fault::PanicsOnNothing || !nothing, "nothing to draw");
        let half = stream.forward == b"SAMP" && stream.backward == b"AN";
        assert!(self.fault != Fault::PanicsOnHalfASample || !half, "half a sample");
        let silent = match self.fault {
            Fault::DrawsNothing => true,
            Fault::DrawsSome => stream.backward.is_empty(),
            _ => false,
        };
        if silent {
            return;
        }
        // What goes past the bounds of a tree is left out, and no fault of the template.
        (0..DEPTH + 2).for_each(|_| tree.open("nest", "", None));
        (0..DEPTH + 2).for_each(|_| tree.close());
        let lines = stream.forward.split(|byte| *byte == b'\n').chain(stream.backward.split(|byte| *byte == b'\n'));
        for line in lines {
            tree.leaf("line", &String::from_utf8_lossy(line), None);
        }
        match self.fault {
            Fault::HasNoEnd => (0..70_000).for_each(|_| tree.leaf("again", "", None)),
            Fault::Leaves => tree.open("door", "", None),
            Fault::ClosesTwice => tree.close(),
            Fault::ByInstance => tree.leaf("instance", &self.instance.to_string(), None),
            Fault::CountsQuestions => tree.leaf("asked", &self.asked.load(SeqCst).to_string(), None),
            _ => tree.fail("the rest is nobody's"),
        }
    }
}

fn plugin(fault: Fault) -> Declaration {
    let create = move |settings: Settings<'_>| {
        settings.none()?;
        let instance = INSTANCES.fetch_add(1, SeqCst);
        Ok(Instance::Protocol(Box::new(Draws { fault, instance, asked: AtomicU64::new(0) })))
    };
    declare(PluginKind::Protocol, Arc::new(create))
}

#[test]
fn who_draws_well_passes() {
    passes(&plugin(Fault::None), &Options::default(), &["samples are recognised", "draws its samples"]);
    passes(&plugin(Fault::None), &Options { samples: samples(), draws: true, ..Options::default() }, &[]);
}

/// Two that are recognised, of which one has no answer.
fn samples() -> Vec<[Vec<u8>; 2]> {
    vec![[b"SAMPLE\n".to_vec(), b"ANSWER\n".to_vec()], [b"SAMPLE\n".to_vec(), Vec::new()]]
}

/// A template need not draw, but one that does draws what it recognises, and so do those that are held to it.
#[test]
fn samples_are_drawn() {
    let (samples, name) = (samples(), "draws its samples");
    let may = Options { samples: samples.clone(), ..Options::default() };
    let must = Options { samples, draws: true, ..Options::default() };
    passes(&plugin(Fault::DrawsNothing), &may, &[name]);
    fails_only(name, &plugin(Fault::DrawsNothing), &must);
    fails_only(name, &plugin(Fault::DrawsSome), &may);
}

#[test]
fn each_fault_is_found_by_its_check() {
    let (draws, same) = ("draws whatever comes, within bounds", "draws the same twice and through the boundary");
    for (fault, name) in [
        (Fault::PanicsOnNothing, draws),
        (Fault::HasNoEnd, draws),
        (Fault::Leaves, draws),
        (Fault::ClosesTwice, draws),
        (Fault::ByInstance, same),
        (Fault::CountsQuestions, same),
    ] {
        fails_only(name, &plugin(fault), &Options::default());
    }
}

/// Both sides of a sample end early.
#[test]
fn samples_are_drawn_in_parts() {
    let samples = vec![[b"SAMPLING".to_vec(), b"ANSW".to_vec()]];
    let report = super::super::check(&plugin(Fault::PanicsOnHalfASample), &Options { samples, ..Options::default() });
    assert!(report.to_string().contains("half a sample; it drew > SAMP < AN"), "{report}");
}
