//! The words of a mark: how somebody knows, and which flows it speaks of.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FlowFacts;
use crate::accounts::Reason;
use crate::results::Alike;

/// How somebody knows what a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A list or a report names the server, the certificate or the fingerprint.
    Intelligence,
    /// Something was found on the computer, or was not.
    Computer,
    /// It behaves like that.
    Behaviour,
    /// Whoever runs the computer or the server says so.
    Owner,
    /// A program or a service that is known here.
    KnownService,
    /// A test or a drill.
    Drill,
    /// As the words say.
    Other,
}

impl Why {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 7] = [
        Self::Intelligence,
        Self::Computer,
        Self::Behaviour,
        Self::Owner,
        Self::KnownService,
        Self::Drill,
        Self::Other,
    ];

    /// Its name in forms, in the database and in exports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intelligence => "intelligence",
            Self::Computer => "computer",
            Self::Behaviour => "behaviour",
            Self::Owner => "owner",
            Self::KnownService => "known-service",
            Self::Drill => "drill",
            Self::Other => "other",
        }
    }
}

impl FromStr for Why {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|why| why.name() == text).ok_or(Reason::Form)
    }
}

/// Which flows of a capture a mark speaks of, of those that were judged: of others training knows nothing.
///
/// Where several speak of one flow the narrower one counts, and of two of one scope the newer one. A pair is narrower than
/// any server, since it names both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All of the server's address.
    Address,
    /// All that asked for the server's name.
    Name,
    /// All of the server's address and port.
    AddressAndPort,
    /// All of the server's address and port that asked for its name.
    NameAndAddress,
    /// All from this computer to this server's address.
    Pair,
    /// This flow alone.
    Flow,
}

impl Scope {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 6] =
        [Self::Flow, Self::Pair, Self::NameAndAddress, Self::AddressAndPort, Self::Name, Self::Address];
    /// How narrow the scope of the mark `m` is, as SQL: the order of this type.
    pub(super) const NARROWNESS: &str = "CASE m.scope WHEN 'flow' THEN 5 WHEN 'pair' THEN 4
        WHEN 'name-and-address' THEN 3 WHEN 'address-and-port' THEN 2 WHEN 'name' THEN 1 ELSE 0 END";

    /// Its name in forms, in the database and in exports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Pair => "pair",
            Self::NameAndAddress => "name-and-address",
            Self::AddressAndPort => "address-and-port",
            Self::Name => "name",
            Self::Address => "address",
        }
    }

    /// What flows must be like to be in the scope of a mark on this one; none for the flow alone, and for the name of a
    /// server that has none.
    pub fn alike(self, flow: &FlowFacts) -> Option<Alike> {
        let (client, server, port) = (Some(flow.client), Some(flow.server), Some(flow.server_port));
        let name = flow.sni.clone().filter(|name| !name.is_empty());
        let none = Alike::default();
        match self {
            Self::Flow => None,
            Self::Pair => Some(Alike { client, server, ..none }),
            Self::NameAndAddress => name.map(|name| Alike { server, port, name: Some(name), client: None }),
            Self::AddressAndPort => Some(Alike { server, port, ..none }),
            Self::Name => name.map(|name| Alike { name: Some(name), ..none }),
            Self::Address => Some(Alike { server, ..none }),
        }
    }
}

impl FromStr for Scope {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(Reason::Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrower_is_the_same_in_the_code_and_in_the_database() {
        let database = rusqlite::Connection::open_in_memory().unwrap();
        let narrowness = |scope: Scope| -> i64 {
            let sql = format!("SELECT {} FROM (SELECT ?1 AS scope) m", Scope::NARROWNESS);
            database.query_row(&sql, [scope.name()], |row| row.get(0)).unwrap()
        };
        for (one, other) in Scope::ALL.into_iter().zip(Scope::ALL.into_iter().skip(1)) {
            assert!(one > other && narrowness(one) > narrowness(other), "{one:?}");
        }
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
            assert_eq!(serde_json::json!(scope), scope.name());
        }
        for why in Why::ALL {
            assert_eq!(why.name().parse(), Ok(why));
            assert_eq!(serde_json::json!(why), why.name());
        }
        assert_eq!("all".parse::<Scope>(), Err(Reason::Form));
    }

    #[test]
    fn a_server_without_a_name_has_no_scope_by_it() {
        let mut flow = FlowFacts {
            flow_id: 1,
            first_ns: 1,
            client: [192, 0, 2, 1].into(),
            client_port: 1,
            server: [192, 0, 2, 2].into(),
            server_port: 443,
            sni: None,
        };
        let offered = |flow: &FlowFacts| Scope::ALL.map(|scope| scope.alike(flow).is_some());
        assert_eq!(offered(&flow), [false, true, false, true, false, true]);
        flow.sni = Some("a.example".to_owned());
        assert_eq!(offered(&flow), [false, true, true, true, true, true]);
    }
}
