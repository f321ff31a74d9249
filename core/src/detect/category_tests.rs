use super::{Category, CategoryEvidence, NameKind, Named, Rule, Trust, categorise, is_unruly};
use crate::context::{BeaconSnapshot, ConversationSnapshot, ConversationTracker, SpreadSnapshot};
use crate::flow::{FlowLimits, FlowTable, Templates};
use crate::packet::Decoded;
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
    let trust = Trust::Confirmed;
    CategoryEvidence { name: Some(Named { kind: NameKind::Sni, name, trust, purpose }), ..alert() }
}

/// An alert of which nothing is known but that something was said to one computer.
fn alert() -> CategoryEvidence<'static> {
    CategoryEvidence {
        is_alert: true,
        is_unicast: true,
        has_payload: true,
        is_asking: true,
        spread_targets: 10,
        ..Default::default()
    }
}

fn beacon() -> ConversationSnapshot {
    let beacon =
        BeaconSnapshot { period: 60.0, missed: 0.0, rhythm: 0.95, confidence: 0.7, ..BeaconSnapshot::default() };
    ConversationSnapshot { earlier: 20, beacon, ..ConversationSnapshot::default() }
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
    let regular = beacon().beacon;
    for (beacon, is_one) in [
        (regular, true),
        // Eight gaps, and not seven.
        (BeaconSnapshot { confidence: 8.0 / 16.0, ..regular }, true),
        (BeaconSnapshot { confidence: 7.0 / 15.0, ..regular }, false),
        (BeaconSnapshot { period: 0.5, ..regular }, false),
        (BeaconSnapshot { rhythm: 0.6, ..regular }, false),
        (BeaconSnapshot { rhythm: f32::NAN, ..regular }, false),
        (BeaconSnapshot::default(), false),
    ] {
        let conversation = ConversationSnapshot { earlier: 20, beacon, ..ConversationSnapshot::default() };
        let found = said(&CategoryEvidence { conversation, ..named(b"u.example", None) }).unwrap();
        assert_eq!(found.1[0] == Rule::Beacon, is_one, "{beacon:?}");
    }
}

/// Flows that come by the clock, some of them not: a mean and a deviation of all gaps would see nothing regular.
#[test]
fn missed_beats_are_still_a_beacon() {
    let packet = Decoded {
        src: [1; 16],
        dst: [2; 16],
        src_port: 1,
        dst_port: 443,
        protocol: 17,
        lan: 0,
        ip_len: 38,
        payload_len: 10,
        tcp: None,
        payload: &[],
    };
    let mut tracker = ConversationTracker::new(10, 0);
    let last = [0, 60, 120, 240, 300, 360, 420, 540, 600, 660].map(|seconds: u64| {
        let mut table = FlowTable::new(FlowLimits::default(), 0);
        table.push(1, seconds * 1_000_000_000, &packet, &Templates::default());
        table.finish_all(0, &Templates::default());
        let mut flow = table.take_finished().remove(0);
        tracker.observe(&mut flow);
        flow.conversation
    });
    let conversation = last[9];
    assert!(conversation.gap_variation > 0.3, "{conversation:?}");
    let found = categorise(&CategoryEvidence { conversation, ..named(b"u.example", None) }).unwrap();
    assert_eq!(found.reasons[0].rule, Rule::Beacon, "{conversation:?}");
    assert!(found.reasons[0].words.contains("9 flows before this one, 60 seconds apart, 18 % of"), "{found:?}");
}

#[test]
fn a_clients_word_alone_is_weak_and_one_that_is_denied_is_none() {
    let asked = |trust, purpose| {
        let name = Some(Named { kind: NameKind::Sni, name: b"p.example", trust, purpose });
        let found = categorise(&CategoryEvidence { name, ..alert() }).unwrap();
        (found.category, found.reasons[0].rule, found.reasons[0].strength, found.reasons[0].words.clone())
    };
    let (category, rule, strength, words) = asked(Trust::Claimed, Some(&PASTES));
    assert_eq!((category, rule, strength), (Category::TrustedRelay, Rule::Named, Strength::Weak));
    assert!(words.ends_with("Only the client says that name."), "{words}");
    assert_eq!(asked(Trust::Confirmed, Some(&PASTES)).2, Strength::Strong);
    let (category, rule, _, words) = asked(Trust::Denied, Some(&PASTES));
    assert_eq!((category, rule), (Category::C2Direct, Rule::Unknown));
    assert!(words.contains("is not the server's"), "{words}");
}

