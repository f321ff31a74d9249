use super::say;
use super::watch::Watch;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{self, Dataset, Evaluation, Loading, Truth};
use veilwatch::model::{Figure, Report};
use veilwatch::plugins::Registry;

/// Arguments of `veilwatch train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with captures.csv, flows.csv and the captures they name.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Folder to write the model into.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Pipeline to train instead of the default one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seed of whatever is random; the same seed and data give the same model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (config, registry, pipeline) = pipeline(args.config.as_deref())?;
    drop(config);
    let data = load(&args.data, &pipeline)?;
    let name = args.out.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned());
    let folds = Folds::watch();
    let trained = learn::train(&registry, &pipeline, &data, &name, args.seed, |done, of| folds.set(done, of))?;
    drop(folds);
    trained.model.save(&args.out)?;
    print(&data, &trained.evaluation)?;
    let thresholds = trained.model.card.thresholds;
    say(&format!(
        "wrote {}: malicious from {:.4}, suspicious from {:.4}",
        args.out.display(),
        thresholds.malicious,
        thresholds.suspicious
    ));
    Ok(ExitCode::SUCCESS)
}

/// A pipeline without a model.
pub(super) fn pipeline(path: Option<&Path>) -> Result<(Config, Registry, Pipeline)> {
    let (config, mut registry) = super::prepare(path)?;
    let pipeline = Pipeline::untrained(config.clone(), &mut registry)?;
    Ok((config, registry, pipeline))
}

/// Reads a training folder, with progress.
pub(super) fn load(folder: &Path, pipeline: &Pipeline) -> Result<Dataset> {
    let loading = Arc::new(Loading::default());
    let looked_at = Arc::clone(&loading);
    let _watch = Watch::start(
        false,
        Box::new(move || {
            let total = looked_at.total.load(Ordering::Relaxed) as u64;
            (looked_at.done.load(Ordering::Relaxed) as u64, Some(total), "captures read".into())
        }),
    );
    let data = learn::load(folder, pipeline, super::cores(), &loading)?;
    for path in &data.unreadable {
        say(&format!("{path}: no capture, left out"));
    }
    for path in &data.duplicates {
        say(&format!("{path}: the same capture as another, left out"));
    }
    Ok(data)
}

/// Progress over folds.
pub(super) struct Folds {
    state: Arc<(AtomicU64, AtomicU64)>,
    _watch: Watch,
}

impl Folds {
    pub(super) fn watch() -> Self {
        let state = Arc::new((AtomicU64::new(0), AtomicU64::new(1)));
        let looked_at = Arc::clone(&state);
        let look = move || {
            let total = looked_at.1.load(Ordering::Relaxed);
            (looked_at.0.load(Ordering::Relaxed), Some(total), "folds scored".to_owned())
        };
        Self { state, _watch: Watch::start(false, Box::new(look)) }
    }

    pub(super) fn set(&self, done: usize, of: usize) {
        self.state.0.store(done as u64, Ordering::Relaxed);
        self.state.1.store(of as u64, Ordering::Relaxed);
    }
}

/// The evaluation as a person reads it.
pub(super) fn print(data: &Dataset, evaluation: &Evaluation) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let Report { malicious_pairs, benign_pairs, background_pairs, .. } = evaluation.report;
    writeln!(
        out,
        "{} captures; {} malicious, {} benign and {} background flows ({} unlabelled)",
        data.captures.len(),
        data.count(Truth::Malicious),
        data.count(Truth::Benign),
        data.count(Truth::Background),
        data.count(Truth::Unlabelled)
    )?;
    writeln!(
        out,
        "pairs (capture, server): {malicious_pairs} malicious, {benign_pairs} benign, {background_pairs} background; \
         {} folds, a family left out in each",
        evaluation.folds
    )?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["by pair", "value", "95 % interval (bootstrap by capture)"]);
    let report = &evaluation.report;
    for (name, figure) in [
        ("average precision, both negatives", report.average_precision),
        ("average precision, benign captures", report.average_precision_benign),
        ("average precision, infected machines' own traffic", report.average_precision_background),
        ("recall at FPR 1e-3", report.recall_at_fpr_1e3),
        ("recall at the threshold chosen on the other folds", report.recall_at_threshold),
        ("FPR at that threshold", report.fpr_at_threshold),
    ] {
        let Figure { value, low, high } = figure;
        table.add_row([name.to_owned(), format!("{value:.4}"), format!("{low:.4} – {high:.4}")]);
    }
    writeln!(out, "{table}")?;
    let mut families = comfy_table::Table::new();
    families.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    families.set_header(["family left out", "pairs", "found at the threshold"]);
    for family in &evaluation.families {
        families.add_row([family.family.clone(), family.pairs.to_string(), family.found.to_string()]);
    }
    writeln!(out, "{families}")?;
    writeln!(out, "benign pairs that scored highest:")?;
    for (capture, packet, raw) in &evaluation.false_alarms {
        writeln!(out, "  {capture} packet {packet} (raw {raw:.2})")?;
    }
    Ok(())
}
