//! What a malicious or suspicious flow is for.
//!
//! A pure function from evidence to one of six categories, with its reasons. The evidence is put together elsewhere: what
//! the flow shows, what tables say of it, and what crosses flows.

use crate::context::{ConversationSnapshot, SpreadSnapshot};
use crate::tables::{Purpose, Severity, Strength, Warning};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a malicious or suspicious flow is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Straight to the server of those who give the orders.
    #[serde(rename = "c2-direct")]
    C2Direct,
    /// Whether there is a network, and where in it one is.
    ConnectivityCheck,
    /// An infected program's, or the infected computer's, own normal traffic.
    ParentProcess,
    /// Hidden behind a legitimate site that anybody can use.
    TrustedRelay,
    /// On to other computers.
    WormPropagation,
    /// None of these.
    Other,
}

impl Category {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 6] = [
        Self::C2Direct,
        Self::ConnectivityCheck,
        Self::ParentProcess,
        Self::TrustedRelay,
        Self::WormPropagation,
        Self::Other,
    ];

    /// Its name in output and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::C2Direct => "c2-direct",
            Self::ConnectivityCheck => "connectivity-check",
            Self::ParentProcess => "parent-process",
            Self::TrustedRelay => "trusted-relay",
            Self::WormPropagation => "worm-propagation",
            Self::Other => "other",
        }
    }

    /// The category of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The rules, in the order in which they are asked: the first one that holds decides, and those behind it that say the same
/// are further reasons.
///
/// The first two speak of any flow, whatever its verdict: what they see is worth a person's time by itself. The others
/// only say what an alert is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A warning that names a category: of bytes that were seen, of a name or of a port. For a flow that is no alert it must
    /// be of severity `high`.
    Warned,
    /// The originator tried many addresses at services through which malware spreads, and most gave no answer.
    Spread,
    /// A certificate that vouches for itself, where TLS is all that there is: remote desktops and servers that go over to
    /// TLS on the way, of mail for one, have such certificates for no bad end.
    SelfSigned,
    /// The flow's name is one that tables know for what it is for.
    Named,
    /// A port that tables know: an alert at SMB or a mail server is for what such ports are for. TLS from the first byte is
    /// none of the services through which malware spreads, so that it takes another address that was tried as well.
    Port,
    /// No name at all: the address came out of the malware itself.
    Address,
    /// A name that tables know, and that many have other reasons to ask.
    WeaklyNamed,
    /// Flows to this service come back at regular times.
    Beacon,
    /// A name that no table knows.
    Unknown,
    /// Nothing of all that.
    Nothing,
}

impl Rule {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Warned,
        Self::Spread,
        Self::SelfSigned,
        Self::Named,
        Self::Port,
        Self::Address,
        Self::WeaklyNamed,
        Self::Beacon,
        Self::Unknown,
        Self::Nothing,
    ];

    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warned => "warned",
            Self::Spread => "spread",
            Self::SelfSigned => "self-signed",
            Self::Named => "named",
            Self::Port => "port",
            Self::Address => "address",
            Self::WeaklyNamed => "weakly-named",
            Self::Beacon => "beacon",
            Self::Unknown => "unknown",
            Self::Nothing => "nothing",
        }
    }

    /// Whether it speaks of flows that are no alerts.
    fn speaks_of_all(self) -> bool {
        matches!(self, Self::Warned | Self::Spread)
    }
}

/// What a rhythm must be worth: half is that of eight gaps.
const BEACON_CONFIDENCE: f32 = 0.5;
/// Seconds between flows below which a program is only busy.
const BEACON_PERIOD: f32 = 2.0;
/// The least rhythm: 1 is a clock's; flows that begin at random have some .65, and this much three times in a hundred.
const BEACON_RHYTHM: f32 = 0.8;
/// Addresses tried at a service through which malware spreads from which on TLS from the first byte may be that.
const TLS_SPREADS: u32 = 2;

/// How a flow came by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// The client asked for it in TLS.
    Sni,
    /// The client asked for it in HTTP.
    Host,
    /// The flow asks DNS for it.
    Query,
    /// An answer of DNS under this name led to the server.
    Answer,
}

impl NameKind {
    /// What it is in words.
    fn words(self) -> &'static str {
        match self {
            Self::Sni => "the server name",
            Self::Host => "the host that is asked for",
            Self::Query => "the name that is looked up",
            Self::Answer => "the name that led there",
        }
    }
}

