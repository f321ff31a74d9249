use crate::live::RecordError;
use crate::source::{Damage, InputLimits, Plain, Source, SourceError, unpacked};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Why a capture cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum AnalyserError {
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Packets of it cannot be written down.
    #[error(transparent)]
    Save(#[from] RecordError),
    /// It cannot be read where one likes.
    #[error("{name}: {error}")]
    Reading {
        /// Its name.
        name: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A capture that was opened to look into it.
pub struct Opened {
    /// Its name, for people.
    pub name: String,
    /// Its file; a compressed one was unpacked into a file that nobody else sees.
    pub file: File,
    /// Bytes of it.
    pub bytes: u64,
    /// The same from its begin on, packet by packet.
    pub source: Source,
    /// Where it lies, by which an index of it is kept; nothing for one that was unpacked.
    pub path: Option<PathBuf>,
    /// What ended unpacking before the capture's end.
    pub damage: Option<Damage>,
}

impl Opened {
    /// Opens one.
    pub fn open(path: &Path, limits: &InputLimits) -> Result<Self, AnalyserError> {
        let name = path.display().to_string();
        let failed = |error| AnalyserError::Reading { name: name.clone(), error };
        let Plain { file, was_packed, damage } = unpacked(path, limits)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let source = Source::from_file(file.try_clone().map_err(failed)?, &name, limits)?;
        Ok(Self { file, bytes, source, path: (!was_packed).then(|| path.to_owned()), damage, name })
    }
}
