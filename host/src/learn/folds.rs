//! Folds that never split what belongs together.

use super::dataset::CaptureFacts;
use super::{Dataset, Row};
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

    /// The rows to train on when `fold` is tested: nothing of its captures, and no malicious row that shares a family, a
    /// server or a certificate with a malicious row of the test, in whatever capture it rides.
    pub(super) fn training(&self, fold: usize, data: &Dataset) -> Vec<usize> {
        let mut tested = BTreeSet::new();
        for row in (0..data.rows.len()).filter(|row| self.tests(fold, data, *row)) {
            let Row { kin, capture, .. } = &data.rows[row];
            tested.extend(kin.iter().cloned());
            if !kin.is_empty() {
                tested.insert(format!("family {}", data.captures[*capture].family));
            }
        }
        (0..data.rows.len())
            .filter(|row| !self.tests(fold, data, *row))
            .filter(|row| !data.rows[*row].kin.iter().any(|tie| tested.contains(tie)))
            .collect()
    }
}

/// What stays together: a family, the sources that share captures, else the capture itself.
pub(crate) fn group(capture: &CaptureFacts) -> &str {
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
    use crate::learn::{Keys, Row, Truth};

    fn capture(path: &str, family: &str, source: &str) -> CaptureFacts {
        CaptureFacts { path: path.into(), family: family.into(), source: source.into() }
    }

    fn row(capture: usize, truth: Truth, kin: &[&str]) -> Row {
        Row {
            capture,
            pair: capture,
            truth,
            kin: kin.iter().map(|tie| (*tie).to_owned()).collect(),
            packet: 1,
            keys: Keys::default(),
        }
    }

    #[test]
    fn nothing_that_is_tested_was_learnt_under_another_name() {
        let data = Dataset {
            captures: vec![
                capture("a", "dridex", "x"),
                capture("b", "hancitor", "x"),
                capture("c", "", "ntop/nDPI"),
                capture("d", "", "arkime/arkime"),
                capture("e", "spora", "x"),
            ],
            rows: vec![
                row(0, Truth::Malicious, &["family dridex", "server 192.0.2.1"]),
                row(1, Truth::Malicious, &["family hancitor", "server 192.0.2.2"]),
                row(1, Truth::Malicious, &["family dridex", "server 192.0.2.3"]),
                row(2, Truth::Benign, &[]),
                row(3, Truth::Benign, &[]),
                row(4, Truth::Malicious, &["family spora", "server 192.0.2.2"]),
            ],
            ..Dataset::default()
        };
        let folds = Folds::by_family(&data, 1);
        assert_eq!(folds.count, 3);
        let tested = |at| (0..3).find(|fold| folds.tests(*fold, &data, at)).unwrap();
        for fold in 0..3 {
            let learnt: BTreeSet<String> =
                folds.training(fold, &data).iter().flat_map(|row| data.rows[*row].kin.clone()).collect();
            for row in (0..data.rows.len()).filter(|row| folds.tests(fold, &data, *row)) {
                assert!(data.rows[row].kin.iter().all(|tie| !learnt.contains(tie)), "fold {fold}: {learnt:?}");
            }
        }
        // Row 2 rides in a hancitor capture, but is dridex: it is not learnt when dridex is tested; row 1 is.
        assert!(!folds.training(tested(0), &data).contains(&2));
        assert!(folds.training(tested(0), &data).contains(&1));
        assert_eq!(tested(3), tested(4), "sources that share captures stay together");
    }
}
