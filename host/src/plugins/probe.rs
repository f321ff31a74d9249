//! Tries a library in a process of its own before this one loads it.
//!
//! The child (see `child`) loads the library, makes each plugin with empty settings, calls it for the first time, and says
//! how it went.

use super::child::{self, Errand, Limit, Said, Say};
use super::error::LibraryError;
use super::report::brief;
use super::{conform, guarded, library, meter::Meter};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use veilwatch_core::feature::{Column, FlowBatch, Rows, RowsMut};
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::{Decoded, Tcp};
use veilwatch_core::plugin::dissect::Tree;
use veilwatch_core::plugin::{
    Carrier, Classifier, Declaration, FeatureExtractor, Instance, PluginError, PluginErrorKind, ProtocolTemplate,
    Settings, StreamView, TrainingSet,
};
use veilwatch_core::record::FieldTable;

/// The argument that makes a program the child that tries a library.
const PROBE_ARGUMENT: &str = "plugin-probe";

/// Processor time of the child.
const CPU_SECONDS: u64 = 600;

/// Tries a library in a child that `program` becomes; `advice` is for whoever gave it too little time.
pub(crate) fn probe(program: &Path, path: &Path, limit: Duration, advice: &str) -> Result<(), LibraryError> {
    child::send(&Errand { program, argument: PROBE_ARGUMENT, path, more: &[], limit: Limit::Whole(limit), advice }).1
}

