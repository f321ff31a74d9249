use std::fmt;

/// What is wrong with a file of tables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TableError {
    /// The file or folder.
    pub file: String,
    /// The line, from 1; nothing where the whole file is meant.
    pub line: Option<u32>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The nearest known name.
    pub hint: Option<String>,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; did you mean `{hint}`?"))
    }
}

/// Why tables cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TableErrors {
    /// Each mistake, the first [`super::ERRORS`] of them.
    pub errors: Vec<TableError>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for TableErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.errors.first() {
            write!(f, "{first}")?;
        }
        match self.errors.len() + self.more {
            0 | 1 => Ok(()),
            all => write!(f, " (and {} more; `veilwatch tables check` tells them all)", all - 1),
        }
    }
}
