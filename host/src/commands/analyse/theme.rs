use anyhow::{Context, Result};
use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::Path;
use veilwatch_core::detect::Verdict;

/// Colours and columns, as a file of TOML has them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Theme {
    /// Columns of the packet list, from left to right.
    pub(super) columns: Vec<Column>,
    /// Colours of rows, by the protocol's name.
    #[serde(deserialize_with = "colours")]
    pub(super) protocols: BTreeMap<String, Color>,
    /// Colours of verdicts.
    #[serde(deserialize_with = "colours")]
    pub(super) verdicts: BTreeMap<String, Color>,
    /// Whether there are colours at all.
    pub(super) colour: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Column {
    Number,
    Time,
    Source,
    Destination,
    Protocol,
    Length,
    Verdict,
    Score,
    Info,
}

/// Colours by their names, by numbers of the palette, or as `#rrggbb`.
fn colours<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Color>, D::Error> {
    let colour = |text: String| {
        text.parse::<Color>().map_err(|_| {
            serde::de::Error::custom(format!(
                "`{text}` is no colour; write a name, a number of the palette, or #rrggbb"
            ))
        })
    };
    BTreeMap::<String, String>::deserialize(from)?.into_iter().map(|(name, text)| Ok((name, colour(text)?))).collect()
}

impl Column {
    /// Whether it is as wide as there is room.
    pub(super) fn is_flexible(self) -> bool {
        matches!(self, Self::Source | Self::Destination | Self::Info)
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Number => "No.",
            Self::Time => "Time",
            Self::Source => "Source",
            Self::Destination => "Destination",
            Self::Protocol => "Protocol",
            Self::Length => "Length",
            Self::Verdict => "Verdict",
            Self::Score => "Score",
            Self::Info => "Info",
        }
    }
}

/// The theme in the box.
const BUILTIN: &str = include_str!("../../../../config/analyse/theme.toml");

impl Default for Theme {
    fn default() -> Self {
        Self { columns: Vec::new(), protocols: BTreeMap::new(), verdicts: BTreeMap::new(), colour: true }
    }
}

impl Theme {
    /// That of a file, else the one in the box; without colours where the environment says so (`NO_COLOR`).
    pub(super) fn load(path: Option<&Path>) -> Result<Self> {
        let (text, name) = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                (text, path.display().to_string())
            }
            None => (BUILTIN.to_owned(), "config/analyse/theme.toml".to_owned()),
        };
        let mut theme: Self = toml::from_str(&text).with_context(|| name)?;
        if theme.columns.is_empty() {
            theme.columns = Self::load(None)?.columns;
        }
        theme.colour &= std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(theme)
    }

    /// How a row of a protocol looks.
    pub(super) fn protocol(&self, name: &str) -> Style {
        self.coloured(self.protocols.get(&name.to_lowercase()))
    }

    /// How a verdict looks.
    pub(super) fn verdict(&self, verdict: Option<Verdict>) -> Style {
        self.coloured(verdict.and_then(|verdict| self.verdicts.get(&verdict.to_string())))
    }

    fn coloured(&self, colour: Option<&Color>) -> Style {
        colour.filter(|_| self.colour).map_or(Style::new(), |colour| Style::new().fg(*colour))
    }

    /// What is selected: turned round, so that it shows without colours too.
    pub(super) fn selected(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
