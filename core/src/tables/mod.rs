//! Tables: what numbers, first bytes and names stand for, as data.
//!
//! ETHER, IP, TCP, UDP and PORT give numbers a name, FILES recognises file types by their bytes, and WARN knows ports,
//! names and bytes that are worth a look. PURPOSE knows
//! what servers are there for. The entries come from elsewhere (the host reads them from TOML);
//! [`TablesBuilder`] merges them, later ones over earlier ones, and notes every conflict. Look-ups are binary searches
//! and never fail: all bytes and names they are asked about may be an attacker's.

mod build;
mod entry;
mod files;
mod names;
mod numbers;
mod pattern;
mod purpose;
#[cfg(test)]
mod tests;
mod warn;

pub use build::{Conflict, ConflictKind, TablesBuilder};
pub use entry::{FileType, NamePattern, NumberEntry, Place, PortRange, Purpose, Severity, Strength, Warning};
pub use pattern::{
    FLOATING_REACH, PART_BYTES, PATTERN_PARTS, PATTERN_REACH, Part, Position, Signature, SignatureError,
};

use files::FileTable;
use numbers::NumberTable;
use purpose::PurposeTable;
use warn::WarnTable;

/// The tables there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// EtherTypes.
    Ether,
    /// IP protocol numbers.
    Ip,
    /// Services over TCP.
    Tcp,
    /// Services over UDP.
    Udp,
    /// Services over any transport; asked after TCP and UDP.
    Port,
    /// File types.
    Files,
    /// Warnings.
    Warn,
    /// What servers are there for.
    Purpose,
}

impl Table {
    /// All tables, in the order in which they are listed.
    pub const ALL: [Self; 8] =
        [Self::Ether, Self::Ip, Self::Tcp, Self::Udp, Self::Port, Self::Files, Self::Warn, Self::Purpose];
    /// Those that give numbers a name.
    pub const NUMBERS: [Self; 5] = [Self::Ether, Self::Ip, Self::Tcp, Self::Udp, Self::Port];

    /// Its name in files and commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ether => "ether",
            Self::Ip => "ip",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Port => "port",
            Self::Files => "files",
            Self::Warn => "warn",
            Self::Purpose => "purpose",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The largest number it may hold.
    pub fn largest(self) -> u16 {
        if self == Self::Ip { u16::from(u8::MAX) } else { u16::MAX }
    }
}

/// What carries a flow, as far as services differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Another protocol with ports, such as SCTP: only PORT speaks of it.
    Other,
}

impl Transport {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Other];

    /// The transport of an IP protocol number.
    pub fn of_protocol(protocol: u8) -> Self {
        match protocol {
            6 => Self::Tcp,
            17 => Self::Udp,
            _ => Self::Other,
        }
    }
}

/// What a warning may speak of. Ask once for each direction whose bytes are known.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What carries the flow.
    pub transport: Transport,
    /// The responder's port.
    pub port: u16,
    /// A host's name (of TLS, DNS or HTTP), empty where there is none.
    pub name: &'a [u8],
    /// First bytes of a direction, in order.
    pub bytes: &'a [u8],
}

/// A server that PURPOSE may know.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What carries the flow.
    pub transport: Transport,
    /// The responder's port.
    pub port: u16,
    /// A host's name, empty where there is none.
    pub name: &'a [u8],
    /// How the program that asks for it calls itself in HTTP, empty where it does not.
    pub agent: &'a [u8],
}

/// All tables, merged and ready to be asked.
#[derive(Debug, Default)]
pub struct Tables {
    numbers: [NumberTable; 5],
    files: FileTable,
    warn: WarnTable,
    purpose: PurposeTable,
    conflicts: Vec<Conflict>,
}

impl Tables {
    /// The entry of an EtherType; a value below 0x0600 is a length.
    pub fn ether(&self, value: u16) -> Option<&NumberEntry> {
        self.number(Table::Ether, value)
    }

    /// The name of an EtherType.
    pub fn ether_name(&self, value: u16) -> Option<&str> {
        self.ether(value).map(|entry| &*entry.name)
    }

    /// The entry of an IP protocol number.
    pub fn protocol(&self, number: u8) -> Option<&NumberEntry> {
        self.number(Table::Ip, u16::from(number))
    }

