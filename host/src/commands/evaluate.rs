use super::train::{Folds, load, pipeline, print};
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::learn::{self, LearnError};

/// Arguments of `veilwatch evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with captures.csv, flows.csv and the captures they name.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Pipeline to judge instead of the default one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seed of whatever is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (_, registry, pipeline) = pipeline(args.config.as_deref())?;
    let classifier = pipeline.classifier().ok_or(LearnError::NoClassifier)?;
    let data = load(&args.data, &pipeline)?;
    let folds = Folds::watch();
    let evaluation = learn::evaluate(&registry, classifier, &data, args.seed, |done, of| folds.set(done, of))?;
    drop(folds);
    if args.json {
        let report = serde_json::json!({
            "data_sha256": data.sha256,
            "folds": evaluation.folds,
            "report": evaluation.report,
            "families": evaluation.families,
        });
        serde_json::to_writer_pretty(std::io::stdout().lock(), &report)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&data, &evaluation)?;
    Ok(ExitCode::SUCCESS)
}
