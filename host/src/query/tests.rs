use super::*;
use crate::config::Config;
use crate::engine::Pipeline;
use crate::packets::PacketView;
use crate::plugins::Registry;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_core::packet::dissect::{Datum, PacketNode, PacketTree};
use veilwatch_core::packet::{LinkType, Packet};

/// The fields of the pipeline with every protocol.
fn fields() -> &'static Fields {
    static FIELDS: OnceLock<Fields> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let config = Config::load("protocols".as_ref()).unwrap();
        Fields::of(&Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap())
    })
}

/// What is wrong with an expression about packets, and the part of it that is marked.
fn wrong(text: &str) -> (String, &str) {
    let error = PacketQuery::new(text, fields()).unwrap_err();
    (error.what().to_owned(), &text[error.place()])
}

/// Holds an expression about packets to an error with these words at this part.
#[track_caller]
fn refused(text: &str, part: &str, words: &str) {
    let (what, marked) = wrong(text);
    assert!(what.contains(words), "`{text}`: {what}");
    assert_eq!(marked, part, "`{text}`: {what}");
}

#[test]
fn an_expression_is_printed_in_one_way() {
    for (text, printed) in [
        ("tcp.port==443", "tcp.port == 443"),
        ("tcp and not udp or ip", "tcp && !udp || ip"),
        ("tcp && (udp || ip)", "tcp && (udp || ip)"),
        ("(tcp && udp) && ip", "(tcp && udp) && ip"),
        ("((tcp))", "tcp"),
        ("!(tcp || udp)", "!(tcp || udp)"),
        ("not not tcp", "!!tcp"),
        ("tcp.port in {1,2 , 5..9}", "tcp.port in {1, 2, 5..9}"),
        ("tcp.port not in {80}", "!tcp.port in {80}"),
        ("ip.dst in 10.0.0.0/8", "ip.dst in {10.0.0.0/8}"),
        ("lower( http.host ) eq \"a\\x62\"", "lower(http.host) == \"ab\""),
        ("http.host ~ r\"\\d+\\.\"", "http.host matches \"\\\\d+\\\\.\""),
        ("http.host contains \"\\xff\\u{202e}\"", "http.host contains \"\\xff\\u{202e}\""),
        ("all ip.addr ne 10.0.0.1 or any_ne", "all ip.addr != 10.0.0.1 || any_ne"),
        ("ip.addr !== ::1", "ip.addr ~= ::1"),
    ] {
        match parse(text) {
            Ok(parsed) => assert_eq!(parsed.to_string(), printed, "`{text}`"),
            Err(error) => assert!(text.ends_with("any_ne"), "{error}"),
        }
    }
}

#[test]
fn whether_verdicts_are_asked_for_is_read_from_the_names() {
    let known = fields().clone().with_verdicts();
    for (text, asks) in [
        ("ml.verdict == \"malicious\"", true),
        ("verdict == \"malicious\"", true),
        ("0.9 < score", true),
        ("tcp && !(udp || ml.novelty > 0.5)", true),
        ("lower(ml.category) contains \"c2\"", true),
        ("category in {\"c2-direct\"}", true),
        ("ml.novel", true),
        ("tls.sni contains \"yaml.io\"", false),
        ("tls.sni == \"ml.verdict\" || http.host matches r\"ml\\.score\"", false),
        ("tcp.port in {80, 443..445}", false),
    ] {
        assert_eq!(asks_verdicts(text), asks, "`{text}`");
        let query = PacketQuery::new(text, &known).unwrap_or_else(|error| panic!("`{text}`: {error}"));
        assert_eq!(query.asks_verdicts(), asks, "`{text}`");
    }
    for nothing in ["", "ml.", "ml.score >", "(ml.score > 1", "yaml.score > 1", "\"ml.score"] {
        assert!(!asks_verdicts(nothing), "`{nothing}`");
    }
}

