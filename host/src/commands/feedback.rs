//! Marks of people, as `train` reads and tells them.

use super::say;
use anyhow::{Result, bail};
use std::path::PathBuf;
use veilwatch::learn::{Conflict, Dataset, Feedback, LostMarks, MARK_WEIGHTS, OnConflict, Origin, Recipe};
use veilwatch::output::plain;

/// Conflicts that are shown; there may be a flood of them.
const SHOWN: usize = 50;

/// What people say of flows.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FeedbackArgs {
    /// Marks that the portal exports: folders with flows.csv and captures.csv, or tables like flows.csv. They are learnt from
    /// beside the labels, and never scored by.
    #[arg(long, value_name = "FOLDER|FILE", num_args = 1..)]
    feedback: Vec<PathBuf>,
    /// Where the captures of marks lie that are not among the others, under the names of the marks' table. [default: beside
    /// the marks]
    #[arg(long, value_name = "FOLDER", num_args = 1.., requires = "feedback")]
    captures: Vec<PathBuf>,
    /// What a mark weighs, in flows: from 0.05 to 3. Whatever it is, one person's marks on a capture weigh no more than the
    /// flows of a pair, and all of theirs no more than those of ten. [default: 1]
    #[arg(long, value_name = "FLOWS", requires = "feedback")]
    mark_weight: Option<f64>,
    /// What to do where a mark contradicts a strong label: `refuse` to train, or go by the `label` or the `mark`. [default:
    /// refuse]
    #[arg(long, value_name = "refuse|label|mark", requires = "feedback")]
    on_conflict: Option<OnConflict>,
}

impl FeedbackArgs {
    /// The marks, where there are any; weighed as a card says, where a model is made again.
    pub(super) fn load(&self, card: Option<&Recipe>) -> Result<Option<Feedback>> {
        let known = card.and_then(|recipe| recipe.feedback.as_ref());
        match (card, known, self.feedback.is_empty()) {
            (_, None, true) => return Ok(None),
            (_, Some(_), true) => bail!("the card's model learnt from marks; name them with --feedback"),
            (Some(_), None, false) => bail!("the card's model learnt from no marks; leave --feedback out"),
            _ => {}
        }
        let weight = known.map(|known| known.weight).or(self.mark_weight).unwrap_or(1.0);
        if !MARK_WEIGHTS.contains(&weight) {
            bail!("--mark-weight {weight}: it must be from {} to {}", MARK_WEIGHTS.start(), MARK_WEIGHTS.end());
        }
        let on_conflict = known.map(|known| known.on_conflict).or(self.on_conflict).unwrap_or_default();
        if let Some(gone) = self.captures.iter().find(|folder| !folder.is_dir()) {
            bail!("--captures {}: there is no such folder", plain(&gone.display().to_string()));
        }
        let marks = Feedback::load(&self.feedback, on_conflict, weight)?;
        if known.is_some_and(|known| known.sha256 != marks.sha256()) {
            bail!("the card's marks are others than those of --feedback");
        }
        Ok(Some(marks))
    }

    /// Captures that are read for their marks alone.
    pub(super) fn captures(&self, marks: &Feedback) -> Option<Origin> {
        let files = marks.captures(&self.captures);
        (!files.is_empty()).then_some(Origin::Marked(files))
    }
}

/// Tells what became of the marks; an error where they contradict labels and nobody said who is right.
pub(super) fn tell(marks: &Feedback, data: &Dataset) -> Result<()> {
    let [repeated, outdated, not_understood] = marks.passed_over();
    let LostMarks { without_capture, without_flow } = marks.lost();
    let (learnt, conflicts) = (&data.marked.rows, &data.marked.conflicts);
    let malicious = learnt.values().filter(|marked| marked.malicious).count();
    say(&format!(
        "{} marks: {malicious} malicious and {} benign ones are learnt from, {} say what labels say, {} contradict labels",
        marks.len(),
        learnt.len() - malicious,
        data.marked.agreed,
        conflicts.len()
    ));
    for (count, what) in [
        (repeated, "were said more than once"),
        (outdated, "are older than one that says otherwise, and do not count"),
        (not_understood, "are no marks: their ends are no addresses, their time is none, or their label is another"),
        (without_capture, "are of captures that were not read; where they lie, --captures says"),
        (without_flow, "belong to no flow that has a row in their capture"),
    ] {
        if count > 0 {
            say(&format!("  {count} {what}"));
        }
    }
    if learnt.is_empty() && data.marked.agreed == 0 && conflicts.is_empty() {
        bail!(
            "not one mark finds its flow, so that there is nothing to learn from them; leave --feedback out, or mend it"
        );
    }
    if conflicts.is_empty() {
        return Ok(());
    }
    say(&table(conflicts));
    if conflicts.len() > SHOWN {
        say(&format!("and {} more", conflicts.len() - SHOWN));
    }
    if marks.refuses(data) {
        bail!(
            "{} marks contradict strong labels; look at them, and say with --on-conflict label or --on-conflict mark who is \
             right",
            conflicts.len()
        );
    }
    Ok(())
}

fn table(conflicts: &[Conflict]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["capture", "flow", "label", "mark", "by", "when", "why"]);
    for Conflict { capture, flow, label, malicious, by, at, words } in conflicts.iter().take(SHOWN) {
        let mark = if *malicious { "malicious" } else { "benign" };
        table.add_row([
            plain(capture),
            plain(flow),
            label.name().into(),
            mark.into(),
            plain(by),
            plain(at),
            plain(words),
        ]);
    }
    table.to_string()
}
