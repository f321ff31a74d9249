//! SHA-256 in hexadecimal, for files, schemas and cards.

use sha2::{Digest, Sha256};
pub use veilwatch_core::record::hex;

/// SHA-256 of some bytes, in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
