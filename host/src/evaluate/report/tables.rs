//! The report as tables, which the terminal and the page share: what stands in them is text that was not escaped yet.

use crate::evaluate::{
    AgainstReport, Audit, Ending, Figures, Judgement, Level, Mistake, Negatives, ProtocolReport, Short,
};
use crate::model::Figure;

/// What stands above figures where the headline is withheld.
const NOT_TO_BE_QUOTED: &str = "not to be quoted: the headline is withheld";

/// A table with a heading and a line about it.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) about: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(title: &str, about: &str, head: [&str; N]) -> Self {
        let head = head.into_iter().map(str::to_owned).collect();
        Self { title: title.to_owned(), about: about.to_owned(), head, rows: Vec::new() }
    }
}

/// A figure with its interval; short, because many stand in a row.
pub(super) fn told(figure: Figure) -> String {
    let Figure { value, low, high } = figure;
    if value.is_nan() {
        "–".into()
    } else if low.is_nan() {
        number(value)
    } else {
        format!("{} [{}–{}]", number(value), number(low), number(high))
    }
}

/// A number between 0 and 1 with three digits that count.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.01 { format!("{value:.1e}") } else { format!("{value:.3}") }
}

fn maybe(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "–".into(), told)
}

/// Recall at one of the false-positive rates, or what it would take.
fn recall(figures: &Figures, at: usize) -> String {
    let recall = &figures.recall[at];
    let too_few = || format!("too few: {} of {} pairs", figures.negative_pairs, recall.negative_pairs_needed);
    recall.recall.map_or_else(too_few, told)
}

/// The audit, a row a check.
pub(super) fn audit(audit: &Audit) -> Table {
    let mut table = Table::new(
        "Audit",
        "Rules were set before it was looked at what the set-up makes of them (since then two became stricter); a check that \
         fails, or that figures stand on and that could not be made, withholds the headline.",
        ["", "check", "found", "rule"],
    );
    for check in &audit.checks {
        let blame =
            if check.blame.is_empty() { String::new() } else { format!("; to blame: {}", check.blame.join(", ")) };
        table.rows.push(vec![
            mark(check.ending).into(),
            format!("{} {}", check.id, check.question),
            format!("{}{blame}", check.found),
            check.rule.clone(),
        ]);
    }
    table
}

/// Why there is no headline, in a few words.
pub(super) fn why_withheld(judgement: &Judgement) -> &'static str {
    if judgement.passed() { "there was too little data for a check that figures stand on" } else { "the audit failed" }
}

/// How a check ended, as a mark with a word.
pub(super) fn mark(ending: Ending) -> &'static str {
    match ending {
        Ending::Passed => "✓ passed",
        Ending::Failed => "✗ failed",
        Ending::TooLittle => "? too little data",
        Ending::Told => "· told",
    }
}

/// The headline's figures.
pub(super) fn headline(judgement: &Judgement) -> Option<Table> {
    let headline = judgement.headline.as_ref()?;
    let mut table =
        Table::new("Headline", "by (capture, server) pair, never seen in training", ["figure", "value [95 %]"]);
    let mut add = |name: &str, value: String| table.rows.push(vec![name.to_owned(), value]);
    add("average precision, families left out, both negatives", told(headline.average_precision));
    add("recall at FPR 1e-3", headline.recall_at_1e3.map_or_else(|| "too few negative pairs".into(), told));
    add("recall at the threshold chosen on the other folds", told(headline.recall_at_threshold));
    add("FPR at that threshold", told(headline.false_positive_rate_at_threshold));
    add(
        "average precision, sources left out, benign captures",
        headline.source_average_precision_benign.map_or_else(|| "not measured".into(), told),
    );
    if let Some((recall, rate)) = headline.transfer {
        add("sources left out, threshold chosen within for FPR 1e-3: recall", told(recall));
        add("FPR there", told(rate));
    }
    Some(table)
}

/// Whether thresholds keep their promise, a table for each protocol and one of its folds.
pub(super) fn transfer(judgement: &Judgement) -> Vec<Table> {
    let mut tables = Vec::new();
    let note = match quoted(judgement) {
        "" => String::new(),
        not => format!("{not}; "),
    };
    for transfer in &judgement.transfer {
        let about = format!(
            "{note}calibration and thresholds were chosen on {} folds within what each of {} folds learnt from; by pair, highest \
             score, both negatives",
            transfer.inner_folds, transfer.folds
        );
        let title = format!("Thresholds from within, {}", transfer.name);
        let mut table = Table::new(&title, &about, ["promised FPR", "FPR", "false alarms", "recall"]);
        for kept in &transfer.kept {
            table.rows.push(vec![
                number(kept.promised),
                told(kept.false_positive_rate),
                kept.false_alarms.to_string(),
                told(kept.recall),
            ]);
        }
        if let Some(failed) = &transfer.failed {
            table.rows.push(vec!["–".into(), failed.clone(), "–".into(), "–".into()]);
        }
        tables.push(table);
        if transfer.by_fold.is_empty() {
            continue;
        }
        let calibration = transfer.figures(Negatives::Both).map_or_else(|| "–".into(), |f| told(f.calibration_error));
        let mut folds = Table::new(
            &format!("{title}: folds"),
            &format!("{note}at the shipped rate; expected calibration error of the scores {calibration}"),
            ["left out", "threshold", "found", "false alarms"],
        );
        for fold in &transfer.by_fold {
            folds.rows.push(vec![
                if fold.left_out.is_empty() { "benign captures alone".into() } else { fold.left_out.join(", ") },
                number(fold.threshold),
                format!("{} of {}", fold.found, fold.malicious),
                format!("{} of {}", fold.false_alarms, fold.negatives),
            ]);
        }
        tables.push(folds);
    }
    tables
}

