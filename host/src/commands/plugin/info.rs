use super::show::{self, Format};
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::config::Config;
use veilwatch::hash::sha256_hex;
use veilwatch::output::plain;
use veilwatch::plugins::{Origin, Registry, RegistryError};
use veilwatch_core::plugin::{Declaration, Instance, Settings};
use veilwatch_core::record::FieldKind;

/// Arguments of `veilwatch plugin info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A plugin in the box such as `feature/splt`, or the path of a library.
    #[arg(value_name = "KIND/NAME|PATH")]
    plugin: PathBuf,
    /// Its settings as TOML, where columns or fields depend on them.
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    /// How to write it; by default a text on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// What a plugin adds to a pipeline.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) columns: Vec<Part>,
    pub(super) fields: Vec<Part>,
}

/// A column or a field.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    name: String,
    /// The unit of a column, what a field holds.
    unit: String,
    words: String,
}

impl Parts {
    /// Asks an instance that is made for it.
    pub(super) fn of(registry: &Registry, plugin: &str, settings: &str) -> Result<Self, RegistryError> {
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

/// What is told of one plugin.
#[derive(Debug, Serialize)]
struct Info {
    plugin: String,
    version: String,
    summary: String,
    origin: String,
    /// Of the library.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The version of the contract that it was built against.
    contract: String,
    /// Names of its settings, where it tells.
    settings: Vec<String>,
    columns: Vec<Part>,
    fields: Vec<Part>,
    /// Why columns and fields are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Its entry in a pipeline.
    entry: String,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (config, mut registry) = crate::commands::prepare(None)?;
    let found = super::declarations(&args.plugin, &mut registry)?;
    let single = found.len() == 1;
    let tell = |(declaration, origin)| info(declaration, origin, args, &registry, &config, single);
    let infos: Vec<Info> =
        found.iter().map(|(declaration, origin)| tell((declaration, origin))).collect::<Result<_>>()?;
    if show::for_people(args.format) {
        for info in &infos {
            show::text(&text(info))?;
        }
    } else {
        show::lines(&infos)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn info(
    declaration: &Declaration,
    origin: &Origin,
    args: &Args,
    registry: &Registry,
    config: &Config,
    single: bool,
) -> Result<Info> {
    let manifest = &declaration.manifest;
    let path = manifest.path();
    let sha256 = match origin {
        Origin::Builtin => None,
        Origin::Library(path) => Some(sha256_hex(&std::fs::read(path)?)),
    };
    let settings = settings_of(registry, &path);
    let (parts, refused) = match Parts::of(registry, &path, &args.settings) {
        Ok(parts) => (parts, None),
        Err(error) => (Parts::default(), Some(plain(&error.to_string()))),
    };
    // The default pipeline has every setting of what is in the box.
    let known = config.plugin.iter().find(|entry| entry.plugin.as_deref() == Some(&path)).map(|entry| &entry.settings);
    let known = known.filter(|_| *origin == Origin::Builtin && args.settings.is_empty());
    let written = match known {
        Some(known) => toml::to_string(known)?,
        None => args.settings.clone(),
    };
    Ok(Info {
        entry: entry(&manifest.name, &path, origin, sha256.as_deref(), single, &written, &settings),
        plugin: path,
        version: plain(&manifest.version),
        summary: plain(&manifest.summary),
        origin: origin.to_string(),
        sha256,
        contract: registry.contract(origin),
        settings,
        columns: parts.columns,
        fields: parts.fields,
        refused,
    })
}

/// The names of a plugin's settings: serde lists them when it refuses one that is not among them.
fn settings_of(registry: &Registry, path: &str) -> Vec<String> {
    const NOBODYS: &str = "no_plugin_has_this_setting";
    let Err(error) = registry.create(path, Settings::new(&format!("{NOBODYS} = 0"))) else { return Vec::new() };
    let message = error.to_string();
    let Some((_, names)) = message.split_once(&format!("unknown field `{NOBODYS}`, expected ")) else {
        return Vec::new();
    };
    names.split('`').skip(1).step_by(2).map(plain).collect()
}

/// A block to paste into a pipeline.
fn entry(
    name: &str,
    path: &str,
    origin: &Origin,
    sha256: Option<&str>,
    single: bool,
    written: &str,
    settings: &[String],
) -> String {
    let mut block = format!("[[plugin]]\nid = \"{name}\"\n");
    if let Origin::Library(library) = origin {
        let quoted = toml::Value::String(library.display().to_string());
        let _ = writeln!(block, "path = {quoted}\nsha256 = \"{}\"", sha256.unwrap_or_default());
    }
    if *origin == Origin::Builtin || !single {
        let _ = writeln!(block, "use = \"{path}\"");
    }
    let open: Vec<&String> = settings.iter().filter(|name| !written.contains(name.as_str())).collect();
    if !written.is_empty() || !open.is_empty() {
        block.push_str("[plugin.settings]\n");
        block.push_str(written.trim_end());
        if !written.is_empty() {
            block.push('\n');
        }
        // Their defaults are known to the plugin alone.
        open.iter().for_each(|name| {
            let _ = writeln!(block, "# {name} = …");
        });
    }
    block
}

/// For people.
fn text(info: &Info) -> String {
    let mut out = format!("{} {}: {}\n", info.plugin, info.version, info.summary);
    let _ = writeln!(out, "from      {}", plain(&info.origin));
    if let Some(hash) = &info.sha256 {
        let _ = writeln!(out, "sha256    {hash}");
    }
    let _ = writeln!(out, "contract  {}", info.contract);
    if let Some(refused) = &info.refused {
        let _ = writeln!(out, "not made  {refused}; give its settings with `--settings`");
    }
    for (parts, header) in [(&info.columns, ["column", "unit", "words"]), (&info.fields, ["field", "holds", "words"])] {
        if !parts.is_empty() {
            let rows = parts.iter().map(|part| [part.name.clone(), part.unit.clone(), part.words.clone()]);
            let _ = writeln!(out, "\n{}", show::grid(header, rows));
        }
    }
    let _ = write!(out, "\nin a pipeline:\n\n{}", info.entry);
    out
}
