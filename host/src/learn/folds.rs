//! Folds that never split what belongs together.

use super::Dataset;
use super::dataset::CaptureFacts;
use std::collections::{BTreeMap, BTreeSet};

/// Sources that publish each other's captures: what one has may be in another under a new name.
const SHARING: [&str; 5] = ["ntop/nDPI", "nfstream/nfstream", "FoxIO-LLC/ja4", "arkime/arkime", "vel21ripn/nDPI"];

/// Which fold each capture is tested in: one fold a malware family, benign captures spread over all of them.
pub(super) struct Folds {
    /// Fold of each capture.
    of_capture: Vec<usize>,
    /// How many folds.
    pub(super) count: usize,
}

impl Folds {
    /// One fold for each family that has malicious rows; captures of other families and benign captures are spread by
    /// a hash of their group.
    pub(super) fn by_family(data: &Dataset, seed: u64) -> Self {
        let families: BTreeSet<&str> = data
            .rows
            .iter()
            .filter(|row| row.truth == super::Truth::Malicious)
            .map(|row| data.captures[row.capture].family.as_str())
            .collect();
        let fold_of: BTreeMap<&str, usize> = families.iter().enumerate().map(|(at, family)| (*family, at)).collect();
        let count = families.len().max(1);
        let of_capture = data
            .captures
            .iter()
            .map(|capture| match fold_of.get(capture.family.as_str()) {
                Some(fold) => *fold,
                None => (spread(group(capture), seed) % count as u64) as usize,
            })
            .collect();
        Self { of_capture, count }
    }

    /// Whether a row is tested in a fold.
    pub(super) fn tests(&self, fold: usize, data: &Dataset, row: usize) -> bool {
        self.of_capture[data.rows[row].capture] == fold
    }

    /// The rows to train on when `fold` is tested: nothing of its captures, and no flow of a family that is in them,
    /// in whatever capture it rides.
    pub(super) fn training(&self, fold: usize, data: &Dataset) -> Vec<usize> {
        let tested: BTreeSet<&str> = (0..data.rows.len())
            .filter(|row| self.tests(fold, data, *row))
            .flat_map(|row| [data.rows[row].family.as_str(), data.captures[data.rows[row].capture].family.as_str()])
            .filter(|family| !family.is_empty())
            .collect();
        (0..data.rows.len())
            .filter(|row| !self.tests(fold, data, *row))
            .filter(|row| !tested.contains(data.rows[*row].family.as_str()))
            .collect()
    }
}

/// What stays together: a family, the sources that share captures, else the capture itself.
fn group(capture: &CaptureFacts) -> &str {
    if !capture.family.is_empty() {
        &capture.family
    } else if SHARING.contains(&capture.source.as_str()) {
        SHARING[0]
    } else {
        &capture.path
    }
}

/// FNV-1a: the same folds on every machine.
fn spread(text: &str, seed: u64) -> u64 {
    let mixed = text.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Row, Truth};

    fn capture(path: &str, family: &str, source: &str) -> CaptureFacts {
        CaptureFacts { path: path.into(), family: family.into(), source: source.into() }
    }

    fn row(capture: usize, truth: Truth, family: &str) -> Row {
        Row { capture, pair: capture, truth, family: family.into(), packet: 1 }
    }

    #[test]
    fn a_tested_family_is_never_learnt_even_in_another_capture() {
        let data = Dataset {
            captures: vec![
                capture("a", "dridex", "x"),
                capture("b", "hancitor", "x"),
                capture("c", "", "ntop/nDPI"),
                capture("d", "", "arkime/arkime"),
            ],
            rows: vec![
                row(0, Truth::Malicious, "dridex"),
                row(1, Truth::Malicious, "hancitor"),
                row(1, Truth::Malicious, "dridex"),
                row(2, Truth::Benign, ""),
                row(3, Truth::Benign, ""),
            ],
            ..Dataset::default()
        };
        let folds = Folds::by_family(&data, 1);
        assert_eq!(folds.count, 2);
        let tested = |at| (0..2).find(|fold| folds.tests(*fold, &data, at)).unwrap();
        // Row 2 rides in a hancitor capture, but is dridex: it is out when either family is tested.
        for fold in 0..2 {
            assert!(!folds.training(fold, &data).contains(&2));
        }
        assert!(folds.training(tested(0), &data).contains(&1));
        assert_eq!(tested(3), tested(4), "sources that share captures stay together");
    }
}