#[test]
fn errors_point_at_the_place() {
    refused("", "", "an expression is missing");
    refused("tls.snj == \"a\"", "tls.snj", "the nearest is `tls.sni`");
    refused("len( tls.snj ) > 2", "len( tls.snj )", "the nearest is `tls.sni`");
    refused("lower(len(tls.snj)) > 2", "tls.snj", "the nearest is `tls.sni`");
    refused("tcp.prot == 1", "tcp.prot", "the nearest is `tcp.port`");
    refused("xyzzyplugh", "xyzzyplugh", "packets have no field `xyzzyplugh`");
    refused("tcp. && udp", "tcp.", "begins or ends with a dot");
    refused("tcp.port in {1...5}", ".5", "begins or ends with a dot");
    refused("tcp && ml.score > 0.5", "ml.score", "is a field of flows, and packets are asked here");
    refused("tcp.port == 80 tcp", "tcp", "`&&` or `||` is missing");
    refused("(tcp", "(", "not closed");
    refused("tcp)", ")", "was not opened");
    refused("(tcp udp)", "udp", "`&&`, `||` or `)` is missing");
    refused("tcp.port ==", "", "a field or a value is missing here");
    refused("tcp.port == &&", "&&", "missing before `&&`");
    refused("tcp.port = 80", "=", "equal is written `==`");
    refused("tcp & udp", "&", "`&&`");
    refused("eth.src[0] == 1", "[", "slices");
    refused("http.host == 'a'", "'", "double quotes");
    refused("http.host == \"a", "\"a", "no closing quote");
    refused("http.host == \"\\q\"", "\\q", "no such escape");
    refused("http.host == \"\\xg0\"", "\\xg0", "two hexadecimal digits");
    refused("http.host == \"\\u{d800}\"", "\\u", "number of a character");
    refused("1 == 2", "1 == 2", "two constants");
    refused("80", "80", "a constant stands here");
    refused("80 in {80}", "80", "a constant stands here");
    refused("1 < tcp.len < 5", "<", "not chained");
    refused("tcp not", "", "only `not in` may follow");
    refused("tcp.port in 80", "80", "a set");
    refused("tcp.port in {80", "{", "this set is not closed");
    refused("tcp.port in {80 81}", "81", "`,` or `}` is missing");
    refused("foo(tcp.port) == 1", "foo", "there is no function `foo`");
    refused("len(tcp.port == 1", "==", "`)` is missing");
    refused("len(tcp.port) == 1", "len(tcp.port)", "`len` is for text and bytes, and this is a whole number");
    refused("count(tcp.port)", "count(tcp.port)", "is to be compared");
    refused("any tcp", "any tcp", "before a comparison");
    refused("lower(\"A\") == http.host", "lower(\"A\")", "a function is called with a field");
}

#[test]
fn flows_have_fields_of_their_own() {
    let wrong = |text: &str| FlowQuery::new(text, fields()).unwrap_err().what().to_owned();
    assert!(wrong("tcp.len > 5").contains("is a field of packets, and flows are asked here"));
    assert!(wrong("tree.http.etag").contains("is a field of packets, and flows are asked here"));
    assert!(wrong("ML.SCORE > 0.5").contains("the nearest is `ml.score`"));
    assert!(wrong("ml.score > \"high\"").contains("a number such as `0.9`"));
    assert!(
        FlowQuery::new("tls.client.ciphers == 0x1301 && http.http_user_agent && verdict != \"benign\"", fields())
            .is_ok()
    );
}

