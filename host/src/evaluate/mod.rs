//! Judging: figures that can be believed, or none.
//!
//! A classifier is scored out of fold under several protocols ([`crate::learn::Protocol`]), against both kinds of negatives,
//! by flow and by (capture, server) pair, each figure with an interval by capture. An [`audit`] then asks whether the
//! figures may be believed, and the headline is withheld where one of its rules is broken. `host/EVALUATION.md` says what
//! each figure means.

mod ablation;
pub mod audit;
mod baseline;
mod bootstrap;
mod curves;
mod digest;
pub mod figures;
mod protocols;
pub mod report;
mod robustness;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod units;
mod versus;
mod worst;

pub use ablation::Short;
pub use audit::{Audit, Check, Ending, Leak};
pub use baseline::Against;
pub use curves::Curves;
pub use digest::{BaselineDigest, CheckDigest, ClassifierDigest, Digest, NamedFigure};
pub use figures::Figures;
pub use protocols::{AgainstReport, LevelReport, ProtocolReport};
pub use robustness::{Altered, Robustness};
pub use table::FeatureSet;
pub use transfer::{FoldKept, Kept, Transfer};
pub use units::{Level, Negatives};
pub use versus::{Versus, versus};
pub use worst::{Mistake, Push, Worst};

use crate::learn::{Dataset, Folds, Grid, LearnError, Protocol, Recipe, Row, Truth, validate};
use crate::model::{Figure, Report};
use crate::plugins::Registry;
use serde::Serialize;
use units::{Outcome, units, units_of};

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Seed of whatever is random.
    pub seed: u64,
    /// Less of everything: families and sources packed into a few folds, fewer bootstrap samples and permutations, no
    /// ablations, no robustness.
    pub quick: bool,
    /// The table of classifiers and nothing else.
    pub table_only: bool,
    /// The table of classifiers on the pipeline's own features, even the quick way.
    pub own_table: bool,
    /// A leak was planted: only the data themselves have its column, so that nothing else is judged beside them.
    pub planted: bool,
}

impl Plan {
    /// Whether the table of classifiers is made.
    pub fn table(&self) -> bool {
        self.table_only || self.own_table || !self.quick
    }

    /// Whether other sets of features are judged too.
    pub fn sets(&self) -> bool {
        (self.table_only || !self.quick) && !self.planted
    }

    /// Whether altered captures are tested.
    pub fn robustness(&self) -> bool {
        self.ablations() && !self.planted
    }

    fn ablations(&self) -> bool {
        !self.table_only && !self.quick
    }

    /// Folds that families and sources are packed into, at most.
    fn folds(&self) -> usize {
        if self.quick { 10 } else { usize::MAX }
    }

    fn samples(&self) -> usize {
        if self.quick { 200 } else { 1000 }
    }

    fn shuffles(&self) -> usize {
        if self.quick { 3 } else { 10 }
    }
}

/// What is judged.
pub struct Bench<'a> {
    /// Where classifiers come from.
    pub registry: &'a Registry,
    /// The pipeline's classifier: `kind/name` and its settings.
    pub classifier: (&'a str, &'a str),
    /// The labelled rows.
    pub data: &'a Dataset,
    /// What the pipeline's own set of features is called.
    pub set: &'a str,
    /// Names of their columns.
    pub columns: &'a [String],
    /// Hash of the schema.
    pub schema_sha256: &'a str,
    /// Other sets of features.
    pub sets: &'a [FeatureSet],
    /// The data, altered.
    pub altered: &'a [Altered],
    /// How much is done.
    pub plan: Plan,
}

/// Who hears what is being done, and the list of all that was fitted and scored.
pub struct Steps<'a> {
    say: &'a mut dyn FnMut(&str, usize, usize),
    looked_at: Vec<String>,
}

impl<'a> Steps<'a> {
    /// `say` hears what is being done, how much of it is done, and of how much.
    pub fn new(say: &'a mut dyn FnMut(&str, usize, usize)) -> Self {
        Self { say, looked_at: Vec::new() }
    }

    fn say(&mut self, what: &str, done: usize, of: usize) {
        (self.say)(what, done, of);
    }

