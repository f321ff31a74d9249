//! Tries a library in a process of its own before this one loads it.
//!
//! A library runs code as soon as it is loaded, and some of what it may do cannot be caught: it may crash, abort, or never
//! come back. So the same program is started once more with the argument `plugin-probe`; that child takes limits on,
//! loads the library, makes each plugin with empty settings, calls it for the first time, and says on one line how it
//! went. If it dies or does not answer in time, that is the answer.

use super::error::LibraryError;
use super::report::brief;
use super::{guarded, library, meter::Meter};
use crate::worker::{WorkerLimits, sandbox};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use veilwatch_core::feature::{Column, FlowBatch, Rows, RowsMut};
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::{Decoded, Tcp};
use veilwatch_core::plugin::{
    Classifier, Declaration, FeatureExtractor, Instance, PluginError, PluginErrorKind, ProtocolTemplate, Settings,
};
use veilwatch_core::record::FieldTable;

/// The argument that makes a program the child.
pub const PROBE_ARGUMENT: &str = "plugin-probe";

/// Bytes of the child's answer, and of what it says on standard error.
const ANSWER_BYTES: u64 = 64 << 10;

/// What the child says, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    /// What it does next.
    Trying(String),
    /// All went well.
    Good,
    /// Something is wrong with the library.
    Refused(String),
}

/// Tries a library in a child that `program` becomes.
pub(crate) fn probe(program: &Path, path: &Path, limit: Duration) -> Result<(), LibraryError> {
    let wrong = |why: String| LibraryError::Probe { path: path.to_owned(), why };
    let cannot = |error: std::io::Error| {
        wrong(format!("cannot be tried, since {} cannot be started ({error})", program.display()))
    };
    let mut child = Command::new(program)
        .arg(PROBE_ARGUMENT)
        .arg(path)
        // What it says when it panics goes into a message of one line.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let answer = listen(child.stdout.take());
    let complaint = listen(child.stderr.take());
    let status = wait(&mut child, limit).map_err(cannot)?;
    // Whoever the child left behind may keep the pipes open: what came so far will do.
    let heard = |from: &Receiver<Vec<u8>>| from.recv_timeout(Duration::from_millis(500)).unwrap_or_default();
    let answer = heard(&answer);
    let said: Vec<Said> =
        answer.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let stage =
        said.iter().rev().find_map(|said| if let Said::Trying(stage) = said { Some(stage.as_str()) } else { None });
    let stage = brief(stage.unwrap_or("starting"));
    let Some(status) = status else {
        return Err(wrong(format!(
            "it did not come back within {} ms when it was tried ({stage}); look for an endless loop, or raise \
             `probe_milliseconds` under [plugins]",
            limit.as_millis()
        )));
    };
    match said.last() {
        Some(Said::Good) if status.success() => Ok(()),
        Some(Said::Refused(why)) => Err(LibraryError::Told(brief(why))),
        _ => {
            let complaint = brief(&String::from_utf8_lossy(&heard(&complaint)));
            let words = if complaint.is_empty() { String::new() } else { format!(", which said: {complaint}") };
            let words = words.chars().take(300).collect::<String>();
            let (ended, advice) = ending(status);
            Err(wrong(format!("it ended the process that tried it ({stage}; {ended}){words}; {advice}")))
        }
    }
}

/// How a process ended, and what to do about it.
fn ending(status: ExitStatus) -> (String, &'static str) {
    match (status.signal(), status.code()) {
        (Some(libc::SIGABRT), _) => (
            format!("it aborted, signal {}", libc::SIGABRT),
            "it panics and is built with `panic = \"abort\"`, or aborts by itself: correct it, and build it without that",
        ),
        (Some(signal), _) => (format!("it crashed, signal {signal}"), "correct it, or ask its author to"),
        (None, code) => (
            format!("exit status {}", code.unwrap_or_default()),
            "a plugin must not end the process: have it return an error instead",
        ),
    }
}

/// Waits for a child; `None` where it had to be ended.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The beginning of what comes through a pipe, once it is closed; the rest is read and forgotten.
fn listen(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (said, heard) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(ANSWER_BYTES).read_to_end(&mut bytes);
            let _ = said.send(bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
    });
    heard
}

/// The child's side, for a program that may be called with [`PROBE_ARGUMENT`]; to be called before anything else is done.
/// `None` where this is no such call.
pub fn probe_main() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != PROBE_ARGUMENT {
        return None;
    }
    let (Some(path), None) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Some(ExitCode::FAILURE);
    };
    Some(if answer(&path).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes standard output away from the library, tries it, and says how it went.
fn answer(path: &Path) -> std::io::Result<()> {
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    nix::unistd::dup2_stdout(std::io::stderr())?;
    let mut say = |said: &Said| -> std::io::Result<()> {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        out.write_all(&line)
    };
    let limits = WorkerLimits { cpu_seconds: 600, file_bytes: 64 << 20, ..WorkerLimits::default() };
    sandbox::limit(&limits).map_err(std::io::Error::other)?;
    let outcome = attempt(path, &mut |stage| say(&Said::Trying(brief(&stage))));
    match outcome? {
        Ok(()) => say(&Said::Good),
        Err(why) => say(&Said::Refused(brief(&why))),
    }
}

type Tell<'a> = &'a mut dyn FnMut(String) -> std::io::Result<()>;

/// Loads a library and calls all of its plugins once.
fn attempt(path: &Path, tell: Tell<'_>) -> std::io::Result<Result<(), String>> {
    tell("loading it".into())?;
    let declarations = match library::load(path) {
        Ok(declarations) => declarations,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let flows = some_flows(&[]).0;
    for declaration in declarations {
        let name = declaration.manifest.path();
        if let Err(error) = try_plugin(&declaration, &flows, tell)? {
            return Ok(Err(format!("plugin {}: {name}: {error}", path.display())));
        }
    }
    Ok(Ok(()))
}

/// What is wrong with a plugin, in words that say what to do.
fn try_plugin(declaration: &Declaration, flows: &[FlowRecord], tell: Tell<'_>) -> std::io::Result<Result<(), String>> {
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
        Instance::Classifier(plugin) => try_classifier(&*plugin),
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

fn try_classifier(plugin: &dyn Classifier) -> Result<(), String> {
    // It has learnt nothing: an error is what one expects.
    let (row, mut scores) = ([0.5, f32::NAN], [f64::NAN]);
    let outcomes = [plugin.save().err(), plugin.predict(&Rows::new(&row, 2), &mut scores).err()];
    outcomes.iter().flatten().find_map(panicked).map_or(Ok(()), Err)
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
        let (flows, errors) = some_flows(&[plugin]);
        if errors > 0 {
            return Err("failed on plain text; bad traffic is not an error, so write what was understood".into());
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

/// Two short flows, over TCP and UDP; and how often a template failed on them.
fn some_flows(templates: &Templates) -> (Vec<FlowRecord>, u64) {
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    let said: [(bool, &[u8]); 4] = [
        (true, b"GET / HTTP/1.1\r\n\r\n"),
        (false, b"HTTP/1.1 200 OK\r\n\r\n"),
        (true, b"\x16\x03\x01\0\x01\0"),
        (false, b""),
    ];
    let mut number = 0;
    for protocol in [6, 17] {
        let mut seq = [1, 1];
        for (forth, payload) in said {
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
        let ids = || some_flows(&[]).0.iter().map(|flow| (flow.id, flow.protocol)).collect::<Vec<_>>();
        assert_eq!(ids().iter().map(|(_, protocol)| *protocol).collect::<Vec<_>>(), [6, 17]);
        assert_eq!(ids(), ids());
    }
}
