//! What a plugin adds to a pipeline, and which settings it knows: asked of an instance that is made for it.

use super::{Registry, RegistryError};
use crate::output::plain;
use serde::{Deserialize, Serialize};
use veilwatch_core::plugin::{Instance, Settings};
use veilwatch_core::record::FieldKind;

/// What a plugin adds to a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Columns of an extractor.
    pub columns: Vec<Part>,
    /// Fields of a template.
    pub fields: Vec<Part>,
}

/// A column or a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name, without that of the instance.
    pub name: String,
    /// The unit of a column, what a field holds.
    pub unit: String,
    /// What it is.
    pub words: String,
}

impl Parts {
    /// Asks an instance that is made for it.
    ///
    /// # Errors
    /// Where there is no such plugin, or it refuses its settings.
    pub fn of(registry: &Registry, plugin: &str, settings: &str) -> Result<Self, RegistryError> {
        Ok(match registry.create(plugin, Settings::new(settings))? {
            Instance::Feature(extractor) => {
                let columns = extractor.columns().into_iter();
                let part = |column: veilwatch_core::feature::Column| Part {
                    name: plain(&column.name),
                    unit: plain(&column.unit),
                    words: plain(&column.words),
                };
                Self { columns: columns.map(part).collect(), ..Self::default() }
            }
            Instance::Protocol(template) => {
                let fields = template.fields().into_iter();
                let part = |field: veilwatch_core::record::FieldSpec| Part {
                    name: plain(&field.name),
                    unit: holds(field.kind).to_owned(),
                    words: plain(&field.words),
                };
                Self { fields: fields.map(part).collect(), ..Self::default() }
            }
            Instance::Classifier(_) => Self::default(),
        })
    }
}

fn holds(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::U64 => "number",
        FieldKind::F64 => "fraction",
        FieldKind::Bytes => "bytes",
        FieldKind::U16List => "list of numbers",
    }
}

/// The names of a plugin's settings: serde lists them when it refuses one that is not among them.
pub fn setting_names(registry: &Registry, plugin: &str) -> Vec<String> {
    const NOBODYS: &str = "no_plugin_has_this_setting";
    let Err(error) = registry.create(plugin, Settings::new(&format!("{NOBODYS} = 0"))) else { return Vec::new() };
    let message = error.to_string();
    let Some((_, names)) = message.split_once(&format!("unknown field `{NOBODYS}`, expected ")) else {
        return Vec::new();
    };
    names.split('`').skip(1).step_by(2).map(plain).collect()
}
