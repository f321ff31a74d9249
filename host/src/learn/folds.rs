//! Folds that never split what belongs together.

use super::dataset::CaptureFacts;
use super::random::fnv;
use super::{Dataset, Row, Truth};
use std::collections::{BTreeMap, BTreeSet};

/// Sources that publish each other's captures: what one has may be in another under a new name.
const SHARING: [&str; 5] = ["ntop/nDPI", "nfstream/nfstream", "FoxIO-LLC/ja4", "arkime/arkime", "vel21ripn/nDPI"];

/// Captures that begin before this (1990-01-01, in nanoseconds) were taken by a clock that nobody had set.
const NO_CLOCK_NS: u64 = 631_152_000_000_000_000;

/// Blocks that [`Protocol::Time`] cuts the captures into; the first one is learnt from and never tested.
const TIME_BLOCKS: usize = 5;

/// By what captures are divided into those that are learnt from and those that are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Malware families are left out: what is tested is new to the classifier.
    Family,
    /// The same by the families' names alone, as published figures mostly have it: kinder, and comparable with them.
    FamilyName,
    /// Publishers are left out: what is tested was captured elsewhere.
    Source,
    /// Captures are left out: the mildest of these questions.
    Capture,
    /// Later captures are tested, earlier ones learnt from.
    Time,
}

impl Protocol {
    /// All of them, the headline's first.
    pub const ALL: [Self; 5] = [Self::Family, Self::FamilyName, Self::Source, Self::Capture, Self::Time];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Family => "leave families out",
            Self::FamilyName => "leave family names out",
            Self::Source => "leave sources out",
            Self::Capture => "by capture",
            Self::Time => "by time",
        }
    }

    /// What it does, for reports.
    pub fn words(self) -> &'static str {
        match self {
            Self::Family => {
                "malware families are left out; no malicious row in training shares a named family, a server or a \
                 certificate with one in the test, in whatever capture it rides; benign captures spread over the folds, \
                 those of sources that share captures together"
            }
            Self::FamilyName => {
                "the same folds, but what is tested may share servers, certificates and families that only its traffic \
                 names with training: kinder than the headline, and what published figures mostly are"
            }
            Self::Source => {
                "publishers are left out, with all they published, malicious or benign; those that share captures are \
                 one; families may be known from elsewhere, but no malicious row in training shares a server or a \
                 certificate with one in the test; publishers of benign captures alone spread over the folds"
            }
            Self::Capture => {
                "captures are left out, in ten folds; families and publishers may be known, but no malicious row in \
                 training shares a server or a certificate with one in the test"
            }
            Self::Time => {
                "captures in the order of their clocks, cut into blocks that hold as many malicious pairs each: each \
                 block but the first is tested by what was learnt from all earlier ones, less what of them began when it \
                 had begun; no malicious row in training shares a server or a certificate with one in the test; captures with a clock that was never set are \
                 left out; thresholds and calibration come from the other tested blocks"
            }
        }
    }
}

/// Which fold each row is tested in.
#[derive(Debug, Clone)]
pub struct Folds {
    /// By what they were made.
    pub protocol: Protocol,
    /// How many folds.
    pub count: usize,
    /// Block of each row; none where it is neither learnt from nor tested.
    block: Vec<Option<usize>>,
    /// When each block in time begins, in nanoseconds since 1970: nothing of then or later is learnt from where it is tested,
    /// though its capture may have begun before. Empty for other protocols.
    begins: Vec<u64>,
}

impl Folds {
    /// One fold for each family that has malicious rows, or `most` folds that families are packed into; captures of other
    /// families and benign captures are spread by a hash of their group.
    pub fn by_family(data: &Dataset, seed: u64, most: usize) -> Self {
        Self::leave_out(Protocol::Family, data, seed, most, family, group)
    }

    /// One fold for each publisher that has malicious rows, or `most` folds that they are packed into; the others are
    /// spread by a hash.
    pub fn by_source(data: &Dataset, seed: u64, most: usize) -> Self {
        Self::leave_out(Protocol::Source, data, seed, most, publisher, publisher)
    }