/// What a name is worth: the client alone says it, and malware says what it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Something else says the same: an answer of DNS, or the server's certificate.
    Confirmed,
    /// Nothing else speaks.
    Claimed,
    /// The certificate does not cover it, or another name led to the address.
    Denied,
}

/// A name of a flow.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// How it came by it.
    pub kind: NameKind,
    /// The name; an attacker's bytes.
    pub name: &'a [u8],
    /// What it is worth.
    pub trust: Trust,
    /// What tables say of it.
    pub purpose: Option<&'a Purpose>,
}

/// What is known of a flow, as far as its category goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct CategoryEvidence<'a> {
    /// Whether its verdict is malicious or suspicious.
    pub is_alert: bool,
    /// Its name, if it has one: an address written as text is none.
    pub name: Option<Named<'a>>,
    /// What tables say of its server's port.
    pub port: Option<&'a Purpose>,
    /// What WARN says of it, worst first.
    pub warnings: &'a [&'a Warning],
    /// What its originator tried.
    pub spread: SpreadSnapshot,
    /// Addresses from which on that is a spread.
    pub spread_targets: u32,
    /// What was known of its conversation.
    pub conversation: ConversationSnapshot,
    /// Whether it shows a certificate that vouches for itself.
    pub is_self_signed: bool,
    /// Whether it is TLS from its first byte on, or from where a proxy passes it on.
    pub is_tls: bool,
    /// Whether it went over to TLS on the way, as mail and remote desktops do.
    pub is_upgraded: bool,
    /// Whether names are followed, and its originator was seen to ask for any: else a name may only not have been seen.
    pub is_asking: bool,
    /// Whether its server is one computer, and not a group of them.
    pub is_unicast: bool,
    /// Whether anything was said.
    pub has_payload: bool,
}

/// Why a flow has its category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryReason {
    /// The rule.
    pub rule: Rule,
    /// How much it weighs here.
    pub strength: Strength,
    /// The entry of a table behind it, where there is one: its id.
    pub entry: Option<Box<str>>,
    /// In words; a name among them is an attacker's text.
    pub words: String,
}

/// A category with its reasons, the one that decided first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Categorised {
    /// What the flow is for.
    pub category: Category,
    /// Why.
    pub reasons: Vec<CategoryReason>,
}

/// What a flow is for; nothing of one that is no alert and of which nothing is known that would make it one.
pub fn categorise(evidence: &CategoryEvidence<'_>) -> Option<Categorised> {
    let asked = Rule::ALL.into_iter().filter(|rule| evidence.is_alert || rule.speaks_of_all());
    let mut said = asked.filter_map(|rule| {
        let Said { category, strength, entry, words } = evidence.ask(rule)?;
        Some((category, CategoryReason { rule, strength, entry: entry.map(Into::into), words }))
    });
    let (category, first) = said.next()?;
    // The last two only stand in where nothing else speaks.
    let more =
        said.filter(|(other, reason)| *other == category && !matches!(reason.rule, Rule::Unknown | Rule::Nothing));
    let reasons = std::iter::once(first).chain(more.map(|(_, reason)| reason)).collect();
    Some(Categorised { category, reasons })
}

/// What a rule says.
struct Said<'a> {
    category: Category,
    strength: Strength,
    /// The entry of a table.
    entry: Option<&'a str>,
    words: String,
}

