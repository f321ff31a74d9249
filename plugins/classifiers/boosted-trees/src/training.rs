use crate::settings::BoostedTreesSettings;
use forust_ml::gradientbooster::GrowPolicy;
use forust_ml::objective::ObjectiveType;
use forust_ml::sampler::SampleMethod;
use forust_ml::tree::Tree;
use forust_ml::{GradientBooster, Matrix};
use veilwatch_classifier_shared::forest::{Forest, Shape};
use veilwatch_classifier_shared::training::guarded;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// How many threads the library may use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Threads {
    /// As many as there are processors. The forest does not depend on the number: sums run within a column in the
    /// order of the rows, and among equally good splits the first column wins.
    All,
    /// This many in a pool of their own; none at all for zero.
    #[cfg(test)]
    Exactly(usize),
}

/// Learns a forest.
pub(crate) fn train(settings: &BoostedTreesSettings, data: &TrainingSet<'_>) -> Result<Forest, PluginError> {
    let booster = boost(settings, data, Threads::All)?;
    convert(&booster, data.rows.width())
}

/// Lets the library learn.
pub(crate) fn boost(
    settings: &BoostedTreesSettings,
    data: &TrainingSet<'_>,
    threads: Threads,
) -> Result<GradientBooster, PluginError> {
    let columns = by_column(&data.rows);
    let matrix = Matrix::new(&columns, data.rows.len(), data.rows.width());
    let labels: Vec<f64> = data.labels.iter().map(|&label| f64::from(u8::from(label))).collect();
    let weights = scaled(data.weights);
    let mut booster = configure(settings, data, threads);

    guarded("forust-ml (try a larger `min_leaf_weight`)", || booster.fit(&matrix, &labels, &weights, None))?;
    Ok(booster)
}

fn configure(settings: &BoostedTreesSettings, data: &TrainingSet<'_>, threads: Threads) -> GradientBooster {
    let (parallel, threads) = match threads {
        Threads::All => (true, None),
        #[cfg(test)]
        Threads::Exactly(threads) => (threads > 0, Some(threads)),
    };
    let sampling = if settings.row_subsample < 1.0 { SampleMethod::Random } else { SampleMethod::None };
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::LogLoss)
        .set_iterations(settings.trees)
        .set_learning_rate(settings.learning_rate)
        .set_max_depth(settings.max_depth)
        .set_max_leaves(settings.max_leaves)
        .set_min_leaf_weight(settings.min_leaf_weight)
        .set_l2(settings.l2)
        .set_gamma(settings.gamma)
        .set_sample_method(sampling)
        .set_subsample(settings.row_subsample)
        .set_colsample_bytree(column_share(settings.column_subsample, data.rows.width()))
        .set_nbins(settings.bins)
        .set_missing(f64::NAN)
        .set_create_missing_branch(false)
        // Whether a value is there at all tells much: a handshake without a server name, say.
        .set_allow_missing_splits(true)
        .set_initialize_base_score(true)
        .set_seed(data.seed)
        .set_parallel(parallel)
        .set_num_threads(threads);
    // Level by level, a limit of leaves would starve the right side of a tree.
    booster.grow_policy = if settings.leaves_bind() { GrowPolicy::LossGuide } else { GrowPolicy::DepthWise };
    booster
}

/// The library rounds the number of columns down, to zero if need be: asks for what gives at least one.
fn column_share(share: f64, width: usize) -> f64 {
    let columns = ((width as f64 * share) as usize).max(1);
    if columns >= width { 1.0 } else { (columns as f64 + 0.5) / width as f64 }
}

/// The rows as the library wants them, column after column.
pub(crate) fn by_column(rows: &Rows<'_>) -> Vec<f64> {
    let (height, width) = (rows.len(), rows.width());
    let mut columns = vec![0.0; height * width];
    for (at, row) in rows.iter().enumerate() {
        for (column, value) in row.iter().enumerate() {
            columns[column * height + at] = f64::from(*value);
        }
    }
    columns
}

/// Weights with a mean of 1, so that `min_leaf_weight` and `l2` mean the same whatever their scale.
fn scaled(weights: &[f32]) -> Vec<f64> {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let scale = weights.len() as f64 / total;
    weights.iter().map(|&weight| f64::from(weight) * scale).collect()
}

/// Our forest from the library's trees.
pub(crate) fn convert(booster: &GradientBooster, width: usize) -> Result<Forest, PluginError> {
    let mut forest = Forest::new(width, booster.base_score)?;
    for tree in &booster.trees {
        forest.push(&shape(tree)?)?;
    }
    Ok(forest)
}

/// One of the library's trees level by level.
fn shape(tree: &Tree) -> Result<Vec<Shape>, PluginError> {
    let unknown = || PluginError::failed("forust-ml grew a tree of an unknown form");
    let mut order = vec![0];
    let mut at = 0;
    while let Some(&number) = order.get(at) {
        let node = tree.nodes.get(number).ok_or_else(unknown)?;
        if !node.is_leaf {
            if node.has_missing_branch() || order.len() > tree.nodes.len() {
                return Err(unknown());
            }
            order.extend([node.left_child, node.right_child]);
        }
        at += 1;
    }

    // From the last node to the first, children come before their parents. An expected value is the mean of the two
    // children's, weighted by the evidence (the sum of hessians) that reached each in training.
    let mut expected = vec![0.0; tree.nodes.len()];
    let mut shape = Vec::with_capacity(order.len());
    for &number in order.iter().rev() {
        let node = &tree.nodes[number];
        if node.is_leaf {
            expected[number] = f64::from(node.weight_value);
            shape.push(Shape::Leaf { value: node.weight_value });
            continue;
        }
        let (left, right) = (node.left_child, node.right_child);
        let cover = |child: usize| f64::from(tree.nodes[child].hessian_sum).max(f64::MIN_POSITIVE);
        expected[number] =
            (cover(left) * expected[left] + cover(right) * expected[right]) / (cover(left) + cover(right));
        shape.push(Shape::Split {
            feature: u16::try_from(node.split_feature).map_err(|_| unknown())?,
            threshold: round_up(node.split_value),
            missing_right: node.missing_node == node.right_child,
            expected: expected[number] as f32,
        });
    }
    shape.reverse();
    Ok(shape)
}

/// The smallest `f32` that is not below `threshold`: the same `f32` values are below either.
fn round_up(threshold: f64) -> f32 {
    let near = threshold as f32;
    if f64::from(near) < threshold { near.next_up() } else { near }
}