    fn count(&mut self, what: &str) {
        self.looked_at.push(what.to_owned());
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// Layout of this report; it grows when a name goes or changes its meaning.
    pub format: u32,
    /// Version of Veilwatch that judged.
    pub made_by: &'static str,
    /// Whether this was the quick way.
    pub quick: bool,
    /// Seed of whatever was random.
    pub seed: u64,
    /// Bootstrap samples behind each interval.
    pub bootstrap_samples: usize,
    /// SHA-256 over the captures and labels.
    pub data_sha256: String,
    /// Hash of the schema.
    pub schema_sha256: String,
    /// The classifier.
    pub classifier: String,
    /// Its settings, as TOML.
    pub settings: String,
    /// How rows were weighed and chosen.
    pub recipe: Recipe,
    /// Most weight that the flows of one (capture, server) pair had together.
    pub pair_weight: f64,
    /// What there was.
    pub data: Counts,
    /// The figures to quote; none where the audit failed, or could not make one of the checks that figures stand on.
    pub headline: Option<Headline>,
    /// Why it is withheld.
    pub withheld: Vec<String>,
    /// The audit; none where only the table was asked for.
    pub audit: Option<Audit>,
    /// Folds of the headline's protocol.
    pub folds: usize,
    /// What a model's card would say; none where the headline is withheld.
    pub report: Option<Report>,
    /// Figures under each protocol.
    pub protocols: Vec<ProtocolReport>,
    /// Whether thresholds that are chosen within keep their promise.
    pub transfer: Vec<Transfer>,
    /// The headline's protocol, by the TLS version of what is tested.
    pub tls_versions: Vec<VersionReport>,
    /// All classifiers on the same folds.
    pub table: Vec<Short>,
    /// The classifier on parts of the features.
    pub ablations: Vec<Short>,
    /// The classifier on altered captures.
    pub robustness: Vec<Robustness>,
    /// The worst errors.
    pub worst: Worst,
    /// What pictures are drawn from; none where the headline is withheld.
    pub curves: Option<Curves>,
    /// Our intervals against a published baseline's points; none where the headline is withheld.
    pub baseline: Vec<Against>,
    /// How many variants were looked at.
    pub variants: Variants,
}

/// Rows, pairs and captures.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// Captures with rows or without.
    pub captures: usize,
    /// Files that are no capture.
    pub unreadable: usize,
    /// Captures that are others under a new name.
    pub duplicates: usize,
    /// Malicious flows.
    pub malicious_flows: usize,
    /// Flows of benign captures.
    pub benign_flows: usize,
    /// Infected machines' own benign flows.
    pub background_flows: usize,
    /// Flows without a strong label.
    pub unlabelled_flows: usize,
    /// Columns.
    pub columns: usize,
}

/// The figures to quote: by pair.
#[derive(Debug, Clone, Serialize)]
pub struct Headline {
    /// Families left out, both negatives.
    pub average_precision: Figure,
    /// The same, at a false-positive rate of 1e-3; none where there are too few negatives.
    pub recall_at_1e3: Option<Figure>,
    /// Recall at the threshold chosen on the other folds.
    pub recall_at_threshold: Figure,
    /// False-positive rate there.
    pub false_positive_rate_at_threshold: Figure,
    /// Sources left out, against benign captures; none where that could not be measured.
    pub source_average_precision_benign: Option<Figure>,
    /// Sources left out, both negatives: recall at the threshold that was chosen within for 1e-3, and the false-positive
    /// rate there; none where that could not be measured.
    pub transfer: Option<(Figure, Figure)>,
}

/// Figures of flows of one kind of TLS.
#[derive(Debug, Clone, Serialize)]
pub struct VersionReport {
    /// Which.
    pub name: &'static str,
    /// Figures by pair.
    pub against: Vec<AgainstReport>,
}

/// All that was fitted, or scored on other captures: whoever picks the best of many figures should know of how many.
#[derive(Debug, Clone, Serialize)]
pub struct Variants {
    /// How many.
    pub count: usize,
    /// Settings that a search on inner folds tried each time, beside them; 0 where nothing was searched.
    pub searched: usize,
    /// What they were.
    pub names: Vec<String>,
    /// What this count leaves out.
    pub note: &'static str,
}

