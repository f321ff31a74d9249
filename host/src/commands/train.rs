use super::feedback::{self, FeedbackArgs};
use super::learning::{DataArgs, RecipeArgs, append_tables, prepared, read};
use super::say;
use super::watch::Watch;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{self, Background, Dataset, Evaluation, Feedback, Grid, Origin, Recipe, Truth};
use veilwatch::model::{Card, Figure, Report};
use veilwatch::output::plain;
use veilwatch::plugins::Registry;

/// Arguments of `veilwatch train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Tables of `veilwatch features --data` or `--label`, instead of the captures or beside others.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    table: Vec<PathBuf>,
    /// Instead, tables of packets of the project that this one grew from, a benign and a malicious one: the model has
    /// features of its own and judges no captures.
    #[arg(long, num_args = 2, value_names = ["GOOD", "BAD"], conflicts_with_all = [
        "data", "benign", "malicious", "clean", "table", "augment", "from", "report_cleaning", "feedback",
    ])]
    import: Vec<PathBuf>,
    /// Folder to write the model into.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Pipeline to train instead of the default one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seed of whatever is random; the same seed and data give the same model. It is 1 where nothing says otherwise.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    feedback: FeedbackArgs,
    /// Make a model again from its card.json: name, seed and recipe are the card's. The same data give the same bytes.
    #[arg(long, value_name = "CARD", conflicts_with_all = [
        "seed", "pair_weight", "positive_share", "negatives", "heuristic", "augment", "search", "mark_weight", "on_conflict",
    ])]
    from: Option<PathBuf>,
    /// Also tell what cleaning changed: learnt with it and without, on the same folds, and scored on the other flows.
    #[arg(long)]
    report_cleaning: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let [good, bad] = &args.import[..] {
        return import(args, good, bad);
    }
    if args.data.is_empty() && args.table.is_empty() {
        bail!("there is nothing to learn from; name it with --data, with --benign and --malicious, or with --table");
    }
    if args.out.exists() && !args.out.is_dir() {
        bail!("--out {}: this is a file; a model is a folder", plain(&args.out.display().to_string()));
    }
    let (_, registry, pipeline) = pipeline(args.config.as_deref())?;
    let (path, settings) = pipeline.classifier().ok_or(learn::LearnError::NoClassifier)?;
    let card = args.from.as_deref().map(card).transpose()?;
    let mut sources = args.data.clone();
    let mut recipe = match &card {
        Some(card) => card.training.recipe(),
        None => args.recipe.recipe(path)?,
    };
    if let Some(card) = &card {
        if card.schema_sha256 != pipeline.schema().hash() || card.classifier != path {
            bail!(
                "the card is of another pipeline, with other features or another classifier; name its own with --config"
            );
        }
        if !recipe.background_sha256.is_empty() && !sources.says_clean() {
            sources.clean_by_default();
        }
    }
    let background = sources.background()?;
    if args.report_cleaning && background.is_none() {
        bail!("--report-cleaning: nothing is cleaned; name a table with --clean");
    }
    let hash = background.as_ref().map(|table| table.sha256().to_owned()).unwrap_or_default();
    if card.is_some() && hash != recipe.background_sha256 {
        bail!("the card's table of background traffic is another one; name it with --clean FILE, or `none`");
    }
    if card.is_none() {
        (recipe.clean, recipe.background_sha256) = (background.is_some(), hash);
    }
    let seed = card.as_ref().map_or(args.seed.unwrap_or(1), |card| card.training.seed);
    let asked = card.is_some() || sources.says_clean();
    let marks = args.feedback.load(card.as_ref().map(|card| &card.training.recipe))?;
    let mut origins = sources.origins();
    if let Some(marks) = &marks {
        origins.extend(args.feedback.captures(marks));
    }
    let data = gather(&origins, &args.table, &pipeline, (background.as_ref(), marks.as_ref()), (recipe, asked), seed)?;
    let own = args.out.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned());
    let name = card.as_ref().map_or(own, |card| card.name.clone());
    if let Some(card) = card.as_ref().filter(|card| card.training.data_sha256 != data.sha256) {
        say(&format!("{}: it was trained on other data; what comes out will differ", card.name));
    }
    if let Some(grid) = &data.recipe.search {
        say(&format!("searching {} combinations of {} on {} inner folds", grid.count(), words(grid), grid.inner_folds));
    }
    // From a card the search begins from what it chose, and tries the same.
    let settings = card.as_ref().map_or(settings, |card| card.settings.as_str());
    let folds = Folds::watch();
    let trained = learn::train_as(&registry, &pipeline, settings, &data, &name, seed, |done, of| folds.set(done, of))?;
    drop(folds);
    trained.model.save(&args.out)?;
    print(&data, &trained.evaluation)?;
    if let Some(table) = &background {
        tell_cleaning(&data, table);
        if args.report_cleaning {
            report_cleaning(&registry, (path, settings), &data, seed)?;
        }
    }
    if data.recipe.search.is_some() {
        say(&format!("chosen on inner folds: {}", trained.model.card.settings.trim().replace('\n', ", ")));
    }
    let thresholds = trained.model.card.thresholds;
    say(&format!(
        "wrote {}: malicious from {:.4}, suspicious from {:.4}",
        plain(&args.out.display().to_string()),
        thresholds.malicious,
        thresholds.suspicious
    ));
    Ok(ExitCode::SUCCESS)
}

