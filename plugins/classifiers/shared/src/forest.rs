//! Flat trees: scored without branches, written without pointers.
//!
//! As bytes a forest is the width of a row (`u32`), the base score (`f64`) and the number of trees (`u32`); for each
//! tree the number of its nodes (`u32`) and the nodes level by level: a leaf is `0u32` and its value (`f32`); a split is
//! `1 + 2 × column + (1 if missing values go right)` (`u32`), its threshold and its expected value (`f32` each).

mod shapley;

use crate::MAX_WIDTH;
use crate::codec::{Reader, Writer};
use crate::learner::Model;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::PluginError;

/// Trees of a forest, at most.
pub const MAX_TREES: usize = 10_000;
/// Nodes of a tree, at most: 4,096 leaves.
pub const MAX_NODES_PER_TREE: usize = 8_191;
/// Nodes of a forest, at most: 64 MB of them.
pub const MAX_NODES: usize = 1 << 22;
/// Decisions from a root to a leaf, at most.
pub const MAX_DEPTH: usize = 16;
/// Nodes of a forest up to which it explains exactly: that takes a few milliseconds at most.
pub const MAX_EXACT: usize = 1 << 17;
/// Bytes of a leaf, the smallest node.
const MIN_NODE: usize = 5;
/// Bytes of a tree that is one leaf.
const MIN_TREE: usize = 1 + MIN_NODE;

// A node names its column in 16 bits.
const _: () = assert!(MAX_WIDTH <= 1 << 16);

/// Rows that walk down a tree side by side, so that one's memory accesses hide behind those of the others.
const LANES: usize = 8;
/// Rows that pass all trees before the next ones do: few enough for the rows to stay in cache.
const BLOCK: usize = 64;

/// One node of a tree, as training and the weights file give it.
///
/// A tree is its nodes level by level: the children of the first split follow the root, then those of the second, and
/// so on. Children are not named, so there can be no cycles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// The end of a path.
    Leaf {
        /// Its part of the score.
        value: f32,
    },
    /// A decision over one column.
    Split {
        /// The column.
        feature: u16,
        /// Values below it go left, others right.
        threshold: f32,
        /// Whether missing values go right.
        missing_right: bool,
        /// Mean of the leaves below, by the training rows that reached them; with those of the children it tells how many of
        /// the rows went to which side.
        expected: f32,
    },
}

/// A node as it is walked: 16 bytes, four in a cache line.
///
/// A leaf has itself as left child and a threshold of NaN, which no value reaches: a walk that arrives stays there, so
/// that all walks of a tree take the same number of steps and need no branch.
#[derive(Debug, Clone, Copy)]
struct Node {
    threshold: f32,
    /// A leaf's part of the score; for a split the mean of the leaves below.
    value: f32,
    /// The left child; the right one follows it.
    left: u32,
    feature: u16,
    /// 1 where missing values go right.
    missing_right: u16,
}

impl Node {
    /// The child to which a column's value leads.
    #[inline(always)]
    fn next(&self, value: f32) -> usize {
        let right = u32::from(value >= self.threshold) | (u32::from(value.is_nan()) & u32::from(self.missing_right));
        (self.left + right) as usize
    }
}

/// Where a tree lies in the nodes, and the length of its longest path.
#[derive(Debug, Clone, Copy)]
struct Tree {
    begin: usize,
    end: usize,
    depth: usize,
}

/// Trees whose leaf values add up to a raw score.
#[derive(Debug)]
pub struct Forest {
    width: usize,
    base: f64,
    nodes: Vec<Node>,
    trees: Vec<Tree>,
}

impl Forest {
    /// A forest without trees, for rows of `width` columns; `base` is the score that the trees add to.
    ///
    /// # Errors
    /// Where the width or the base cannot be.
    pub fn new(width: usize, base: f64) -> Result<Self, PluginError> {
        if width == 0 || width > MAX_WIDTH {
            return Err(PluginError::data(format!("rows of {width} columns; 1 to {MAX_WIDTH} are possible")));
        }
        if !base.is_finite() {
            return Err(PluginError::data("the base score is not a finite number"));
        }
        Ok(Self { width, base, nodes: Vec::new(), trees: Vec::new() })
    }