#[test]
fn tls_at_a_port_of_worms_is_no_worm() {
    let at_smb = CategoryEvidence { port: Some(&SMB), is_tls: true, ..alert() };
    assert_eq!(said(&at_smb).unwrap(), (Category::C2Direct, vec![Rule::Address]));
    let tried = |targets| CategoryEvidence { spread: SpreadSnapshot { targets, failed: 0, seconds: 1 }, ..at_smb };
    assert_eq!([1, 2].map(|targets| said(&tried(targets)).unwrap().1[0]), [Rule::Address, Rule::Port]);
    let upgraded = CategoryEvidence { is_tls: false, is_upgraded: true, is_self_signed: true, ..at_smb };
    assert_eq!(said(&upgraded).unwrap(), (Category::WormPropagation, vec![Rule::Port]));
    // A certificate that vouches for itself says something where it is nothing usual.
    assert_eq!(said(&CategoryEvidence { is_self_signed: true, ..at_smb }).unwrap().1[0], Rule::SelfSigned);
    let mail = CategoryEvidence { is_upgraded: true, is_self_signed: true, ..named(b"m.example", None) };
    assert_eq!(said(&mail).unwrap().1, [Rule::Unknown]);
}

#[test]
fn where_names_are_not_seen_their_lack_says_little() {
    for (is_asking, strength, whole) in [(true, Strength::Strong, true), (false, Strength::Weak, false)] {
        let found = categorise(&CategoryEvidence { is_asking, ..alert() }).unwrap();
        assert_eq!((found.reasons[0].rule, found.reasons[0].strength), (Rule::Address, strength));
        assert_eq!(found.reasons[0].words.contains("none is known that led there"), whole);
    }
}

#[test]
fn words_hold_a_name_as_text() {
    let long = [b'a'; 300];
    let found = categorise(&named(&long, None)).unwrap();
    assert!(found.reasons[0].words.contains(&format!("{}…", "a".repeat(80))));
    let found = categorise(&named(b"\x1b[31m\xff.example", Some(&PASTES))).unwrap();
    assert_eq!(found.reasons[0].words, "the server name is `\\u{1b}[31m\u{fffd}.example`: what pastes is");
    let found = categorise(&named("\u{202e}a\u{2067}".as_bytes(), Some(&PASTES))).unwrap();
    assert_eq!(found.reasons[0].words, "the server name is `\\u{202e}a\\u{2067}`: what pastes is");
}

proptest! {
    /// Every alert is for something, its reasons say nothing else, and the first is the first rule that holds.
    #[test]
    fn every_alert_is_for_something(
        name in prop::option::of((
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                "[a\u{202e}\u{2066}\u{200e}\u{61c}\u{2029}\n.]{0,90}".prop_map(String::into_bytes),
            ],
            0..3_usize,
            prop::sample::select(&[Trust::Confirmed, Trust::Claimed, Trust::Denied][..]),
        )),
        flags in any::<[bool; 8]>(),
        (targets, failed, earlier) in (0..70_u32, any::<u32>(), 0..10_u32),
        (period, rhythm, missed) in (prop::num::f32::ANY, prop::num::f32::ANY, prop::num::f32::ANY),
    ) {
        let purposes: [Option<&Purpose>; 3] = [None, Some(&PASTES), Some(&PAGES)];
        let [has_port, is_self_signed, is_unicast, has_payload, is_alert, is_tls, is_upgraded, is_asking] = flags;
        let beacon = BeaconSnapshot { period, rhythm, missed, confidence: 0.7, ..BeaconSnapshot::default() };
        let evidence = CategoryEvidence {
            is_alert,
            name: name.as_ref().map(|(name, at, trust)| {
                Named { kind: NameKind::Host, name, trust: *trust, purpose: purposes[*at] }
            }),
            port: has_port.then_some(&*SMB),
            warnings: &[],
            spread: SpreadSnapshot { targets, failed, seconds: 1 },
            spread_targets: 10,
            conversation: ConversationSnapshot { earlier, beacon, ..ConversationSnapshot::default() },
            is_self_signed,
            is_tls,
            is_upgraded,
            is_asking,
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
            prop_assert!(found.reasons.iter().all(|reason| !reason.words.chars().any(is_unruly)));
        }
    }
}
