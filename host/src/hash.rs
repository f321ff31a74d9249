//! SHA-256 in hexadecimal, for files, schemas and cards.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
pub use veilwatch_core::record::hex;

/// SHA-256 of a file, which is never in memory as a whole.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<[u8; 32]> {
    sha256_of(&mut File::open(path)?)
}

/// SHA-256 of all that a reader gives, which is never in memory as a whole.
///
/// # Errors
/// What the reader says.
pub fn sha256_of(reader: &mut impl Read) -> io::Result<[u8; 32]> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => hasher.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// SHA-256 of some bytes, in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