/// All figures of a protocol at one level: a row a figure, a column a kind of negatives.
pub(super) fn level(judgement: &Judgement, protocol: &ProtocolReport, level: Level) -> Option<Table> {
    let report = protocol.levels.iter().find(|report| report.level == level)?;
    let title = format!("{}, by {}", protocol.name, report.name);
    Some(Table { title, about: quoted(judgement).to_owned(), ..against(&report.against) })
}

/// What there is to say before figures are quoted.
fn quoted(judgement: &Judgement) -> &'static str {
    if judgement.withheld.is_empty() { "" } else { NOT_TO_BE_QUOTED }
}

/// A row a figure, a column a kind of negatives.
pub(super) fn against(reports: &[AgainstReport]) -> Table {
    let mut table = Table::new("", "", ["figure"]);
    table.head.extend(reports.iter().map(|report| format!("against {}", report.name)));
    let mut add = |name: String, tell: &dyn Fn(&Figures) -> String| {
        let tell = |report: &AgainstReport| report.figures.as_ref().map_or_else(|| "–".into(), tell);
        table.rows.push(std::iter::once(name).chain(reports.iter().map(tell)).collect());
    };
    add("malicious / others / captures".into(), &|f| format!("{} / {} / {}", f.malicious, f.negatives, f.captures));
    add("ROC-AUC".into(), &|f| told(f.roc_auc));
    add("average precision".into(), &|f| told(f.average_precision));
    for (at, rate) in crate::evaluate::figures::FALSE_POSITIVE_RATES.into_iter().enumerate() {
        add(format!("recall at FPR {rate:e}"), &|f| recall(f, at));
    }
    add("recall at the alarm threshold".into(), &|f| told(f.alarms.recall));
    add("FPR at the alarm threshold".into(), &|f| {
        format!("{} ({} alarms)", told(f.alarms.false_positive_rate), f.alarms.false_alarms)
    });
    for (at, rate) in crate::evaluate::figures::BASE_RATES.into_iter().enumerate() {
        add(format!("precision at a base rate of {rate:e}"), &|f| {
            let precision = &f.precision_at_base_rate[at];
            let bound = if precision.is_bound { "≥ " } else { "" };
            format!("{bound}{}", told(precision.precision))
        });
    }
    add("F1 of the malicious".into(), &|f| told(f.malicious_f1));
    add("weighted F1 (all benign)".into(), &|f| {
        format!("{} ({})", told(f.weighted_f1), number(f.weighted_f1_of_all_benign))
    });
    add("weighted precision".into(), &|f| told(f.weighted_precision));
    add("Brier score".into(), &|f| told(f.brier));
    add("expected calibration error".into(), &|f| told(f.calibration_error));
    table
}

/// Protocols side by side: average precision by pair.
pub(super) fn protocols(judgement: &Judgement) -> Table {
    let mut table = Table::new(
        "Average precision by pair, under each protocol",
        quoted(judgement),
        ["protocol", "folds", "both", "benign captures", "infected machines' own", "recall at 1e-3, both"],
    );
    for protocol in &judgement.protocols {
        let figures = |negatives| protocol.figures(Level::Pair, negatives);
        let precision = |negatives| maybe(figures(negatives).map(|figures| figures.average_precision));
        let mut row = vec![protocol.name.to_owned(), protocol.folds.to_string()];
        match &protocol.failed {
            Some(why) => row.extend([format!("not measured: {why}"), String::new(), String::new(), String::new()]),
            None => {
                row.extend(Negatives::ALL.map(precision));
                row.push(figures(Negatives::Both).map_or_else(String::new, |figures| recall(figures, 1)));
            }
        }
        table.rows.push(row);
    }
    table
}

/// How many variants were looked at, in words.
pub(super) fn variants(judgement: &Judgement) -> String {
    let crate::evaluate::Variants { count, searched, note, .. } = &judgement.variants;
    let search = match searched {
        0 => String::new(),
        tried => format!(" In each, a search on inner folds tried {tried} settings."),
    };
    format!("{count} variants were looked at: {note}.{search}")
}

