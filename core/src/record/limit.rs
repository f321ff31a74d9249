//! How a template says that one of its settings bounded what it read.

use super::{FieldKind, FieldSpec};

impl FieldSpec {
    /// A field of a template that says, as 1, that one of its settings bounded what was read of the flow.
    ///
    /// The result counts the flows that have it, under `protocol.setting`, beside the limits of the configuration. It needs
    /// nothing but a name (`protocol.limit.setting`), so that templates in libraries of any contract can have it too.
    pub fn limit(protocol: &str, setting: &str) -> Self {
        let words = format!("1 where `{setting}` bounded what was read");
        Self::new(format!("{protocol}.limit.{setting}"), FieldKind::U64, words)
    }

    /// The limit that this field tells of, as `protocol.setting`; `None` where it tells of none.
    pub fn limit_name(&self) -> Option<String> {
        let (protocol, setting) = self.name.split_once(".limit.").filter(|_| self.kind == FieldKind::U64)?;
        Some(format!("{protocol}.{setting}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_and_comes_back() {
        let spec = FieldSpec::limit("ssh", "banner_bytes");
        assert_eq!(
            (spec.name.as_ref(), spec.limit_name().as_deref()),
            ("ssh.limit.banner_bytes", Some("ssh.banner_bytes"))
        );
        for (name, kind) in [("ssh.limit.banner_bytes", FieldKind::Bytes), ("ssh.limits", FieldKind::U64)] {
            assert_eq!(FieldSpec::new(name, kind, "").limit_name(), None);
        }
    }
}