    /// The name of an IP protocol number.
    pub fn protocol_name(&self, number: u8) -> Option<&str> {
        self.protocol(number).map(|entry| &*entry.name)
    }

    /// The service that a port usually stands for: TCP or UDP is asked first, then PORT.
    pub fn service(&self, transport: Transport, port: u16) -> Option<&NumberEntry> {
        let own = match transport {
            Transport::Tcp => self.number(Table::Tcp, port),
            Transport::Udp => self.number(Table::Udp, port),
            Transport::Other => None,
        };
        own.or_else(|| self.number(Table::Port, port))
    }

    /// The name of a port's usual service.
    pub fn service_name(&self, transport: Transport, port: u16) -> Option<&str> {
        self.service(transport, port).map(|entry| &*entry.name)
    }

    /// What one table of numbers says of a number: of ranges that hold it, the narrowest; nothing in the others.
    pub fn number(&self, table: Table, number: u16) -> Option<&NumberEntry> {
        self.numbers.get(table as usize)?.get(number)
    }

    /// The type of a file by its first bytes: the signature with the most fixed bytes wins. Bytes past
    /// [`PATTERN_REACH`] say nothing.
    pub fn file_type(&self, bytes: &[u8]) -> Option<&FileType> {
        self.files.get(bytes)
    }

    /// The same as its place among [`files`](Self::files).
    pub fn file_place(&self, bytes: &[u8]) -> Option<u16> {
        self.files.place(bytes)
    }

    /// Everything that WARN says of these facts, worst first. Allocates only where there is something.
    pub fn warnings(&self, facts: &Facts<'_>) -> Vec<&Warning> {
        self.warn.get(facts)
    }

    /// Which warnings' bytes are in one packet's payload, by their places in [`warn`](Self::warn), where the transport fits
    /// as well; `begins` says whether the payload is the first of its direction, so that bytes at a place are looked
    /// for, too. What stands in two packets is not found. For [`warnings_of`](Self::warnings_of).
    pub fn seen(&self, transport: Transport, payload: &[u8], begins: bool, found: impl FnMut(u16)) {
        self.warn.seen(transport, payload, begins, found);
    }

    /// Whether [`seen`](Self::seen) looks for anything behind the first payload of a direction.
    pub fn looks_everywhere(&self, transport: Transport) -> bool {
        self.warn.looks_everywhere(transport)
    }

    /// Everything that WARN says of a flow with these names, of whose payload these entries were
    /// [`seen`](Self::seen), by place, worst first; `facts` have neither name nor bytes.
    pub fn warnings_of(&self, facts: &Facts<'_>, names: &[&[u8]], seen: impl Iterator<Item = u16> + Clone) -> Vec<u16> {
        self.warn.of_flow(facts, names, seen)
    }

    /// What PURPOSE says of a server with this name: the entry that names most of it.
    pub fn purpose_of_name(&self, asked: &Asked<'_>) -> Option<&Purpose> {
        self.purpose.of_name(asked)
    }

    /// What PURPOSE says of a port alone, with the entry's place among [`purposes`](Self::purposes).
    pub fn purpose_of_port(&self, transport: Transport, port: u16) -> Option<(u16, &Purpose)> {
        self.purpose.of_port(transport, port)
    }

    /// The entries of a table of numbers, in order; none for the others.
    pub fn numbers(&self, table: Table) -> &[NumberEntry] {
        self.numbers.get(table as usize).map_or(&[], NumberTable::entries)
    }

    /// The file types, in order of their ids.
    pub fn files(&self) -> &[FileType] {
        self.files.entries()
    }

    /// The warnings, worst first, then by id.
    pub fn warn(&self) -> &[Warning] {
        self.warn.entries()
    }

    /// What PURPOSE holds, by id.
    pub fn purposes(&self) -> &[Purpose] {
        self.purpose.entries()
    }

    /// Entries of a table.
    pub fn len(&self, table: Table) -> usize {
        match table {
            Table::Files => self.files().len(),
            Table::Warn => self.warn().len(),
            Table::Purpose => self.purposes().len(),
            numbers => self.numbers(numbers).len(),
        }
    }

    /// Whether no table has an entry.
    pub fn is_empty(&self) -> bool {
        Table::ALL.into_iter().all(|table| self.len(table) == 0)
    }

    /// Entries that replace, remove, hide or overlap others, in the order in which they were found.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }
}