/// Figures in short, a row each.
pub(super) fn shorts(title: &str, about: &str, shorts: &[Short]) -> Table {
    let head = [
        "",
        "columns",
        "average precision",
        "recall at 1e-3",
        "malicious F1",
        "weighted F1",
        "weighted precision",
        "seconds",
    ];
    let mut table = Table::new(title, about, head);
    for short in shorts {
        let mut row = vec![short.name.clone(), short.columns.to_string()];
        match &short.failed {
            Some(why) => {
                row.push(format!("failed: {why}"));
                row.extend((0..4).map(|_| String::new()));
            }
            None => {
                row.extend([short.average_precision, short.recall_at_1e3, short.malicious_f1].map(maybe));
                row.extend([short.weighted_f1, short.weighted_precision].map(maybe));
            }
        }
        row.push(format!("{:.1}", short.seconds));
        table.rows.push(row);
    }
    table
}

/// All that stands in the report beyond figures, in its order.
pub(super) fn others(judgement: &Judgement) -> Vec<Table> {
    let mut tables = Vec::new();
    if !judgement.table.is_empty() {
        let about = "by pair, families left out in the same folds, both negatives; without altered copies";
        let about = match judgement.audit {
            Some(_) => about.to_owned(),
            None => format!("{about}; no audit was made, so that they are good to compare and not to quote"),
        };
        tables.push(shorts("Classifiers", &about, &judgement.table));
    }
    for version in &judgement.tls_versions {
        let title = format!("{}: families left out, by pair", version.name);
        tables.push(Table { title, ..against(&version.against) });
    }
    if !judgement.ablations.is_empty() {
        let rows = if judgement.recipe.augment.is_empty() { "" } else { ", learnt from without altered copies" };
        let about = format!(
            "by pair, families left out in the same folds, both negatives: a group of columns left out, or alone{rows}"
        );
        tables.push(shorts("Groups of features", &about, &judgement.ablations));
    }
    if !judgement.robustness.is_empty() {
        let about = match judgement.recipe.augment.is_empty() {
            true => "learnt from captures as they are, tested on the same captures altered; thresholds as they were",
            false => {
                "the headline's models, which learnt from altered copies too, on altered captures; thresholds as they were"
            }
        };
        let head = ["altered", "malicious pairs", "others", "average precision", "recall at threshold", "FPR there"];
        let mut table = Table::new("Robustness", about, head);
        for one in &judgement.robustness {
            let figures = [one.average_precision, one.recall_at_threshold, one.false_positive_rate].map(maybe);
            let counts = [one.name.clone(), one.malicious_pairs.to_string(), one.negative_pairs.to_string()];
            table.rows.push(counts.into_iter().chain(figures).collect());
        }
        tables.push(table);
    }
    if let Some(family) = judgement.protocols.first().filter(|protocol| !protocol.families.is_empty()) {
        let about = "each was new to the model that judged it; pairs found at the threshold of the other folds";
        let mut table = Table::new("Families", about, ["family", "pairs", "found"]);
        let row =
            |one: &crate::learn::FamilyResult| vec![one.family.clone(), one.pairs.to_string(), one.found.to_string()];
        table.rows = family.families.iter().map(row).collect();
        tables.push(table);
    }
    for (title, mistakes) in
        [("Worst false alarms", &judgement.worst.false_alarms), ("Worst misses", &judgement.worst.missed)]
    {
        if !mistakes.is_empty() {
            let head = ["capture", "packet", "score", "label", "family", "alarm", "reasons"];
            let mut table = Table::new(title, "what to open in the packet browser", head);
            table.rows = mistakes.iter().map(mistake).collect();
            tables.push(table);
        }
    }
    if !judgement.baseline.is_empty() {
        let about = "only the baseline's figures are known, not its scores: this is our interval against its point, and no \
                     paired test";
        let mut table = Table::new("The published baseline", about, ["figure", "ours", "baseline", ""]);
        for one in &judgement.baseline {
            table.rows.push(vec![one.figure.into(), told(one.ours), number(one.baseline), one.words.into()]);
        }
        tables.push(table);
    }
    tables
}

fn mistake(one: &Mistake) -> Vec<String> {
    let value = |value: Option<f32>| value.map_or_else(|| "missing".into(), |value| value.to_string());
    let reasons: Vec<String> = one
        .reasons
        .iter()
        .map(|push| format!("{} = {} ({:+.2})", push.column, value(push.value), push.contribution))
        .collect();
    vec![
        one.capture.clone(),
        one.packet.to_string(),
        format!("{:.3}", one.score),
        one.label.to_owned(),
        one.family.clone(),
        if one.alarm { "yes".into() } else { String::new() },
        reasons.join("; "),
    ]
}
