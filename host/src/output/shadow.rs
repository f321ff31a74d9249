//! What a challenger says, for programs and for people.

use super::jsonl::rounded;
use super::text::plain;
use crate::engine::{Scored, ShadowDifference, ShadowSummary};
use serde_json::{Value as Json, json};
use veilwatch_core::detect::Verdict;

/// A flow's `shadow`: where the verdicts differ, or for all.
pub(super) fn flow(scored: &Scored<'_>, all: bool) -> Option<Json> {
    let shadow = scored.shadow.as_ref()?;
    let told = all || scored.verdict != Some(shadow.verdict);
    told.then(|| json!({"score": shadow.score.map(rounded), "verdict": shadow.verdict}))
}

/// The last line's `shadow`.
pub(super) fn run(summary: &ShadowSummary) -> Json {
    let mut told = json!({
        "model": summary.model,
        "classifier": summary.classifier,
        "both": summary.both,
        "champion_only": summary.champion_only,
        "challenger_only": summary.challenger_only,
        "failed": summary.failed,
        "same_verdict": summary.same_verdict,
        "agreement": share(summary).map(rounded),
        "champion_alerts": summary.champion_alerts,
        "challenger_alerts": summary.challenger_alerts,
        "both_alert": summary.both_alert,
        "rank_correlation": summary.rank_correlation.map(rounded),
        "ranked": summary.ranked,
        "largest": summary.largest.iter().map(difference).collect::<Vec<_>>(),
    });
    if let (Some(reason), Some(told)) = (&summary.reason, told.as_object_mut()) {
        told.insert("reason".into(), reason.as_str().into());
    }
    told
}

fn difference(one: &ShadowDifference) -> Json {
    let said = |(score, verdict)| json!({"score": rounded(score), "verdict": verdict});
    json!({"flow_id": one.flow_id, "champion": said(one.champion), "challenger": said(one.challenger)})
}

/// Share of the flows of which both say the same.
fn share(summary: &ShadowSummary) -> Option<f64> {
    (summary.both > 0).then(|| summary.same_verdict as f64 / summary.both as f64)
}

/// The same in a few lines.
pub(super) fn words(summary: &ShadowSummary) -> Vec<String> {
    let mut lines = vec![format!(
        "shadow: {} ({}) scored {} flows beside the model, and decides nothing: {} alerts where the model has {}, {} of \
         them of the same flows",
        plain(&summary.model),
        plain(&summary.classifier),
        summary.both,
        summary.challenger_alerts,
        summary.champion_alerts,
        summary.both_alert
    )];
    if let Some(share) = share(summary) {
        let correlation = summary.rank_correlation.map_or("none".into(), |value| format!("{value:.3}"));
        lines.push(format!(
            "shadow: the same verdict on {:.1} % of them; rank correlation of the scores {correlation}",
            100.0 * share
        ));
    }
    if summary.failed > 0 {
        let reason = plain(summary.reason.as_deref().unwrap_or_default());
        lines.push(format!(
            "shadow: it failed on {} flows, which counts nowhere else; the first time: {reason}",
            summary.failed
        ));
    }
    if summary.champion_only + summary.challenger_only > summary.failed {
        lines.push(format!(
            "shadow: {} flows have a score of the model alone, {} of it alone",
            summary.champion_only, summary.challenger_only
        ));
    }
    let differ = summary.largest.iter().filter(|one| one.champion.1 != one.challenger.1);
    lines.extend(differ.map(|one| {
        let said = |(score, verdict): (f64, Verdict)| format!("{} {score:.3}", verdict.name());
        format!("shadow: flow {}: the model says {}, it says {}", one.flow_id, said(one.champion), said(one.challenger))
    }));
    lines
}
