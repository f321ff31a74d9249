//! What tests have templates read, written down: with this a corpus begins.

use super::{Input, Seen};
use crate::talk::Talk;
use std::hash::{Hash, Hasher};
use std::path::Path;

/// Names the folder, in the environment.
const FOLDER: &str = "VEILWATCH_WRITE_SEEDS";

/// Writes a conversation into a folder, where one is named.
pub(crate) fn keep(talk: &Talk) {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let bytes = Input::of(talk).encode();
    let mut name = Seen::default();
    bytes.hash(&mut name);
    // Who asks for seeds sees where there are none.
    let _ = std::fs::write(Path::new(&folder).join(format!("{:016x}", name.finish())), bytes);
}

/// The same for what both sides say, one after the other.
pub(crate) fn keep_streams([forward, backward]: &[Vec<u8>; 2]) {
    keep(&Talk::tcp().open().forward(forward).backward(backward));
}