/// Trains the pipeline's classifier on imported tables.
fn import(args: &Args, good: &Path, bad: &Path) -> Result<ExitCode> {
    let (_, registry, pipeline) = pipeline(args.config.as_deref())?;
    let classifier = pipeline.classifier().ok_or(learn::LearnError::NoClassifier)?;
    let mut data = imported(good, bad)?;
    data.set_recipe(args.recipe.recipe(classifier.0)?);
    let name = args.out.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned());
    let folds = Folds::watch();
    let seed = args.seed.unwrap_or(1);
    let trained = learn::train_imported(&registry, classifier, &data, &name, seed, |done, of| folds.set(done, of))?;
    drop(folds);
    trained.model.save(&args.out)?;
    print(&data, &trained.evaluation)?;
    say(&format!(
        "wrote {}: a model of imported tables, which judges no captures",
        plain(&args.out.display().to_string())
    ));
    Ok(ExitCode::SUCCESS)
}

/// Imported tables, and what was in them.
pub(super) fn imported(good: &Path, bad: &Path) -> Result<Dataset> {
    let imported = learn::import(good, bad)?;
    for (path, counts) in [good, bad].into_iter().zip(imported.counts) {
        say(&format!(
            "{}: {} packets in {} conversations; {} rows not understood",
            path.display(),
            counts.packets,
            counts.conversations,
            counts.not_understood
        ));
    }
    Ok(imported.data)
}

/// A card by its file, or by its model's folder.
fn card(path: &Path) -> Result<Card> {
    let path = if path.is_dir() { path.join("card.json") } else { path.to_owned() };
    let card = Card::load(&path)?;
    if let Some(what) = card.training.recipe.search.as_ref().and_then(Grid::flaw) {
        bail!("{}: its search: {what}", path.display());
    }
    Ok(card)
}

/// All that is learnt from: captures, tables, what people marked, and altered copies. Beside the recipe: whether somebody
/// asked how to clean.
fn gather(
    origins: &[Origin],
    tables: &[PathBuf],
    pipeline: &Pipeline,
    (background, marks): (Option<&Background>, Option<&Feedback>),
    (mut recipe, asked): (Recipe, bool),
    seed: u64,
) -> Result<Dataset> {
    let mut data = read(origins, pipeline, background, marks)?;
    let cleaned = append_tables(&mut data, tables, pipeline, background)?;
    if let Some(hash) = cleaned.filter(|_| !asked) {
        // A table is learnt from as it was written.
        (recipe.clean, recipe.background_sha256) = (true, hash);
    }
    if !recipe.augment.is_empty() && !tables.is_empty() {
        bail!("--augment reads captures again, altered, and a feature table has none; name the captures");
    }
    if let Some(marks) = marks {
        feedback::tell(marks, &data)?;
        recipe.feedback = Some(marks.settle(&mut data));
    }
    prepared(data, recipe, origins, pipeline, background, seed)
}