/// Judges.
///
/// # Errors
/// Where there is too little to learn from, or the pipeline's classifier fails.
pub fn judge(bench: &Bench<'_>, steps: &mut Steps<'_>) -> Result<Judgement, LearnError> {
    let mut judgement = Judgement::empty(bench);
    if !bench.plan.table_only {
        headline_and_audit(bench, &mut judgement, steps)?;
        for protocol in [Protocol::FamilyName, Protocol::Source, Protocol::Capture, Protocol::Time] {
            judgement.protocols.push(under(bench, protocol, steps));
        }
        let whole = !bench.plan.quick && !bench.plan.planted;
        for protocol in [Protocol::Source, Protocol::Family].into_iter().take(if whole { 2 } else { 1 }) {
            judgement.transfer.push(Transfer::judge(bench, protocol, steps));
        }
        judgement.baseline = baseline::compare(&judgement.protocols);
    }
    let folds = Folds::by_family(bench.data, bench.plan.seed, bench.plan.folds());
    if bench.plan.table() {
        let mut sets = vec![(bench.set, bench.data)];
        sets.extend(bench.sets.iter().map(|set| (set.name.as_str(), &set.data)));
        judgement.table = table::table(bench, &sets, bench.plan.folds(), steps);
    }
    if bench.plan.ablations() {
        judgement.ablations = ablation::ablations(bench, &folds, steps);
        for set in bench.sets {
            let folds = Folds::by_family(&set.data, bench.plan.seed, bench.plan.folds());
            let name = format!("set {}", set.name);
            // From its rows alone, as the groups beside it.
            let rows = set.data.without_additions();
            judgement.ablations.push(Short::judge(bench, bench.classifier, name, &rows, &folds, steps));
        }
    }
    judgement.tell(&steps.looked_at, bench.data.recipe.search.as_ref().map_or(0, Grid::count));
    Ok(judgement)
}

