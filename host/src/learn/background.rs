//! What infected machines say all the same: a table of services that every machine of its kind talks to.
//!
//! A capture of malware holds the machine's own traffic too. Where its flows are labelled one by one, most of that is
//! labelled; where the whole capture counts as malicious, it is not. The table is data, `config/training/background.toml`: our own
//! list of facts, which anybody may replace.
//!
//! Names can be forged: malware may well name a server of this table. So a flow that a published indicator or the capture's
//! author names malicious stays so, whatever the table says.

use super::LearnError;
use crate::engine::Pipeline;
use crate::hash::sha256_hex;
use serde::Deserialize;
use std::path::Path;
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::record::{ClientHello, Dns, FieldId, Value};

/// The table in the box.
const DEFAULT: &str = include_str!("../../../config/training/background.toml");

/// A table of background traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Background {
    rules: Vec<Rule>,
    sha256: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

/// One service, or some of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    /// For people who read the table.
    #[serde(rename = "words")]
    _words: String,
    /// Names, with all names below them.
    #[serde(default)]
    names: Vec<String>,
    /// Such as `udp/123`.
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Port {
    protocol: u8,
    port: u16,
}

impl TryFrom<String> for Port {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let (protocol, port) = text.split_once('/')?;
            let protocol = match protocol {
                "tcp" => 6,
                "udp" => 17,
                _ => return None,
            };
            Some(Self { protocol, port: port.parse().ok()? })
        };
        read().ok_or_else(|| format!("`{text}` is no port; write udp/123 or tcp/80"))
    }
}

impl Background {
    /// The table in the box, as `--clean default` has it.
    pub fn builtin() -> Result<Self, LearnError> {
        Self::read("config/training/background.toml", DEFAULT)
    }

    /// A table from a file.
    pub fn load(path: &Path) -> Result<Self, LearnError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| LearnError::File { path: path.to_owned(), what: error.to_string() })?;
        Self::read(&path.to_string_lossy(), &text)
    }

    fn read(name: &str, text: &str) -> Result<Self, LearnError> {
        let wrong = |what: String| LearnError::File { path: name.into(), what };
        let File { mut rule } = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for one in &mut rule {
            one.names.iter_mut().for_each(|name| *name = name.trim_matches('.').to_ascii_lowercase());
            if one.names.iter().any(|name| !name.contains('.')) {
                return Err(wrong(format!("rule `{}`: a name without a dot would be half of the Internet", one.id)));
            }
        }
        Ok(Self { rules: rule, sha256: sha256_hex(text.as_bytes()) })
    }

    /// SHA-256 of the file in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The name of a rule.
    pub fn rule(&self, place: usize) -> &str {
        self.rules.get(place).map_or("", |rule| &rule.id)
    }

    /// The rule that recognises a flow, if any: by the name it asks for, else by the one that DNS led it there by, by the
    /// name that a flow of DNS asks about, or by its port.
    pub(super) fn recognises(&self, flow: &FlowRecord, pipeline: &Pipeline) -> Option<usize> {
        let text = |id: FieldId| match flow.fields.get(id) {
            Some(Value::Bytes(name)) if !name.is_empty() => Some(name),
            _ => None,
        };
        let host = || pipeline.fields().id("http.hostname").and_then(text);
        let led = || flow.names.link.as_ref().map(|link| &*link.name);
        let name = text(ClientHello::SNI).or_else(|| text(Dns::RRNAME)).or_else(host).or_else(led).unwrap_or_default();
        self.place(name, flow.protocol, flow.responder.port)
    }

    fn place(&self, name: &[u8], protocol: u8, port: u16) -> Option<usize> {
        let name = name.trim_ascii().to_ascii_lowercase();
        let name = name.strip_suffix(b".").unwrap_or(&name);
        let below = |suffix: &str| match name.strip_suffix(suffix.as_bytes()) {
            Some(rest) => rest.is_empty() || rest.ends_with(b"."),
            None => false,
        };
        let port = Port { protocol, port };
        self.rules.iter().position(|rule| rule.names.iter().any(|name| below(name)) || rule.ports.contains(&port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_in_the_box_reads_and_says_each_name_once() {
        let table = Background::builtin().unwrap();
        let names: Vec<&String> = table.rules.iter().flat_map(|rule| &rule.names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let ids: BTreeSet<&String> = table.rules.iter().map(|rule| &rule.id).collect();
        assert_eq!(ids.len(), table.rules.len());
        let rule = |name: &str| table.place(name.as_bytes(), 6, 443).map(|at| table.rule(at));
        assert_eq!(rule("ctldl.windowsupdate.com"), Some("windows-update"));
        assert_eq!(rule("WWW.MSFTCONNECTTEST.COM."), Some("connectivity-check"));
        assert_eq!(rule("msftconnecttest.com.evil.example"), None);
        assert_eq!(rule("notmsftconnecttest.com"), None);
        assert_eq!(rule(""), None);
        assert_eq!(table.place(b"", 17, 123).map(|at| table.rule(at)), Some("time"));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for wrong in [
            "rule = 1",
            "[[rule]]\nid = \"a\"",
            "[[rule]]\nid = \"a\"\nwords = \"\"\nnames = [\"com\"]",
            "[[rule]]\nid = \"a\"\nwords = \"\"\nports = [\"123\"]",
            "[[rule]]\nid = \"a\"\nwords = \"\"\nname = [\"a.example\"]",
        ] {
            assert!(Background::read("x", wrong).is_err(), "{wrong}");
        }
    }
}
