//! Two ways to learn side by side: each is learnt anew on the same folds, so that neither was taught what it is judged by.

use crate::learn::{Dataset, Folds, LearnError, MarkedRows, Recipe, validate};
use crate::model::Report;
use crate::plugins::Registry;

/// Folds that families are packed into.
const FOLDS: usize = 10;

/// How two ways to learn did on folds that neither had seen.
#[derive(Debug, Clone)]
pub struct Versus {
    /// Folds.
    pub folds: usize,
    /// As the champion learns: its classifier and settings, without the new marks.
    pub champion: Option<Report>,
    /// As the challenger does.
    pub challenger: Report,
    /// The challenger's raw number of every row, by the model of a fold that had learnt neither from the row's capture nor
    /// from marks of it; NaN where there is none.
    pub held_out: Vec<f64>,
}

/// Judges both. `say` hears how many folds are done, and of how many.
///
/// # Errors
/// Where there is too little to learn from, or a classifier fails.
pub fn versus(
    registry: &Registry,
    data: &Dataset,
    champion: Option<(&str, &str)>,
    challenger: (&str, &str),
    seed: u64,
    mut say: impl FnMut(usize, usize),
) -> Result<Versus, LearnError> {
    let folds = Folds::by_family(data, seed, FOLDS);
    let of = if champion.is_some() { 2 * folds.count } else { folds.count };
    let each = |fold: usize, _: &validate::Fitted<'_>| say(fold + 1, of);
    let held_out = validate::cross_validate(registry, challenger, data, &folds, seed, each)?;
    let judged = |raw: &[f64]| validate::report(data, super::masked(data, raw), &folds, seed).report;
    let champions = match champion {
        Some(champion) => {
            let without = Dataset {
                marked: MarkedRows::default(),
                recipe: Recipe { feedback: None, ..data.recipe.clone() },
                ..data.clone()
            };
            let each = |fold: usize, _: &validate::Fitted<'_>| say(folds.count + fold + 1, of);
            Some(judged(&validate::cross_validate(registry, champion, &without, &folds, seed, each)?))
        }
        None => None,
    };
    Ok(Versus { folds: folds.count, champion: champions, challenger: judged(&held_out), held_out })
}
