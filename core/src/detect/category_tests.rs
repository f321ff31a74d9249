use super::{Category, CategoryEvidence, NameKind, Named, Rule, categorise};
use crate::context::{ConversationSnapshot, SpreadSnapshot};
use crate::tables::{Place, Purpose, Severity, Strength, Warning};
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use std::sync::LazyLock;

fn place() -> Place {
    Place { file: "test.toml".into(), line: 1 }
}

fn purpose(id: &str, category: Category, strength: Strength) -> Purpose {
    Purpose {
        id: id.into(),
        category,
        strength,
        words: format!("what {id} is").into(),
        transport: None,
        ports: Vec::new(),
        names: Vec::new(),
        agents: Vec::new(),
        place: place(),
    }
}

fn warning(id: &str, severity: Severity, category: Option<Category>) -> Warning {
    Warning {
        id: id.into(),
        severity,
        words: format!("why {id}").into(),
        look: "there".into(),
        category,
        transport: None,
        ports: Vec::new(),
        names: Vec::new(),
        bytes: Vec::new(),
        place: place(),
    }
}

static PASTES: LazyLock<Purpose> = LazyLock::new(|| purpose("pastes", Category::TrustedRelay, Strength::Strong));
static PAGES: LazyLock<Purpose> = LazyLock::new(|| purpose("pages", Category::ConnectivityCheck, Strength::Weak));
static SMB: LazyLock<Purpose> = LazyLock::new(|| purpose("smb", Category::WormPropagation, Strength::Weak));

/// An alert at a server that is asked for by this name.
fn named<'a>(name: &'a [u8], purpose: Option<&'a Purpose>) -> CategoryEvidence<'a> {
    CategoryEvidence { name: Some(Named { kind: NameKind::Sni, name, purpose }), ..alert() }
}

/// An alert of which nothing is known but that something was said to one computer.
fn alert() -> CategoryEvidence<'static> {
    CategoryEvidence { is_alert: true, is_unicast: true, has_payload: true, spread_targets: 10, ..Default::default() }
}

fn beacon() -> ConversationSnapshot {
    ConversationSnapshot { earlier: 20, gap_mean: 60.0, gap_variation: 0.1, ..ConversationSnapshot::default() }
}

/// The category, and the rules behind it.
fn said(evidence: &CategoryEvidence<'_>) -> Option<(Category, Vec<Rule>)> {
    let said = categorise(evidence)?;
    Some((said.category, said.reasons.iter().map(|reason| reason.rule).collect()))
}

#[test]
fn names_have_their_way_back() {
    for category in Category::ALL {
        assert_eq!(Category::from_name(category.name()), Some(category));
        let text: StrDeserializer<'_, Error> = category.name().into_deserializer();
        assert_eq!(Category::deserialize(text), Ok(category));
    }
    assert_eq!(Category::from_name("c2"), None);
}

#[test]
fn each_rule_decides_where_those_before_it_do_not() {
    use Category::{C2Direct, ConnectivityCheck, Other, TrustedRelay, WormPropagation};
    let spread = SpreadSnapshot { targets: 10, failed: 5, seconds: 7 };
    let bot = warning("bot", Severity::Low, Some(WormPropagation));
    let quiet = warning("quiet", Severity::High, None);
    for (evidence, category, rule) in [
        (
            CategoryEvidence { warnings: &[&quiet, &bot], ..named(b"p.example", Some(&PASTES)) },
            WormPropagation,
            Rule::Warned,
        ),
        (
            CategoryEvidence { port: Some(&SMB), spread, ..named(b"p.example", Some(&PASTES)) },
            WormPropagation,
            Rule::Spread,
        ),
        (CategoryEvidence { is_self_signed: true, ..named(b"p.example", Some(&PASTES)) }, C2Direct, Rule::SelfSigned),
        (CategoryEvidence { port: Some(&SMB), ..named(b"p.example", Some(&PASTES)) }, TrustedRelay, Rule::Named),
        (CategoryEvidence { port: Some(&SMB), ..named(b"w.example", Some(&PAGES)) }, WormPropagation, Rule::Port),
        (alert(), C2Direct, Rule::Address),
        (
            CategoryEvidence { conversation: beacon(), ..named(b"w.example", Some(&PAGES)) },
            ConnectivityCheck,
            Rule::WeaklyNamed,
        ),
        (CategoryEvidence { conversation: beacon(), ..named(b"u.example", None) }, C2Direct, Rule::Beacon),
        (named(b"u.example", None), C2Direct, Rule::Unknown),
        (CategoryEvidence { is_unicast: false, ..alert() }, Other, Rule::Nothing),
        (CategoryEvidence { has_payload: false, ..alert() }, Other, Rule::Nothing),
        (CategoryEvidence { has_payload: false, ..named(b"u.example", None) }, Other, Rule::Nothing),
    ] {
        let (found, rules) = said(&evidence).unwrap();
        assert_eq!((found, rules[0]), (category, rule));
    }
}

