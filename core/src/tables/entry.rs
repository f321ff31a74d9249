use super::{Asked, Facts, Signature, Transport};
use crate::detect::Category;
use std::fmt;
use std::sync::Arc;

/// Where an entry was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A number, or a range of numbers, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberEntry {
    /// The first number.
    pub first: u16,
    /// The last number; the first again where it is one.
    pub last: u16,
    /// Its short name.
    pub name: Box<str>,
    /// What it is, in a few words.
    pub words: Box<str>,
    /// Where it was written.
    pub place: Place,
}

/// A type of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileType {
    /// Short id, by which a later file replaces it.
    pub id: Box<str>,
    /// Its name in words.
    pub name: Box<str>,
    /// Media type.
    pub media: Box<str>,
    /// Usual endings of file names, without the dot.
    pub extensions: Vec<Box<str>>,
    /// Signatures, any of which tells it.
    pub signatures: Vec<Signature>,
    /// Where it was written.
    pub place: Place,
}

/// How much a warning weighs; the order is that of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Often harmless; good to know.
    Low,
    /// Worth a look.
    Medium,
    /// Seldom harmless.
    High,
}

impl Severity {
    /// All, lightest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The severity of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

/// A port, or a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port; the first again where it is one.
    pub last: u16,
}

impl PortRange {
    /// Whether the port is in it.
    pub fn holds(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// A host's name, or all names under one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// The name in lower case.
    pub name: Box<str>,
    /// Whether names under it are meant, and not the name itself.
    pub under: bool,
}

impl NamePattern {
    /// Longest name there is.
    pub const BYTES: usize = 253;

    /// Reads `example.com` or `*.example.com`; nothing where it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (under, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let good = name.len() <= Self::BYTES && name.split('.').all(label);
        good.then(|| Self { name: name.to_ascii_lowercase().into(), under })
    }

    /// Whether a name is meant; case and a closing dot do not matter.
    pub fn matches(&self, name: &[u8]) -> bool {
        let name = name.strip_suffix(b".").unwrap_or(name);
        let own = self.name.as_bytes();
        if !self.under {
            return name.eq_ignore_ascii_case(own);
        }
        let Some(at) = name.len().checked_sub(own.len() + 1).filter(|at| *at > 0) else { return false };
        name[at] == b'.' && name[at + 1..].eq_ignore_ascii_case(own)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.under { "*." } else { "" }, self.name)
    }
}

/// A warning: of the kinds of facts it names, each must fit; of several in a kind, any will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Short id, by which a later file replaces it.
    pub id: Box<str>,
    /// How much it weighs.
    pub severity: Severity,
    /// Why it is one.
    pub words: Box<str>,
    /// What to look at.
    pub look: Box<str>,
    /// What a flow is for of which it speaks, where it tells.
    pub category: Option<Category>,
    /// The transport, where only one is meant.
    pub transport: Option<Transport>,
    /// Ports of the responder.
    pub ports: Vec<PortRange>,
    /// Names of hosts.
    pub names: Vec<NamePattern>,
    /// Bytes of a direction.
    pub bytes: Vec<Signature>,
    /// Where it was written.
    pub place: Place,
}

impl Warning {
    /// Whether transport and port are as it asks.
    pub(super) fn fits_around(&self, facts: &Facts<'_>) -> bool {
        self.transport.is_none_or(|transport| transport == facts.transport)
            && (self.ports.is_empty() || self.ports.iter().any(|range| range.holds(facts.port)))
    }

    /// Whether it asks for this name.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.names.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether everything it asks for is there. One that asks for nothing fits nothing.
    pub fn fits(&self, facts: &Facts<'_>) -> bool {
        let any = !self.ports.is_empty() || !self.names.is_empty() || !self.bytes.is_empty();
        any && self.fits_around(facts)
            && (self.names.is_empty() || self.is_named(facts.name))
            && (self.bytes.is_empty() || self.bytes.iter().any(|signature| signature.matches(facts.bytes)))
    }
}

/// How much an entry of PURPOSE tells; the order is that of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Only where nothing else speaks.
    Weak,
    /// By itself.
    Strong,
}

impl Strength {
    /// All, lightest first.
    pub const ALL: [Self; 2] = [Self::Weak, Self::Strong];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Strong => "strong",
        }
    }
}

/// What servers are there for, known by their names or ports. Of the kinds that it names, each must fit; of several in a
/// kind, any will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// Short id, by which a later file replaces it.
    pub id: Box<str>,
    /// What an alert at such a server is for.
    pub category: Category,
    /// How much it tells.
    pub strength: Strength,
    /// What such a server is.
    pub words: Box<str>,
    /// The transport, where only one is meant.
    pub transport: Option<Transport>,
    /// Ports of the responder.
    pub ports: Vec<PortRange>,
    /// Names of hosts.
    pub names: Vec<NamePattern>,
    /// How the programs that ask for these call themselves in HTTP: the beginning of it.
    pub agents: Vec<Box<str>>,
    /// Where it was written.
    pub place: Place,
}

impl Purpose {
    /// Whether transport, port and program are as it asks.
    pub(super) fn fits_around(&self, asked: &Asked<'_>) -> bool {
        let begins = |agent: &str| {
            asked.agent.get(..agent.len()).is_some_and(|start| start.eq_ignore_ascii_case(agent.as_bytes()))
        };
        self.transport.is_none_or(|its| its == asked.transport)
            && (self.ports.is_empty() || self.ports.iter().any(|range| range.holds(asked.port)))
            && (self.agents.is_empty() || self.agents.iter().any(|agent| begins(agent)))
    }
}