    /// Captures in `most` folds, those with malicious rows and the others each evenly.
    pub fn by_capture(data: &Dataset, seed: u64, most: usize) -> Self {
        let mut malicious = vec![false; data.captures.len()];
        data.rows.iter().filter(|row| row.truth == Truth::Malicious).for_each(|row| malicious[row.capture] = true);
        let mut order: Vec<usize> = (0..data.captures.len()).collect();
        order.sort_by_key(|at| (malicious[*at], spread(&data.captures[*at].path, seed), *at));
        let count = most.clamp(1, order.len().max(1));
        let mut of_capture = vec![None; order.len()];
        order.into_iter().enumerate().for_each(|(at, capture)| of_capture[capture] = Some(at % count));
        Self::of_captures(Protocol::Capture, data, count, &of_capture)
    }

    /// Blocks of captures in the order of their first flows' times: each but the first is tested after learning from all
    /// that are earlier.
    pub fn by_time(data: &Dataset) -> Self {
        let mut begin = vec![u64::MAX; data.captures.len()];
        let mut pairs = vec![BTreeSet::new(); data.captures.len()];
        for row in &data.rows {
            begin[row.capture] = begin[row.capture].min(row.keys.first_ns);
            if row.truth == Truth::Malicious {
                pairs[row.capture].insert(row.pair);
            }
        }
        let timed = |at: &usize| (NO_CLOCK_NS..u64::MAX).contains(&begin[*at]);
        let mut order: Vec<usize> = (0..data.captures.len()).filter(timed).collect();
        order.sort_by_key(|at| (begin[*at], *at));
        let total: usize = order.iter().map(|at| pairs[*at].len()).sum();
        let mut of_capture = vec![None; data.captures.len()];
        let (mut seen, mut last) = (0, 0);
        for (place, capture) in order.iter().enumerate() {
            // Captures that begin in the same instant are one.
            if place == 0 || begin[order[place - 1]] != begin[*capture] {
                last = (seen * TIME_BLOCKS / total.max(1)).min(TIME_BLOCKS - 1);
            }
            of_capture[*capture] = Some(last);
            seen += pairs[*capture].len();
        }
        let mut begins = vec![u64::MAX; TIME_BLOCKS];
        for capture in order {
            let block = of_capture[capture].unwrap_or_default();
            begins[block] = begins[block].min(begin[capture]);
        }
        Self { begins, ..Self::of_captures(Protocol::Time, data, TIME_BLOCKS - 1, &of_capture) }
    }

    /// A protocol's folds: as many as it has, or at most so many.
    pub fn of(protocol: Protocol, data: &Dataset, seed: u64, most: usize) -> Self {
        match protocol {
            Protocol::Family => Self::by_family(data, seed, most),
            Protocol::FamilyName => Self { protocol, ..Self::by_family(data, seed, most) },
            Protocol::Source => Self::by_source(data, seed, most),
            Protocol::Capture => Self::by_capture(data, seed, most.min(10)),
            Protocol::Time => Self::by_time(data),
        }
    }

    /// Groups that have malicious rows are left out one by one, or packed; what has none goes by a hash of `other`.
    fn leave_out(
        protocol: Protocol,
        data: &Dataset,
        seed: u64,
        most: usize,
        left_out: impl Fn(&CaptureFacts) -> &str,
        other: impl Fn(&CaptureFacts) -> &str,
    ) -> Self {
        let mut groups: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for row in data.rows.iter().filter(|row| row.truth == Truth::Malicious) {
            groups.entry(left_out(&data.captures[row.capture])).or_default().insert(row.pair);
        }
        let count = groups.len().clamp(1, most.max(1));
        let fold_of = pack(&groups, count, seed);
        let of_capture: Vec<Option<usize>> = data
            .captures
            .iter()
            .map(|capture| match fold_of.get(left_out(capture)) {
                Some(fold) => Some(*fold),
                None => Some((spread(other(capture), seed) % count as u64) as usize),
            })
            .collect();
        Self::of_captures(protocol, data, count, &of_capture)
    }

    fn of_captures(protocol: Protocol, data: &Dataset, count: usize, of_capture: &[Option<usize>]) -> Self {
        let block = data.rows.iter().map(|row| of_capture[row.capture]).collect();
        Self { protocol, count, block, begins: Vec::new() }
    }

