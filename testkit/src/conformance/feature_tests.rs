use super::super::Options;
use super::super::testing::{declare, fails_only, passes};
use super::{OTHERS, untouched};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut};
use veilwatch_core::plugin::{Declaration, FeatureExtractor, Instance, PluginError, PluginKind};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, FieldTable};

/// What a made-up extractor does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    TakesAnySetting,
    ChangingWords,
    BadName,
    NoUnit,
    NeedsAField,
    RefusesWithoutField,
    NeedsAFlow,
    FailsOnUdp,
    PanicsOnUdp,
    Infinite,
    ByInstance,
    Remembers,
    CountsTheBatch,
    OneAtATime,
    DeclaresItself,
    NeverComesBack,
}

/// Seconds that a flow lasts, and a second column for whatever is wrong.
struct Extractor {
    fault: Fault,
    instance: u64,
    asked: AtomicU64,
    /// How long the first flow of the batch before lasted.
    before: AtomicU64,
    busy: AtomicBool,
    field: Option<FieldId>,
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl FeatureExtractor for Extractor {
    fn columns(&self) -> Vec<Column> {
        let asked = self.asked.fetch_add(1, SeqCst);
        let name = if self.fault == Fault::BadName { "Odd one" } else { "odd" };
        let unit = if self.fault == Fault::NoUnit { "" } else { "count" };
        let words: Cow<'static, str> =
            if self.fault == Fault::ChangingWords { format!("asked {asked} times").into() } else { "odd".into() };
        vec![
            Column::new("duration", "seconds", "how long it lasted", Evidence::Flow),
            Column::new(name, unit, words, Evidence::Flow),
        ]
    }

    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        self.field = fields.id("testkit.number");
        match self.fault {
            Fault::NeedsAField => assert!(self.field.is_some(), "where is my field?"),
            Fault::RefusesWithoutField if fields.id("another.plugin").is_none() => {
                return Err(PluginError::failed("`another.plugin` is missing"));
            }
            // The other side of a boundary sees the entries of the table, and not how many ids it gave.
            Fault::DeclaresItself => {
                let spec = FieldSpec { name: "odd.one".into(), kind: FieldKind::U64, words: "odd".into() };
                self.field = fields.clone().declare(spec, "odd").ok();
            }
            _ => {}
        }
        Ok(())
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        if batch.is_empty() {
            let refuses = self.fault == Fault::NeedsAFlow;
            return if refuses { Err(PluginError::failed("there is nothing to do")) } else { Ok(()) };
        }
        let first = batch.iter().next().map_or(0, |flow| flow.duration().to_bits());
        let before = self.before.swap(first + 1, SeqCst);
        let alone = !self.busy.swap(true, SeqCst);
        for (at, flow) in batch.iter().enumerate() {
            let udp = flow.protocol() == 17;
            let odd = match self.fault {
                Fault::FailsOnUdp if udp => return Err(PluginError::failed("UDP is not for me")),
                Fault::PanicsOnUdp if udp => panic!("UDP!"),
                Fault::Infinite if udp => f64::INFINITY,
                Fault::ByInstance => self.instance as f64,
                Fault::Remembers => f64::from(u8::from(before != 0 && before != first + 1)),
                Fault::CountsTheBatch => batch.len() as f64,
                Fault::OneAtATime => f64::from(u8::from(alone)),
                Fault::DeclaresItself => self.field.map_or(f64::NAN, |id| f64::from(id.0)),
                _ => 0.0,
            };
            let mut row = rows.writer(at);
            row.put(flow.duration());
            row.put(odd);
        }
        match self.fault {
            Fault::OneAtATime => std::thread::sleep(Duration::from_millis(5)),
            Fault::NeverComesBack => std::thread::sleep(Duration::from_secs(3600)),
            _ => {}
        }
        self.busy.store(false, SeqCst);
        Ok(())
    }
}

fn plugin(fault: Fault) -> Declaration {
    let create = move |settings: veilwatch_core::plugin::Settings<'_>| {
        if fault != Fault::TakesAnySetting {
            settings.none()?;
        }
        Ok(Instance::Feature(Box::new(Extractor {
            fault,
            instance: INSTANCES.fetch_add(1, SeqCst),
            asked: AtomicU64::new(0),
            before: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            field: None,
        })))
    };
    declare(PluginKind::Feature, Arc::new(create))
}

#[test]
fn a_good_one_passes() {
    passes(&plugin(Fault::None), &Options::default(), &[]);
}

#[test]
fn each_fault_is_found_by_its_check() {
    for (fault, name) in [
        (Fault::TakesAnySetting, "unknown settings refused"),
        (Fault::ChangingWords, "columns are steady"),
        (Fault::BadName, "columns are named plainly"),
        (Fault::NoUnit, "columns have units and words"),
        (Fault::NeedsAField, "wired without fields"),
        (Fault::NeedsAFlow, "empty batch"),
        (Fault::FailsOnUdp, "rows for every flow"),
        (Fault::Infinite, "no infinities"),
        (Fault::ByInstance, "same flows, same rows"),
        (Fault::Remembers, "nothing is kept between calls"),
        (Fault::CountsTheBatch, "rows do not depend on the batch"),
        (Fault::OneAtATime, "called from two threads"),
        (Fault::DeclaresItself, "same through the boundary"),
    ] {
        fails_only(name, &plugin(fault), &Options { flows: 24, ..Options::default() });
    }
}

/// Safe code cannot write there, so that there is no plugin to try it with.
#[test]
fn what_is_written_beside_its_columns_is_found() {
    let mut data = vec![OTHERS; 12];
    data[1..3].fill(0.5);
    data[7..9].fill(0.5);
    assert!(untouched(&data, 6, 1..3));
    data[9] = f32::NAN;
    assert!(!untouched(&data, 6, 1..3));
}

#[test]
fn what_could_not_be_checked_has_not_passed() {
    let report = super::super::check(&plugin(Fault::RefusesWithoutField), &Options::default());
    assert_eq!(report.failures().count(), 0, "{report}");
    assert!(!report.passed() && report.to_string().contains("`another.plugin` is missing"), "{report}");
}

#[test]
fn a_panic_is_a_failure_and_not_an_end() {
    let report = super::super::check(&plugin(Fault::PanicsOnUdp), &Options::default());
    let words = report.to_string();
    assert!(words.contains("failed   rows for every flow: panicked: UDP!; flow 1 of the kit (UDP"), "{words}");
    assert!(words.contains("skipped  no infinities"), "{words}");
}

#[test]
fn a_call_that_does_not_come_back_ends_the_checks() {
    let how = Options { patience: Duration::from_millis(300), ..Options::default() };
    let report = super::super::check(&plugin(Fault::NeverComesBack), &how);
    let names: Vec<_> = report.failures().map(|check| check.name).collect();
    assert_eq!(names, ["wired without fields"], "{report}");
    assert!(report.to_string().ends_with("skipped  same through the boundary: an earlier check did not come back"));
}
