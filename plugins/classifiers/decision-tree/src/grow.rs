//! One tree, grown by `linfa-trees` on what it can bear.
//!
//! The library knows no missing values, joins what lies closer than 1e-5, and looks at every value of every column: it
//! is given the codes of [`Bins`], where missing values are a bin below all others. It settles ties between classes
//! over a random hash map, so that two trees of the same rows can differ: weights are chosen so that there are no ties
//! ([`never_tied`]).

use linfa::traits::Fit;
use linfa::{Dataset, Label, ParamGuard};
use linfa_trees::{DecisionTree, DecisionTreeParams, TreeNode};
use ndarray::{Array1, Array2};
use std::fmt::Debug;
use veilwatch_classifier_shared::bins::Bins;
use veilwatch_classifier_shared::forest::Shape;
use veilwatch_classifier_shared::training::guarded;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// Decisions from the root to a leaf, at most: a full tree of this depth is as large as a tree may be.
pub const MAX_DEPTH: usize = 12;
/// Rows that can be drawn whatever the labels are: see [`never_tied`].
pub const MAX_DRAWS: usize = 5_700;
/// Whole numbers below this are exact in the library's weights, and so are their sums.
const EXACT: usize = 1 << 24;

/// The training rows as codes, row after row, with their labels.
#[derive(Debug)]
pub struct Codes<'a> {
    bins: Bins,
    codes: Vec<u8>,
    labels: &'a [bool],
}

impl<'a> Codes<'a> {
    /// Cuts each column into up to this many bins.
    pub fn learn(data: &TrainingSet<'a>, bins: usize) -> Self {
        let bins = Bins::learn(data, bins.saturating_sub(1));
        // Codes end at the number of cuts and two, which a byte holds.
        let codes = data.rows.iter().flat_map(|row| bins.of(row).map(|code| code as u8)).collect();
        Self { bins, codes, labels: data.labels }
    }

    fn code(&self, row: usize, column: usize) -> u8 {
        self.codes[row * self.bins.width() + column]
    }

    /// The columns that are not the same in all rows.
    pub fn telling(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.bins.width())
            .filter(|column| (1..self.labels.len()).any(|row| self.code(row, *column) != self.code(0, *column)))
    }

    /// Rows that can be drawn with these labels.
    pub fn most_draws(&self) -> usize {
        let malicious = self.labels.iter().filter(|label| **label).count();
        EXACT / (malicious.min(self.labels.len() - malicious) + 1) - 1
    }

    /// Some columns of some rows, as the library wants them.
    pub fn matrix(&self, rows: impl ExactSizeIterator<Item = usize>, columns: &[usize]) -> Array2<f32> {
        let height = rows.len();
        let codes = rows.flat_map(|row| columns.iter().map(move |column| f32::from(self.code(row, *column))));
        Array2::from_shape_vec((height, columns.len()), codes.collect()).unwrap_or_default()
    }
}

/// When a tree stops to grow.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// Decisions from the root to a leaf, at most.
    pub max_depth: usize,
    /// Draws that a leaf needs.
    pub min_leaf: f32,
}

/// Grows a tree on some columns of rows that were drawn so and so often; `leaf` turns the benign and the malicious
/// draws of a leaf into its value.
///
/// # Errors
/// Where more rows were drawn than the library's weights can hold, or it fails.
pub fn grow(
    codes: &Codes<'_>,
    drawn: &[(usize, u32)],
    columns: &[usize],
    growth: Growth,
    leaf: impl Fn([f64; 2]) -> f64,
) -> Result<Vec<Shape>, PluginError> {
    let tree = fit(codes, drawn, columns, growth)?;
    let rows = drawn.iter().map(|(row, times)| (*row, f64::from(*times))).collect();
    flat(codes, columns, tree.root_node(), rows, |_, draws| leaf(draws))
}

/// Lets the library grow.
pub(crate) fn fit(
    codes: &Codes<'_>,
    drawn: &[(usize, u32)],
    columns: &[usize],
    growth: Growth,
) -> Result<DecisionTree<f32, bool>, PluginError> {
    let labels: Vec<bool> = drawn.iter().map(|(row, _)| codes.labels[*row]).collect();
    let times: Vec<u32> = drawn.iter().map(|(_, times)| *times).collect();
    let (weights, one) = never_tied(&labels, &times)?;
    let matrix = codes.matrix(drawn.iter().map(|(row, _)| *row), columns);
    let data = Dataset::new(matrix, Array1::from(labels)).with_weights(Array1::from(weights));
    // A leaf needs some weight: one side of a split must not be empty.
    let parameters =
        DecisionTreeParams::new().max_depth(Some(growth.max_depth)).min_weight_leaf((growth.min_leaf * one).max(1.0));
    guarded("linfa-trees", || parameters.check()?.fit(&data))
}

