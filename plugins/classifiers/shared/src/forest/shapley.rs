//! Exact Shapley values of a tree, in one walk over its nodes.
//!
//! The game is that of Lundberg and others (2020), which asks of the tree alone: a column that is known sends the row down
//! its side of a split; where it is not, both sides count, by the shares of the training rows that went there. So each leaf
//! counts for its value times one factor a column of its path: for a known column whether the row goes that way (`one`), for
//! an unknown one the share of the rows that do (`zero`).
//!
//! A column's Shapley value is the mean, over all `t` from 0 to 1, of what it changes where every other column is known with
//! probability `t` (Owen 1972). For a leaf that is `(one − zero) ×` the product of the other columns' factors
//! `t × one + (1 − t) × zero`: a polynomial in `t` of a degree below the tree's depth. The rule of Gauss and Legendre with `n`
//! points integrates polynomials up to degree `2n − 1` exactly, so a few points are enough, and no subset of columns has to
//! be looked at. The products at all points go down the tree together and the sums over leaves come back, so that each node is
//! visited once. All that is multiplied is positive: nothing cancels, whatever the tree.

use super::{MAX_DEPTH, Node};
use std::array::from_fn;

/// Shares below this are none: products of [`MAX_DEPTH`] of the others stay normal numbers.
const LEAST_SHARE: f64 = 1e-12;

/// A rule of Gauss and Legendre on the way from 0 to 1.
struct Rule<const N: usize> {
    points: [f64; N],
    weights: [f64; N],
}

/// Exact for trees of up to 8 levels.
const FOUR: Rule<4> = Rule {
    points: [0.069_431_844_202_973_71, 0.330_009_478_207_571_87, 0.669_990_521_792_428_1, 0.930_568_155_797_026_3],
    weights: [0.173_927_422_568_726_93, 0.326_072_577_431_273_07, 0.326_072_577_431_273_07, 0.173_927_422_568_726_93],
};

/// Exact for trees of up to 16.
const EIGHT: Rule<8> = Rule {
    points: [
        0.019_855_071_751_231_885,
        0.101_666_761_293_186_63,
        0.237_233_795_041_835_5,
        0.408_282_678_752_175_1,
        0.591_717_321_247_825,
        0.762_766_204_958_164_5,
        0.898_333_238_706_813_4,
        0.980_144_928_248_768_1,
    ],
    weights: [
        0.050_614_268_145_188_13,
        0.111_190_517_226_687_24,
        0.156_853_322_938_943_64,
        0.181_341_891_689_181,
        0.181_341_891_689_181,
        0.156_853_322_938_943_64,
        0.111_190_517_226_687_24,
        0.050_614_268_145_188_13,
    ],
};

const _: () = assert!(MAX_DEPTH <= 16);

/// Adds the Shapley value of each column for one tree and one row to `parts`.
pub(super) fn explain(nodes: &[Node], depth: usize, row: &[f32], parts: &mut [f64]) {
    if depth <= 8 {
        Walk { nodes, row, parts, rule: &FOUR, path: [Step::none(); MAX_DEPTH] }.below(0, [1.0; 4], 0);
    } else {
        Walk { nodes, row, parts, rule: &EIGHT, path: [Step::none(); MAX_DEPTH] }.below(0, [1.0; 8], 0);
    }
}

/// The share of the training rows that went left at a split: what makes its expected value the mean of its children's.
///
/// Where both children expect the same, any share does so, and half is as good as another. Weights that were never learnt
/// may have expected values that no share explains; they are taken for the nearest.
pub(super) fn share_left(nodes: &[Node], split: &Node) -> f64 {
    let value = |at: u32| f64::from(nodes[at as usize].value);
    let (left, right) = (value(split.left), value(split.left + 1));
    let share = if left == right { 0.5 } else { (f64::from(split.value) - right) / (left - right) };
    if share < LEAST_SHARE {
        0.0
    } else if share > 1.0 - LEAST_SHARE {
        1.0
    } else {
        share
    }
}

/// What the path so far has asked of a column.
#[derive(Clone, Copy)]
struct Step<const N: usize> {
    column: u16,
    /// 1 where the row goes this way at all of the column's splits, else 0.
    one: f64,
    /// Share of the training rows that do.
    zero: f64,
    /// One over the column's factor at each point.
    inverse: [f64; N],
}

