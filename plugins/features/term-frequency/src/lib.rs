//! A flow as a text: what it says in the clear, as terms, counted and hashed into a row of fixed width.
//!
//! Terms are code points, lengths by class, and pieces of names, each of a group that the settings switch on. A term's
//! weight is 1 + ln(count); its hash says the column and, where hashing is signed, whether it is added or taken away, so
//! that terms that meet cancel out on average (Weinberger et al. 2009). A row has length 1. How rare a term is weighs
//! nothing here: an extractor knows one flow at a time. Training learns it of columns with the unit `weight`, and a model
//! keeps it. Behind the unit stands a number for seed, sign and groups, so that a model takes no other terms.

mod terms;

use smallvec::SmallVec;
use terms::{Group, Terms};
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut, hash64};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings, within};

declare_plugins!(feature "term-frequency" "hashed term frequencies of what a flow says in the clear": TermFrequency);

/// The extractor.
#[derive(Debug)]
pub struct TermFrequency {
    settings: TermSettings,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TermSettings {
    /// Columns of the row, a power of two.
    width: usize,
    /// What the hash begins with.
    seed: u64,
    /// Whether a term's hash also says its sign.
    signed: bool,
    /// Kinds of terms that count.
    groups: Vec<String>,
}

impl Default for TermSettings {
    fn default() -> Self {
        let groups = Group::ALL.map(|(_, name, _)| name.to_owned()).to_vec();
        Self { width: 128, seed: 1, signed: true, groups }
    }
}

impl TermSettings {
    /// A number that stands for all that decides which term counts where.
    fn stamp(&self) -> u64 {
        let begin = hash64(self.seed, &[u8::from(self.signed)]);
        self.groups.iter().fold(begin, |hash, group| hash64(hash, group.as_bytes()))
    }
}

/// Narrower rows tell terms apart no more, and wider ones cost every flow.
const WIDTHS: std::ops::RangeInclusive<usize> = 8..=4096;

impl TermFrequency {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: TermSettings = settings.read()?;
        within("width", settings.width, WIDTHS)?;
        if !settings.width.is_power_of_two() {
            return Err(PluginError::settings(format!("`width` is {}; give a power of two", settings.width)));
        }
        let known = |name: &String| {
            let group = Group::ALL.iter().find(|(_, known, _)| known == name).map(|(group, ..)| *group);
            group.ok_or_else(|| {
                let all = Group::ALL.map(|(_, name, _)| format!("`{name}`")).join(", ");
                PluginError::settings(format!("`groups` names `{name}`; there are {all}"))
            })
        };
        let groups = settings.groups.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        if groups.is_empty() {
            return Err(PluginError::settings("`groups` names none"));
        }
        Ok(Self { settings, groups })
    }

    /// The row of some terms, in order; nothing where there are none.
    fn fill(&self, terms: &[u64], row: &mut [f32]) {
        let mut sums: SmallVec<[f64; 128]> = SmallVec::from_elem(0.0, row.len());
        for same in terms.chunk_by(|a, b| a == b) {
            let (Some(hash), weight) = (same.first(), 1.0 + (same.len() as f64).ln()) else { continue };
            let sign = if self.settings.signed && hash >> 63 == 1 { -1.0 } else { 1.0 };
            // The width is a power of two.
            if let Some(sum) = sums.get_mut(*hash as usize & (self.settings.width - 1)) {
                *sum += sign * weight;
            }
        }
        let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().zip(&sums).for_each(|(cell, sum)| *cell = (sum / length) as f32);
        } else if !terms.is_empty() {
            row.fill(0.0);
        }
    }
}

impl FeatureExtractor for TermFrequency {
    fn columns(&self) -> Vec<Column> {
        let unit = format!("weight {:08x}", self.settings.stamp() as u32);
        let column = |at: usize| {
            let words = format!("weight of the flow's terms with the hash {at}");
            Column::new(format!("t{at}"), unit.clone(), words, Evidence::Flow)
        };
        (0..self.settings.width).map(column).collect()
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        let mut terms = Terms::new(self.settings.seed);
        for (at, flow) in batch.iter().enumerate() {
            self.groups.iter().for_each(|group| terms.take(*group, &flow));
            self.fill(terms.sorted(), rows.row(at));
            terms.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
