//! The audit on data made by hand: honest data passes, and each planted leak is found by the check that is for it.

use super::{Audit, Ending, Leak, Subject, audit};
use crate::evaluate::Steps;
use crate::evaluate::units::Outcome;
use crate::learn::metrics::SplitMix;
use crate::learn::{CaptureFacts, Copied, Dataset, Folds, Keys, Negatives, Recipe, Row, Truth, validate};
use crate::plugins::Registry;

/// A small one, so that the tests are quick.
pub(in super::super) const CLASSIFIER: (&str, &str) =
    ("classifier/boosted-trees", "trees = 15\nmax_depth = 3\nlearning_rate = 0.3\n");

/// Labelled rows made by hand.
pub(in super::super) struct Made {
    pub(in super::super) data: Dataset,
    pub(in super::super) columns: Vec<String>,
    random: SplitMix,
}

impl Made {
    fn normal(&mut self) -> f32 {
        let uniform = |random: &mut SplitMix| (random.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((0..12).map(|_| uniform(&mut self.random)).sum::<f64>() - 6.0) as f32
    }

    /// Two flows of a pair: three columns that malice moves, one that the place moves, one of noise.
    fn pair(&mut self, capture: usize, truth: Truth, server: u64) {
        let pair = self.data.rows.last().map_or(0, |row| row.pair + 1);
        let malice = if truth == Truth::Malicious { 1.7 } else { 0.0 };
        let place = if truth == Truth::Benign { 0.0 } else { 0.7 };
        for _ in 0..2 {
            let noise: [f32; 5] = std::array::from_fn(|_| self.normal());
            let [a, b, c, d, e] = noise;
            self.data.values.extend([a + malice, b + malice, c + malice, d + place, e]);
            let any = |random: &mut SplitMix, of: u64| Some(random.next() % of);
            let first_ns = 1_500_000_000_000_000_000 + self.random.next() % 100_000_000_000_000_000;
            let (sni, ja3) = (any(&mut self.random, 40), any(&mut self.random, 12));
            let (ja4, certificate) = (any(&mut self.random, 12), any(&mut self.random, 40));
            let keys = Keys { first_ns, version: 0x0303, server, sni, ja3, ja4, certificate };
            let family = &self.data.captures[capture].family;
            let kin = if truth == Truth::Malicious { vec![format!("family {family}")] } else { Vec::new() };
            self.data.rows.push(Row { capture, pair, truth, kin, packet: 1, keys });
        }
    }
}

/// Twelve families in two captures each, with benign flows of their own, and forty benign captures of two publishers.
pub(in super::super) fn made() -> Made {
    let columns = ["a", "b", "c", "place", "noise"].map(|name| format!("made.{name}")).to_vec();
    let mut made = Made { data: Dataset { width: 5, ..Dataset::default() }, columns, random: SplitMix(5) };
    for at in 0..64 {
        let (family, source) = if at < 24 {
            (format!("family{}", at / 2), "sandbox".to_owned())
        } else {
            (String::new(), format!("publisher{}", at % 2))
        };
        made.data.captures.push(CaptureFacts { path: format!("{at}.pcap"), family, source, ..CaptureFacts::default() });
        if at < 24 {
            (0..2).for_each(|_| {
                let server = 1000 + made.random.next();
                made.pair(at, Truth::Malicious, server);
            });
        }
        let truth = if at < 24 { Truth::Background } else { Truth::Benign };
        for _ in 0..4 {
            // Servers that several captures speak to.
            let server = SplitMix(made.random.next() % 30).next();
            made.pair(at, truth, server);
        }
    }
    made
}

fn audited(made: &Made, folds: &Folds) -> Audit {
    let registry = Registry::with_builtins().unwrap();
    let raw = validate::cross_validate(&registry, CLASSIFIER, &made.data, folds, 1, |_, _| ()).unwrap();
    let model = Outcome::new(&made.data, folds, raw);
    let subject = Subject {
        registry: &registry,
        classifier: CLASSIFIER,
        data: &made.data,
        columns: &made.columns,
        folds,
        model: &model,
        seed: 1,
        samples: 100,
        shuffles: 3,
    };
    audit(&subject, &mut Steps::new(&mut |_, _, _| ())).unwrap()
}

fn failures(audit: &Audit) -> Vec<(&str, &[String])> {
    let failed = audit.checks.iter().filter(|check| check.ending == Ending::Failed);
    failed.map(|check| (check.id, check.blame.as_slice())).collect()
}

#[test]
fn honest_data_passes() {
    let made = made();
    let audit = audited(&made, &Folds::by_family(&made.data, 1, 5));
    assert!(audit.passed, "{:#?}", audit.checks);
    let unmeasured: Vec<&str> =
        audit.checks.iter().filter(|check| check.ending == Ending::TooLittle).map(|check| check.id).collect();
    assert!(unmeasured.is_empty(), "{unmeasured:?}");
}

#[test]
fn planted_leaks_are_found() {
    for (leak, check) in
        [(Leak::Address, "server_constant"), (Leak::Capture, "capture_constant"), (Leak::Label, "single_label")]
    {
        let mut made = made();
        let column = leak.plant(&mut made.data);
        made.columns.push(column.clone());
        let audit = audited(&made, &Folds::by_family(&made.data, 1, 5));
        assert!(!audit.passed);
        let found = failures(&audit);
        let blame = found.iter().find(|(id, _)| *id == check).map(|(_, blame)| *blame);
        assert_eq!(blame, Some(&[column][..]), "{leak:?}: {found:?}");
    }
}

#[test]
fn a_constant_with_noise_is_a_constant() {
    let mut made = made();
    let column = Leak::Capture.plant(&mut made.data);
    made.columns.push(column.clone());
    for row in 0..made.data.rows.len() {
        let noise = made.normal();
        made.data.values[row * made.data.width + made.data.width - 1] += noise;
    }
    let audit = audited(&made, &Folds::by_family(&made.data, 1, 5));
    assert!(failures(&audit).contains(&("capture_constant", &[column][..])), "{:?}", failures(&audit));
}

#[test]
fn folds_that_split_captures_are_found() {
    // What is common to a capture's flows, too noisy to be a constant, can be learnt where captures are split.
    let mut made = made();
    for row in 0..made.data.rows.len() {
        let capture = made.data.rows[row].capture;
        let of_capture = SplitMix(capture as u64).next() % 1000;
        let noise = made.normal();
        let width = made.data.width;
        made.data.values[row * width + width - 1] = of_capture as f32 + noise;
    }
    let honest = audited(&made, &Folds::by_family(&made.data, 1, 5));
    assert!(!failures(&honest).iter().any(|(id, _)| *id == "label_shuffle"), "{:?}", honest.checks);
    let split = audited(&made, &Folds::by_flow(&made.data, 5));
    assert!(failures(&split).iter().any(|(id, _)| *id == "label_shuffle"), "{:?}", split.checks);
}

#[test]
fn a_list_of_certificates_can_do_as_well() {
    // Each family's servers show one certificate, in both of its captures: a list of certificates finds them all.
    let mut made = made();
    for at in 0..made.data.rows.len() {
        let row = &mut made.data.rows[at];
        if row.truth == Truth::Malicious {
            let certificate = 1000 + row.capture as u64 / 2;
            row.keys.certificate = Some(certificate);
            row.kin.push(format!("certificate {certificate}"));
        }
    }
    let audit = audited(&made, &Folds::by_family(&made.data, 1, 5));
    assert!(failures(&audit).iter().any(|(id, _)| *id == "lookup_certificate"), "{:#?}", audit.checks);
}

#[test]
fn what_a_recipe_leaves_out_does_not_end_the_audit() {
    // Where labels are others, no row is background any more: a recipe that learns from these alone would learn nothing.
    let mut made = made();
    made.data.set_recipe(Recipe { negatives: Negatives::Background, ..Recipe::default() });
    let audit = audited(&made, &Folds::by_family(&made.data, 1, 3));
    let ending = |id: &str| audit.checks.iter().find(|check| check.id == id).map(|check| check.ending);
    assert_eq!(ending("label_shuffle"), Some(Ending::Passed));
    assert_eq!(ending("place_probe"), Some(Ending::Told));
}

#[test]
fn copies_are_learnt_from_under_permuted_labels_too() {
    let mut made = made();
    made.data.copies = vec![Copied { row: 3, values: vec![0.0; 5] }];
    let (flags, _) = super::shuffle::flags(&made.data);
    let permuted = super::shuffle::permuted(&made.data, &flags, 1);
    assert_eq!(permuted.copies, made.data.copies);
    assert_ne!(
        permuted.rows.iter().map(|row| row.truth).collect::<Vec<_>>(),
        made.data.rows.iter().map(|row| row.truth).collect::<Vec<_>>()
    );
}

#[test]
fn without_key_checks_there_is_no_headline() {
    let mut made = made();
    // Four captures with malicious flows are too few to permute labels.
    made.data.rows.iter_mut().filter(|row| row.capture >= 4 && row.truth == Truth::Malicious).for_each(|row| {
        row.truth = Truth::Background;
        row.kin.clear();
    });
    let audit = audited(&made, &Folds::by_family(&made.data, 1, 2));
    assert!(!audit.measured);
    let why: Vec<String> = audit.checks.iter().filter_map(super::Check::withholds).collect();
    assert!(why.iter().any(|why| why.starts_with("label_shuffle: not measured")), "{why:?}");
}
