//! What a classifier learnt, as text: for those whose weights are few.
//!
//! ```
//! use veilwatch_core::plugin::weights;
//!
//! let means = vec![[0.1, -7.5], [3.0, 4.0]];
//! let bytes = weights::write(&means)?;
//! assert_eq!(weights::read::<Vec<[f64; 2]>>(&bytes)?, means);
//! assert!(weights::read::<Vec<[f64; 2]>>(&bytes[..bytes.len() - 1]).is_err());
//! # Ok::<(), veilwatch_core::plugin::PluginError>(())
//! ```

use super::PluginError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The last line. What follows it, or comes without it, is refused: a text that was cut may still be good TOML.
const END: &str = "# end of the weights\n";

/// TOML has a table at the top, whatever was learnt.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole<T> {
    learnt: T,
}

/// Writes what was learnt as TOML; numbers are the same to the bit when they are read again.
///
/// # Errors
/// Where the type cannot be written as TOML.
pub fn write(learnt: &impl Serialize) -> Result<Vec<u8>, PluginError> {
    let text = toml::to_string(&Whole { learnt }).map_err(|error| PluginError::failed(error.to_string()))?;
    Ok(format!("{text}{END}").into_bytes())
}

/// Reads what [`write()`] wrote. Only its form is checked: numbers may be anything, also infinite or none.
///
/// # Errors
/// Where the bytes are no such text, or the text holds something else; give the type `#[serde(deny_unknown_fields)]`.
pub fn read<T: DeserializeOwned>(weights: &[u8]) -> Result<T, PluginError> {
    let bad = |what: &str| PluginError::data(format!("the weights {what}; train again, or get the model again"));
    let text = std::str::from_utf8(weights).map_err(|_| bad("are no text"))?;
    let text = text.strip_suffix(END).ok_or_else(|| bad("have no proper end"))?;
    toml::from_str::<Whole<T>>(text)
        .map(|whole| whole.learnt)
        .map_err(|error| bad(&format!("cannot be read ({})", error.message().replace('\n', " "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Learnt {
        far: f64,
        columns: Vec<[f64; 2]>,
    }

    #[test]
    fn numbers_come_back_to_the_bit_and_nothing_else_does() {
        let learnt = Learnt { far: 1.0 / 3.0, columns: vec![[f64::MIN_POSITIVE, -0.0], [5e300, 0.1 + 0.2]] };
        let bytes = write(&learnt).unwrap();
        let again: Learnt = read(&bytes).unwrap();
        assert_eq!(format!("{again:?}"), format!("{learnt:?}"));
        assert!((0..bytes.len()).all(|end| read::<Learnt>(&bytes[..end]).is_err()));
        for bad in
            [&[&bytes[..], b"more"].concat()[..], b"\xff", b"[learnt]\nfar = 1.0\ncolumn = []\n# end of the weights\n"]
        {
            let error = read::<Learnt>(bad).unwrap_err();
            assert_eq!(error.message.lines().count(), 1, "{error}");
        }
    }
}