/// The child's side, for a program that may be called to try or to check a library; to be called before anything else is
/// done. `None` where this is no such call.
pub fn probe_main() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let errand = arguments.next()?;
    let rest: Vec<_> = arguments.collect();
    let outcome = match (errand.to_str()?, rest.as_slice()) {
        (PROBE_ARGUMENT, [path]) => child::serve(path.as_ref(), CPU_SECONDS, |say| attempt(path.as_ref(), say)),
        (conform::CHECK_ARGUMENT, [path, settings, patience]) => {
            conform::answer(path.as_ref(), &settings.to_string_lossy(), &patience.to_string_lossy())
        }
        (PROBE_ARGUMENT | conform::CHECK_ARGUMENT, _) => return Some(ExitCode::FAILURE),
        _ => return None,
    };
    Some(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Loads a library and calls all of its plugins once.
fn attempt(path: &Path, say: Say<'_>) -> std::io::Result<Result<(), String>> {
    let mut tell = |stage: String| say(&Said::Trying(brief(&stage)));
    tell("loading it".into())?;
    let declarations = match library::load(path) {
        Ok(loaded) => loaded.declarations,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let flows = some_flows(&Templates::default()).0;
    for declaration in declarations {
        let name = declaration.manifest.path();
        if let Err(error) = try_plugin(&declaration, &flows, &mut tell)? {
            return Ok(Err(format!("plugin {}: {name}: {error}", path.display())));
        }
    }
    Ok(Ok(()))
}

/// What is wrong with a plugin, in words that say what to do.
fn try_plugin(
    declaration: &Declaration,
    flows: &[FlowRecord],
    tell: &mut dyn FnMut(String) -> std::io::Result<()>,
) -> std::io::Result<Result<(), String>> {
    let name = declaration.manifest.path();
    tell(format!("creating {name}"))?;
    let meter = Meter::new(&name, Duration::ZERO);
    let create = || guarded::create(declaration, Settings::new(""), &meter);
    let instance = match create() {
        Ok(instance) => instance,
        Err(error) if error.kind == PluginErrorKind::Panicked => {
            return Ok(Err(format!("{} when it was created; correct it, and return an error instead", error.message)));
        }
        // It wants settings, or something that is not there now.
        Err(_) => return Ok(Ok(())),
    };
    if instance.kind() != declaration.manifest.kind {
        return Ok(Err(format!("declared as {}, but made a {}", declaration.manifest.kind, instance.kind())));
    }
    tell(format!("calling {name} for the first time"))?;
    Ok(match instance {
        Instance::Feature(plugin) => try_feature(plugin, flows, &meter),
        Instance::Classifier(plugin) => try_classifier(plugin),
        Instance::Protocol(plugin) => {
            let again = || match create() {
                Ok(Instance::Protocol(plugin)) => Some(plugin),
                _ => None,
            };
            try_template(plugin, again, &meter)
        }
    })
}

/// The word for an error that no plugin should make here; `None` for those that are its good right.
fn panicked(error: &PluginError) -> Option<String> {
    (error.kind == PluginErrorKind::Panicked)
        .then(|| format!("{} in its first call; correct it, and return an error instead", error.message))
}

fn try_feature(mut plugin: Box<dyn FeatureExtractor>, flows: &[FlowRecord], meter: &Meter) -> Result<(), String> {
    let columns = match steady_columns(&*plugin, meter) {
        Ok(columns) => columns,
        Err(error) => return Err(panicked(&error).unwrap_or(error.message)),
    };
    if let Err(error) = plugin.wire(&FieldTable::new()) {
        return panicked(&error).map_or(Ok(()), Err);
    }
    let picked: Vec<&FlowRecord> = flows.iter().collect();
    let width = columns.len();
    let mut seen: Option<Vec<f32>> = None;
    for batch in [&picked[..0], &picked, &picked] {
        let mut rows = vec![f32::NAN; batch.len() * width];
        match plugin.extract(&FlowBatch::new(&batch), &mut RowsMut::new(&mut rows, width, 0, width)) {
            Err(error) => return panicked(&error).map_or(Ok(()), Err),
            Ok(()) => finite(&rows, &columns).map_err(|error| error.message)?,
        }
        if let Some(seen) = seen.as_ref().filter(|_| !batch.is_empty())
            && let Some(at) = seen.iter().zip(&rows).position(|(a, b)| a.to_bits() != b.to_bits())
        {
            let column = &columns[at % width].name;
            return Err(format!(
                "the same flows gave other values the second time, first in column `{column}`; the output of \
                                a plugin depends on its input alone"
            ));
        }
        seen = (!batch.is_empty()).then_some(rows);
    }
    Ok(())
}

/// The columns of an extractor, where it says the same twice.
pub(crate) fn steady_columns(plugin: &dyn FeatureExtractor, meter: &Meter) -> Result<Vec<Column>, PluginError> {
    let columns = plugin.columns();
    let again = plugin.columns();
    meter.trouble()?;
    if columns != again {
        let message = "its columns change from call to call; `columns` depends on the settings alone";
        return Err(PluginError::failed(message));
    }
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let good = |column: &&Column| {
        let name = column.name.as_ref();
        plain(name) && (1..=128).contains(&name.len()) && column.unit.len() <= 32 && column.words.len() <= 1024
    };
    match columns.iter().find(|column| !good(column)) {
        None => Ok(columns),
        Some(column) => Err(PluginError::failed(format!(
            "one of its columns is named `{}`; a name has up to 128 lower-case letters, digits and `_`, a unit 32 bytes, \
             words 1024",
            column.name.chars().take(128).collect::<String>()
        ))),
    }
}

/// Refuses what is neither finite nor NaN.
pub(crate) fn finite(rows: &[f32], columns: &[Column]) -> Result<(), PluginError> {
    match rows.iter().position(|value| value.is_infinite()) {
        None => Ok(()),
        Some(at) => {
            let name = columns.get(at % columns.len().max(1)).map_or("", |column| column.name.as_ref());
            Err(PluginError::data(format!("wrote an infinite value into column `{name}`; write a finite one, or NaN")))
        }
    }
}

/// Rows to learn from, two columns wide, one of them with a gap; odd ones are malicious.
const LESSON: [f32; 16] = [0.5, 1.0, 9.5, 8.0, 0.25, 2.0, 9.0, 7.5, 0.75, f32::NAN, 8.5, 9.0, 0.0, 1.5, 9.25, 8.5];

fn try_classifier(mut plugin: Box<dyn Classifier>) -> Result<(), String> {
    let rows = Rows::new(&LESSON, 2);
    // It has learnt nothing: an error is what one expects.
    let mut scores = [f64::NAN; LESSON.len() / 2];
    let outcomes = [plugin.save().err(), plugin.predict(&rows, &mut scores).err()];
    outcomes.iter().flatten().find_map(panicked).map_or(Ok(()), Err)?;
    let labels: Vec<bool> = (0..scores.len()).map(|row| row % 2 == 1).collect();
    let lesson = TrainingSet { rows, labels: &labels, weights: &[1.0; LESSON.len() / 2], seed: 1 };
    let mut learnt = Vec::new();
    for _ in 0..2 {
        // So few rows may be too few for it.
        if let Err(error) = plugin.fit(&lesson) {
            return panicked(&error).map_or(Ok(()), Err);
        }
        learnt.push(works("save what it learnt", plugin.save())?);
    }
    if learnt[0] != learnt[1] {
        return Err(
            "learnt something else from the same rows the second time; what it learns depends on the rows and \
                    the seed alone"
                .into(),
        );
    }
    works("take up what it saved itself", plugin.load(&learnt[0]))?;
    let mut again = scores;
    works("score what it learnt from", plugin.predict(&rows, &mut scores))?;
    works("score what it learnt from", plugin.predict(&rows, &mut again))?;
    let mut parts = [0.0; 2];
    works("explain a score", plugin.explain(rows.row(1), &mut parts))?;
    if scores.iter().chain(&parts).any(|number| number.is_infinite()) {
        return Err("gave an infinite score or part of one; give a finite one, or NaN".into());
    }
    if scores.map(f64::to_bits) != again.map(f64::to_bits) {
        return Err(
            "gave the same rows other scores the second time; the output of a plugin depends on its input alone".into(),
        );
    }
    Ok(())
}

/// What a call gives that has no reason to fail.
fn works<T>(what: &str, outcome: Result<T, PluginError>) -> Result<T, String> {
    outcome.map_err(|error| panicked(&error).unwrap_or_else(|| format!("cannot {what} ({error}); correct it")))
}

fn try_template(
    first: Box<dyn ProtocolTemplate>,
    another: impl Fn() -> Option<Box<dyn ProtocolTemplate>>,
    meter: &Meter,
) -> Result<(), String> {
    let mut seen = None;
    for mut plugin in [Some(first), another()].into_iter().flatten() {
        let mut fields = FieldTable::new();
        let mut ids = Vec::new();
        let declared = plugin.fields();
        if let Err(error) = meter.trouble() {
            return Err(panicked(&error).unwrap_or(error.message));
        }
        for spec in declared {
            ids.push(fields.declare(spec, "probe").map_err(|error| error.to_string())?);
        }
        if let Err(error) = plugin.wire(&ids) {
            return panicked(&error).map_or(Ok(()), Err);
        }
        let drawn = Tree::of(&*plugin, &some_stream());
        if let Some(why) = drawn.failed.filter(|why| why.starts_with("panicked")) {
            return Err(format!("{why} when it drew a tree; correct it, and draw what was understood"));
        }
        let (flows, errors) = some_flows(&Templates::new(vec![plugin]));
        if errors > 0 {
            let said = |flow: &FlowRecord| {
                flow.probe_errors
                    .iter()
                    .map(|(_, error)| error)
                    .chain(flow.template_error.as_deref())
                    .find_map(panicked)
            };
            let otherwise = || "failed on plain text; bad traffic is not an error, so write what was understood".into();
            return Err(flows.iter().find_map(said).unwrap_or_else(otherwise));
        }
        if flows.iter().any(|flow| flow.templates().any(|(_, refused)| refused > 0)) {
            return Err(
                "wrote values under fields that are not its own, or of another kind than it declared; write to \
                        the ids that `wire` gives"
                    .into(),
            );
        }
        let told: Vec<_> = flows.into_iter().map(|flow| (flow.template, flow.fields, flow.marks)).collect();
        if seen.is_some_and(|seen| seen != told) {
            return Err(
                "the same flows gave other fields the second time; the output of a plugin depends on its input \
                        alone"
                    .into(),
            );
        }
        seen = Some(told);
    }
    Ok(())
}

/// What a template is asked to draw.
fn some_stream() -> StreamView<'static> {
    StreamView {
        forward: SAID[0].1,
        backward: SAID[1].1,
        forward_ended: true,
        backward_ended: true,
        carrier: Carrier::Tcp,
        originator_port: 40_000,
        responder_port: 443,
        ..StreamView::default()
    }
}

/// What the two sides say, in turns; `true` forward.
const SAID: [(bool, &[u8]); 4] = [
    (true, b"GET / HTTP/1.1\r\n\r\n"),
    (false, b"HTTP/1.1 200 OK\r\n\r\n"),
    (true, b"\x16\x03\x01\0\x01\0"),
    (false, b""),
];

/// Two short flows, over TCP and UDP; and how often a template failed on them.
fn some_flows(templates: &Templates) -> (Vec<FlowRecord>, u64) {
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    let mut number = 0;
    for protocol in [6, 17] {
        let mut seq = [1, 1];
        for (forth, payload) in SAID {
            let ((src, src_port), (dst, dst_port)) =
                if forth { (([1; 16], 40_000), ([2; 16], 443)) } else { (([2; 16], 443), ([1; 16], 40_000)) };
            let side = usize::from(!forth);
            let len = payload.len() as u32;
            let tcp = (protocol == 6).then_some(Tcp { seq: seq[side], flags: Tcp::ACK });
            seq[side] += len;
            number += 1;
            let packet = Decoded {
                src,
                dst,
                src_port,
                dst_port,
                protocol,
                lan: 0,
                ip_len: 40 + len,
                payload_len: len,
                tcp,
                payload,
            };
            table.push(number, number * 10_000_000, &packet, templates);
        }
    }
    table.finish_all(0, templates);
    let errors = table.counters().template_errors;
    let mut flows = table.take_finished();
    flows.sort_by_key(|flow| flow.first_packet);
    (flows, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flows_to_try_with_are_two_and_the_same_each_time() {
        let ids =
            || some_flows(&Templates::default()).0.iter().map(|flow| (flow.id, flow.protocol)).collect::<Vec<_>>();
        assert_eq!(ids().iter().map(|(_, protocol)| *protocol).collect::<Vec<_>>(), [6, 17]);
        assert_eq!(ids(), ids());
    }
}
