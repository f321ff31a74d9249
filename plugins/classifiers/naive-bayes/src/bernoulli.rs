use crate::{log_odds, matrix};
use linfa::traits::Fit;
use linfa::{Dataset, ParamGuard};
use linfa_bayes::BernoulliNb;
use ndarray::{Array1, Array2};
use serde::Deserialize;
use veilwatch_classifier_shared::bins::Bins;
use veilwatch_classifier_shared::learner::Learner;
use veilwatch_classifier_shared::sample::Sample;
use veilwatch_classifier_shared::sums::BinTable;
use veilwatch_classifier_shared::training::guarded;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{PluginError, TrainingSet, within};

/// Rows that the model is asked about at once.
const BLOCK: usize = 256;

/// The settings of `bernoulli-bayes`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BernoulliSettings {
    /// Cuts of each column, each a question of its own; one is the median.
    pub cuts: usize,
    /// Rows of either answer that each class is taken to have beside its own.
    pub smoothing: f64,
    /// Rows that are drawn by weight, at most.
    pub rows: usize,
}

impl Default for BernoulliSettings {
    fn default() -> Self {
        Self { cuts: 1, smoothing: 1.0, rows: 20_000 }
    }
}

impl Learner for BernoulliSettings {
    type Model = BinTable;
    const MAGIC: [u8; 4] = *b"VWBB";
    const VERSION: u8 = 1;
    const NAME: &'static str = "Bernoulli's naive Bayes";

    fn check(&self) -> Result<(), PluginError> {
        within("cuts", self.cuts, 1..=15)?;
        within("smoothing", self.smoothing, 1e-3..=1e6)?;
        within("rows", self.rows, 100..=200_000)
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<BinTable, PluginError> {
        let questions = Questions::learn(data, self.cuts);
        let model = fit(self, data, &questions)?;
        let count = questions.list.len();
        let base = log_odds(&model, &Array2::zeros((1, count)))?.iter().sum::<f64>();
        // What a yes adds, asked one by one.
        let mut adds = Vec::with_capacity(count);
        for first in (0..count).step_by(BLOCK) {
            let many = BLOCK.min(count - first);
            let mut block = Array2::zeros((many, count));
            (0..many).for_each(|at| block[(at, first + at)] = 1.0);
            adds.extend(log_odds(&model, &block)?.into_iter().map(|odds| odds - base));
        }

        let bins = questions.bins;
        let mut parts: Vec<Vec<f64>> = (0..bins.width()).map(|column| vec![0.0; bins.codes(column)]).collect();
        for ((column, question), adds) in questions.list.iter().zip(adds) {
            let codes = parts[*column].iter_mut().enumerate();
            codes.filter(|(code, _)| question.asks(*code)).for_each(|(_, part)| *part += adds);
        }
        let frequencies = bins.frequencies(data);
        BinTable::new(bins, base, parts, &frequencies)
    }
}

/// What is asked of a row.
pub(crate) struct Questions {
    bins: Bins,
    /// Each with its column.
    pub(crate) list: Vec<(usize, Question)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Question {
    /// Is the value missing?
    Missing,
    /// Does it reach this cut?
    Reaches(usize),
}

impl Question {
    fn asks(self, code: usize) -> bool {
        match self {
            Self::Missing => code == 0,
            Self::Reaches(cut) => code > cut + 1,
        }
    }
}

impl Questions {
    pub(crate) fn learn(data: &TrainingSet<'_>, cuts: usize) -> Self {
        let bins = Bins::learn(data, cuts);
        let mut list = Vec::new();
        for column in 0..bins.width() {
            let missing = data.rows.iter().filter(|row| row[column].is_nan()).count();
            if missing > 0 && missing < data.rows.len() {
                list.push((column, Question::Missing));
            }
            list.extend((0..bins.cuts(column).len()).map(|cut| (column, Question::Reaches(cut))));
        }
        Self { bins, list }
    }

    /// One for yes, zero for no, row after row.
    pub(crate) fn ask(&self, rows: &Rows<'_>, picked: &[usize]) -> Result<Array2<f64>, PluginError> {
        let mut answers = Vec::with_capacity(picked.len() * self.list.len());
        for row in picked {
            let codes: Vec<usize> = self.bins.of(rows.row(*row)).collect();
            let yes = |(column, question): &(usize, Question)| f64::from(u8::from(question.asks(codes[*column])));
            answers.extend(self.list.iter().map(yes));
        }
        matrix(picked.len(), self.list.len(), answers)
    }
}

/// Lets the library learn.
pub(crate) fn fit(
    settings: &BernoulliSettings,
    data: &TrainingSet<'_>,
    questions: &Questions,
) -> Result<BernoulliNb<f64, bool>, PluginError> {
    if questions.list.is_empty() {
        return Err(PluginError::data("no column of the rows to train on ever changes: nothing can be learnt"));
    }
    let count = settings.rows.min(data.rows.len());
    let picked = Sample::by_weight(data.labels, data.weights, count, data.seed).repeated();
    let answers = questions.ask(&data.rows, &picked)?;
    let labels: Array1<bool> = picked.iter().map(|row| data.labels[*row]).collect();
    let parameters = BernoulliNb::params().alpha(settings.smoothing).binarize(None);
    guarded("linfa-bayes", || parameters.check()?.fit(&Dataset::new(answers, labels)))
}
