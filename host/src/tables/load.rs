use super::read::read;
use super::{BUILTIN, ERRORS, FILE_BYTES, FOLDER_FILES, FOLDERS, TableError, TableErrors, TableSettings};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use veilwatch_core::tables::{Tables, TablesBuilder};

/// The tables in the box, and those of the configured folders over them.
pub fn load(settings: &TableSettings) -> Result<Tables, TableErrors> {
    let mut loader = Loader::new();
    loader.builtin();
    loader.configured(settings);
    loader.finish()
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub file: String,
    /// Entries that were taken.
    pub entries: usize,
    /// Mistakes.
    pub errors: usize,
}

/// Reads tables, one file after the other, and goes on after mistakes so that all of them can be told.
#[derive(Debug, Default)]
pub struct Loader {
    builder: TablesBuilder,
    errors: Vec<TableError>,
    more: usize,
    files: Vec<FileReport>,
}

impl Loader {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the tables in the box.
    pub fn builtin(&mut self) {
        for (file, text) in BUILTIN {
            self.text(file, text);
        }
    }

    /// Reads the configured folders.
    pub fn configured(&mut self, settings: &TableSettings) {
        for (at, folder) in settings.folders.iter().enumerate() {
            if at == FOLDERS {
                self.failed(
                    folder,
                    format!("more than {FOLDERS} folders of tables; this one and the rest are left out"),
                );
                break;
            }
            self.folder(folder);
        }
    }

    /// Reads a file, or the `.toml` files of a folder in the order of their names.
    pub fn path(&mut self, path: &Path) {
        if path.is_dir() { self.folder(path) } else { self.file(path) }
    }

    /// Reads a text; `file` is its name in messages.
    pub fn text(&mut self, file: &str, text: &str) {
        let (entries, errors) = read(&mut self.builder, file, text);
        self.files.push(FileReport { file: file.to_owned(), entries, errors: errors.len() });
        errors.into_iter().for_each(|error| self.error(error));
    }

    /// What became of each file, in the order in which they were read.
    pub fn files(&self) -> &[FileReport] {
        &self.files
    }

    /// The tables, if nothing was wrong.
    pub fn finish(self) -> Result<Tables, TableErrors> {
        if self.errors.is_empty() {
            return Ok(self.builder.build());
        }
        Err(TableErrors { errors: self.errors, more: self.more })
    }

    fn folder(&mut self, folder: &Path) {
        let listed = match std::fs::read_dir(folder) {
            Ok(listed) => listed,
            Err(error) => return self.failed(folder, format!("the folder cannot be read ({error})")),
        };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in listed {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name();
                    let path = entry.path();
                    let ending = path.extension().is_some_and(|ending| ending == "toml");
                    if ending && !name.as_encoded_bytes().starts_with(b".") {
                        files.push(path);
                    }
                }
                Err(error) => return self.failed(folder, format!("the folder cannot be read to its end ({error})")),
            }
            if files.len() > FOLDER_FILES {
                return self.failed(folder, format!("more than {FOLDER_FILES} tables in one folder"));
            }
        }
        files.sort();
        files.iter().for_each(|file| self.file(file));
    }

    fn file(&mut self, path: &Path) {
        match bounded_text(path) {
            Ok(text) => self.text(&path.display().to_string(), &text),
            Err(message) => self.failed(path, message),
        }
    }

    fn failed(&mut self, path: &Path, message: String) {
        let file = path.display().to_string();
        self.files.push(FileReport { file: file.clone(), entries: 0, errors: 1 });
        self.error(TableError { file, line: None, message, hint: None });
    }

    fn error(&mut self, error: TableError) {
        if self.errors.len() < ERRORS { self.errors.push(error) } else { self.more += 1 }
    }
}

/// A file's text, if it is a plain file of a size that a table may have.
fn bounded_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read ({error})");
    // A pipe would wait for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is no file".into());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > FILE_BYTES {
        return Err(format!("is larger than {FILE_BYTES} bytes; spread it over several files"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        format!("is no text: line {line} is not UTF-8")
    })
}
