use super::*;
use crate::detect::Category;
use proptest::prelude::*;

fn place(line: u32) -> Place {
    Place { file: "test.toml".into(), line }
}

fn number(first: u16, last: u16, name: &str) -> NumberEntry {
    NumberEntry { first, last, name: name.into(), words: "words".into(), place: place(u32::from(first)) }
}

fn file(id: &str, bytes: &[&str]) -> FileType {
    FileType {
        id: id.into(),
        name: id.into(),
        media: "a/b".into(),
        extensions: Vec::new(),
        signatures: bytes.iter().map(|text| Signature::parse(text).unwrap()).collect(),
        place: place(1),
    }
}

fn warning(id: &str, severity: Severity) -> Warning {
    Warning {
        id: id.into(),
        severity,
        words: "why".into(),
        look: "what".into(),
        category: None,
        transport: None,
        ports: Vec::new(),
        names: Vec::new(),
        bytes: Vec::new(),
        place: place(1),
    }
}

const NOTHING: Facts<'static> = Facts { transport: Transport::Tcp, port: 1, name: b"", bytes: b"" };

#[test]
fn the_narrowest_range_names_a_number() {
    let mut builder = TablesBuilder::new();
    builder.number(Table::Port, number(0, 65_535, "all"));
    builder.number(Table::Port, number(100, 200, "hundreds"));
    builder.number(Table::Port, number(150, 150, "middle"));
    builder.number(Table::Tcp, number(151, 151, "own"));
    let tables = builder.build();
    for (port, name) in [(0, "all"), (99, "all"), (100, "hundreds"), (149, "hundreds"), (150, "middle")] {
        assert_eq!(tables.service_name(Transport::Tcp, port), Some(name), "{port}");
    }
    assert_eq!(tables.service_name(Transport::Tcp, 151), Some("own"));
    assert_eq!(tables.service_name(Transport::Udp, 151), Some("hundreds"));
    assert_eq!(tables.service_name(Transport::Other, 151), Some("hundreds"));
    assert_eq!(tables.service_name(Transport::Tcp, 65_535), Some("all"));
    assert!(tables.conflicts().is_empty());
    assert_eq!(tables.ether(100), None);
}

#[test]
fn later_entries_win_and_conflicts_are_told() {
    let mut builder = TablesBuilder::new();
    builder.number(Table::Tcp, number(22, 22, "ssh"));
    builder.number(Table::Tcp, number(22, 22, "ssh"));
    builder.number(Table::Tcp, number(22, 22, "mine"));
    builder.number(Table::Port, number(22, 22, "hidden"));
    builder.number(Table::Udp, number(10, 20, "low"));
    builder.number(Table::Udp, number(15, 25, "high"));
    builder.number(Table::Ip, number(9, 9, "gone"));
    assert!(builder.remove_number(Table::Ip, PortRange { first: 9, last: 9 }, place(77)));
    assert!(!builder.remove_number(Table::Ip, PortRange { first: 9, last: 9 }, place(77)));
    builder.file(file("a", &["0: 01 02 03"]));
    builder.file(file("b", &["0: 01 02 03"]));
    let tables = builder.build();
    assert_eq!(tables.service_name(Transport::Tcp, 22), Some("mine"));
    assert_eq!(tables.service_name(Transport::Udp, 17), Some("high"), "equally wide: the later one");
    assert_eq!(tables.protocol_name(9), None);
    assert_eq!(&*tables.file_type(&[1, 2, 3]).unwrap().id, "b");
    let kinds: Vec<ConflictKind> = tables.conflicts().iter().map(|conflict| conflict.kind).collect();
    use ConflictKind::{Hides, Overlaps, Removes, Replaces, SameBytes};
    assert_eq!(kinds, [Replaces, Removes, Overlaps, Hides, SameBytes]);
    let first = tables.conflicts()[0].to_string();
    assert_eq!(first, "test.toml:22: `22` of [tcp] replaces `ssh` (test.toml:22)");
}