    /// Folds by flow, as nobody should make them: the audit has to notice.
    #[cfg(test)]
    pub(crate) fn by_flow(data: &Dataset, count: usize) -> Self {
        let block = (0..data.rows.len()).map(|at| Some(at % count)).collect();
        Self { protocol: Protocol::Capture, count, block, begins: Vec::new() }
    }

    /// The block that a fold tests: of blocks in time, the first is tested by none.
    fn block(&self, fold: usize) -> usize {
        fold + usize::from(self.protocol == Protocol::Time)
    }

    /// Whether a row is tested in a fold.
    pub fn tests(&self, fold: usize, row: usize) -> bool {
        self.block.get(row).copied().flatten() == Some(self.block(fold))
    }

    /// The fold that a row is tested in.
    pub fn fold(&self, row: usize) -> Option<usize> {
        let block = self.block.get(row).copied().flatten()?;
        block.checked_sub(usize::from(self.protocol == Protocol::Time))
    }

    /// Whether a row is learnt from or tested at all.
    pub fn is_used(&self, row: usize) -> bool {
        self.block.get(row).is_some_and(Option::is_some)
    }

    /// The same folds over other rows, whose captures are tested in the folds that `fold` gives.
    pub(crate) fn like(&self, data: &Dataset, fold: impl Fn(&CaptureFacts) -> Option<usize>) -> Self {
        let of_capture: Vec<Option<usize>> =
            data.captures.iter().map(|capture| Some(fold(capture)? + self.block(0))).collect();
        Self::of_captures(self.protocol, data, self.count, &of_capture)
    }

    /// What a capture's fold leaves out with it, where the protocol leaves out families or publishers; else the capture.
    pub(crate) fn left_out<'a>(&self, capture: &'a CaptureFacts) -> &'a str {
        match self.protocol {
            Protocol::Family | Protocol::FamilyName => family(capture),
            Protocol::Source => publisher(capture),
            Protocol::Capture | Protocol::Time => &capture.path,
        }
    }

    /// The rows that a fold tests.
    pub fn tested(&self, fold: usize) -> Vec<usize> {
        (0..self.block.len()).filter(|row| self.tests(fold, *row)).collect()
    }

    /// The rows to train on when `fold` is tested: nothing of its captures, and no malicious row that shares a server or a
    /// certificate (nor, where families are left out, a family) with a malicious row of the test, in whatever capture it
    /// rides. Where families are left out by name alone, only its captures are.
    pub fn training(&self, fold: usize, data: &Dataset) -> Vec<usize> {
        let families = self.protocol == Protocol::Family;
        let by_name = self.protocol == Protocol::FamilyName;
        let ties = |tie: &&String| !by_name && (families || !tie.starts_with("family "));
        let mut tested = BTreeSet::new();
        for row in self.tested(fold) {
            let Row { kin, capture, .. } = &data.rows[row];
            tested.extend(kin.iter().filter(ties).cloned());
            if families && !kin.is_empty() {
                tested.insert(format!("family {}", family(&data.captures[*capture])));
            }
        }
        let tested_block = self.block(fold);
        let learnt = |block: usize| match self.protocol {
            Protocol::Time => block < tested_block,
            _ => block != tested_block,
        };
        (0..data.rows.len())
            .filter(|row| self.block[*row].is_some_and(learnt))
            .filter(|row| self.begins.get(tested_block).is_none_or(|begin| data.rows[*row].keys.first_ns < *begin))
            .filter(|row| !data.rows[*row].kin.iter().any(|tie| tested.contains(tie)))
            .collect()
    }
}

/// The fold of each group: one each where there are as many, else the largest first into the fold that has least, and
/// the seed decides between those of one size.
fn pack<'a>(groups: &BTreeMap<&'a str, BTreeSet<usize>>, count: usize, seed: u64) -> BTreeMap<&'a str, usize> {
    if groups.len() <= count {
        return groups.keys().enumerate().map(|(at, name)| (*name, at)).collect();
    }
    let mut order: Vec<(&str, usize)> = groups.iter().map(|(name, pairs)| (*name, pairs.len())).collect();
    order.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), spread(name, seed)));
    let mut filled = vec![0; count];
    order
        .into_iter()
        .map(|(name, size)| {
            let least = (0..count).min_by_key(|fold| filled[*fold]).unwrap_or_default();
            filled[least] += size;
            (name, least)
        })
        .collect()
}

