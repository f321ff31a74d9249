use crate::settings::BoostedTreesSettings;
use crate::training::{Threads, boost, by_column, convert};
use crate::{BoostedTrees, declarations};
use forust_ml::Matrix;
use proptest::prelude::*;
use veilwatch_classifier_shared::codec::Writer;
use veilwatch_classifier_shared::forest::{Forest, MAX_DEPTH, Shape};
use veilwatch_classifier_shared::learner::{Learner, Model};
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginErrorKind, Settings, TrainingSet};

/// A small generator, so that the data of the tests never changes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }
}

struct Sample {
    width: usize,
    data: Vec<f32>,
    labels: Vec<bool>,
    weights: Vec<f32>,
}

impl Sample {
    /// Malicious is what has exactly one of the first two columns high; the others are noise. Some values are missing,
    /// some columns have few distinct values, weights differ.
    fn new(height: usize, width: usize, missing: f32, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut sample = Self { width, data: Vec::new(), labels: Vec::new(), weights: Vec::new() };
        for _ in 0..height {
            let mut row: Vec<f32> = (0..width).map(|_| dice.roll()).collect();
            sample.labels.push((row[0] > 0.5) != (row[1] > 0.5));
            sample.weights.push(0.5 + dice.roll());
            for (at, value) in row.iter_mut().enumerate() {
                if at % 3 == 2 {
                    *value = (*value * 4.0).floor();
                }
                if dice.roll() < missing {
                    *value = f32::NAN;
                }
            }
            sample.data.extend(row);
        }
        sample
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(&self.data, self.width)
    }

    fn training(&self, seed: u64) -> TrainingSet<'_> {
        TrainingSet { rows: self.rows(), labels: &self.labels, weights: &self.weights, seed }
    }
}

fn classifier(settings: &str) -> BoostedTrees {
    BoostedTrees::create(Settings::new(settings)).unwrap()
}

fn scores(classifier: &BoostedTrees, rows: &Rows<'_>) -> Vec<f64> {
    let mut scores = vec![0.0; rows.len()];
    classifier.predict(rows, &mut scores).unwrap();
    scores
}

fn small() -> (BoostedTrees, Sample) {
    let sample = Sample::new(300, 6, 0.1, 1);
    let mut small = classifier("trees = 5\nmax_depth = 3");
    small.fit(&sample.training(1)).unwrap();
    (small, sample)
}

#[test]
fn declares_itself() {
    let declaration = &declarations()[0];
    assert_eq!(declaration.manifest.path(), "classifier/boosted-trees");
    assert!((declaration.create)(Settings::new("trees = 10")).is_ok());
}

#[test]
fn learns_an_interaction() {
    let mut trees = classifier("trees = 60\nlearning_rate = 0.2\nmax_depth = 4");
    trees.fit(&Sample::new(1500, 8, 0.0, 1).training(7)).unwrap();
    let fresh = Sample::new(1000, 8, 0.0, 2);
    let right = scores(&trees, &fresh.rows()).iter().zip(&fresh.labels).filter(|(s, l)| (**s > 0.0) == **l).count();
    assert!(right > 960, "{right} of 1000");
}

#[test]
fn learns_from_missing_values() {
    // All that tells the two kinds apart is whether the value is there.
    let mut sample = Sample::new(600, 4, 0.0, 3);
    for (row, label) in sample.data.chunks_exact_mut(4).zip(&sample.labels) {
        row[0] = 0.5;
        row[1] = if *label { f32::NAN } else { row[3] };
    }
    let mut trees = classifier("trees = 40\nlearning_rate = 0.2\ncolumn_subsample = 1.0");
    trees.fit(&sample.training(1)).unwrap();
    let found = scores(&trees, &sample.rows());
    assert!(found.iter().zip(&sample.labels).all(|(score, label)| (*score > 0.0) == *label));
    // Rows of nothing, and of the largest values, have scores too.
    let odd = [[f32::NAN; 4], [f32::INFINITY; 4], [f32::NEG_INFINITY; 4], [f32::MAX; 4]].concat();
    assert!(scores(&trees, &Rows::new(&odd, 4)).iter().all(|score| score.is_finite()));
}