#[test]
fn the_signature_that_says_most_wins() {
    let mut builder = TablesBuilder::new();
    builder.file(file("zip", &["0: 'PK' 03 04"]));
    builder.file(file("jar", &["0: 'PK' 03 04, 6: 'META'"]));
    builder.file(file("gaps", &["2: 03 .. 05"]));
    let tables = builder.build();
    let kind = |bytes: &[u8]| tables.file_type(bytes).map(|found| found.id.to_string());
    assert_eq!(kind(b"PK\x03\x04").as_deref(), Some("zip"));
    assert_eq!(kind(b"PK\x03\x04..META").as_deref(), Some("jar"));
    assert_eq!(kind(b"PK\x03\x04..MET").as_deref(), Some("zip"));
    assert_eq!(kind(b"xx\x03\xff\x05").as_deref(), Some("gaps"));
    assert_eq!(kind(b"PK"), None);
    assert_eq!(kind(b""), None);
}

#[test]
fn signatures_are_read_or_refused_with_a_reason() {
    let good = Signature::parse("8: 'WAVE', 0: 52 49 .. 46").unwrap();
    assert!(good.matches(b"RIxF....WAVE") && !good.matches(b"RIxF....WAVe"));
    assert_eq!(good.fixed(), 7);
    let anywhere = Signature::parse("any: 'needle'").unwrap();
    let mut hay = vec![b'.'; FLOATING_REACH];
    hay.truncate(FLOATING_REACH - 6);
    hay.extend(b"needle");
    assert!(anywhere.matches(&hay));
    hay.insert(0, b'.');
    assert!(!anywhere.matches(&hay), "past the reach");
    let long = format!("0: {}", "61 ".repeat(PART_BYTES + 1));
    let text = format!("0: '{}'", "a".repeat(PART_BYTES + 1));
    let many = ["0: 61 61"; PATTERN_PARTS + 1].join(", ");
    for (bad, why) in [
        ("", "say where"),
        ("61 62", "say where"),
        ("x: 61 62", "no place"),
        ("-1: 61 62", "no place"),
        ("0: 6", "no byte"),
        ("0: zz 61", "no byte"),
        ("0: +1 61", "no byte"),
        ("0: é 61", "no byte"),
        ("0: 'abc", "no closing"),
        ("0:", "must begin"),
        ("0: .. 61 62", "must begin"),
        ("0: 61", "at least 2"),
        ("0: 61 .. ..", "at least 2"),
        ("65535: 61 62", "at most 65536"),
        ("4294967296: 61 62", "no place"),
        (long.as_str(), "at most 128"),
        (text.as_str(), "at most 128"),
        (many.as_str(), "more than 8"),
    ] {
        let error = Signature::parse(bad).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn names_fit_with_their_dots() {
    let under = NamePattern::parse("*.Onion").unwrap();
    assert!(under.matches(b"abc.onion") && under.matches(b"a.b.ONION."));
    assert!(!under.matches(b"onion") && !under.matches(b"abconion") && !under.matches(b".onion"));
    let exact = NamePattern::parse("api.example").unwrap();
    assert!(exact.matches(b"API.example") && !exact.matches(b"x.api.example"));
    for bad in ["", "*.", "*", "a..b", "a b", "a*.b", ".a", "\u{e9}.example"] {
        assert_eq!(NamePattern::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_warning_wants_each_kind_it_names() {
    let mut builder = TablesBuilder::new();
    builder.warning(Warning {
        transport: Some(Transport::Tcp),
        ports: vec![PortRange { first: 5, last: 9 }, PortRange { first: 7, last: 7 }],
        bytes: vec![Signature::parse("0: 'ab'").unwrap(), Signature::parse("any: 'cd'").unwrap()],
        ..warning("both", Severity::Low)
    });
    let names = ["*.example", "www.example"].map(|name| NamePattern::parse(name).unwrap());
    builder.warning(Warning { names: names.into(), ..warning("name", Severity::High) });
    builder.warning(Warning {
        bytes: vec![Signature::parse("0: 'ab'").unwrap(), Signature::parse("any: 'b.'").unwrap()],
        ..warning("bytes", Severity::Medium)
    });
    builder.warning(warning("nothing", Severity::High));
    let tables = builder.build();
    let ids = |facts: Facts<'_>| -> Vec<String> { tables.warnings(&facts).iter().map(|w| w.id.to_string()).collect() };
    assert!(ids(NOTHING).is_empty());
    assert_eq!(ids(Facts { port: 7, bytes: b"ab.", name: b"www.EXAMPLE", ..NOTHING }), ["name", "bytes", "both"]);
    assert_eq!(ids(Facts { port: 9, bytes: b"xxcd", ..NOTHING }), ["both"]);
    assert!(ids(Facts { port: 9, bytes: b"xx", ..NOTHING }).is_empty());
    assert!(ids(Facts { port: 10, bytes: b"xxcd", ..NOTHING }).is_empty());
    assert!(ids(Facts { transport: Transport::Udp, port: 9, bytes: b"xxcd", ..NOTHING }).is_empty());
    assert_eq!(ids(Facts { name: b"deep.er.example.", ..NOTHING }), ["name"]);
    assert!(ids(Facts { name: b"example", ..NOTHING }).is_empty());
}

proptest! {
    #[test]
    fn any_text_is_a_signature_or_an_error(text in "([0-9a-f.]{2}|any|[0-9]{1,6}|[ :,']|\\PC){0,40}") {
        if let Ok(signature) = Signature::parse(&text) {
            prop_assert!(signature.fixed() >= 2);
        }
    }

    /// The indices find what trying every entry finds.
    #[test]
    fn looking_up_is_trying_all(
        bytes in prop::collection::vec(0_u8..4, 0..12),
        name in "[ab.]{0,9}",
        port in 0_u16..6,
        udp in any::<bool>(),
        signatures in prop::collection::vec((0_u32..4, prop::collection::vec(0_u8..4, 2..4)), 1..8),
        ranges in prop::collection::vec((0_u16..6, 0_u16..3), 1..8),
    ) {
        let mut builder = TablesBuilder::new();
        for (at, (offset, want)) in signatures.iter().enumerate() {
            let hex: Vec<String> = want.iter().map(|byte| format!("{byte:02x}")).collect();
            let place = if at % 3 == 2 { "any".to_owned() } else { offset.to_string() };
            let text = format!("{place}: {}", hex.join(" "));
            let signature = Signature::parse(&text).unwrap();
            builder.warning(Warning { bytes: vec![signature], ..warning(&format!("b{at}"), Severity::Low) });
            if at % 3 != 2 {
                builder.file(file(&format!("f{at}"), &[&text]));
            }
        }
        for (at, (first, more)) in ranges.iter().enumerate() {
            let last = first + more;
            builder.number(Table::Udp, number(*first, last, &format!("r{at}")));
            let ports = vec![PortRange { first: *first, last }];
            let transport = (at % 2 == 0).then_some(Transport::Udp);
            builder.warning(Warning { ports, transport, ..warning(&format!("p{at}"), Severity::High) });
        }
        for text in ["a", "*.a", "*.b.a", "a.b"] {
            let names = vec![NamePattern::parse(text).unwrap()];
            builder.warning(Warning { names, ..warning(&text.replace('*', "x"), Severity::Medium) });
        }
        let tables = builder.build();
        let transport = if udp { Transport::Udp } else { Transport::Tcp };
        let facts = Facts { transport, port, name: name.as_bytes(), bytes: &bytes };
        let all: Vec<&Warning> = tables.warn().iter().filter(|warning| warning.fits(&facts)).collect();
        prop_assert_eq!(tables.warnings(&facts), all);
        let best = tables.files().iter().flat_map(|kind| &kind.signatures).filter(|s| s.matches(&bytes));
        let found = tables.file_type(&bytes).map(|kind| kind.signatures[0].fixed());
        prop_assert_eq!(found, best.map(Signature::fixed).max());
        let holding = tables.numbers(Table::Udp).iter().filter(|entry| (entry.first..=entry.last).contains(&port));
        let narrowest = holding.map(|entry| entry.last - entry.first).min();
        prop_assert_eq!(tables.number(Table::Udp, port).map(|entry| entry.last - entry.first), narrowest);
    }
}

fn purpose(id: &str, names: &[&str], strength: Strength) -> Purpose {
    Purpose {
        id: id.into(),
        category: Category::TrustedRelay,
        strength,
        words: "words".into(),
        transport: None,
        ports: Vec::new(),
        names: names.iter().map(|name| NamePattern::parse(name).unwrap()).collect(),
        agents: Vec::new(),
        place: place(1),
    }
}

#[test]
fn the_purpose_that_names_most_counts() {
    let mut builder = TablesBuilder::new();
    builder.purpose(purpose("wide", &["*.example"], Strength::Strong));
    builder.purpose(purpose("narrow", &["*.docs.example", "docs.example"], Strength::Weak));
    builder.purpose(purpose("own", &["*.docs.example"], Strength::Strong));
    builder.purpose(Purpose {
        agents: vec!["Updater/".into()],
        ..purpose("program", &["*.docs.example", "a.docs.example"], Strength::Strong)
    });
    builder.purpose(Purpose {
        ports: vec![PortRange { first: 80, last: 80 }],
        ..purpose("port", &["b.example"], Strength::Strong)
    });
    let tables = builder.build();
    let find = |name: &str, agent: &str, port| {
        let asked = Asked { transport: Transport::Tcp, port, name: name.as_bytes(), agent: agent.as_bytes() };
        tables.purpose_of_name(&asked).map(|found| found.id.to_string())
    };
    assert_eq!(find("x.example", "", 443).as_deref(), Some("wide"));
    assert_eq!(find("DOCS.example.", "", 443).as_deref(), Some("narrow"));
    assert_eq!(find("x.docs.example", "", 443).as_deref(), Some("own"), "of two that name as much, the strong one");
    assert_eq!(find("a.docs.example", "updater/1.0", 443).as_deref(), Some("program"));
    assert_eq!(find("a.docs.example", "Updat", 443).as_deref(), Some("own"));
    assert_eq!(
        [find("b.example", "", 80).as_deref(), find("b.example", "", 81).as_deref()],
        [Some("port"), Some("wide")]
    );
    assert_eq!([find("example", "", 443), find("", "", 443), find("other", "", 443)], [None, None, None]);
}

#[test]
fn purposes_of_ports_are_those_without_names() {
    let at = |id: &str, transport, first, last| Purpose {
        transport: Some(transport),
        ports: vec![PortRange { first, last }],
        ..purpose(id, &[], Strength::Weak)
    };
    let mut builder = TablesBuilder::new();
    builder.purpose(at("smb", Transport::Tcp, 445, 445));
    builder.purpose(at("high", Transport::Udp, 65_500, u16::MAX));
    builder.purpose(Purpose {
        ports: vec![PortRange { first: 1, last: 2 }],
        ..purpose("name", &["a.example"], Strength::Weak)
    });
    builder.purpose(purpose("gone", &["b.example"], Strength::Weak));
    assert!(
        builder.remove_id(Table::Purpose, "gone", place(9)) && !builder.remove_id(Table::Purpose, "gone", place(9))
    );
    let tables = builder.build();
    assert_eq!(tables.len(Table::Purpose), 3);
    let found = |transport, port| tables.purpose_of_port(transport, port).map(|(at, found)| (at, &*found.id));
    assert_eq!(found(Transport::Tcp, 445), Some((2, "smb")));
    assert_eq!(tables.purposes()[2].id, "smb".into());
    assert_eq!([found(Transport::Udp, 445), found(Transport::Tcp, 444), found(Transport::Tcp, 1)], [None; 3]);
    assert_eq!([65_499, 65_500, u16::MAX].map(|port| found(Transport::Udp, port).is_some()), [false, true, true]);
    assert!(Tables::default().purpose_of_port(Transport::Tcp, 445).is_none());
}
