//! Languages and their messages.
//!
//! Every text that people read stands in `web/messages`, one file a language, with the same keys and placeholders.

use std::collections::BTreeMap;

use super::render::PageError;

/// A language that pages are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

/// The texts of one language by key.
pub type Messages = BTreeMap<String, String>;

impl Language {
    /// All languages.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// Its code in cookies, forms and accounts.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// Its tag for browsers and screen readers.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-Hans",
        }
    }

    /// Its own name for itself.
    pub fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }

    /// The language of this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    /// The language that a browser likes best of those we have, from its `Accept-Language`.
    pub fn from_header(header: &str) -> Self {
        let mut best = (Self::default(), 0.0);
        for part in header.split(',').take(32) {
            let mut pieces = part.trim().split(';');
            let tag = pieces.next().unwrap_or_default();
            let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
            let weight = pieces
                .find_map(|piece| piece.trim().strip_prefix("q="))
                .map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
            if let Some(language) = Self::from_code(&primary)
                && weight > best.1
            {
                best = (language, weight);
            }
        }
        best.0
    }

    /// Its messages.
    ///
    /// # Errors
    /// Where the file in the binary is not what it should be.
    pub fn messages(self) -> Result<Messages, PageError> {
        let text = match self {
            Self::English => include_str!("../../messages/en.toml"),
            Self::Chinese => include_str!("../../messages/zh.toml"),
        };
        let table: toml::Table = text.parse().map_err(|error| PageError(format!("messages: {error}")))?;
        let mut messages = Messages::new();
        flatten("", &table, &mut messages)?;
        Ok(messages)
    }
}

/// `[login] title = "…"` becomes `login.title`.
fn flatten(prefix: &str, table: &toml::Table, into: &mut Messages) -> Result<(), PageError> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::String(text) => {
                into.insert(key, text.clone());
            }
            toml::Value::Table(inner) => flatten(&key, inner, into)?,
            _ => return Err(PageError(format!("the message {key} is no text"))),
        }
    }
    Ok(())
}

/// Puts values into the `{placeholders}` of a message, in one pass: a value that looks like a placeholder stays text.
pub fn fill(message: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        match after.split_once('}') {
            Some((name, behind)) => {
                filled.push_str(&value(name).unwrap_or_else(|| format!("{{{name}}}")));
                rest = behind;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::accounts::Role;
    use crate::accounts::audit::Action;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name)).collect()
    }

    #[test]
    fn both_languages_have_the_same_messages() {
        let english = Language::English.messages().unwrap();
        let chinese = Language::Chinese.messages().unwrap();
        assert_eq!(english.keys().collect::<Vec<_>>(), chinese.keys().collect::<Vec<_>>());
        for (key, text) in &english {
            let other = &chinese[key];
            assert_eq!(placeholders(text), placeholders(other), "{key}");
            assert!(!text.trim().is_empty() && !other.trim().is_empty(), "{key}");
            let is_chinese = other.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(
                is_chinese || ["app.name", "account.scope-example"].contains(&key.as_str()),
                "{key} is not translated: {other}"
            );
        }
    }

    #[test]
    fn what_the_code_names_has_a_message() {
        let messages = Language::English.messages().unwrap();
        for role in Role::ALL {
            assert!(messages.contains_key(&format!("role.{role}")), "{role}");
        }
        for action in Action::ALL {
            assert!(messages.contains_key(&format!("action.{}", action.name())), "{action:?}");
        }
        for topic in veilwatch::explain::Topics::keys_in_the_box() {
            assert!(messages.contains_key(&format!("topic.{topic}")), "{topic}");
        }
    }

    #[test]
    fn the_browser_says_what_it_likes() {
        for (header, language) in [
            ("", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("en;q=0.5, zh;q=0.6", Language::Chinese),
            ("de-DE,de;q=0.9", Language::English),
            ("de,en;q=0.3,zh;q=0.2", Language::English),
            ("zh;q=0", Language::English),
            ("zh;q=x,,;;q", Language::English),
        ] {
            assert_eq!(Language::from_header(header), language, "{header}");
        }
    }

    #[test]
    fn values_are_filled_in_once() {
        let value = |name: &str| (name == "a").then(|| "{b}".to_owned());
        assert_eq!(fill("{a} and {b} {", value), "{b} and {b} {");
    }
}