    /// The score that the trees add to.
    pub fn base(&self) -> f64 {
        self.base
    }

    /// Whether it has no trees.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// How many trees.
    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// Adds a tree.
    ///
    /// # Errors
    /// Where it is none, or this forest cannot hold it.
    pub fn push(&mut self, shape: &[Shape]) -> Result<(), PluginError> {
        let bad = |what: &str| Err(PluginError::data(format!("tree {} {what}", self.trees.len())));
        if self.trees.len() >= MAX_TREES
            || shape.len() > MAX_NODES_PER_TREE
            || self.nodes.len() + shape.len() > MAX_NODES
        {
            return bad("exceeds the size limits");
        }
        let mut nodes = Vec::with_capacity(shape.len());
        let mut depths = vec![0usize; shape.len()];
        // The first node that is nobody's child yet.
        let mut next = 1;
        for (at, node) in shape.iter().enumerate() {
            if at >= next {
                return bad("has nodes without a parent");
            }
            nodes.push(match *node {
                Shape::Leaf { value } => {
                    if !value.is_finite() {
                        return bad("has a leaf that is not a finite number");
                    }
                    Node { threshold: f32::NAN, value, left: at as u32, feature: 0, missing_right: 0 }
                }
                Shape::Split { feature, threshold, missing_right, expected } => {
                    if usize::from(feature) >= self.width {
                        return bad("asks for a column that rows do not have");
                    }
                    // Infinity is in order: all values go left, and missing ones may go right.
                    if threshold.is_nan() || threshold == f32::NEG_INFINITY || !expected.is_finite() {
                        return bad("has a split that is not a number");
                    }
                    let depth = depths[at] + 1;
                    if depth > MAX_DEPTH {
                        return bad("is too deep");
                    }
                    let Some(children) = depths.get_mut(next..next + 2) else {
                        return bad("lacks nodes");
                    };
                    children.fill(depth);
                    let left = next as u32;
                    next += 2;
                    Node { threshold, value: expected, left, feature, missing_right: missing_right.into() }
                }
            });
        }
        if next != shape.len() {
            return bad("has no nodes");
        }
        let depth = depths.into_iter().max().unwrap_or(0);
        let begin = self.nodes.len();
        self.nodes.extend(nodes);
        self.trees.push(Tree { begin, end: self.nodes.len(), depth });
        Ok(())
    }

    /// The trees as they were added.
    pub fn shapes(&self) -> impl Iterator<Item = impl ExactSizeIterator<Item = Shape>> {
        self.trees.iter().map(|tree| {
            self.nodes[tree.begin..tree.end].iter().enumerate().map(|(at, node)| {
                if node.left as usize == at {
                    Shape::Leaf { value: node.value }
                } else {
                    Shape::Split {
                        feature: node.feature,
                        threshold: node.threshold,
                        missing_right: node.missing_right != 0,
                        expected: node.value,
                    }
                }
            })
        })
    }

    /// Of each node of each tree the share of the training rows that went left there; none for leaves.
    #[cfg(any(test, feature = "testing"))]
    pub fn left_shares(&self) -> impl Iterator<Item = Vec<Option<f64>>> {
        self.trees.iter().map(|tree| {
            let nodes = &self.nodes[tree.begin..tree.end];
            let splits =
                |(at, node): (usize, &Node)| (node.left as usize != at).then(|| shapley::share_left(nodes, node));
            nodes.iter().enumerate().map(splits).collect()
        })
    }

