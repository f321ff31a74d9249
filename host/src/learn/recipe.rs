//! How rows are weighed and chosen when something is learnt from them: all of it stands in the card.

use super::validate::{PAIR_WEIGHT, POSITIVE_SHARE};
use super::{Alteration, Dataset, NoAlteration, Truth};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Everything that a training is asked for beside its data, its pipeline and its seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Most weight that the flows of one (capture, server) pair have together. A card has it beside the recipe.
    #[serde(skip)]
    pub pair_weight: f64,
    /// Total weight of malicious rows, as a share of the total weight of benign rows.
    pub positive_share: f64,
    /// Which benign rows are learnt from.
    pub negatives: Negatives,
    /// Weight of a row that is only weakly known to be malicious; with 0 none is learnt from. Such rows never score a model.
    pub heuristic: f64,
    /// Whether what a table of background traffic recognises in infected machines' captures is learnt as benign.
    pub clean: bool,
    /// The table that recognised it: its SHA-256 in hexadecimal, empty without one.
    pub background_sha256: String,
    /// Altered copies of rows that are learnt from beside them.
    pub augment: Vec<Augment>,
    /// Settings that are tried on inner folds; nothing for no search.
    pub search: Option<super::Grid>,
    /// Marks of people that are learnt from beside the labels; nothing without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<super::FeedbackRecipe>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            pair_weight: PAIR_WEIGHT,
            positive_share: POSITIVE_SHARE,
            negatives: Negatives::Both,
            heuristic: 0.0,
            clean: false,
            background_sha256: String::new(),
            augment: Vec::new(),
            search: None,
            feedback: None,
        }
    }
}

/// Which benign rows are learnt from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Negatives {
    /// Those of benign captures.
    Benign,
    /// Those of infected machines.
    Background,
    /// All.
    #[default]
    Both,
}

impl Negatives {
    const ALL: [(Self, &str); 3] = [(Self::Benign, "benign"), (Self::Background, "background"), (Self::Both, "both")];

    fn has(self, truth: Truth) -> bool {
        match truth {
            Truth::Benign => self != Self::Background,
            Truth::Background => self != Self::Benign,
            Truth::Malicious | Truth::Unlabelled => false,
        }
    }
}

impl FromStr for Negatives {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, word)| *word == text);
        known.map(|(one, _)| *one).ok_or_else(|| format!("`{text}`: there are benign, background and both"))
    }
}

/// A share of the rows is learnt from once more, altered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Augment {
    /// How the copy is altered.
    pub alteration: Alteration,
    /// Share of the rows that have one.
    pub share: f64,
}

impl Augment {
    /// What may happen to packets on their way to whoever captures them: kept in part, lost, cut smaller, late. A fifth of
    /// the flows each.
    pub const PATH: [Self; 4] = [
        Self { alteration: Alteration::SnapLength(256), share: 0.2 },
        Self { alteration: Alteration::Loss(0.01), share: 0.2 },
        Self { alteration: Alteration::Mtu(576), share: 0.2 },
        Self { alteration: Alteration::Jitter(20), share: 0.2 },
    ];
}

/// Why a text is no augmentation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAugment {
    /// The alteration is none.
    #[error(transparent)]
    Alteration(#[from] NoAlteration),
    /// The share is missing, or none.
    #[error("`{0}`: write ALTERATION:SHARE, such as hide=certificates:0.3, with a share above 0 and up to 1")]
    Share(String),
}

impl FromStr for Augment {
    type Err = NoAugment;

    fn from_str(text: &str) -> Result<Self, NoAugment> {
        let none = || NoAugment::Share(text.to_owned());
        let (alteration, share) = text.rsplit_once(':').ok_or_else(none)?;
        let share: f64 = share.trim().parse().map_err(|_| none())?;
        if !(share > 0.0 && share <= 1.0) {
            return Err(none());
        }
        Ok(Self { alteration: alteration.parse()?, share })
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.alteration, self.share)
    }
}

impl TryFrom<String> for Augment {
    type Error = NoAugment;

    fn try_from(text: String) -> Result<Self, NoAugment> {
        text.parse()
    }
}

impl From<Augment> for String {
    fn from(augment: Augment) -> Self {
        augment.to_string()
    }
}

