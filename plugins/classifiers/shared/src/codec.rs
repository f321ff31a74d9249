//! What was learnt as bytes: a magic word, a version, then postcard values one after the other.

use serde::Serialize;
use serde::de::DeserializeOwned;
use veilwatch_core::plugin::PluginError;

/// Largest learnt number: sums of those times what a row can be stay finite.
pub const MAX_NUMBER: f64 = 1e30;

/// Writes what was learnt.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins with a magic word and a version.
    pub fn new(magic: [u8; 4], version: u8) -> Self {
        let mut bytes = magic.to_vec();
        bytes.push(version);
        Self { bytes }
    }

    /// Writes one value.
    ///
    /// # Errors
    /// Where postcard cannot write the type.
    pub fn put<T: Serialize>(&mut self, value: &T) -> Result<(), PluginError> {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(value, bytes)
            .map_err(|error| PluginError::failed(format!("cannot write the weights: {error}")))?;
        Ok(())
    }

    /// All that was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what was learnt from bytes that may be anybody's.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins behind the magic word and the version.
    ///
    /// # Errors
    /// Where the bytes are of something else (`what` they should be of), or of another version.
    pub fn new(bytes: &'a [u8], magic: [u8; 4], version: u8, what: &str) -> Result<Self, PluginError> {
        let Some((found, rest)) = bytes.strip_prefix(&magic).and_then(|rest| rest.split_first()) else {
            return Err(PluginError::data(format!("these are no weights of {what}")));
        };
        if *found != version {
            return Err(PluginError::data(format!(
                "the weights have format version {found}, this plugin reads {version}: train again, or use the plugin's \
                 version that wrote them"
            )));
        }
        Ok(Self { rest })
    }

    /// One value, which allocates nothing.
    ///
    /// # Errors
    /// Where the bytes end, or hold something else.
    pub fn take<T: DeserializeOwned + Copy>(&mut self) -> Result<T, PluginError> {
        let (value, rest) = postcard::take_from_bytes(self.rest)
            .map_err(|_| PluginError::data("the weights are cut short or damaged"))?;
        self.rest = rest;
        Ok(value)
    }

    /// A number of things of which each takes at least `size` bytes: held against its limit and against the bytes that
    /// are left, before anything is allocated by it.
    ///
    /// # Errors
    /// Where it cannot be.
    pub fn count(&mut self, what: &str, limit: usize, size: usize) -> Result<usize, PluginError> {
        let count = self.take::<u32>()? as usize;
        if count > limit || count > self.rest.len() / size {
            return Err(PluginError::data(format!(
                "the weights claim {count} {what}: more than the limit of {limit}, or than there are bytes for"
            )));
        }
        Ok(count)
    }

    /// A learnt number, of which no sum overflows.
    ///
    /// # Errors
    /// Where it is none, or too large.
    pub fn number(&mut self) -> Result<f64, PluginError> {
        number(self.take()?)
    }

    /// Refuses what is left.
    ///
    /// # Errors
    /// Where something is.
    pub fn finish(self) -> Result<(), PluginError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(PluginError::data(format!("{} bytes follow the weights", self.rest.len())))
    }
}

/// Passes a learnt number of which no sum overflows.
///
/// # Errors
/// Where it is none, or too large.
pub fn number(value: f64) -> Result<f64, PluginError> {
    if value.abs() <= MAX_NUMBER {
        return Ok(value);
    }
    Err(PluginError::data(format!("a learnt number is {value}; it must lie within {MAX_NUMBER:e} of zero")))
}
