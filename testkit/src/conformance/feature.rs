//! What feature extractors keep to.

use super::Rule;
use super::subject::{Stop, Subject, at_once, ensure, extractor, no_panic};
use crate::flows::extract;
use std::collections::BTreeSet;
use std::ops::Range;
use veilwatch_core::abi::export::guard;
use veilwatch_core::feature::{Column, FlowBatch, RowsMut};
use veilwatch_core::plugin::PluginError;
use veilwatch_core::record::FieldTable;

pub(super) const RULES: [Rule; 13] = [
    ("columns are steady", steady),
    ("columns are named plainly", named),
    ("columns have units and words", described),
    ("wired without fields", unwired),
    ("empty batch", empty),
    ("rows for every flow", complete),
    ("no infinities", finite),
    ("same flows, same rows", twice),
    ("nothing is kept between calls", forgets),
    ("rows do not depend on the batch", batches),
    ("columns of others stay untouched", bounds),
    ("called from two threads", threads),
    ("same through the boundary", boundary),
];

fn steady(subject: &Subject) -> Result<(), Stop> {
    let extractor = subject.extractor()?;
    let columns = extractor.columns();
    let again = [extractor.columns(), subject.extractor()?.columns()];
    ensure(again.iter().all(|other| *other == columns), || {
        "they change from call to call; `columns` depends on the settings alone".into()
    })
}

fn named(subject: &Subject) -> Result<(), Stop> {
    let mut names = BTreeSet::new();
    for Column { name, .. } in subject.extractor()?.columns() {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        ensure(plain && (1..=128).contains(&name.len()), || {
            format!("`{name}`: a name has up to 128 lower-case letters, digits and `_`")
        })?;
        ensure(names.insert(name.clone()), || format!("two columns are named `{name}`"))?;
    }
    ensure(!names.is_empty(), || "there are none".into())
}

fn described(subject: &Subject) -> Result<(), Stop> {
    subject.extractor()?.columns().iter().try_for_each(|column| {
        let good = (1..=32).contains(&column.unit.len()) && (1..=1024).contains(&column.words.len());
        ensure(good, || format!("`{}` needs a unit of up to 32 bytes and words of up to 1024", column.name))
    })
}

/// A pipeline need not have the template whose fields an extractor reads: an error is fine then, and so is a row of NaN.
fn unwired(subject: &Subject) -> Result<(), Stop> {
    for fields in [FieldTable::default(), FieldTable::new()] {
        let mut extractor = subject.extractor()?;
        if no_panic(guard(|| extractor.wire(&fields)))?.is_some() {
            let width = extractor.columns().len();
            no_panic(guard(|| extract(&*extractor, width, &subject.picked())))?;
        }
    }
    // Wired with all that a pipeline may have, it must work, or say what is missing.
    subject.wired().map(|_| ())
}

fn empty(subject: &Subject) -> Result<(), Stop> {
    let extractor = subject.wired()?;
    Ok(guard(|| extract(&*extractor, extractor.columns().len(), &[])).map(|_| ())?)
}

/// What a fresh instance makes of all flows.
fn all(subject: &Subject) -> Result<Vec<f32>, PluginError> {
    let extractor = subject.wired().map_err(|_| PluginError::failed("it cannot be wired"))?;
    extract(&*extractor, extractor.columns().len(), &subject.picked())
}

/// The columns, and the rows of all flows.
fn rows(subject: &Subject) -> Result<(Vec<Column>, &[f32]), Stop> {
    let columns = subject.wired()?.columns();
    let known = subject.rows.known(|| all(subject), |first, again| bits(first) == bits(again))?;
    match known.len() == columns.len() * subject.flows.len() {
        true => Ok((columns, known)),
        false => Err(Stop::Skipped("its columns are not steady".into())),
    }
}

fn bits(rows: &[f32]) -> Vec<u32> {
    rows.iter().map(|value| value.to_bits()).collect()
}

fn complete(subject: &Subject) -> Result<(), Stop> {
    let width = subject.wired()?.columns().len();
    let Err(error) = subject.rows.both(|| all(subject)) else { return Ok(()) };
    // One of them is to blame.
    for (at, flow) in subject.flows.iter().enumerate() {
        let extractor = subject.wired()?;
        guard(|| extract(&*extractor, width, &[flow])).map_err(|error| {
            let message = error.message;
            Stop::Failed(format!("{message}; flow {at} of the kit ({}, IP protocol {})", kind(at), flow.protocol))
        })?;
    }
    Err(Stop::Failed(format!("{}; it fails on many flows at once, and on none alone", error.message)))
}

