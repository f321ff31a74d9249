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
    /// A warning that names a category: its bytes were seen. For a flow that is no alert it must be of severity `high`.
    Warned,
    /// The originator tried many addresses at services through which malware spreads, and most gave no answer.
    Spread,
    /// A certificate that vouches for itself: whatever the name says, no public service has one.
    SelfSigned,
    /// The flow's name is one that tables know for what it is for.
    Named,
    /// A port that tables know: an alert at SMB or a mail server is for what such ports are for.
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

    /// How much it weighs.
    pub fn strength(self) -> Strength {
        match self {
            Self::Warned | Self::Spread | Self::SelfSigned | Self::Named | Self::Address | Self::Beacon => {
                Strength::Strong
            }
            Self::Port | Self::WeaklyNamed | Self::Unknown | Self::Nothing => Strength::Weak,
        }
    }

    /// Whether it speaks of flows that are no alerts.
    fn speaks_of_all(self) -> bool {
        matches!(self, Self::Warned | Self::Spread)
    }
}

/// Flows before this one from which on times can be regular.
const BEACON_EARLIER: u32 = 4;
/// Seconds between flows below which a program is only busy.
const BEACON_GAP: f64 = 2.0;
/// The most that gaps may vary: their deviation over their mean, which is 1 where flows begin at random.
const BEACON_VARIATION: f64 = 0.35;

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

/// A name of a flow.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// How it came by it.
    pub kind: NameKind,
    /// The name; an attacker's bytes.
    pub name: &'a [u8],
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
        let (category, entry, words) = evidence.ask(rule)?;
        Some((category, CategoryReason { rule, entry: entry.map(Into::into), words }))
    });
    let (category, first) = said.next()?;
    // The last two only stand in where nothing else speaks.
    let more =
        said.filter(|(other, reason)| *other == category && !matches!(reason.rule, Rule::Unknown | Rule::Nothing));
    let reasons = std::iter::once(first).chain(more.map(|(_, reason)| reason)).collect();
    Some(Categorised { category, reasons })
}

/// What a rule says: the category, the entry of a table, and words.
type Said<'a> = (Category, Option<&'a str>, String);

impl<'a> CategoryEvidence<'a> {
    /// What a rule says of the flow, if it holds.
    fn ask(&self, rule: Rule) -> Option<Said<'a>> {
        let direct = |words: String| (Category::C2Direct, None, words);
        match rule {
            Rule::Warned => self.warned(),
            Rule::Spread => self.spread(),
            Rule::SelfSigned => self.is_self_signed.then(|| {
                direct(match self.name {
                    Some(name) if name.purpose.is_some() => format!(
                        "the certificate vouches for itself, so that {} `{}` is not what it seems",
                        name.kind.words(),
                        shown(name.name)
                    ),
                    _ => "the certificate vouches for itself: nobody else does".into(),
                })
            }),
            Rule::Named => self.named(Strength::Strong),
            Rule::WeaklyNamed => self.named(Strength::Weak),
            Rule::Port => {
                let purpose = self.port?;
                Some((purpose.category, Some(&purpose.id), format!("the server's port: {}", purpose.words)))
            }
            Rule::Address => (self.name.is_none() && self.is_unicast && self.has_payload)
                .then(|| direct("the server is asked for by no name, and none is known that led there".into())),
            Rule::Beacon => {
                let ConversationSnapshot { earlier, gap_mean, gap_variation, .. } = self.conversation;
                // Neither comparison holds where the number is missing.
                let regular = earlier >= BEACON_EARLIER && gap_mean >= BEACON_GAP && gap_variation <= BEACON_VARIATION;
                regular.then(|| {
                    direct(format!(
                        "it comes back at regular times: {earlier} flows before this one, {gap_mean:.0} seconds apart, give or \
                         take {:.0} %",
                        100.0 * gap_variation
                    ))
                })
            }
            Rule::Unknown => {
                let name = self.name.filter(|_| self.has_payload)?;
                Some(direct(format!(
                    "{} `{}` is of no service that the tables know",
                    name.kind.words(),
                    shown(name.name)
                )))
            }
            Rule::Nothing => Some((Category::Other, None, "nothing tells what it is for".into())),
        }
    }

    fn warned(&self) -> Option<Said<'a>> {
        let heard = |warning: &&&Warning| self.is_alert || warning.severity == Severity::High;
        let (category, warning) =
            self.warnings.iter().filter(heard).find_map(|warning| Some((warning.category?, warning)))?;
        Some((category, Some(&warning.id), warning.words.to_string()))
    }

    fn spread(&self) -> Option<Said<'a>> {
        let SpreadSnapshot { targets, failed, seconds } = self.spread;
        let purpose = self.port?;
        // An administrator's program reaches those it tries; for an alert it need not be so.
        let holds = targets >= self.spread_targets && (self.is_alert || failed.saturating_mul(2) >= targets);
        holds.then(|| {
            let words = format!(
                "its host tried {targets} addresses there within {seconds} seconds, and {failed} of them said nothing: {}",
                purpose.words
            );
            (Category::WormPropagation, Some(&*purpose.id), words)
        })
    }

    fn named(&self, strength: Strength) -> Option<Said<'a>> {
        let named = self.name?;
        let purpose = named.purpose.filter(|purpose| purpose.strength == strength)?;
        let words = format!("{} is `{}`: {}", named.kind.words(), shown(named.name), purpose.words);
        Some((purpose.category, Some(&purpose.id), words))
    }
}

/// A name as text: names that tables know are short, and others are cut.
fn shown(name: &[u8]) -> String {
    const CHARACTERS: usize = 80;
    let text = String::from_utf8_lossy(name);
    let mut short: String = text.chars().take(CHARACTERS).filter(|c| !c.is_control()).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        short.push('…');
    }
    short
}
