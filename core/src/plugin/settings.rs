use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// What kind of trouble a plugin reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PluginErrorKind {
    /// Its settings cannot be used.
    Settings = 0,
    /// The data it was given cannot be used: a model of another format, rows of another width.
    Data = 1,
    /// It could not do its work.
    Failed = 2,
    /// It panicked.
    Panicked = 3,
}

impl PluginErrorKind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Settings,
            1 => Self::Data,
            3 => Self::Panicked,
            _ => Self::Failed,
        }
    }
}

/// What a plugin reports; the host adds whose error it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PluginError {
    /// The kind of trouble.
    pub kind: PluginErrorKind,
    /// What is wrong and what to do.
    pub message: String,
}

impl PluginError {
    /// Settings that cannot be used.
    pub fn settings(message: impl Into<String>) -> Self {
        Self { kind: PluginErrorKind::Settings, message: message.into() }
    }

    /// Data that cannot be used.
    pub fn data(message: impl Into<String>) -> Self {
        Self { kind: PluginErrorKind::Data, message: message.into() }
    }

    /// Work that could not be done.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: PluginErrorKind::Failed, message: message.into() }
    }
}

/// The `[plugin.settings]` of one instance, as TOML text: every plugin chooses its own schema with serde.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    text: &'a str,
}

impl<'a> Settings<'a> {
    /// Settings from TOML text.
    pub fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// The TOML text itself.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Reads the settings into a checked type; give it `#[serde(default, deny_unknown_fields)]`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, PluginError> {
        toml::from_str(self.text).map_err(|error| PluginError::settings(error.message().to_owned()))
    }

    /// For plugins without settings: refuses any.
    pub fn none(&self) -> Result<(), PluginError> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        self.read::<Nothing>().map(|_| ())
    }
}

/// Holds a setting against its range, in words that say what to do. NaN lies in no range.
///
/// ```
/// use veilwatch_core::plugin::within;
///
/// assert!(within("trees", 200, 1..=10_000).is_ok());
/// assert_eq!(within("rate", 7.5, 0.0..=1.0).unwrap_err().message, "`rate` is 7.5; give 0 to 1");
/// ```
///
/// # Errors
/// One of settings, where it lies outside.
pub fn within<T: PartialOrd + Display>(name: &str, value: T, range: RangeInclusive<T>) -> Result<(), PluginError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(PluginError::settings(format!("`{name}` is {value}; give {} to {}", range.start(), range.end())))
}
