use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::config::EXAMPLE;
use veilwatch::engine::Pipeline;
use veilwatch::output::plain;
use veilwatch::plugins::Origin;

/// Subcommands of `veilwatch config`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Check configurations: keys, plugins, settings, model.
    Check {
        /// Files to check.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the default configuration with every key.
    Example,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match args {
        Args::Example => out.write_all(EXAMPLE.as_bytes())?,
        Args::Check { files } => {
            for file in files {
                let (config, mut registry) = super::prepare(Some(file))?;
                let mut pipeline = Pipeline::untrained(config, &mut registry)?;
                // Without a classifier it is good for what needs no model.
                if pipeline.classifier().is_some() || !pipeline.config().shadow.model.is_empty() {
                    pipeline.load_models(&registry)?;
                }
                for report in pipeline.reports() {
                    let (id, plugin, reason) = (&report.id, &report.plugin, report.reason.as_deref());
                    match reason {
                        Some(reason) => writeln!(out, "{}: `{id}` is not used: {}", file.display(), plain(reason))?,
                        None if report.origin != Origin::Builtin => {
                            writeln!(
                                out,
                                "{}: `{id}` is {plugin} {} of {}",
                                file.display(),
                                report.version,
                                report.origin
                            )?;
                        }
                        None => {}
                    }
                }
                let model = pipeline.card().map_or("none (good for `features` and `train`)", |card| card.name.as_str());
                let (plugins, columns) = (pipeline.config().plugin.len(), pipeline.schema().width());
                writeln!(out, "{}: good; {plugins} plugins, {columns} columns, model {model}", file.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
