//! Tables in the box and dropped in, read from TOML.
//!
//! What tables are and how they are asked stands in [`veilwatch_core::tables`]; here they are found, read, checked and
//! merged. The box comes first, then the files of the configured folders in the order of their names; a later entry
//! replaces an earlier one, and every conflict is kept. `config/tables/README.md` shows the format.

mod error;
mod load;
mod read;
mod rows;

pub use error::{TableError, TableErrors};
pub use load::{FileReport, Loader, load};
pub use read::{
    FILES_ENTRIES, FLOATING_SIGNATURES, ID_BYTES, LIST_ITEMS, NAME_BYTES, NUMBER_ENTRIES, PURPOSE_ENTRIES,
    WARN_ENTRIES, WORDS_BYTES,
};
pub use rows::{Entry, Row, number, of_number, rows};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bytes of a file of tables.
pub const FILE_BYTES: usize = 1 << 20;
/// Files of a folder of tables.
pub const FOLDER_FILES: usize = 256;
/// Folders of tables.
pub const FOLDERS: usize = 16;
/// Errors that are told; a file has more than enough with these.
pub const ERRORS: usize = 100;

/// The tables in the box: name of the file, text.
pub const BUILTIN: [(&str, &str); 8] = [
    ("config/tables/ether.toml", include_str!("../../../config/tables/ether.toml")),
    ("config/tables/ip.toml", include_str!("../../../config/tables/ip.toml")),
    ("config/tables/tcp.toml", include_str!("../../../config/tables/tcp.toml")),
    ("config/tables/udp.toml", include_str!("../../../config/tables/udp.toml")),
    ("config/tables/port.toml", include_str!("../../../config/tables/port.toml")),
    ("config/tables/files.toml", include_str!("../../../config/tables/files.toml")),
    ("config/tables/warn.toml", include_str!("../../../config/tables/warn.toml")),
    ("config/tables/purpose.toml", include_str!("../../../config/tables/purpose.toml")),
];

/// Where tables beside those in the box are, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableSettings {
    /// Folders, relative to the file that names them.
    pub folders: Vec<PathBuf>,
    /// Whether FILES and WARN are asked about every flow; names of numbers cost nothing.
    pub look: bool,
}

impl Default for TableSettings {
    fn default() -> Self {
        Self { folders: Vec::new(), look: true }
    }
}