#[test]
fn values_are_held_to_their_fields() {
    refused("tcp.port == \"80\"", "\"80\"", "a whole number such as `443`");
    refused("tcp.port == 1.5", "1.5", "no whole number");
    refused("tcp.port == -1", "-1", "no whole number");
    refused("tcp.port == 010", "010", "does not begin with `0`");
    refused("tcp.port == 18446744073709551616", "18446744073709551616", "no whole number");
    refused("tcp.flags.syn == yes", "yes", "`true`, `false`");
    refused("http.host == example", "example", "text stands in quotes: \"example\"");
    refused("http.host == 12", "12", "text stands in quotes");
    refused("ip.src == 10.0.0.256", "10.0.0.256", "no address");
    refused("ip.src == ::1", "::1", "holds addresses of IPv4");
    refused("ipv6.src == 10.0.0.1", "10.0.0.1", "holds addresses of IPv6");
    refused("ip.src == 10.0.0.0/33", "10.0.0.0/33", "0 to 32 bits");
    refused("ip.src < 10.0.0.0/8", "10.0.0.0/8", "neither lower nor higher");
    refused("ip.src in {10.0.0.0/8..11.0.0.0}", "10.0.0.0/8..11.0.0.0", "a network is a range by itself");
    refused("tcp.port in {9..5}", "9..5", "ends before it begins");
    refused("src_ip in {10.0.0.1..::1}", "10.0.0.1..::1", "from one family");
    refused("eth.src == 02:00", "02:00", "no Ethernet address");
    refused("frame == zz:aa", "zz:aa", "no bytes");
    refused("frame.time > \"yesterday\"", "\"yesterday\"", "no time");
    refused("frame.time_relative > 5x", "5x", "no duration");
    refused("tcp.port contains \"8\"", "tcp.port", "`contains` is for text and bytes");
    refused("http.host contains http.server", "http.server", "a constant is wanted here");
    refused("http.host matches 12", "12", "a regular expression in quotes");
    refused("http.host matches \"(\"", "\"(\"", "unclosed group");
    refused("http.host matches \"\\w\"", "\\w", "no such escape");
    refused("http.host matches r\"\\w{1000}{1000}\"", "r\"\\w{1000}{1000}\"", "more than its share of memory");
    refused("ip.src == tcp.port", "tcp.port", "an IPv4 address is compared with a whole number");
    refused("tcp.port in {tcp.srcport}", "tcp.srcport", "a constant is wanted here");
    refused("tree.nothing.here", "tree.nothing.here", "behind `tree.` stands a template");
}

#[test]
fn every_bound_holds() {
    let long = format!("http.host == \"{}\"", "a".repeat(EXPRESSION_BYTES));
    assert!(wrong(&long).0.contains("4096 bytes at most"));
    let deep = |depth: usize| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    assert!(PacketQuery::new(&deep(NESTING), fields()).is_ok());
    assert!(wrong(&deep(NESTING + 1)).0.contains("32 deep at most"));
    assert!(wrong(&format!("{}tcp", "!".repeat(NESTING + 1))).0.contains("32 deep at most"));
    let set = |members: usize| format!("tcp.port in {{{}}}", vec!["1"; members].join(","));
    assert!(PacketQuery::new(&set(SET_ITEMS), fields()).is_ok());
    assert!(wrong(&set(SET_ITEMS + 1)).0.contains("256 members at most"));
    let calls = |depth: usize| format!("{}http.host{} == \"a\"", "lower(".repeat(depth), ")".repeat(depth));
    assert!(PacketQuery::new(&calls(FUNCTIONS), fields()).is_ok());
    assert!(wrong(&calls(FUNCTIONS + 1)).0.contains("4 deep at most"));
    let pattern = |length: usize| format!("http.host ~ \"{}\"", "a".repeat(length));
    assert!(PacketQuery::new(&pattern(PATTERN_BYTES), fields()).is_ok());
    assert!(wrong(&pattern(PATTERN_BYTES + 1)).0.contains("512 bytes at most"));
    let patterns = |count: usize| vec!["http.host ~ \"a\""; count].join(" || ");
    assert!(PacketQuery::new(&patterns(PATTERNS), fields()).is_ok());
    assert!(wrong(&patterns(PATTERNS + 1)).0.contains("8 regular expressions at most"));
}