#[test]
fn equals_the_library_to_the_bit() {
    let settings = [
        "trees = 40",
        "trees = 20\nmax_depth = 8\nmax_leaves = 20\nmin_leaf_weight = 0.01\nl2 = 0.0",
        "trees = 20\nbins = 7\nrow_subsample = 0.4\ncolumn_subsample = 0.05",
        "trees = 10\nmax_depth = 1\nrow_subsample = 1.0\ncolumn_subsample = 1.0",
    ];
    for (seed, settings) in (0..).zip(settings) {
        let settings: BoostedTreesSettings = Settings::new(settings).read().unwrap();
        let sample = Sample::new(700, 11, 0.2, seed);
        let booster = boost(&settings, &sample.training(seed), Threads::All).unwrap();
        let forest = convert(&booster, 11).unwrap();

        // Fresh rows, the thresholds' own neighbourhood, nothing at all, infinities; a count that leaves lanes over.
        let mut data = Sample::new(500, 11, 0.3, seed + 100).data;
        data.extend_from_slice(&sample.data);
        for tree in forest.shapes() {
            for node in tree {
                if let Shape::Split { feature, threshold, .. } = node {
                    for value in [threshold, threshold.next_down(), threshold.next_up(), f32::NAN] {
                        let mut row = sample.rows().row(usize::from(feature)).to_vec();
                        row[usize::from(feature)] = value;
                        data.extend(row);
                    }
                }
            }
        }
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0] {
            data.extend([value; 11]);
        }
        let rows = Rows::new(&data, 11);
        let columns = by_column(&rows);
        let theirs = booster.predict(&Matrix::new(&columns, rows.len(), 11), false);
        let mut ours = vec![0.0; rows.len()];
        forest.score(&rows, &mut ours);
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours.to_bits(), theirs.to_bits(), "row {at}: {ours} and {theirs}");
        }
    }
}

fn encoded(forest: &Forest) -> Vec<u8> {
    let mut writer = Writer::new(BoostedTreesSettings::MAGIC, BoostedTreesSettings::VERSION);
    forest.write(&mut writer).unwrap();
    writer.finish()
}

#[test]
fn is_deterministic_on_any_number_of_threads() {
    for text in ["trees = 30", "trees = 30\nmax_leaves = 12\nrow_subsample = 0.4"] {
        let settings: BoostedTreesSettings = Settings::new(text).read().unwrap();
        let sample = Sample::new(2000, 30, 0.1, 5);
        let bytes = |threads| {
            let booster = boost(&settings, &sample.training(9), threads).unwrap();
            encoded(&convert(&booster, 30).unwrap())
        };
        let first = bytes(Threads::All);
        for threads in [0, 1, 2, 3, 7] {
            assert!(first == bytes(Threads::Exactly(threads)), "{threads} threads");
        }
        let mut again = classifier(text);
        again.fit(&sample.training(9)).unwrap();
        assert!(first == again.save().unwrap());
        again.fit(&sample.training(10)).unwrap();
        assert!(first != again.save().unwrap(), "the seed matters");
    }
}

#[test]
fn the_scale_of_weights_does_not_matter() {
    let mut sample = Sample::new(500, 6, 0.1, 1);
    let mut trees = classifier("trees = 10");
    trees.fit(&sample.training(1)).unwrap();
    let first = trees.save().unwrap();
    sample.weights.iter_mut().for_each(|weight| *weight /= 1024.0);
    trees.fit(&sample.training(1)).unwrap();
    assert!(first == trees.save().unwrap());
}

#[test]
fn explanations_add_up() {
    let sample = Sample::new(800, 9, 0.1, 4);
    let mut trees = classifier("trees = 50");
    trees.fit(&sample.training(1)).unwrap();
    let bias = trees.model().unwrap().bias();
    let mut parts = vec![0.0; 9];
    let mut sums = vec![0.0; 9];
    for (row, score) in sample.rows().iter().zip(scores(&trees, &sample.rows())) {
        trees.explain(row, &mut parts).unwrap();
        assert!((bias + parts.iter().sum::<f64>() - score).abs() < 1e-9);
        sums.iter_mut().zip(&parts).for_each(|(sum, part)| *sum += part.abs());
    }
    assert!(sums[0].min(sums[1]) > sums[2..].iter().copied().fold(0.0, f64::max), "{sums:?}");
}

