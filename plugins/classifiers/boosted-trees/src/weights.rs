//! What was learnt as bytes: a magic word, a version, then postcard values one after the other.
//!
//! The width of a row (`u32`), the base score (`f64`) and the number of trees (`u32`); for each tree the number of its
//! nodes (`u32`) and the nodes level by level: a leaf is `0u32` and its value (`f32`); a split is
//! `1 + 2 × column + (1 if missing values go right)` (`u32`), its threshold and its expected value (`f32` each).

use crate::forest::{Forest, MAX_NODES_PER_TREE, MAX_TREES, Shape};
use serde::Serialize;
use serde::de::DeserializeOwned;
use veilwatch_core::plugin::PluginError;

const MAGIC: &[u8; 4] = b"VWBT";
const VERSION: u8 = 1;

/// Bytes of a leaf, the smallest node.
const MIN_NODE: usize = 5;
/// Bytes of a tree that is one leaf.
const MIN_TREE: usize = 1 + MIN_NODE;

/// Writes a forest.
pub(crate) fn encode(forest: &Forest) -> Result<Vec<u8>, PluginError> {
    let mut writer = Writer { bytes: Vec::new() };
    writer.bytes.extend_from_slice(MAGIC);
    writer.bytes.push(VERSION);
    writer.put(&(forest.width() as u32, forest.base(), forest.len() as u32))?;
    for tree in forest.shapes() {
        writer.put(&(tree.len() as u32))?;
        for node in tree {
            match node {
                Shape::Leaf { value } => writer.put(&(0u32, value))?,
                Shape::Split { feature, threshold, missing_right, expected } => {
                    let tag = 1 + 2 * u32::from(feature) + u32::from(missing_right);
                    writer.put(&(tag, threshold, expected))?;
                }
            }
        }
    }
    Ok(writer.bytes)
}

/// Reads a forest from bytes that may be anybody's: a count is checked against its limit and against the bytes that
/// are left before anything is allocated by it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Forest, PluginError> {
    let Some((version, rest)) = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first()) else {
        return Err(PluginError::data("these are no weights of boosted trees"));
    };
    if *version != VERSION {
        return Err(PluginError::data(format!(
            "the weights have format version {version}, this plugin reads {VERSION}: train again, or use the plugin's \
             version that wrote them"
        )));
    }
    let mut reader = Reader { rest };
    let width: u32 = reader.take()?;
    let base: f64 = reader.take()?;
    let mut forest = Forest::new(width as usize, base)?;
    let trees = reader.count("trees", MAX_TREES, MIN_TREE)?;
    let mut shape = Vec::new();
    for _ in 0..trees {
        let nodes = reader.count("nodes of a tree", MAX_NODES_PER_TREE, MIN_NODE)?;
        shape.clear();
        shape.reserve(nodes);
        for _ in 0..nodes {
            shape.push(reader.node()?);
        }
        forest.push(&shape)?;
    }
    if !reader.rest.is_empty() {
        return Err(PluginError::data(format!("{} bytes follow the weights", reader.rest.len())));
    }
    Ok(forest)
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn put<T: Serialize>(&mut self, value: &T) -> Result<(), PluginError> {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(value, bytes)
            .map_err(|error| PluginError::failed(format!("cannot write the weights: {error}")))?;
        Ok(())
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<T: DeserializeOwned>(&mut self) -> Result<T, PluginError> {
        let (value, rest) = postcard::take_from_bytes(self.rest)
            .map_err(|_| PluginError::data("the weights are cut short or damaged"))?;
        self.rest = rest;
        Ok(value)
    }

    /// A number of things of which each takes at least `size` bytes.
    fn count(&mut self, what: &str, limit: usize, size: usize) -> Result<usize, PluginError> {
        let count = self.take::<u32>()? as usize;
        if count > limit || count > self.rest.len() / size {
            return Err(PluginError::data(format!(
                "the weights claim {count} {what}: more than the limit of {limit}, or than there are bytes for"
            )));
        }
        Ok(count)
    }

    fn node(&mut self) -> Result<Shape, PluginError> {
        let tag: u32 = self.take()?;
        let Some(tag) = tag.checked_sub(1) else {
            return Ok(Shape::Leaf { value: self.take()? });
        };
        let feature = u16::try_from(tag / 2)
            .map_err(|_| PluginError::data(format!("a split asks for column {}, which cannot be", tag / 2)))?;
        let (threshold, expected) = self.take()?;
        Ok(Shape::Split { feature, threshold, missing_right: tag % 2 == 1, expected })
    }
}