#[test]
fn an_error_shows_its_place_with_carets() {
    let error = PacketQuery::new("ip &&\ttls.snj", fields()).unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "packets have no field `tls.snj`; the nearest is `tls.sni`\n  ip && tls.snj\n        ^^^^^^^");
    let error = PacketQuery::new("http.host == \"ä\u{1b}\u{202e}\" && x", fields()).unwrap_err();
    assert_eq!(
        error.lines(),
        ["http.host == \"ä\u{fffd}\u{fffd}\" && x", "                      ^"].map(str::to_owned)
    );
    // Of a long one a part is shown, and the carets stand under the same place.
    let error =
        PacketQuery::new(&format!("{}nowhere{}", "tcp && ".repeat(50), " && udp".repeat(50)), fields()).unwrap_err();
    let [line, carets] = error.lines();
    assert!(line.chars().count() < 110 && line.starts_with('…') && line.ends_with('…'), "{line}");
    let at = carets.find('^').unwrap();
    assert_eq!(line.chars().skip(at).take(carets.len() - at).collect::<String>(), "nowhere");
}

#[test]
fn both_levels_agree_on_what_a_name_holds() {
    let packets = fields().iter(Level::Packet);
    let both: Vec<_> = packets.filter_map(|one| Some((one, fields().get(Level::Flow, one.name)?))).collect();
    assert!(both.len() > 30, "{}", both.len());
    for (packet, flow) in both {
        // A layer is bytes of a packet, and of a flow the fact that it is there.
        let layer = packet.kind == Kind::Bytes && flow.kind == Kind::Flag;
        assert!(layer || packet.kind == flow.kind, "{}: {} and {}", packet.name, packet.kind, flow.kind);
    }
    for level in [Level::Packet, Level::Flow] {
        for field in fields().iter(level) {
            assert!(parse(field.name).is_ok(), "{} is a name", field.name);
            assert!(!field.words.is_empty(), "{} has words", field.name);
        }
    }
}

#[test]
fn names_are_completed() {
    let names = |prefix: &str| -> Vec<&str> {
        fields().complete(Level::Packet, prefix).iter().map(|field| field.name).collect()
    };
    assert_eq!(names("tcp.flags.s"), ["tcp.flags.syn"]);
    assert!(names("tcp.").len() > 30 && names("").len() > 200 && names("nothing").is_empty());
    let text = "ip && tcp.fl == 1 || http.host == \"tcp.";
    let at = |cursor: usize| fields().complete_at(Level::Packet, text, cursor);
    let inner = at(10);
    assert_eq!((inner.replaces.clone(), inner.fields[0].name), (6..12, "tcp.ack"));
    assert!(at(12).fields.iter().all(|field| field.name.starts_with("tcp.fl")));
    assert!(at(text.len()).fields.is_empty(), "within quotes there are no names");
    assert_eq!(at(usize::MAX).replaces, text.len() - 4..text.len());
    assert_eq!(at(3).replaces, 3..3);
    assert_eq!(fields().complete(Level::Flow, "ml.sc")[0].kind, Kind::Real);
}

/// Constants and names that a parser takes as they are.
fn base() -> impl Strategy<Value = Base> {
    prop_oneof![
        prop::sample::select(vec!["tcp.port", "ip.addr", "http.host", "a", "x-y", "_ws.malformed", "de", "r"])
            .prop_map(|name| Base::Field(name.to_owned())),
        prop::sample::select(vec![
            "1",
            "0x1f",
            "-1.5e",
            "10.0.0.0/8",
            "::1",
            "de:ad:be:ef",
            "1.5ms",
            "true",
            "2026-11-23T17:53:06Z",
            "1.5.x-"
        ])
        .prop_map(|word| Base::Word(word.to_owned())),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Base::Text),
        any::<String>().prop_map(|text| Base::Text(text.into_bytes().into_iter().take(40).collect())),
    ]
}