#[test]
fn shares_of_rows_follow_from_expected_values() {
    // What each side of a split weighed in training is not stored: the expected values tell.
    let settings: BoostedTreesSettings = Settings::new("trees = 30").read().unwrap();
    let booster = boost(&settings, &Sample::new(900, 9, 0.1, 6).training(2), Threads::All).unwrap();
    let forest = convert(&booster, 9).unwrap();
    let (mut splits, mut near) = (0, 0);
    for (tree, theirs) in forest.left_shares().zip(&booster.trees) {
        let mut order = vec![0];
        for (at, share) in tree.into_iter().enumerate() {
            let node = &theirs.nodes[order[at]];
            let Some(share) = share else { continue };
            order.extend([node.left_child, node.right_child]);
            let cover = |child: usize| f64::from(theirs.nodes[child].hessian_sum);
            let wanted = cover(node.left_child) / (cover(node.left_child) + cover(node.right_child));
            splits += 1;
            near += usize::from((share - wanted).abs() < 1e-3);
        }
    }
    assert!(splits > 500 && near * 1000 >= splits * 999, "{near} of {splits}");
}

#[test]
fn comes_back_from_bytes() {
    let (trees, sample) = small();
    let bytes = trees.save().unwrap();
    let mut copy = classifier("");
    copy.load(&bytes).unwrap();
    assert!(copy.save().unwrap() == bytes);
    assert_eq!(scores(&copy, &sample.rows()), scores(&trees, &sample.rows()));
}

#[test]
fn refuses_what_does_not_fit() {
    let (mut trees, sample) = small();
    let error = trees.predict(&Rows::new(&sample.data, 5), &mut [0.0; 360]).unwrap_err();
    assert_eq!(error.kind, PluginErrorKind::Data);
    assert!(error.message.contains("6 columns, these have 5"), "{error}");
    assert!(trees.predict(&sample.rows(), &mut [0.0; 299]).is_err());
    assert!(trees.explain(&[0.0; 5], &mut [0.0; 5]).is_err());
    assert!(trees.explain(&[0.0; 6], &mut [0.0; 5]).is_err());

    let fresh = classifier("");
    assert!(fresh.save().is_err());
    assert!(fresh.predict(&sample.rows(), &mut [0.0; 300]).unwrap_err().message.contains("no model"));
    assert!(fresh.explain(&[0.0; 6], &mut [0.0; 6]).is_err());

    let good = sample.training(1);
    let all = vec![true; 300];
    let mut weights = sample.weights.clone();
    weights[3] = 0.0;
    let mut data = sample.data.clone();
    data[8] = f32::INFINITY;
    for (bad, says) in [
        (TrainingSet { rows: Rows::new(&[], 6), ..good }, "no rows"),
        (TrainingSet { labels: &all, ..good }, "benign"),
        (TrainingSet { labels: &all[1..], ..good }, "299 labels"),
        (TrainingSet { weights: &weights, ..good }, "row 3"),
        (TrainingSet { rows: Rows::new(&data, 6), ..good }, "row 1 has an infinite value in column 2"),
    ] {
        let error = trees.fit(&bad).unwrap_err();
        assert!(error.message.contains(says), "{error}");
    }
    assert!(trees.save().is_err(), "what was learnt before is forgotten");
}

#[test]
fn checks_its_settings() {
    assert!(BoostedTrees::create(Settings::new("")).is_ok());
    for (bad, says) in [
        ("trees = 0", "give 1 to 10000"),
        ("learning_rate = nan", "`learning_rate`"),
        ("max_depth = 40", "give 1 to 16"),
        ("max_leaves = 1", "`max_leaves`"),
        ("min_leaf_weight = 0.0", "`min_leaf_weight`"),
        ("l2 = -1.0", "`l2`"),
        ("gamma = inf", "`gamma`"),
        ("row_subsample = 1.5", "`row_subsample`"),
        ("column_subsample = 0.0", "`column_subsample`"),
        ("bins = 1", "`bins`"),
        ("trees = 10000\nmax_depth = 16\nmax_leaves = 4096", "nodes"),
        ("treees = 3", "treees"),
    ] {
        let error = BoostedTrees::create(Settings::new(bad)).unwrap_err();
        assert_eq!(error.kind, PluginErrorKind::Settings);
        assert!(error.message.contains(says), "{error}");
    }
}