impl<const N: usize> Step<N> {
    /// Nothing yet.
    const fn none() -> Self {
        Self { column: 0, one: 1.0, zero: 1.0, inverse: [1.0; N] }
    }
}

struct Walk<'a, const N: usize> {
    nodes: &'a [Node],
    row: &'a [f32],
    parts: &'a mut [f64],
    rule: &'static Rule<N>,
    path: [Step<N>; MAX_DEPTH],
}

impl<const N: usize> Walk<'_, N> {
    /// The sum of the values of the leaves below a node, each times its product, at each point; `product` is that of the
    /// `level` steps to the node.
    fn below(&mut self, at: usize, product: [f64; N], level: usize) -> [f64; N] {
        let node = self.nodes[at];
        let left = node.left as usize;
        if left == at {
            return product.map(|product| product * f64::from(node.value));
        }
        let column = usize::from(node.feature);
        let taken = node.next(self.row[column]);
        let share = share_left(self.nodes, &node);
        // A column that is asked again narrows what it was asked before; it is one factor all the same.
        let earlier = self.path[..level].iter().rfind(|step| step.column == node.feature);
        let before = earlier.copied().unwrap_or(Step::none());
        let mut sum = [0.0; N];
        for (child, share) in [(left, share), (left + 1, 1.0 - share)] {
            let one = if child == taken { before.one } else { 0.0 };
            let zero = before.zero * share;
            if one == 0.0 && zero == 0.0 {
                continue;
            }
            let factor: [f64; N] = from_fn(|i| self.rule.points[i] * one + (1.0 - self.rule.points[i]) * zero);
            let step = Step { column: node.feature, one, zero, inverse: factor.map(f64::recip) };
            self.path[level] = step;
            let leaves = self.below(child, from_fn(|i| product[i] * before.inverse[i] * factor[i]), level + 1);
            // These leaves have told what the column does by its earlier step; now they do by this one.
            let [mut now, mut until] = [0.0; 2];
            for i in 0..N {
                let weighed = self.rule.weights[i] * leaves[i];
                now += weighed * step.inverse[i];
                until += weighed * before.inverse[i];
                sum[i] += leaves[i];
            }
            self.parts[column] += (one - zero) * now - (before.one - before.zero) * until;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forest::{Forest, MAX_EXACT, Shape};
    use crate::learner::Model;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use veilwatch_core::feature::Rows;

    #[test]
    fn rules_are_exact_to_their_degree() {
        fn off<const N: usize>(rule: &Rule<N>, degree: i32) -> f64 {
            let terms = rule.points.iter().zip(&rule.weights).map(|(point, weight)| weight * point.powi(degree));
            (terms.sum::<f64>() - 1.0 / f64::from(degree + 1)).abs()
        }
        assert!((0..8).all(|degree| off(&FOUR, degree) < 1e-15) && off(&FOUR, 8) > 1e-9);
        assert!((0..16).all(|degree| off(&EIGHT, degree) < 1e-15) && off(&EIGHT, 16) > 1e-12);
    }

    /// A tree's value where some columns are known: those whose bits are set.
    fn value(nodes: &[Node], at: usize, row: &[f32], known: u32) -> f64 {
        let node = nodes[at];
        let left = node.left as usize;
        let of = |child| value(nodes, child, row, known);
        if left == at {
            f64::from(node.value)
        } else if known >> node.feature & 1 == 1 {
            of(node.next(row[usize::from(node.feature)]))
        } else {
            let share = share_left(nodes, &node);
            share * of(left) + (1.0 - share) * of(left + 1)
        }
    }

    /// Shapley values as they are defined: over all subsets of the columns that the tree asks.
    fn by_subsets(nodes: &[Node], row: &[f32]) -> Vec<f64> {
        let splits = nodes.iter().enumerate().filter(|(at, node)| node.left as usize != *at);
        let asked: Vec<usize> =
            splits.map(|(_, node)| usize::from(node.feature)).collect::<BTreeSet<_>>().into_iter().collect();
        let count = asked.len();
        let worth: Vec<f64> = (0..1usize << count)
            .map(|set| (0..count).filter(|at| set >> at & 1 == 1).fold(0, |known, at| known | 1 << asked[at]))
            .map(|known| value(nodes, 0, row, known))
            .collect();
        let factorial = |n: usize| (1..=n).map(|n| n as f64).product::<f64>();
        let mut parts = vec![0.0; row.len()];
        for (at, column) in asked.iter().enumerate() {
            for set in (0..1usize << count).filter(|set| set >> at & 1 == 0) {
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(count - size - 1) / factorial(count);
                parts[*column] += weight * (worth[set | 1 << at] - worth[set]);
            }
        }
        parts
    }

    const WIDTH: usize = 6;

    /// What grows a tree: columns, thresholds, values, shares and where branches end.
    type Seeds = Vec<(u16, i8, i8, u8, bool)>;

    /// A tree of up to so many levels, with the expected values that training gives it; some sides have no rows.
    fn grown(seeds: &Seeds, levels: usize) -> Vec<Shape> {
        let mut order = vec![1usize];
        let mut shape = Vec::new();
        let mut covers = vec![1000.0];
        let mut at = 0;
        while at < order.len() {
            let (feature, threshold, value, share, end) = seeds[at % seeds.len()];
            if end && at > 0 || order[at] > levels {
                shape.push(Shape::Leaf { value: f32::from(value) / 10.0 });
            } else {
                let threshold = f32::from(threshold);
                shape.push(Shape::Split { feature, threshold, missing_right: value % 2 == 0, expected: 0.0 });
                order.extend([order[at] + 1; 2]);
                let left = covers[at] * f64::from(share) / 255.0;
                covers.extend([left, covers[at] - left]);
            }
            at += 1;
        }
        let mut values = vec![0.0; shape.len()];
        let mut children = shape.len();
        for at in (0..shape.len()).rev() {
            match &mut shape[at] {
                Shape::Leaf { value } => values[at] = f64::from(*value),
                Shape::Split { expected, .. } => {
                    children -= 2;
                    let cover = |child: usize| covers[child].max(f64::MIN_POSITIVE);
                    let sum = cover(children) * values[children] + cover(children + 1) * values[children + 1];
                    values[at] = sum / (cover(children) + cover(children + 1));
                    *expected = values[at] as f32;
                }
            }
        }
        shape
    }

    fn seeds() -> impl Strategy<Value = Seeds> {
        let node = (0..WIDTH as u16, -5i8..5, any::<i8>(), any::<u8>(), prop::bool::weighted(0.3));
        prop::collection::vec(node, 1..60)
    }

    fn row() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![Just(f32::NAN), Just(f32::INFINITY), (-6i8..6).prop_map(f32::from)];
        prop::collection::vec(value, WIDTH)
    }

    fn explained(forest: &Forest, row: &[f32]) -> (f64, Vec<f64>) {
        let mut parts = vec![f64::NAN; row.len()];
        forest.explain(row, &mut parts);
        let mut score = [0.0];
        forest.score(&Rows::new(row, row.len()), &mut score);
        (score[0], parts)
    }

    proptest! {
        #[test]
        fn equal_the_mean_over_all_subsets(
            trees in prop::collection::vec((seeds(), prop_oneof![3 => 0usize..5, 1 => 5usize..11]), 1..3),
            row in row(),
        ) {
            let mut forest = Forest::new(WIDTH, 0.25).unwrap();
            let mut wanted = vec![0.0; WIDTH];
            let mut empty = 0.25;
            for (seeds, levels) in &trees {
                let shape = grown(seeds, *levels);
                // Trees that branch at each of ten levels are large, and take long to sum by subsets.
                prop_assume!(shape.len() < 400);
                forest.push(&shape).unwrap();
                let tree = forest.trees[forest.len() - 1];
                let nodes = &forest.nodes[tree.begin..tree.end];
                wanted.iter_mut().zip(by_subsets(nodes, &row)).for_each(|(sum, part)| *sum += part);
                empty += value(nodes, 0, &row, 0);
            }
            let (score, parts) = explained(&forest, &row);
            for (part, wanted) in parts.iter().zip(&wanted) {
                prop_assert!((part - wanted).abs() < 1e-10, "{parts:?} {wanted:?}");
            }
            // They add up to the score; and what nothing is known of is worth what training expects.
            prop_assert!((parts.iter().sum::<f64>() + empty - score).abs() < 1e-9 * (1.0 + score.abs()));
            prop_assert!((forest.bias() - empty).abs() < 1e-9 * (1.0 + empty.abs()), "{} {empty}", forest.bias());
        }

        #[test]
        fn anybodys_numbers_give_finite_parts(
            nodes in prop::collection::vec((0..WIDTH as u16, any::<f32>(), any::<f32>(), any::<bool>()), 1..40),
            row in row(),
        ) {
            let chain = nodes.iter().flat_map(|(feature, threshold, expected, end)| {
                let split =
                    Shape::Split { feature: *feature, threshold: *threshold, missing_right: *end, expected: *expected };
                [split, Shape::Leaf { value: *expected }]
            });
            let mut shape: Vec<Shape> = chain.take(2 * MAX_DEPTH - 1).collect();
            shape.truncate(shape.len() - usize::from(shape.len().is_multiple_of(2)));
            shape.extend([Shape::Leaf { value: f32::MAX }, Shape::Leaf { value: f32::MIN }]);
            let mut forest = Forest::new(WIDTH, 0.0).unwrap();
            if forest.push(&shape).is_ok() {
                let (score, parts) = explained(&forest, &row);
                prop_assert!(parts.iter().all(|part| part.is_finite()), "{parts:?}");
                let nodes = &forest.nodes;
                let empty = value(nodes, 0, &row, 0);
                let size = f64::from(f32::MAX);
                prop_assert!((parts.iter().sum::<f64>() / size + empty / size - score / size).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn equal_columns_have_equal_parts_and_unasked_ones_none() {
        // Malicious where both of two columns are high: neither has more part in it, wherever the tree asks it.
        let split = |feature, expected| Shape::Split { feature, threshold: 0.5, missing_right: false, expected };
        let leaf = |value| Shape::Leaf { value };
        let mut forest = Forest::new(3, 0.0).unwrap();
        forest.push(&[split(0, 0.25), leaf(0.0), split(2, 0.5), leaf(0.0), leaf(1.0)]).unwrap();
        let (score, parts) = explained(&forest, &[1.0, 9.0, 1.0]);
        assert_eq!((score, parts[1]), (1.0, 0.0));
        assert!((parts[0] - 0.375).abs() < 1e-15 && (parts[2] - 0.375).abs() < 1e-15, "{parts:?}");
    }

    #[test]
    fn the_deepest_tree_is_exact() {
        let leaf = |level: usize| level as f32 - 3.0;
        let last = 7.0;
        let mut expected = [last; MAX_DEPTH + 1];
        for level in (0..MAX_DEPTH).rev() {
            expected[level] = (leaf(level) + expected[level + 1]) / 2.0;
        }
        let split = |level: usize| match level {
            MAX_DEPTH => Shape::Leaf { value: last },
            _ => {
                Shape::Split { feature: level as u16, threshold: 0.5, missing_right: false, expected: expected[level] }
            }
        };
        let below = (0..MAX_DEPTH).flat_map(|level| [Shape::Leaf { value: leaf(level) }, split(level + 1)]);
        let shape: Vec<Shape> = [split(0)].into_iter().chain(below).collect();
        let mut forest = Forest::new(MAX_DEPTH, 0.0).unwrap();
        forest.push(&shape).unwrap();
        let row: Vec<f32> = (0..MAX_DEPTH).map(|at| if at % 5 == 4 { 0.0 } else { 1.0 }).collect();
        let (_, parts) = explained(&forest, &row);
        let wanted = by_subsets(&forest.nodes, &row);
        assert!(parts.iter().zip(&wanted).all(|(part, wanted)| (part - wanted).abs() < 1e-10), "{parts:?} {wanted:?}");
    }

    #[test]
    fn forests_too_large_for_it_explain_along_their_paths() {
        let split = |feature, expected| Shape::Split { feature, threshold: 0.5, missing_right: false, expected };
        let leaf = |value| Shape::Leaf { value };
        let both = [split(0, 0.25), leaf(0.0), split(1, 0.5), leaf(0.0), leaf(1.0)];
        // A full tree that asks nothing of its own, so that few trees are many nodes.
        let full: Vec<Shape> = (0..4095).map(|_| split(2, 0.0)).chain((0..4096).map(|_| leaf(0.0))).collect();
        let mut forest = Forest::new(3, 0.0).unwrap();
        forest.push(&both).unwrap();
        while forest.nodes.len() + full.len() <= MAX_EXACT {
            forest.push(&full).unwrap();
        }
        let (_, parts) = explained(&forest, &[1.0; 3]);
        assert!((parts[0] - 0.375).abs() < 1e-15 && (parts[1] - 0.375).abs() < 1e-15, "{parts:?}");
        forest.push(&full).unwrap();
        assert_eq!(explained(&forest, &[1.0; 3]).1, [0.25, 0.5, 0.0]);
    }
}
