use super::learning::{self, RecipeArgs, prepared};
use super::say;
use super::train::pipeline;
use super::watch::Watch;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use veilwatch::engine::Pipeline;
use veilwatch::evaluate::{self, Altered, Bench, Digest, FeatureSet, Leak, Plan, Steps};
use veilwatch::learn::{self, Alteration, Altering, Dataset, LearnError, Loading, Origin, Recipe};
use veilwatch::output::plain;

/// Exit status: the audit failed, so that the figures are not to be believed.
const AUDIT_FAILED: u8 = 1;

/// Sets of features in the box that the default's are held against, where there are such.
const SETS: [&str; 2] = ["full", "blind"];

/// Arguments of `veilwatch evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with captures.csv, flows.csv and the captures they name.
    #[arg(long, value_name = "FOLDER", required_unless_present = "import")]
    data: Option<PathBuf>,
    /// Instead, tables of packets of the project that this one grew from, a benign and a malicious one: its table of seven
    /// classifiers, by its own protocol.
    #[arg(long, num_args = 2, value_names = ["GOOD", "BAD"], conflicts_with_all = [
        "data", "config", "pair_weight", "positive_share", "negatives", "heuristic", "augment", "search", "quick", "table",
        "html", "digest", "plant",
    ])]
    import: Vec<PathBuf>,
    /// Pipeline to judge instead of the default one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seed of whatever is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Less of everything, in a few minutes: ten folds, 200 bootstrap samples, no ablations, no robustness.
    #[arg(long)]
    quick: bool,
    /// The table of all classifiers and nothing else.
    #[arg(long)]
    table: bool,
    /// Write the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the report as one HTML file too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the evaluation in short too, as JSON: `evaluation.json` in a model's folder is what the portal shows of it. The
    /// table of classifiers is in it, even the quick way.
    #[arg(long, value_name = "FILE")]
    digest: Option<PathBuf>,
    /// Plant a leak that the audit has to find: `address`, `capture` or `label`.
    #[arg(long, hide = true, value_name = "LEAK", value_parser = leak, conflicts_with = "augment")]
    plant: Option<Leak>,
}

fn leak(name: &str) -> Result<Leak, String> {
    Leak::named(name).ok_or_else(|| format!("there is no leak `{name}`"))
}

/// Runs it. The exit status is 1 where the audit failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let [good, bad] = &args.import[..] {
        return super::origin::run(good, bad, args.seed, args.json);
    }
    let Some(folder) = &args.data else { return Ok(ExitCode::from(super::FAILED)) };
    let (_, registry, pipeline) = pipeline(args.config.as_deref())?;
    let classifier = pipeline.classifier().ok_or(LearnError::NoClassifier)?;
    let recipe = args.recipe.recipe(classifier.0)?;
    // Before the work, which takes long.
    let page = args.html.as_deref().map(Page::create).transpose()?;
    let digest = args.digest.as_deref().map(Page::create).transpose()?;
    let mut data = load(folder, &pipeline, &recipe, args.seed)?;
    let mut columns: Vec<String> = pipeline.schema().columns().iter().map(|column| column.name.to_string()).collect();
    columns.extend(args.plant.map(|leak| leak.plant(&mut data)));
    let plan = Plan {
        seed: args.seed,
        quick: args.quick,
        table_only: args.table,
        own_table: args.digest.is_some(),
        planted: args.plant.is_some(),
    };
    let sets = if plan.sets() { sets(folder, &pipeline, &recipe, args.seed)? } else { Vec::new() };
    let altered = if plan.robustness() { altered(folder, args.seed, &pipeline)? } else { Vec::new() };
    let stem = args.config.as_deref().and_then(Path::file_stem);
    let set = stem.map_or("default".into(), |stem| stem.to_string_lossy().into_owned());
    let bench = Bench {
        registry: &registry,
        classifier,
        data: &data,
        set: &set,
        columns: &columns,
        schema_sha256: pipeline.schema().hash(),
        sets: &sets,
        altered: &altered,
        plan,
    };
    let doing = Doing::watch();
    let mut say_step = |what: &str, done: usize, of: usize| doing.set(what, done, of);
    let judgement = evaluate::judge(&bench, &mut Steps::new(&mut say_step))?;
    drop(doing);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &judgement)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", evaluate::report::text(&judgement))?;
    }
    drop(out);
    if let Some(page) = page {
        page.write(evaluate::report::html(&judgement)?.as_bytes())?;
    }
    if let Some(digest) = digest {
        digest.write(&Digest::of(&judgement).to_bytes()?)?;
    }
    Ok(ExitCode::from(if judgement.passed() { 0 } else { AUDIT_FAILED }))
}