/// A capture's family; one that names none is a family by itself.
fn family(capture: &CaptureFacts) -> &str {
    if capture.family.is_empty() { &capture.path } else { &capture.family }
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

/// Who published a capture; those that share captures are one.
pub(crate) fn publisher(capture: &CaptureFacts) -> &str {
    if SHARING.contains(&capture.source.as_str()) { SHARING[0] } else { &capture.source }
}

/// The same folds on every machine.
fn spread(text: &str, seed: u64) -> u64 {
    fnv(seed, text.bytes()) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Keys;

    fn capture(path: &str, family: &str, source: &str) -> CaptureFacts {
        CaptureFacts { path: path.into(), family: family.into(), source: source.into(), ..CaptureFacts::default() }
    }

    fn row(capture: usize, truth: Truth, kin: &[&str]) -> Row {
        // A year each, from 2001 on; the last capture's clock was never set.
        let first_ns = if capture == 5 { 1000 } else { (31 + capture as u64) * 31_557_600_000_000_000 };
        let keys = Keys { first_ns, ..Keys::default() };
        Row { capture, pair: capture, truth, kin: kin.iter().map(|tie| (*tie).to_owned()).collect(), packet: 1, keys }
    }

    fn data() -> Dataset {
        Dataset {
            captures: vec![
                capture("a", "dridex", "x"),
                capture("b", "hancitor", "x"),
                capture("c", "", "ntop/nDPI"),
                capture("d", "", "arkime/arkime"),
                capture("e", "spora", "ntop/nDPI"),
                capture("f", "", "y"),
            ],
            rows: vec![
                row(0, Truth::Malicious, &["family dridex", "server 192.0.2.1"]),
                row(1, Truth::Malicious, &["family hancitor", "server 192.0.2.2"]),
                row(1, Truth::Malicious, &["family dridex", "server 192.0.2.3"]),
                row(2, Truth::Benign, &[]),
                row(3, Truth::Benign, &[]),
                row(4, Truth::Malicious, &["family spora", "server 192.0.2.2"]),
                row(5, Truth::Benign, &[]),
            ],
            ..Dataset::default()
        }
    }

    /// No fold learns from a capture that it tests, nor from a tie of one; each row is tested once at most.
    fn assert_disjoint(folds: &Folds, data: &Dataset, ties: &[&str]) {
        let mut times = vec![0; data.rows.len()];
        for fold in 0..folds.count {
            let training = folds.training(fold, data);
            let captures: BTreeSet<usize> = training.iter().map(|row| data.rows[*row].capture).collect();
            let learnt: BTreeSet<&String> = training.iter().flat_map(|row| &data.rows[*row].kin).collect();
            for row in folds.tested(fold) {
                times[row] += 1;
                assert_eq!(folds.fold(row), Some(fold));
                assert!(!captures.contains(&data.rows[row].capture), "{folds:?}");
                let tied = |tie: &&String| ties.iter().any(|kind| tie.starts_with(kind)) && learnt.contains(*tie);
                assert!(!data.rows[row].kin.iter().any(|tie| tied(&tie)), "fold {fold}: {learnt:?}");
            }
        }
        assert!(times.iter().all(|times| *times <= 1), "{times:?}");
    }

    #[test]
    fn nothing_that_is_tested_was_learnt_under_another_name() {
        let data = data();
        let folds = Folds::by_family(&data, 1, usize::MAX);
        assert_eq!(folds.count, 3);
        assert_disjoint(&folds, &data, &["family", "server", "certificate"]);
        // Row 2 rides in a hancitor capture, but is dridex: it is not learnt when dridex is tested; row 1 is.
        let dridex = folds.fold(0).unwrap();
        assert!(!folds.training(dridex, &data).contains(&2));
        assert!(folds.training(dridex, &data).contains(&1));
        assert_eq!(folds.fold(3), folds.fold(4), "sources that share captures stay together");
    }

    #[test]
    fn by_name_alone_only_captures_are_held_back() {
        let data = data();
        let strict = Folds::by_family(&data, 1, usize::MAX);
        let folds = Folds::of(Protocol::FamilyName, &data, 1, usize::MAX);
        assert_eq!(folds.count, strict.count);
        let dridex = folds.fold(0).unwrap();
        assert_eq!(folds.tested(dridex), strict.tested(dridex));
        assert!(folds.training(dridex, &data).contains(&2), "dridex in a capture of hancitor");
        assert!((0..3).all(|fold| folds.training(fold, &data).iter().all(|row| !folds.tests(fold, *row))));
    }

    #[test]
    fn families_are_packed_evenly_and_by_seed() {
        let data = data();
        for seed in 0..20 {
            let folds = Folds::by_family(&data, seed, 2);
            assert_eq!(folds.count, 2);
            assert_disjoint(&folds, &data, &["family", "server"]);
            let sizes = [0, 1].map(|fold| [0, 1, 5].iter().filter(|row| folds.tests(fold, **row)).count());
            assert!(sizes.contains(&1) && sizes.contains(&2), "{sizes:?}");
        }
    }

    #[test]
    fn a_publisher_is_left_out_with_all_it_published() {
        let data = data();
        let folds = Folds::by_source(&data, 1, usize::MAX);
        // `x`, and those that share captures, of which one has both kinds.
        assert_eq!(folds.count, 2);
        assert_disjoint(&folds, &data, &["server", "certificate"]);
        assert_eq!(folds.fold(3), folds.fold(5));
        assert_eq!(folds.fold(4), folds.fold(5));
        assert_ne!(folds.fold(0), folds.fold(5));
        // Another publisher's flow to the same server is not learnt.
        assert!(!folds.training(folds.fold(5).unwrap(), &data).contains(&1));
        assert!(folds.training(folds.fold(5).unwrap(), &data).contains(&0));
    }

    #[test]
    fn captures_in_folds() {
        let data = data();
        let folds = Folds::by_capture(&data, 1, 3);
        assert_disjoint(&folds, &data, &["server"]);
        assert!((0..3).all(|fold| !folds.tested(fold).is_empty()));
        // What rides along under another family's name may be learnt here.
        assert!(folds.training(folds.fold(0).unwrap(), &data).contains(&2) || folds.fold(0) == folds.fold(2));
    }

    #[test]
    fn only_the_past_is_learnt_from() {
        let data = data();
        let folds = Folds::by_time(&data);
        assert_disjoint(&folds, &data, &["server"]);
        for fold in 0..folds.count {
            let time = |row: &usize| data.rows[*row].keys.first_ns;
            let latest = folds.training(fold, &data).iter().map(time).max();
            let earliest = folds.tested(fold).iter().map(time).min();
            if let (Some(latest), Some(earliest)) = (latest, earliest) {
                assert!(latest < earliest);
            }
        }
        assert!((0..folds.count).all(|fold| !folds.tests(fold, 6) && !folds.training(fold, &data).contains(&6)));
        assert!((0..folds.count).any(|fold| folds.tests(fold, 5)));
    }

    #[test]
    fn a_long_capture_teaches_nothing_of_what_came_later() {
        let mut data = data();
        // A flow of the first capture that begins when all others have ended.
        let mut late = row(0, Truth::Malicious, &["family dridex", "server 192.0.2.9"]);
        late.keys.first_ns = 40 * 31_557_600_000_000_000;
        data.rows.push(late);
        let folds = Folds::by_time(&data);
        let last = (0..folds.count).rfind(|fold| !folds.tested(*fold).is_empty()).unwrap();
        assert!(folds.training(last, &data).contains(&0));
        let tested = (0..folds.count).filter(|fold| !folds.tested(*fold).is_empty());
        assert!(tested.into_iter().all(|fold| !folds.training(fold, &data).contains(&(data.rows.len() - 1))));
    }

    #[test]
    fn a_capture_that_names_no_family_is_one_by_itself() {
        let mut data = data();
        data.captures.iter_mut().for_each(|capture| capture.family.clear());
        let folds = Folds::by_family(&data, 1, usize::MAX);
        assert_eq!(folds.count, 3);
        assert!(folds.fold(0) != folds.fold(1) && folds.fold(1) != folds.fold(5));
    }
}
