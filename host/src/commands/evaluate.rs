use super::train::{Folds, load, pipeline, print};
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::learn::{self, LearnError};

/// Arguments of `veilwatch evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with captures.csv, flows.csv and the captures they name.
    #[arg(long, value_name = "FOLDER", required_unless_present = "import")]
    data: Option<PathBuf>,
    /// Instead, tables of packets of the project that this one grew from, a benign and a malicious one: its table of seven
    /// classifiers, by its own protocol.
    #[arg(long, num_args = 2, value_names = ["GOOD", "BAD"], conflicts_with_all = ["data", "config"])]
    import: Vec<PathBuf>,
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
    if let [good, bad] = &args.import[..] {
        return super::origin::run(good, bad, args.seed, args.json);
    }
    let Some(folder) = &args.data else { return Ok(ExitCode::from(super::FAILED)) };
    let (_, registry, pipeline) = pipeline(args.config.as_deref())?;
    let classifier = pipeline.classifier().ok_or(LearnError::NoClassifier)?;
    let data = load(folder, &pipeline)?;
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
