//! Display filters: which of the packets that were dissected, or of the flows that have ended, somebody wants to see.
//!
//! An expression speaks of fields: `tls.sni contains "duck" && ip.dst in 10.0.0.0/8`. It is parsed, its types are checked
//! against the fields that a pipeline has at a [`Level`], and it becomes a small program, which takes a time that is linear
//! in what a packet or a flow holds. `host/QUERY.md` is the language's specification. (Capture filters in tcpdump's language
//! decide earlier, which packets are looked at at all: [`crate::filter`].)
//!
//! ```
//! use veilwatch::config::Config;
//! use veilwatch::engine::Pipeline;
//! use veilwatch::plugins::Registry;
//! use veilwatch::query::{Fields, Level, PacketQuery};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::untrained(Config::load("protocols".as_ref())?, &mut Registry::with_builtins()?)?;
//! let fields = Fields::of(&pipeline);
//! let query = PacketQuery::new("tls.sni contains \"duck\" and ip.dst in 10.0.0.0/8", &fields)?;
//! assert_eq!(query.to_string(), "tls.sni contains \"duck\" && ip.dst in {10.0.0.0/8}");
//!
//! let error = PacketQuery::new("tls.snj == \"a\"", &fields).unwrap_err();
//! assert!(error.to_string().contains("`tls.sni`"), "it names the nearest field");
//! assert_eq!(error.place(), 0..7);
//! assert!(fields.complete(Level::Packet, "tls.sn").iter().any(|field| field.name == "tls.sni"));
//! # Ok(()) }
//! ```
//!
//! | module | story |
//! |---|---|
//! | `lex`, `parse` | text becomes a tree of tests |
//! | `syntax` | that tree, and how it is written |
//! | `error` | what is wrong, and where |
//! | `fields` | what can be spoken of: fields of packets and of flows, with their kinds |
//! | `complete` | names that begin like this, and the one that was probably meant |
//! | `value`, `literal` | values, and what one writes for them |
//! | `check` | types are checked, and a tree becomes a program |
//! | `program` | the program, and how it runs |
//! | `packet`, `flow` | values of a packet and of a flow |

mod check;
mod complete;
mod error;
mod fields;
mod flow;
mod lex;
mod literal;
mod packet;
mod parse;
mod program;
mod syntax;
#[cfg(test)]
mod tests;
mod value;

pub use complete::Completion;
pub use error::QueryError;
pub use fields::{FieldInfo, Fields};
pub use flow::{FlowQuery, WhereSink};
pub use packet::{OfFlow, PacketQuery, asks_verdicts};
pub use parse::parse;
pub use syntax::{Base, Comparison, Expression, Function, Item, Operand, Quantifier, Relation, Span, Test};

use std::fmt;

/// Most bytes of an expression.
pub const EXPRESSION_BYTES: usize = 4096;
/// Most parentheses and negations that stand in one another.
pub const NESTING: usize = 32;
/// Most members of a set.
pub const SET_ITEMS: usize = 256;
/// Most functions around a field.
pub const FUNCTIONS: usize = 4;
/// Most bytes of a regular expression.
pub const PATTERN_BYTES: usize = 512;
/// Most bytes that a regular expression takes when it is compiled, and the same again while it looks.
pub const PATTERN_MEMORY: usize = 1 << 20;
/// Most regular expressions of one expression.
pub const PATTERNS: usize = 8;

/// What an expression is asked of: each has its own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Single packets: `veilwatch packets --where`.
    Packet,
    /// Flows that have ended, with their verdicts: `veilwatch detect --where`.
    Flow,
}

impl Level {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Packet => Self::Flow,
            Self::Flow => Self::Packet,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packet => "packets",
            Self::Flow => "flows",
        })
    }
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0 or 1, which may be written `false` and `true`.
    Flag,
    /// A whole number from 0 on.
    Number,
    /// A number with a fraction.
    Real,
    /// Text; bytes of a capture, so not necessarily UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// An address of IPv4.
    Ipv4,
    /// An address of IPv6.
    Ipv6,
    /// An address of either.
    Ip,
    /// An address of Ethernet and its kin.
    Mac,
    /// A point in time, since 1970-01-01 UTC.
    Time,
    /// A time between two.
    Duration,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "a flag",
            Self::Number => "a whole number",
            Self::Real => "a number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
            Self::Ip => "an address",
            Self::Mac => "an Ethernet address",
            Self::Time => "a time",
            Self::Duration => "a duration",
        })
    }
}