impl<'a> CategoryEvidence<'a> {
    /// What a rule says of the flow, if it holds.
    fn ask(&self, rule: Rule) -> Option<Said<'a>> {
        match rule {
            Rule::Warned => self.warned(),
            Rule::Spread => self.spread(),
            Rule::SelfSigned => self.self_signed(),
            Rule::Named => self.named(Strength::Strong),
            Rule::WeaklyNamed => self.named(Strength::Weak),
            Rule::Port => {
                let purpose = self.port_purpose()?;
                let words = format!("the server's port: {}", purpose.words);
                Some(Said { category: purpose.category, strength: Strength::Weak, entry: Some(&purpose.id), words })
            }
            Rule::Address => self.address(),
            Rule::Beacon => self.beacon(),
            Rule::Unknown => self.unknown(),
            Rule::Nothing => {
                let words = "nothing tells what it is for".into();
                Some(Said { category: Category::Other, strength: Strength::Weak, entry: None, words })
            }
        }
    }

    fn warned(&self) -> Option<Said<'a>> {
        let heard = |warning: &&&Warning| self.is_alert || warning.severity == Severity::High;
        let (category, warning) =
            self.warnings.iter().filter(heard).find_map(|warning| Some((warning.category?, warning)))?;
        let words = warning.words.to_string();
        Some(Said { category, strength: Strength::Strong, entry: Some(&warning.id), words })
    }

    fn spread(&self) -> Option<Said<'a>> {
        let SpreadSnapshot { targets, failed, seconds } = self.spread;
        let purpose = self.port?;
        // An administrator's program reaches those it tries; for an alert it need not be so.
        let holds = targets >= self.spread_targets && (self.is_alert || failed.saturating_mul(2) >= targets);
        holds.then(|| Said {
            category: Category::WormPropagation,
            strength: Strength::Strong,
            entry: Some(&purpose.id),
            words: format!(
                "its host tried {targets} addresses there within {seconds} seconds, and {failed} of them said nothing: {}",
                purpose.words
            ),
        })
    }

    fn self_signed(&self) -> Option<Said<'a>> {
        let holds = self.is_self_signed && !self.is_upgraded && self.port_purpose().is_none();
        let words = || match self.name {
            Some(name) if name.purpose.is_some() => format!(
                "the certificate vouches for itself, so that {} `{}` is not what it seems",
                name.kind.words(),
                shown(name.name)
            ),
            _ => "the certificate vouches for itself: nobody else does".into(),
        };
        holds.then(|| direct(Strength::Strong, words()))
    }

    fn named(&self, strength: Strength) -> Option<Said<'a>> {
        let named = self.name.filter(|named| named.trust != Trust::Denied)?;
        let purpose = named.purpose.filter(|purpose| purpose.strength == strength)?;
        let words = format!("{} is `{}`: {}", named.kind.words(), shown(named.name), purpose.words);
        let (strength, words) = match named.trust {
            Trust::Claimed => (Strength::Weak, format!("{words} Only the client says that name.")),
            Trust::Confirmed | Trust::Denied => (strength, words),
        };
        Some(Said { category: purpose.category, strength, entry: Some(&purpose.id), words })
    }

    /// What tables say of the server's port, if that holds of the flow.
    fn port_purpose(&self) -> Option<&'a Purpose> {
        let elsewhere = |purpose: &&Purpose| {
            purpose.category == Category::WormPropagation && self.is_tls && self.spread.targets < TLS_SPREADS
        };
        self.port.filter(|purpose| !elsewhere(purpose))
    }

    fn address(&self) -> Option<Said<'a>> {
        if self.name.is_some() || !self.is_unicast || !self.has_payload {
            return None;
        }
        Some(if self.is_asking {
            direct(Strength::Strong, "the server is asked for by no name, and none is known that led there".into())
        } else {
            direct(Strength::Weak, "the server is asked for by no name".into())
        })
    }

    fn beacon(&self) -> Option<Said<'a>> {
        let ConversationSnapshot { earlier, beacon, .. } = self.conversation;
        // No comparison holds where the number is missing.
        let regular =
            beacon.confidence >= BEACON_CONFIDENCE && beacon.period >= BEACON_PERIOD && beacon.rhythm >= BEACON_RHYTHM;
        regular.then(|| {
            let missed = if beacon.missed > 0.0 {
                format!(", {:.0} % of the times missed", 100.0 * beacon.missed)
            } else {
                String::new()
            };
            let words = format!(
                "it comes back at regular times: {earlier} flows before this one, {:.0} seconds apart{missed}",
                beacon.period
            );
            direct(Strength::Strong, words)
        })
    }

    fn unknown(&self) -> Option<Said<'a>> {
        let named = self.name.filter(|_| self.has_payload)?;
        let (kind, name) = (named.kind.words(), shown(named.name));
        let words = match named.trust {
            Trust::Denied => format!("{kind} `{name}` is not the server's"),
            Trust::Confirmed | Trust::Claimed => format!("{kind} `{name}` is of no service that the tables know"),
        };
        Some(direct(Strength::Weak, words))
    }
}

/// Straight to those who give the orders, for which there is no entry.
fn direct<'a>(strength: Strength, words: String) -> Said<'a> {
    Said { category: Category::C2Direct, strength, entry: None, words }
}

/// Whether a character controls a terminal, or turns or breaks the line that it stands in.
pub fn is_unruly(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// A name as text, with escapes for unruly characters: names that tables know are short, and others are cut.
fn shown(name: &[u8]) -> String {
    const CHARACTERS: usize = 80;
    let text = String::from_utf8_lossy(name);
    let mut short = String::new();
    for c in text.chars().take(CHARACTERS) {
        if is_unruly(c) {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    if text.chars().nth(CHARACTERS).is_some() {
        short.push('…');
    }
    short
}