/// The headline's protocol with all that hangs on it.
fn headline_and_audit(bench: &Bench<'_>, judgement: &mut Judgement, steps: &mut Steps<'_>) -> Result<(), LearnError> {
    let Plan { seed, .. } = bench.plan;
    let folds = Folds::by_family(bench.data, seed, bench.plan.folds());
    let name = Protocol::Family.name();
    steps.say(name, 0, folds.count);
    let mut explained = worst::Explained::default();
    let mut tests: Vec<robustness::Tests<'_>> =
        bench.altered.iter().map(|altered| robustness::Tests::new(altered, bench.data, &folds)).collect();
    let mut failed = None;
    let raw = validate::cross_validate(bench.registry, bench.classifier, bench.data, &folds, seed, |fold, fitted| {
        explained.ask(bench.data, bench.columns, fitted);
        for test in &mut tests {
            failed = test.score(fold, bench.classifier.0, fitted).err().or(failed.take());
        }
        steps.say(name, fold + 1, folds.count);
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    steps.count(name);
    bench.altered.iter().for_each(|altered| steps.count(&format!("the same models on {}", altered.name)));
    judgement.folds = folds.count;
    judgement.report = Some(validate::report(bench.data, masked(bench.data, &raw), &folds, seed).report);
    let outcome = Outcome::new(bench.data, &folds, raw);
    steps.say("figures", 0, 1);
    let samples = bench.plan.samples();
    judgement.protocols.push(ProtocolReport::of(&outcome, samples, seed));
    judgement.tls_versions = versions(&outcome, samples, seed);
    judgement.worst = Worst::of(&outcome, &explained);
    judgement.curves = Some(Curves::of(&units(&outcome, Level::Pair)));
    judgement.robustness = tests.into_iter().map(|test| test.report(bench, &outcome)).collect();
    let subject = audit::Subject {
        registry: bench.registry,
        classifier: bench.classifier,
        data: bench.data,
        columns: bench.columns,
        folds: &folds,
        model: &outcome,
        seed,
        samples,
        shuffles: bench.plan.shuffles(),
    };
    judgement.audit = Some(audit::audit(&subject, steps)?);
    Ok(())
}

/// Another protocol; what fails is named and ends nothing.
fn under(bench: &Bench<'_>, protocol: Protocol, steps: &mut Steps<'_>) -> ProtocolReport {
    let Plan { seed, .. } = bench.plan;
    let folds = Folds::of(protocol, bench.data, seed, bench.plan.folds());
    let name = protocol.name();
    steps.say(name, 0, folds.count);
    let raw = validate::cross_validate(bench.registry, bench.classifier, bench.data, &folds, seed, |fold, _| {
        steps.say(name, fold + 1, folds.count);
    });
    steps.count(name);
    match raw {
        Ok(raw) => ProtocolReport::of(&Outcome::new(bench.data, &folds, raw), bench.plan.samples(), seed),
        Err(error) => ProtocolReport::failed(protocol, folds.count, error.to_string()),
    }
}

/// Scores without those of rows that have no label.
fn masked(data: &Dataset, raw: &[f64]) -> Vec<f64> {
    let known = |(raw, row): (&f64, &Row)| if row.truth == Truth::Unlabelled { f64::NAN } else { *raw };
    raw.iter().zip(&data.rows).map(known).collect()
}

/// What decides whether a row counts.
type Keep = fn(&Row) -> bool;

/// TLS up to 1.2 against 1.3, which hides the certificate.
fn versions(outcome: &Outcome<'_>, samples: usize, seed: u64) -> Vec<VersionReport> {
    const TLS_1_3: u16 = 0x0304;
    // Drafts of 1.3 have numbers of their own, above those of all versions.
    let subsets: [(&str, Keep); 2] = [
        ("TLS 1.2 and older", |row| (1..TLS_1_3).contains(&row.keys.version)),
        ("TLS 1.3", |row| row.keys.version >= TLS_1_3),
    ];
    let report = |(name, keep): (&'static str, Keep)| VersionReport {
        name,
        against: protocols::reports(&units_of(outcome, Level::Pair, &keep), samples, seed),
    };
    subsets.into_iter().map(report).collect()
}

impl Judgement {
    /// Layout of the report.
    pub const FORMAT: u32 = 2;

    fn empty(bench: &Bench<'_>) -> Self {
        let Bench { data, plan, .. } = bench;
        Self {
            format: Self::FORMAT,
            made_by: env!("CARGO_PKG_VERSION"),
            quick: plan.quick,
            seed: plan.seed,
            bootstrap_samples: plan.samples(),
            data_sha256: data.sha256.clone(),
            schema_sha256: bench.schema_sha256.to_owned(),
            classifier: bench.classifier.0.to_owned(),
            settings: bench.classifier.1.to_owned(),
            recipe: data.recipe.clone(),
            pair_weight: data.recipe.pair_weight,
            data: Counts {
                captures: data.captures.len(),
                unreadable: data.unreadable.len(),
                duplicates: data.duplicates.len(),
                malicious_flows: data.count(Truth::Malicious),
                benign_flows: data.count(Truth::Benign),
                background_flows: data.count(Truth::Background),
                unlabelled_flows: data.count(Truth::Unlabelled),
                columns: data.width,
            },
            headline: None,
            withheld: Vec::new(),
            audit: None,
            folds: 0,
            report: None,
            protocols: Vec::new(),
            transfer: Vec::new(),
            tls_versions: Vec::new(),
            table: Vec::new(),
            ablations: Vec::new(),
            robustness: Vec::new(),
            worst: Worst::default(),
            curves: None,
            baseline: Vec::new(),
            variants: Variants { count: 0, searched: 0, names: Vec::new(), note: "" },
        }
    }

    /// Whether an audit was made and did not fail.
    pub fn passed(&self) -> bool {
        self.audit.as_ref().is_none_or(|audit| audit.passed)
    }

    /// The headline, or why there is none; and how many variants were looked at.
    fn tell(&mut self, looked_at: &[String], searched: usize) {
        self.withheld = self.audit.iter().flat_map(|audit| &audit.checks).filter_map(Check::withholds).collect();
        if self.withheld.is_empty() {
            self.headline = self.headline();
        } else {
            // What repeats the headline's figures is withheld with it.
            (self.report, self.curves) = (None, None);
            self.baseline.clear();
        }
        self.variants = Variants {
            count: looked_at.len(),
            searched,
            names: looked_at.to_vec(),
            note: "every configuration that this run fitted and scored out of fold, and every alteration that the headline's \
                   models were scored on; what earlier runs, searches and people looked at is not among them",
        };
    }

    fn headline(&self) -> Option<Headline> {
        let find = |protocol, negatives| {
            self.protocols.iter().find(|report| report.protocol == protocol)?.figures(Level::Pair, negatives)
        };
        let family = find(Protocol::Family, Negatives::Both)?;
        Some(Headline {
            average_precision: family.average_precision,
            recall_at_1e3: family.recall_at(1e-3),
            recall_at_threshold: family.alarms.recall,
            false_positive_rate_at_threshold: family.alarms.false_positive_rate,
            source_average_precision_benign: find(Protocol::Source, Negatives::Benign)
                .map(|figures| figures.average_precision),
            transfer: self
                .transfer
                .iter()
                .find(|transfer| transfer.protocol == Protocol::Source)
                .and_then(|transfer| transfer.figures(Negatives::Both))
                .map(|figures| (figures.alarms.recall, figures.alarms.false_positive_rate)),
        })
    }
}