#[test]
fn a_tree_must_be_one() {
    let leaf = Shape::Leaf { value: 1.0 };
    let split = Shape::Split { feature: 1, threshold: 0.5, missing_right: true, expected: 1.0 };
    let with = |f: u16, t: f32, e: f32| Shape::Split { feature: f, threshold: t, missing_right: false, expected: e };
    let mut forest = Forest::new(2, 0.0).unwrap();
    assert!(forest.push(&[leaf]).is_ok());
    assert!(forest.push(&[split, leaf, leaf]).is_ok());
    assert!(forest.push(&[with(0, f32::INFINITY, 0.0), leaf, leaf]).is_ok());
    // Level by level, a chain of splits that each end on the left alternates leaves and splits.
    let chain = |depth: usize| -> Vec<Shape> {
        let middle = (1..depth).flat_map(|_| [leaf, split]);
        [split].into_iter().chain(middle).chain([leaf, leaf]).collect()
    };
    assert!(forest.push(&chain(MAX_DEPTH)).is_ok());
    let before = forest.len();
    for bad in [
        &[] as &[Shape],
        &[split],
        &[split, leaf],
        &[leaf, leaf],
        &[split, leaf, leaf, leaf],
        &[split, split, leaf, leaf],
        &[split; 9],
        &[with(2, 0.5, 0.0), leaf, leaf],
        &[with(0, f32::NAN, 0.0), leaf, leaf],
        &[with(0, f32::NEG_INFINITY, 0.0), leaf, leaf],
        &[with(0, 0.5, f32::INFINITY), leaf, leaf],
        &[Shape::Leaf { value: f32::NAN }],
        &vec![leaf; 9000],
        &chain(MAX_DEPTH + 1),
    ] {
        assert!(forest.push(bad).is_err(), "{bad:?}");
    }
    assert_eq!(forest.len(), before);
    assert!(Forest::new(0, 0.0).is_err());
    assert!(Forest::new(1 << 17, 0.0).is_err());
    assert!(Forest::new(1, f64::NAN).is_err());
}

/// The head of a weights file, then a row width, a base score and what follows.
fn forged(width: u32, base: f64, rest: &[u32]) -> Vec<u8> {
    let mut bytes = b"VWBT\x01".to_vec();
    bytes = postcard::to_extend(&(width, base), bytes).unwrap();
    for number in rest {
        bytes = postcard::to_extend(number, bytes).unwrap();
    }
    bytes
}

#[test]
fn refuses_hostile_weights() {
    let (mut trees, _) = small();
    let bytes = trees.save().unwrap();
    for length in 0..bytes.len() {
        assert!(trees.load(&bytes[..length]).is_err(), "cut at {length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    for bad in [
        longer,
        b"VWBT\x02".to_vec(),
        b"VWBX\x01".to_vec(),
        forged(u32::MAX, 0.0, &[0]),
        forged(0, 0.0, &[0]),
        forged(3, f64::NAN, &[0]),
        forged(3, 0.0, &[u32::MAX]),
        forged(3, 0.0, &[9_999]),
        forged(3, 0.0, &[1, u32::MAX, 0, 0, 0]),
        forged(3, 0.0, &[1, 8_000, 0, 0, 0]),
        forged(3, 0.0, &[1, 1, u32::MAX, 0, 0, 0, 0, 0, 0, 0, 0]),
        forged(3, 0.0, &[1, 0, 0, 0, 0, 0, 0]),
    ] {
        let error = trees.load(&bad).unwrap_err();
        assert_eq!(error.kind, PluginErrorKind::Data);
    }
    // A load that failed changes nothing.
    assert!(trees.save().unwrap() == bytes);
}

proptest! {
    #[test]
    fn junk_never_panics(head in any::<bool>(), junk in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = if head { forged(3, 0.0, &[]) } else { Vec::new() };
        bytes.extend(junk);
        survive(&bytes);
    }

    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut bytes = BYTES.get_or_init(|| small().0.save().unwrap()).clone();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        survive(&bytes);
    }
}

/// Loads, and if that worked uses what was loaded.
fn survive(bytes: &[u8]) {
    let mut trees = classifier("");
    if trees.load(bytes).is_ok() {
        let width = trees.model().unwrap().width();
        let row = vec![f32::NAN; width];
        assert!(scores(&trees, &Rows::new(&row, width))[0].is_finite());
        trees.explain(&row, &mut vec![0.0; width]).unwrap();
        assert!(trees.save().is_ok());
    }
}