/// What is tried.
fn words(grid: &Grid) -> String {
    let one = |(name, values): (&String, &Vec<toml::Value>)| {
        format!("{name} {}", values.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"))
    };
    grid.values.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Tells which flows a table of background traffic recognised.
fn tell_cleaning(data: &Dataset, table: &Background) {
    let mut moved: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for cleaned in data.cleaned.values() {
        *moved.entry((table.rule(cleaned.rule), cleaned.was.name())).or_default() += 1;
    }
    say(&format!("cleaning took {} flows for the machines' own:", data.cleaned.len()));
    for ((rule, was), flows) in moved {
        say(&format!("  {flows} that were {was}, by rule {rule}"));
    }
    say(&format!("  {} more had that label already", data.agreed));
    if data.contradicted > 0 {
        say(&format!(
            "  {} that an indicator names malicious stay malicious, whatever they ask for",
            data.contradicted
        ));
    }
}

/// What cleaning does to the figures: both ways on the same folds, scored on what cleaning does not judge itself.
fn report_cleaning(registry: &Registry, classifier: (&str, &str), data: &Dataset, seed: u64) -> Result<()> {
    let mut rest = data.without_verdict_on_cleaned();
    let mut evaluate = |clean: bool| {
        rest.recipe.clean = clean;
        let folds = Folds::watch();
        learn::evaluate(registry, classifier, &rest, seed, |done, of| folds.set(done, of))
    };
    let (with, without) = (evaluate(true)?, evaluate(false)?);
    say("what cleaning changes, scored on the flows that it does not judge itself:");
    for (name, of) in [
        ("both negatives", (|report| Some(report.average_precision)) as fn(&Report) -> Option<Figure>),
        ("benign captures", |report| report.average_precision_benign),
        ("infected machines' own traffic", |report| report.average_precision_background),
    ] {
        let [with, without] = [&with, &without].map(|evaluation| of(&evaluation.report));
        let words = |figure: Figure| format!("{:.4} ({:.4} – {:.4})", figure.value, figure.low, figure.high);
        let (Some(with), Some(without)) = (with, without) else { continue };
        say(&format!("average precision, {name}: {} cleaned, {} not cleaned", words(with), words(without)));
    }
    Ok(())
}

/// A pipeline without a model.
pub(super) fn pipeline(path: Option<&Path>) -> Result<(Config, Registry, Pipeline)> {
    let (config, mut registry) = super::prepare(path)?;
    let pipeline = Pipeline::untrained(config.clone(), &mut registry)?;
    Ok((config, registry, pipeline))
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
        ("average precision, both negatives", Some(report.average_precision)),
        ("average precision, benign captures", report.average_precision_benign),
        ("average precision, infected machines' own traffic", report.average_precision_background),
        ("recall at FPR 1e-3", Some(report.recall_at_fpr_1e3)),
        ("recall at the threshold chosen on the other folds", Some(report.recall_at_threshold)),
        ("FPR at that threshold", Some(report.fpr_at_threshold)),
    ] {
        table.add_row(match figure {
            Some(Figure { value, low, high }) => {
                [name.to_owned(), format!("{value:.4}"), format!("{low:.4} – {high:.4}")]
            }
            None => [name.to_owned(), "there are none".to_owned(), String::new()],
        });
    }
    writeln!(out, "{table}")?;
    let mut families = comfy_table::Table::new();
    families.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    families.set_header(["family left out", "pairs", "found at the threshold"]);
    for family in &evaluation.families {
        families.add_row([plain(&family.family), family.pairs.to_string(), family.found.to_string()]);
    }
    writeln!(out, "{families}")?;
    writeln!(out, "benign pairs that scored highest:")?;
    for (capture, packet, raw) in &evaluation.false_alarms {
        writeln!(out, "  {} packet {packet} (raw {raw:.2})", plain(capture))?;
    }
    Ok(())
}
