//! One protocol: its folds, its figures at each level and against each kind of negatives.

use super::figures::Figures;
use super::units::{Level, Negatives, Outcome, Unit, against, units};
use crate::learn::{FamilyResult, Protocol};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a classifier did under one protocol.
#[derive(Debug, Clone, Serialize)]
pub struct ProtocolReport {
    /// Which one.
    pub protocol: Protocol,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub words: &'static str,
    /// Folds.
    pub folds: usize,
    /// Labelled flows that were neither learnt from nor tested.
    pub left_out: usize,
    /// Labelled flows that were tested.
    pub tested: usize,
    /// Its figures.
    pub levels: Vec<LevelReport>,
    /// How each family did by pair, at the alarm threshold.
    pub families: Vec<FamilyResult>,
    /// Why there are no figures, where there are none.
    pub failed: Option<String>,
}

/// Figures at one level.
#[derive(Debug, Clone, Serialize)]
pub struct LevelReport {
    /// What counts as one.
    pub level: Level,
    /// Its name.
    pub name: &'static str,
    /// Figures against each kind of negatives.
    pub against: Vec<AgainstReport>,
}

/// Figures against one kind of negatives.
#[derive(Debug, Clone, Serialize)]
pub struct AgainstReport {
    /// Which.
    pub negatives: Negatives,
    /// Its name.
    pub name: &'static str,
    /// The figures; none where one of the classes is missing.
    pub figures: Option<Figures>,
}

impl ProtocolReport {
    pub(super) fn failed(protocol: Protocol, folds: usize, why: String) -> Self {
        let (name, words) = (protocol.name(), protocol.words());
        let (levels, families) = (Vec::new(), Vec::new());
        Self { protocol, name, words, folds, left_out: 0, tested: 0, levels, families, failed: Some(why) }
    }

    pub(super) fn of(outcome: &Outcome<'_>, samples: usize, seed: u64) -> Self {
        let protocol = outcome.folds.protocol;
        let labelled =
            || outcome.data.rows.iter().enumerate().filter(|(_, row)| row.truth != crate::learn::Truth::Unlabelled);
        let tested = labelled().filter(|(at, _)| !outcome.raw[*at].is_nan()).count();
        let ever_learnt = |row: &usize| outcome.folds.is_used(*row);
        Self {
            protocol,
            name: protocol.name(),
            words: protocol.words(),
            folds: outcome.folds.count,
            left_out: labelled().filter(|(at, _)| !ever_learnt(at)).count(),
            tested,
            levels: Level::ALL
                .into_iter()
                .map(|level| {
                    let units = units(outcome, level);
                    LevelReport { level, name: level.name(), against: reports(&units, samples, seed) }
                })
                .collect(),
            families: families(outcome, &units(outcome, Level::Pair)),
            failed: None,
        }
    }

    /// Figures at a level against some negatives.
    pub fn figures(&self, level: Level, negatives: Negatives) -> Option<&Figures> {
        let level = self.levels.iter().find(|report| report.level == level)?;
        level.against.iter().find(|report| report.negatives == negatives)?.figures.as_ref()
    }
}

/// Figures against each kind of negatives.
pub(super) fn reports(units: &[Unit], samples: usize, seed: u64) -> Vec<AgainstReport> {
    let report = |negatives: Negatives| AgainstReport {
        negatives,
        name: negatives.name(),
        figures: Figures::of(&against(units, negatives), samples, seed),
    };
    Negatives::ALL.into_iter().map(report).collect()
}

/// How each family did, by pair, at the alarm threshold.
fn families(outcome: &Outcome<'_>, units: &[Unit]) -> Vec<FamilyResult> {
    let mut families: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for unit in units.iter().filter(|unit| unit.malicious()) {
        let (pairs, found) = families.entry(&outcome.data.captures[unit.capture].family).or_default();
        *pairs += 1;
        *found += usize::from(unit.alarm);
    }
    let result =
        |(family, (pairs, found)): (&str, (usize, usize))| FamilyResult { family: family.into(), pairs, found };
    families.into_iter().map(result).collect()
}