/// A file that the report goes into.
struct Page<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Page<'a> {
    /// Makes its file.
    fn create(path: &'a Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(Self { path, file })
    }

    fn write(mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("{}: cannot be written", self.path.display()))?;
        say(&format!("wrote {}", plain(&self.path.display().to_string())));
        Ok(())
    }
}

/// The data as the other sets of features in the box see it; one that is the judged pipeline's own is none.
fn sets(folder: &Path, judged: &Pipeline, recipe: &Recipe, seed: u64) -> Result<Vec<FeatureSet>> {
    // Classifiers and sets of features are compared without altered copies.
    let recipe = Recipe { augment: Vec::new(), ..recipe.clone() };
    let mut sets = Vec::new();
    for name in SETS.into_iter().filter(|name| veilwatch::config::Config::is_in_the_box(name)) {
        let (_, _, pipeline) = pipeline(Some(Path::new(name)))?;
        if pipeline.schema().hash() == judged.schema().hash() {
            continue;
        }
        sets.push(FeatureSet { name: name.to_owned(), data: load(folder, &pipeline, &recipe, seed)? });
    }
    Ok(sets)
}

/// The training folder, with what its recipe asks for.
fn load(folder: &Path, pipeline: &Pipeline, recipe: &Recipe, seed: u64) -> Result<Dataset> {
    let origins = [Origin::Folder(folder.to_owned())];
    prepared(learning::read(&origins, pipeline, None, None)?, recipe.clone(), &origins, pipeline, None, seed)
}

/// The data in each usual alteration.
fn altered(folder: &Path, seed: u64, pipeline: &Pipeline) -> Result<Vec<Altered>> {
    let mut all = Vec::new();
    for alteration in Alteration::USUAL {
        let altering = Altering { alterations: &[alteration], seed };
        let name = alteration.to_string();
        let data = read(folder, pipeline, &name, altering)?;
        all.push(Altered { name, data });
    }
    Ok(all)
}

/// Reads the training folder altered, with progress. What is wrong with its captures was told of the unaltered ones.
fn read(folder: &Path, pipeline: &Pipeline, name: &str, altering: Altering<'_>) -> Result<Dataset> {
    let loading = Arc::new(Loading::default());
    let (looked_at, words) = (Arc::clone(&loading), format!("captures read with {name}"));
    let look = move || {
        let total = looked_at.total.load(Ordering::Relaxed) as u64;
        (looked_at.done.load(Ordering::Relaxed) as u64, Some(total), words.clone())
    };
    let _watch = Watch::start(false, Box::new(look));
    Ok(learn::load_altered(folder, pipeline, super::cores(), &loading, altering)?)
}

/// Progress in words.
struct Doing {
    state: Arc<Mutex<(String, u64, u64)>>,
    _watch: Watch,
}

impl Doing {
    fn watch() -> Self {
        let state = Arc::new(Mutex::new((String::new(), 0, 1)));
        let looked_at = Arc::clone(&state);
        let look = move || {
            let (what, done, of) = looked_at.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (done, Some(of), what)
        };
        Self { state, _watch: Watch::start(false, Box::new(look)) }
    }

    fn set(&self, what: &str, done: usize, of: usize) {
        let now = (what.to_owned(), done as u64, of.max(1) as u64);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}