fn operand() -> impl Strategy<Value = Operand> {
    let functions = prop::collection::vec(prop::sample::select(Function::ALL.to_vec()), 0..3);
    (functions, base()).prop_map(|(functions, base)| Operand { functions, base, span: Span::default() })
}

fn relation() -> impl Strategy<Value = Relation> {
    let item = (operand(), prop::option::of(operand())).prop_map(|(first, last)| Item { first, last });
    prop_oneof![
        Just(Relation::Present),
        (prop::sample::select(Comparison::ALL.to_vec()), operand())
            .prop_map(|(sign, right)| Relation::Compare(sign, right)),
        operand().prop_map(Relation::Contains),
        operand().prop_map(Relation::Matches),
        prop::collection::vec(item, 1..4).prop_map(Relation::In),
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let quantifier = prop::option::of(prop::sample::select(vec![Quantifier::Any, Quantifier::All]));
    let test = (quantifier, operand(), relation()).prop_map(|(quantifier, left, relation)| {
        Expression::Test(Test { quantifier, left, relation, span: Span::default() })
    });
    test.prop_recursive(5, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::Any),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    /// What is printed is read as what it was.
    #[test]
    fn printing_and_parsing_is_the_same(expression in expression()) {
        let text = expression.to_string();
        prop_assume!(text.len() <= EXPRESSION_BYTES);
        let parsed = parse(&text);
        prop_assert_eq!(parsed.as_ref(), Ok(&expression), "{}", text);
    }

    /// Whatever somebody types, it is taken or refused with a place in it.
    #[test]
    fn no_text_is_a_panic(text in "[a-z0-9_.:/\\\\\"{}()<>=!~&|, -]{0,60}|\\PC{0,40}") {
        match PacketQuery::new(&text, fields()) {
            Ok(query) => prop_assert_eq!(&parse(&query.to_string()), &Ok(query.expression().clone())),
            Err(error) => {
                let place = error.place();
                prop_assert!(text.get(place.clone()).is_some(), "{:?} of `{}`", place, text);
                prop_assert!(error.lines()[1].trim_start().bytes().all(|byte| byte == b'^'));
            }
        }
        let _ = FlowQuery::new(&text, fields());
        let _ = fields().complete_at(Level::Flow, &text, text.len() / 2);
    }
}

/// Fields that headers draw, of which any may be there.
const LAYERS: [&str; 4] = ["tcp.len", "udp.length", "ip.ttl", "arp.opcode"];

/// `and`, `or` and `not` over whether fields are there.
fn shape() -> impl Strategy<Value = Expression> {
    let leaf = prop::sample::select(LAYERS.to_vec()).prop_map(|name| parse(name).unwrap());
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..5).prop_map(Expression::All),
            prop::collection::vec(inner.clone(), 2..5).prop_map(Expression::Any),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
}

/// What an expression of that kind says, member by member.
fn says(expression: &Expression, there: &[&str]) -> bool {
    match expression {
        Expression::All(members) => members.iter().all(|member| says(member, there)),
        Expression::Any(members) => members.iter().any(|member| says(member, there)),
        Expression::Not(inner) => !says(inner, there),
        Expression::Test(test) => there.contains(&test.to_string().as_str()),
    }
}

