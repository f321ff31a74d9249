use super::show::{self, Format};
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::config::Config;
use veilwatch::hash::sha256_hex;
use veilwatch::output::plain;
use veilwatch::plugins::{Origin, Part, Parts, Registry, setting_names};
use veilwatch_core::plugin::Declaration;

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
    let settings = setting_names(registry, &path);
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