impl Dataset {
    /// What a row teaches, and how much of its weight counts; nothing where nothing is learnt from it.
    ///
    /// This need not be what it is scored as: what a rule recognised as background, and what is weakly labelled, is learnt
    /// from where the recipe says so, and scored by what its label says.
    pub(super) fn lesson(&self, row: usize) -> Option<(bool, f64)> {
        let recipe = &self.recipe;
        if let Some(marked) = self.marked.rows.get(&row).filter(|_| recipe.feedback.is_some()) {
            return Some((marked.malicious, 1.0));
        }
        if let Some(cleaned) = self.cleaned.get(&row) {
            if recipe.clean {
                return (recipe.negatives != Negatives::Benign).then_some((false, 1.0));
            }
            if cleaned.was == Truth::Malicious {
                return Some((true, 1.0));
            }
        }
        match self.rows.get(row)?.truth {
            Truth::Malicious => Some((true, 1.0)),
            Truth::Unlabelled if recipe.heuristic > 0.0 && self.weak.contains_key(&row) => {
                Some((true, recipe.heuristic))
            }
            truth => recipe.negatives.has(truth).then_some((false, 1.0)),
        }
    }

    /// Has a recipe from now on.
    pub fn set_recipe(&mut self, recipe: Recipe) {
        // Rows that are learnt from as malicious are held back with what they are tied to, as all malicious ones.
        for (row, ties) in &self.weak {
            if let Some(row) = self.rows.get_mut(*row).filter(|row| row.truth == Truth::Unlabelled) {
                row.kin = if recipe.heuristic > 0.0 { ties.clone() } else { Vec::new() };
            }
        }
        self.recipe = recipe;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cleaned, Keys, Row};
    use super::*;

    #[test]
    fn augmentations_are_written_as_they_are_read() {
        for text in ["hide=certificates:0.3", "loss=0.01:1", "jitter=20ms:0.5"] {
            assert_eq!(text.parse::<Augment>().unwrap().to_string(), text);
        }
        for wrong in ["hide=names", "hide=names:0", "hide=names:1.5", "hide=names:x", "hide=all:0.5", "hide=names:NaN"]
        {
            assert!(wrong.parse::<Augment>().is_err(), "{wrong}");
        }
        let recipe = Recipe { augment: vec!["pad=256:0.5".parse().unwrap()], heuristic: 0.1, ..Recipe::default() };
        let text = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
    }

    #[test]
    fn a_lesson_is_what_the_recipe_says() {
        let row = |truth| Row { capture: 0, pair: 0, truth, kin: Vec::new(), packet: 1, keys: Keys::default() };
        let mut data = Dataset {
            rows: [Truth::Benign, Truth::Background, Truth::Malicious, Truth::Unlabelled, Truth::Unlabelled]
                .map(row)
                .into(),
            weak: [(3, vec!["server 192.0.2.1".to_owned()])].into(),
            cleaned: [(4, Cleaned { rule: 0, was: Truth::Unlabelled })].into(),
            ..Dataset::default()
        };
        let lessons = |data: &Dataset| (0..5).map(|row| data.lesson(row)).collect::<Vec<_>>();
        let (no, yes) = (Some((false, 1.0)), Some((true, 1.0)));
        assert_eq!(lessons(&data), [no, no, yes, None, None]);
        data.set_recipe(Recipe { heuristic: 0.2, clean: true, ..Recipe::default() });
        assert_eq!(lessons(&data), [no, no, yes, Some((true, 0.2)), no]);
        assert_eq!(data.rows[3].kin, ["server 192.0.2.1"]);
        data.set_recipe(Recipe { negatives: Negatives::Benign, clean: true, ..Recipe::default() });
        assert_eq!(lessons(&data), [no, None, yes, None, None]);
        assert_eq!(data.rows[3].kin, [""; 0]);
        data.set_recipe(Recipe { negatives: Negatives::Background, ..Recipe::default() });
        assert_eq!(lessons(&data), [None, no, yes, None, None]);
        // A whole capture that counts as malicious: what a rule took out of it counts again where nobody cleans.
        data.cleaned.insert(1, Cleaned { rule: 0, was: Truth::Malicious });
        assert_eq!(data.lesson(1), yes);
        // A comparison of both ways scores it by neither, teaches what each says, and holds it back with what it is tied to.
        data.weak.insert(1, vec!["server 192.0.2.7".to_owned()]);
        let mut rest = data.without_verdict_on_cleaned();
        assert_eq!((rest.rows[1].truth, &rest.rows[1].kin[0][..]), (Truth::Unlabelled, "server 192.0.2.7"));
        assert_eq!(rest.lesson(1), yes);
        rest.recipe.clean = true;
        rest.recipe.negatives = Negatives::Both;
        assert_eq!(rest.lesson(1), no);
    }
}