/// A packet whose tree has these fields with these values.
fn packet(nodes: impl IntoIterator<Item = (&'static str, Datum)>) -> PacketView<'static> {
    let node = |(field, datum): (&'static str, Datum)| PacketNode {
        depth: 1,
        field: field.into(),
        label: String::new(),
        value: String::new(),
        datum,
        bytes: None,
        cut: false,
    };
    let tree = PacketTree { nodes: nodes.into_iter().map(node).collect(), left_out: 0 };
    let packet = Packet { number: 1, time_ns: 0, link: LinkType::ETHERNET, wire_len: 0, data: b"" };
    PacketView { tree, ..PacketView::empty(&packet, -1_500_000_000) }
}

proptest! {
    /// What steps leave out changes no answer.
    #[test]
    fn a_program_says_what_its_expression_says(expression in shape(), there in prop::sample::subsequence(LAYERS.to_vec(), 0..=4)) {
        let text = expression.to_string();
        prop_assume!(PacketQuery::new(&text, fields()).is_ok());
        let query = PacketQuery::new(&text, fields()).unwrap();
        let view = packet(there.iter().map(|name| (*name, Datum::Number(1))));
        prop_assert_eq!(query.holds(&view), says(&expression, &there), "{} of {:?}", text, there);
    }

    /// What a set holds is what its members hold, however they overlap.
    #[test]
    fn a_set_holds_what_one_of_its_members_holds(ranges in prop::collection::vec((0..40_u64, 0..6_u64), 1..8), value in 0..50_u64) {
        let members: Vec<String> = ranges.iter().map(|(first, more)| format!("{first}..{}", first + more)).collect();
        let query = PacketQuery::new(&format!("tcp.len in {{{}}}", members.join(", ")), fields()).unwrap();
        let wanted = ranges.iter().any(|(first, more)| (*first..=first + more).contains(&value));
        prop_assert_eq!(query.holds(&packet([("tcp.len", Datum::Number(value))])), wanted);
    }
}

#[test]
fn many_values_are_asked_as_wireshark_asks_them() {
    let address = |text: &str| Datum::Ip(text.parse().unwrap());
    let view =
        packet([("ip.src", address("10.0.0.1")), ("ip.dst", address("10.0.0.2")), ("ipv6.src", address("fe80::1"))]);
    for (text, holds) in [
        ("ip.addr == 10.0.0.1", true),
        ("ip.addr != 10.0.0.1", false),
        ("ip.addr != 10.0.0.3", true),
        ("ip.addr ~= 10.0.0.1", true),
        ("ip.addr === 10.0.0.1", false),
        ("ip.addr === 10.0.0.0/30", true),
        ("any ip.addr != 10.0.0.1", true),
        ("all ip.addr == 10.0.0.1", false),
        ("all ip.addr < 10.0.0.2", false),
        ("all ip.addr <= 10.0.0.2", true),
        ("ip.addr > 10.0.0.1", true),
        ("all ip.addr in {10.0.0.1, 10.0.0.2}", true),
        ("all ip.addr in {10.0.0.1}", false),
        // Of what is not there nothing holds.
        ("tcp.port != 80", false),
        ("!(tcp.port == 80)", true),
        ("count(tcp.port) == 0", false),
        ("count(ip.addr) == 2", true),
        // Addresses of two families have no order.
        ("addr > ::ffff", true),
        ("addr < ::ffff", false),
        ("all addr > ::ffff", false),
        ("addr > 10.0.0.2", false),
        ("ip.src == ip.dst", false),
        ("ip.src < ip.dst", true),
        ("ip.src != ip.addr", false),
        ("ip.src ~= ip.addr", true),
        ("ipv6.src > ip.src", false),
        // A clock that went back.
        ("since < -1s", true),
        ("frame.time_relative == -1.5", true),
        ("since == -1500ms", true),
        ("since == -1500000us", true),
        ("since > -0.025m and since < -0.0004h", false),
        ("since >= -0.025m and since < -0.0004h", true),
        ("since > -1d", true),
        ("frame.time == 0", true),
        ("frame.time < 2026-11-23", true),
        ("frame.time < \"2026-11-23 17:53:06\"", true),
        ("frame.time < \"1970-01-01T01:00:00+01:00\"", false),
        ("frame.time == \"1970-01-01T01:00:00+01:00\"", true),
        ("frame.time > \"1969-12-31T23:59:59.999999999\"", true),
        ("frame.time < \"1970-01-01T00:00:01Z\"", true),
    ] {
        let query = PacketQuery::new(text, fields()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(query.holds(&view), holds, "`{text}`");
    }
}