/// Weights for rows drawn so and so often of which no two sums are ever the same for both classes; and what one draw
/// weighs.
///
/// One draw of the class that has more rows weighs a whole number that is greater than the count of the others' rows. A
/// row of the others weighs one more than its draws. So the sum of the first is a multiple of that number, and that of
/// the others, which is exact, is none.
///
/// # Errors
/// Where the sum would not be exact.
pub fn never_tied(labels: &[bool], times: &[u32]) -> Result<(Vec<f32>, f32), PluginError> {
    let malicious = labels.iter().filter(|label| **label).count();
    let rarer = malicious * 2 <= labels.len();
    let others = if rarer { malicious } else { labels.len() - malicious };
    let one = others + 1;
    let total = times.iter().map(|times| *times as usize).sum::<usize>() * one + others;
    if total >= EXACT {
        return Err(PluginError::settings(format!("{} rows of the rarer class are too many: lower `rows`", others)));
    }
    let weight = |(label, times): (&bool, &u32)| (*times as usize * one + usize::from(*label == rarer)) as f32;
    Ok((labels.iter().zip(times).map(weight).collect(), one as f32))
}

/// A tree of the library level by level, over values instead of codes. `rows` with their weights are those that went
/// down it; `leaf` is asked for the value of a leaf, with the weights of its benign and malicious rows.
///
/// # Errors
/// Where the tree is not of the form that the library documents.
pub fn flat<L: Label + Debug>(
    codes: &Codes<'_>,
    columns: &[usize],
    root: &TreeNode<f32, L>,
    rows: Vec<(usize, f64)>,
    leaf: impl Fn(&TreeNode<f32, L>, [f64; 2]) -> f64,
) -> Result<Vec<Shape>, PluginError> {
    let unknown = || PluginError::failed("linfa-trees grew a tree of an unknown form");
    let mut order = vec![(root, rows)];
    let mut at = 0;
    let mut shape: Vec<Shape> = Vec::new();
    // Of each node the sum of weights.
    let mut covers = Vec::new();
    while let Some((node, rows)) = order.get_mut(at) {
        let (node, rows) = (*node, std::mem::take(rows));
        let of = |wanted| rows.iter().filter(move |(row, _)| codes.labels[*row] == wanted).map(|(_, weight)| weight);
        let weights = [of(false).sum::<f64>(), of(true).sum()];
        covers.push(weights[0] + weights[1]);
        at += 1;
        if node.is_leaf() {
            shape.push(Shape::Leaf { value: leaf(node, weights) as f32 });
            continue;
        }
        let (feature, value, _) = node.split();
        let [Some(left), Some(right)] = node.children()[..] else { return Err(unknown()) };
        let column = *columns.get(feature).ok_or_else(unknown)?;
        // Codes below the value go left.
        let first = value.ceil() as usize;
        let (low, high): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(row, _)| usize::from(codes.code(*row, column)) < first);
        order.extend([(left.as_ref(), low), (right.as_ref(), high)]);
        shape.push(Shape::Split {
            feature: u16::try_from(column).map_err(|_| unknown())?,
            // Of the values the bins below; where only missing values go left, no value does.
            threshold: match first.checked_sub(2) {
                Some(cut) => *codes.bins.cuts(column).get(cut).ok_or_else(unknown)?,
                None => f32::MIN,
            },
            missing_right: false,
            expected: 0.0,
        });
    }

    // From the last node to the first, children come before their parents.
    let mut values = vec![0.0; shape.len()];
    let mut children = shape.len();
    for at in (0..shape.len()).rev() {
        match &mut shape[at] {
            Shape::Leaf { value } => values[at] = f64::from(*value),
            Shape::Split { expected, .. } => {
                children -= 2;
                let [left, right] = [children, children + 1];
                let cover = |child: usize| covers[child].max(f64::MIN_POSITIVE);
                values[at] = (cover(left) * values[left] + cover(right) * values[right]) / (cover(left) + cover(right));
                *expected = values[at] as f32;
            }
        }
    }
    Ok(shape)
}