#[test]
fn what_says_the_same_is_a_further_reason() {
    let evidence = CategoryEvidence { is_self_signed: true, conversation: beacon(), ..alert() };
    assert_eq!(said(&evidence).unwrap().1, [Rule::SelfSigned, Rule::Address, Rule::Beacon]);
    // A name that nobody knows is none beside others.
    let evidence = CategoryEvidence { conversation: beacon(), ..named(b"u.example", None) };
    assert_eq!(said(&evidence).unwrap().1, [Rule::Beacon]);
}

#[test]
fn flows_that_are_no_alerts_have_one_where_something_else_speaks() {
    let nothing = CategoryEvidence { is_alert: false, conversation: beacon(), ..named(b"p.example", Some(&PASTES)) };
    assert_eq!(categorise(&nothing), None);
    let spread = |targets, failed| {
        let spread = SpreadSnapshot { targets, failed, seconds: 1 };
        said(&CategoryEvidence { is_alert: false, port: Some(&SMB), spread, ..alert() }).map(|(category, _)| category)
    };
    let worm = Some(Category::WormPropagation);
    assert_eq!([spread(9, 9), spread(10, 5), spread(10, 4), spread(64, 0)], [None, worm, None, None]);
    let warned = |severity, category| {
        let warning = warning("bytes", severity, category);
        said(&CategoryEvidence { is_alert: false, warnings: &[&warning], ..alert() }).map(|(category, _)| category)
    };
    assert_eq!(warned(Severity::High, worm), worm);
    assert_eq!([warned(Severity::Medium, worm), warned(Severity::High, None)], [None, None]);
}

#[test]
fn an_alert_spreads_though_all_answer() {
    let spread = SpreadSnapshot { targets: 12, failed: 0, seconds: 30 };
    let found = categorise(&CategoryEvidence { port: Some(&SMB), spread, ..alert() }).unwrap();
    assert_eq!((found.category, found.reasons[0].rule), (Category::WormPropagation, Rule::Spread));
    assert!(found.reasons[0].words.contains("12 addresses there within 30 seconds, and 0 of them"), "{found:?}");
    assert_eq!(found.reasons[0].entry.as_deref(), Some("smb"));
}

#[test]
fn irregular_times_are_no_beacon() {
    let regular = beacon();
    for (conversation, is_one) in [
        (regular, true),
        (ConversationSnapshot { earlier: 3, ..regular }, false),
        (ConversationSnapshot { gap_mean: 0.5, ..regular }, false),
        (ConversationSnapshot { gap_variation: 0.9, ..regular }, false),
        (ConversationSnapshot { gap_variation: f64::NAN, ..regular }, false),
        (ConversationSnapshot { gap_mean: f64::NAN, ..regular }, false),
    ] {
        let found = said(&CategoryEvidence { conversation, ..named(b"u.example", None) }).unwrap();
        assert_eq!(found.1[0] == Rule::Beacon, is_one, "{conversation:?}");
    }
}

#[test]
fn words_hold_a_name_as_text() {
    let long = [b'a'; 300];
    let found = categorise(&named(&long, None)).unwrap();
    assert!(found.reasons[0].words.contains(&format!("{}…", "a".repeat(80))));
    let found = categorise(&named(b"\x1b[31m\xff.example", Some(&PASTES))).unwrap();
    assert_eq!(found.reasons[0].words, "the server name is `[31m\u{fffd}.example`: what pastes is");
}

proptest! {
    /// Every alert is for something, its reasons say nothing else, and the first is the first rule that holds.
    #[test]
    fn every_alert_is_for_something(
        name in prop::option::of((prop::collection::vec(any::<u8>(), 0..100), 0..3_usize)),
        flags in any::<[bool; 5]>(),
        (targets, failed, earlier) in (0..70_u32, any::<u32>(), 0..10_u32),
        (gap_mean, gap_variation) in (prop::num::f64::ANY, prop::num::f64::ANY),
    ) {
        let purposes: [Option<&Purpose>; 3] = [None, Some(&PASTES), Some(&PAGES)];
        let [has_port, is_self_signed, is_unicast, has_payload, is_alert] = flags;
        let evidence = CategoryEvidence {
            is_alert,
            name: name.as_ref().map(|(name, at)| Named { kind: NameKind::Host, name, purpose: purposes[*at] }),
            port: has_port.then_some(&*SMB),
            warnings: &[],
            spread: SpreadSnapshot { targets, failed, seconds: 1 },
            spread_targets: 10,
            conversation: ConversationSnapshot { earlier, gap_mean, gap_variation, ..ConversationSnapshot::default() },
            is_self_signed,
            is_unicast,
            has_payload,
        };
        let found = categorise(&evidence);
        prop_assert!(found.is_some() || !is_alert);
        if let Some(found) = found {
            let places: Vec<usize> = found
                .reasons
                .iter()
                .map(|reason| Rule::ALL.iter().position(|rule| *rule == reason.rule).unwrap())
                .collect();
            prop_assert!(places.is_sorted() && !places.is_empty());
            prop_assert!(found.reasons.iter().all(|reason| !reason.words.chars().any(char::is_control)));
        }
    }
}