/// In words, which kind of flow stands at a place of the kit's flows.
fn kind(at: usize) -> &'static str {
    let kinds = ["TLS", "UDP", "one-way", "without payload", "long", "odd clocks", "extreme counts", "responder first"];
    kinds[at % kinds.len()]
}

fn finite(subject: &Subject) -> Result<(), Stop> {
    let (columns, rows) = rows(subject)?;
    match rows.iter().position(|value| value.is_infinite()) {
        None => Ok(()),
        Some(at) => Err(Stop::Failed(format!(
            "column `{}` is infinite for flow {} of the kit ({}); write a finite number, or NaN",
            columns[at % columns.len()].name,
            at / columns.len(),
            kind(at / columns.len())
        ))),
    }
}

/// Holds rows against those of the first call.
fn same(subject: &Subject, rows: &[f32], what: &str) -> Result<(), Stop> {
    let (columns, known) = self::rows(subject)?;
    let differs = known.iter().zip(rows).position(|(a, b)| a.to_bits() != b.to_bits());
    let at = if known.len() == rows.len() { differs } else { Some(0) };
    at.map_or(Ok(()), |at| {
        let name = columns.get(at % columns.len().max(1)).map_or("", |column| column.name.as_ref());
        Err(Stop::Failed(format!("{what}, first in column `{name}`")))
    })
}

fn twice(subject: &Subject) -> Result<(), Stop> {
    subject.wired()?;
    let [first, again] = subject.rows.both(|| all(subject)).map_err(|_| Stop::Skipped("it fails".into()))?;
    ensure(bits(first) == bits(again), || {
        "another instance gives other values; the output of a plugin depends on its input alone".into()
    })
}

fn forgets(subject: &Subject) -> Result<(), Stop> {
    let width = rows(subject)?.0.len();
    let extractor = subject.wired()?;
    let mut others = subject.picked();
    others.reverse();
    guard(|| extract(&*extractor, width, &others))?;
    let rows = guard(|| extract(&*extractor, width, &subject.picked()))?;
    same(subject, &rows, "the same flows give other values after a call with others")
}

fn batches(subject: &Subject) -> Result<(), Stop> {
    let width = rows(subject)?.0.len();
    for size in [1, 7] {
        let mut rows = Vec::new();
        for part in subject.flows.chunks(size) {
            let extractor = subject.wired()?;
            rows.extend(guard(|| extract(&*extractor, width, &part.iter().collect::<Vec<_>>()))?);
        }
        same(subject, &rows, &format!("{size} flows at a time give other values than all at once"))?;
    }
    Ok(())
}

/// What stands in the columns of others: a number that no plugin writes by chance.
const OTHERS: f32 = -7.654_321e-9;

fn bounds(subject: &Subject) -> Result<(), Stop> {
    let width = rows(subject)?.0.len();
    let extractor = subject.wired()?;
    let (before, stride) = (3, width + 5);
    let mut data = vec![OTHERS; subject.flows.len() * stride];
    data.chunks_mut(stride).for_each(|row| row[before..before + width].fill(f32::NAN));
    let picked = subject.picked();
    let source = picked.as_slice();
    guard(|| extractor.extract(&FlowBatch::new(&source), &mut RowsMut::new(&mut data, stride, before, width)))?;
    ensure(untouched(&data, stride, before..before + width), || {
        "values were written outside of its own columns".into()
    })?;
    let own: Vec<f32> = data.chunks(stride).flat_map(|row| &row[before..before + width]).copied().collect();
    same(subject, &own, "in wider rows it gives other values")
}

/// Whether all columns but its own hold what stood there before.
fn untouched(data: &[f32], stride: usize, own: Range<usize>) -> bool {
    let others = data.chunks(stride).flat_map(|row| row[..own.start].iter().chain(&row[own.end..]));
    others.into_iter().all(|value| value.to_bits() == OTHERS.to_bits())
}

fn threads(subject: &Subject) -> Result<(), Stop> {
    let width = rows(subject)?.0.len();
    for _ in 0..8 {
        let extractor = subject.wired()?;
        for rows in at_once(|| extract(&*extractor, width, &subject.picked()))? {
            same(subject, &rows, "two threads at once give other values")?;
        }
    }
    Ok(())
}

fn boundary(subject: &Subject) -> Result<(), Stop> {
    let (columns, _) = rows(subject)?;
    let mut foreign = extractor(subject.foreign()?)?;
    subject.wire(&mut *foreign)?;
    ensure(foreign.columns() == columns, || "columns differ through the boundary".into())?;
    let rows = guard(|| extract(&*foreign, columns.len(), &subject.picked()))?;
    same(subject, &rows, "values differ through the boundary")
}

#[cfg(test)]
#[path = "feature_tests.rs"]
mod tests;