    /// Adds one tree's part to the scores of some rows.
    ///
    /// The order in which trees are added to a score is fixed: sums of floating-point numbers depend on it.
    #[inline]
    fn add_tree(&self, tree: &Tree, block: &[f32], scores: &mut [f64]) {
        let nodes = &self.nodes[tree.begin..tree.end];
        let mut lanes = block.chunks_exact(LANES * self.width);
        let mut groups = scores.chunks_exact_mut(LANES);
        for (rows, scores) in lanes.by_ref().zip(groups.by_ref()) {
            let rows: [&[f32]; LANES] = std::array::from_fn(|lane| &rows[lane * self.width..][..self.width]);
            let mut at = [0; LANES];
            for _ in 0..tree.depth {
                for (at, row) in at.iter_mut().zip(&rows) {
                    let node = &nodes[*at];
                    *at = node.next(row[usize::from(node.feature)]);
                }
            }
            for (score, at) in scores.iter_mut().zip(at) {
                *score += f64::from(nodes[at].value);
            }
        }
        for (row, score) in lanes.remainder().chunks_exact(self.width).zip(groups.into_remainder()) {
            let mut at = 0;
            for _ in 0..tree.depth {
                let node = &nodes[at];
                at = node.next(row[usize::from(node.feature)]);
            }
            *score += f64::from(nodes[at].value);
        }
    }

    /// The changes of the expected value along the decision paths (Saabas), an approximation at the cost of a score: of
    /// columns that work together, the one that is asked last gets more than its share.
    fn explain_along_paths(&self, row: &[f32], parts: &mut [f64]) {
        for tree in &self.trees {
            let nodes = &self.nodes[tree.begin..tree.end];
            let mut node = &nodes[0];
            for _ in 0..tree.depth {
                let child = &nodes[node.next(row[usize::from(node.feature)])];
                // A leaf is its own child, so what it adds to its column is zero.
                parts[usize::from(node.feature)] += f64::from(child.value) - f64::from(node.value);
                node = child;
            }
        }
    }

    /// The expected score: what the parts of any row and this add up to is the row's score.
    pub fn bias(&self) -> f64 {
        self.base + self.trees.iter().map(|tree| f64::from(self.nodes[tree.begin].value)).sum::<f64>()
    }
}

impl Model for Forest {
    fn width(&self) -> usize {
        self.width
    }

    fn score(&self, rows: &Rows<'_>, scores: &mut [f64]) {
        scores.fill(self.base);
        let blocks = rows.data().chunks(BLOCK * self.width).zip(scores.chunks_mut(BLOCK));
        for (block, scores) in blocks {
            for tree in &self.trees {
                self.add_tree(tree, block, scores);
            }
        }
    }

    /// Exact Shapley values; for forests of more than [`MAX_EXACT`] nodes the changes of the expected value along the
    /// decision paths.
    fn explain(&self, row: &[f32], parts: &mut [f64]) {
        parts.fill(0.0);
        if self.nodes.len() > MAX_EXACT {
            return self.explain_along_paths(row, parts);
        }
        for tree in &self.trees {
            shapley::explain(&self.nodes[tree.begin..tree.end], tree.depth, row, parts);
        }
    }

    fn write(&self, to: &mut Writer) -> Result<(), PluginError> {
        to.put(&(self.width as u32, self.base, self.len() as u32))?;
        for tree in self.shapes() {
            to.put(&(tree.len() as u32))?;
            for node in tree {
                match node {
                    Shape::Leaf { value } => to.put(&(0u32, value))?,
                    Shape::Split { feature, threshold, missing_right, expected } => {
                        let tag = 1 + 2 * u32::from(feature) + u32::from(missing_right);
                        to.put(&(tag, threshold, expected))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let width: u32 = from.take()?;
        let base: f64 = from.take()?;
        let mut forest = Self::new(width as usize, base)?;
        let trees = from.count("trees", MAX_TREES, MIN_TREE)?;
        let mut shape = Vec::new();
        for _ in 0..trees {
            let nodes = from.count("nodes of a tree", MAX_NODES_PER_TREE, MIN_NODE)?;
            shape.clear();
            shape.reserve(nodes);
            for _ in 0..nodes {
                shape.push(Shape::read(from)?);
            }
            forest.push(&shape)?;
        }
        Ok(forest)
    }
}

impl Shape {
    fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let tag: u32 = from.take()?;
        let Some(tag) = tag.checked_sub(1) else {
            return Ok(Self::Leaf { value: from.take()? });
        };
        let feature = u16::try_from(tag / 2)
            .map_err(|_| PluginError::data(format!("a split asks for column {}, which cannot be", tag / 2)))?;
        let (threshold, expected) = from.take()?;
        Ok(Self::Split { feature, threshold, missing_right: tag % 2 == 1, expected })
    }
}
