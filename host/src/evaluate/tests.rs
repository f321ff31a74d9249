//! The whole of it on the data that the audit's tests made: what stands in the report, and under which names.

use super::audit::tests::{CLASSIFIER, made};
use super::units::{Level, Negatives};
use super::{Bench, Judgement, Leak, Plan, Steps, judge, report};
use crate::plugins::Registry;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::OnceLock;

fn judged(plan: Plan, leak: Option<Leak>) -> Judgement {
    let mut made = made();
    // What an attacker may have named.
    made.data.captures[0].path = "<script>alert(1)</script>\u{202e}.pcap".into();
    made.data.captures[0].family = "</title><img src=x>".into();
    made.data.captures[1].family = made.data.captures[0].family.clone();
    made.columns.extend(leak.map(|leak| leak.plant(&mut made.data)));
    let registry = Registry::with_builtins().unwrap();
    let (data, columns) = (&made.data, made.columns.as_slice());
    let bench = Bench {
        registry: &registry,
        classifier: CLASSIFIER,
        data,
        set: "made",
        columns,
        schema_sha256: "00",
        sets: &[],
        altered: &[],
        plan,
    };
    judge(&bench, &mut Steps::new(&mut |_, _, _| ())).unwrap()
}

const QUICK: Plan = Plan { seed: 1, quick: true, table_only: false, own_table: false, planted: false };

/// A quick one that tests share, because it takes its time.
fn quick() -> &'static Judgement {
    static ONCE: OnceLock<Judgement> = OnceLock::new();
    ONCE.get_or_init(|| judged(QUICK, None))
}

/// Names of all keys, with the way to them; lists count once.
fn names(value: &Value, way: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            let way = format!("{way}.{key}");
            names(value, &way, into);
            into.insert(way);
        }),
        Value::Array(list) => list.iter().for_each(|value| names(value, &format!("{way}[]"), into)),
        _ => {}
    }
}

#[test]
fn a_report_is_whole_and_its_names_stay() {
    let judgement = quick();
    assert!(judgement.passed() && judgement.withheld.is_empty(), "{:?}", judgement.withheld);
    let headline = judgement.headline.as_ref().unwrap();
    let precision = headline.average_precision;
    assert!(precision.value > 0.6 && precision.low <= precision.value && precision.value <= precision.high);
    let json = serde_json::to_value(judgement).unwrap();
    let mut found = BTreeSet::new();
    names(&json, "", &mut found);
    let found: Vec<String> = found.into_iter().map(|name| format!("{name}\n")).collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/evaluation-names.txt");
    veilwatch_testkit::golden::golden(golden, &found.concat());
    assert_eq!(json["variants"]["count"], json["variants"]["names"].as_array().unwrap().len());
    // The same again, to the byte.
    assert_eq!(json, serde_json::to_value(judged(QUICK, None)).unwrap());
}

#[test]
fn a_leak_withholds_the_headline_everywhere() {
    let judgement = judged(QUICK, Some(Leak::Label));
    assert!(!judgement.passed() && judgement.headline.is_none());
    let json = serde_json::to_value(&judgement).unwrap();
    assert!(json["headline"].is_null() && json["report"].is_null() && json["curves"].is_null());
    assert_eq!(json["baseline"].as_array().unwrap().len(), 0);
    assert!(json["withheld"][0].as_str().unwrap().contains("planted.label"), "{}", json["withheld"]);
    for shown in [report::text(&judgement), report::html(&judgement).unwrap()] {
        assert!(shown.contains("headline is withheld") && shown.contains("planted.label"), "{shown}");
        assert!(shown.contains("not to be quoted") && !shown.contains("<svg"), "{shown}");
        assert!(!shown.contains("by (capture, server) pair, never seen in training"), "{shown}");
    }
}

#[test]
fn a_page_is_one_file_and_nobodys_markup() {
    let page = report::html(quick()).unwrap();
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") || page.contains("&lt;/title&gt;&lt;img src=x&gt;"));
    // Nothing from elsewhere: the only address is the name of SVG.
    assert_eq!(page.matches("://").count(), page.matches("http://www.w3.org/2000/svg").count());
    let pictures = page.matches("<svg ").count();
    assert!(pictures >= 5, "{pictures}");
    assert_eq!(page.matches("<svg role=\"img\" ").count(), pictures);
    assert_eq!(page.matches("</title><desc>").count(), pictures);
}

#[test]
fn the_table_alone_has_every_classifier() {
    let judgement = judged(Plan { table_only: true, ..QUICK }, None);
    let registry = Registry::with_builtins().unwrap();
    let there = registry.manifests().filter(|(manifest, _)| manifest.path().starts_with("classifier/")).count();
    assert_eq!(judgement.table.len(), there);
    assert!(judgement.audit.is_none() && judgement.headline.is_none() && judgement.passed());
}

/// Beside the highest score and the mean stands what detection makes of flows together, by pair and by capture.
#[test]
fn what_is_put_together_is_counted_by_pair_and_by_capture() {
    let family = &quick().protocols[0];
    let count =
        |level, negatives| family.figures(level, negatives).map(|figures| (figures.malicious, figures.negatives));
    assert_eq!(count(Level::Pair, Negatives::Both), Some((48, 256)));
    assert_eq!(count(Level::Conversation, Negatives::Both), Some((48, 256)));
    for level in [Level::Capture, Level::CaptureHighest] {
        // Captures of malware count as malicious with all that is in them, and have no benign side of their own.
        assert_eq!(count(level, Negatives::Benign), Some((24, 40)));
        assert_eq!(count(level, Negatives::Both), Some((24, 40)));
        assert_eq!(count(level, Negatives::Background), None);
    }
    let precision = |level| family.figures(level, Negatives::Benign).unwrap().average_precision.value;
    assert!((precision(Level::Conversation) - precision(Level::Pair)).abs() < 0.1);
    assert!(precision(Level::Capture) > 0.7 && precision(Level::Capture) > precision(Level::Conversation) - 0.1);
}
