//! Labels that mean nothing must not be learnt: what is then found on the tested folds has leaked.

use super::{Check, Subject};
use crate::evaluate::Steps;
use crate::evaluate::figures::ranking;
use crate::evaluate::units::{Level, Outcome, units};
use crate::learn::metrics::SplitMix;
use crate::learn::{Dataset, LearnError, Truth, validate};

/// How far above the base rate the mean average precision may stand. Chance alone puts it a little above: average
/// precision of few pairs is biased upward, and captures alike in their flows stand in different folds.
pub const SHUFFLE_BAND: f64 = 0.10;
/// Captures with malicious flows, and pairs, that it takes at least.
const LEAST: (usize, usize) = (5, 50);

/// Whether each capture is called malicious is permuted among captures, all labelled flows of one alike, on the very folds
/// of the headline.
pub(super) fn check(subject: &Subject<'_>, steps: &mut Steps<'_>) -> Result<Check, LearnError> {
    let check = Check::new(
        "label_shuffle",
        "Is anything found where labels were permuted among captures?",
        format!(
            "fails where the mean average precision by pair over {} permutations is more than {SHUFFLE_BAND:.2} above the \
             mean base rate",
            subject.shuffles
        ),
    );
    let (flags, pairs) = flags(subject.data);
    if flags.iter().filter(|flag| **flag == Some(true)).count() < LEAST.0 || pairs < LEAST.1 {
        return Ok(check.too_little(&format!("needs {} captures with malicious flows and {} pairs", LEAST.0, LEAST.1)));
    }
    let (mut found, mut base, mut area) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..subject.shuffles {
        steps.say("audit: labels permuted", turn, subject.shuffles);
        let data = permuted(subject.data, &flags, subject.seed.wrapping_add(turn as u64));
        let each = |_: usize, _: &validate::Fitted<'_>| ();
        let raw =
            validate::cross_validate(subject.registry, subject.classifier, &data, subject.folds, subject.seed, each)?;
        let units = units(&Outcome::new(&data, subject.folds, raw), Level::Pair);
        let scored: Vec<(f64, bool)> = units.iter().map(|unit| (unit.raw, unit.malicious())).collect();
        let (precision, roc) = ranking(&scored);
        found.push(precision);
        area.push(roc);
        base.push(scored.iter().filter(|one| one.1).count() as f64 / scored.len() as f64);
        steps.count("audit: labels permuted");
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (precision, base, area) = (mean(&found), mean(&base), mean(&area));
    let text = format!("average precision {precision:.3} at a base rate of {base:.3}; ROC-AUC {area:.3}");
    Ok(check
        .number("average_precision", precision)
        .number("base_rate", base)
        .number("roc_auc", area)
        .passes(precision - base <= SHUFFLE_BAND, text))
}

/// Whether each capture has malicious flows; none where it has no labelled flow. And how many pairs there are.
pub(super) fn flags(data: &Dataset) -> (Vec<Option<bool>>, usize) {
    let mut flags = vec![None; data.captures.len()];
    let mut pairs = std::collections::BTreeSet::new();
    for row in data.rows.iter().filter(|row| row.truth != Truth::Unlabelled) {
        flags[row.capture] = Some(flags[row.capture].unwrap_or(false) || row.truth == Truth::Malicious);
        pairs.insert(row.pair);
    }
    (flags, pairs.len())
}

/// The data with flags permuted among captures (Fisher and Yates), and without ties between rows.
pub(super) fn permuted(data: &Dataset, flags: &[Option<bool>], seed: u64) -> Dataset {
    let places: Vec<usize> = (0..flags.len()).filter(|at| flags[*at].is_some()).collect();
    let mut drawn: Vec<Option<bool>> = places.iter().map(|at| flags[*at]).collect();
    let mut random = SplitMix(seed);
    for at in (1..drawn.len()).rev() {
        drawn.swap(at, (random.next() % (at as u64 + 1)) as usize);
    }
    let mut of_capture = vec![None; flags.len()];
    places.iter().zip(drawn).for_each(|(at, flag)| of_capture[*at] = flag);
    // A copy is learnt from with its row, by the label that its row has now.
    let mut data = Dataset { copies: data.copies.clone(), ..data.to_be_relabelled() };
    for row in data.rows.iter_mut().filter(|row| row.truth != Truth::Unlabelled) {
        row.kin.clear();
        row.truth = if of_capture[row.capture] == Some(true) { Truth::Malicious } else { Truth::Benign };
    }
    data
}
