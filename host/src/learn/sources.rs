//! Where labelled captures come from.

use super::labels::{self, CaptureRow, Tables};
use super::{LearnError, Truth};
use crate::hash::{hex, sha256_of_file};
use crate::source::inputs::{self, Input};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where labelled captures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A training folder: captures.csv says what its captures are, flows.csv what the flows of malicious ones are.
    Folder(PathBuf),
    /// Captures that are labelled as a whole, by files and folders of any depth.
    Captures(Vec<(Truth, PathBuf)>),
    /// Captures of which nothing is known but what people marked.
    Marked(Vec<PathBuf>),
    /// Captures of one label, of which somebody may say more.
    Collected(Collected),
}

/// Captures of one label, by files and folders of any depth, and what is said of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The files and folders.
    pub paths: Vec<PathBuf>,
    /// What every flow of them is.
    pub truth: Truth,
    /// Their malware family, where it is not the folder that each lies in. Benign captures have none.
    pub family: Option<String>,
    /// Where they were captured, or who published them, where it is not that folder either.
    pub source: Option<String>,
}

/// What was found at an origin.
pub(super) struct Found {
    pub(super) tables: Tables,
    /// What else decides the labels, for the data set's hash.
    pub(super) words: Vec<u8>,
    /// Folders that could not be walked.
    pub(super) unreadable: Vec<String>,
}

/// Finds the captures of an origin and their labels.
pub(super) fn find(origin: &Origin) -> Result<Found, LearnError> {
    match origin {
        Origin::Folder(folder) => {
            let tables = labels::read(folder)?;
            let words =
                ["captures.csv", "flows.csv"].map(|table| std::fs::read(folder.join(table)).unwrap_or_default());
            Ok(Found { tables, words: words.concat(), unreadable: Vec::new() })
        }
        Origin::Captures(labelled) => {
            let mut found = Found { tables: Tables::default(), words: Vec::new(), unreadable: Vec::new() };
            for (truth, root) in labelled {
                walk(*truth, root, &mut found)?;
            }
            spell(&mut found);
            Ok(found)
        }
        Origin::Collected(Collected { paths, truth, family, source }) => {
            let mut found = Found { tables: Tables::default(), words: Vec::new(), unreadable: Vec::new() };
            for path in paths {
                walk(*truth, path, &mut found)?;
            }
            for capture in &mut found.tables.captures {
                if let Some(family) = family.as_ref().filter(|_| *truth != Truth::Benign) {
                    capture.family.clone_from(family);
                }
                if let Some(source) = source {
                    capture.source.clone_from(source);
                }
            }
            spell(&mut found);
            Ok(found)
        }
        Origin::Marked(files) => {
            let mut found = Found { tables: Tables::default(), words: Vec::new(), unreadable: Vec::new() };
            for file in files {
                walk(Truth::Unlabelled, file, &mut found)?;
            }
            // Nobody named a family or a source, so that each is one of its own.
            for capture in &mut found.tables.captures {
                let hash = capture.sha256_original.get(..12).unwrap_or(&capture.path);
                (capture.family, capture.source) = (format!("marked-{hash}"), format!("marked-{hash}"));
                capture.only_marks = true;
            }
            spell(&mut found);
            Ok(found)
        }
    }
}

/// Adds what is said of captures to what decides the labels.
fn spell(found: &mut Found) {
    let words = |capture: &CaptureRow| {
        let truth = capture.whole.map_or("", Truth::name);
        format!("{}\t{truth}\t{}\t{}\n", capture.path, capture.family, capture.source)
    };
    found.words = found.tables.captures.iter().map(words).collect::<String>().into_bytes();
}

/// Adds the captures of a file or folder, all of one label.
///
/// A capture's family and source are the folder that it lies in, within the one that was named; else its own name without
/// what follows the first dot. A captures.csv in the named folder says it better.
fn walk(truth: Truth, root: &Path, found: &mut Found) -> Result<(), LearnError> {
    let inputs = inputs::expand(&[root.to_owned()])
        .map_err(|error| LearnError::File { path: root.into(), what: error.to_string() })?;
    found.unreadable.extend(inputs.unreadable.iter().map(ToString::to_string));
    let known: BTreeMap<String, CaptureRow> = match root.join("captures.csv").is_file() {
        true => labels::captures(root)?.into_iter().map(|row| (row.path.clone(), row)).collect(),
        false => BTreeMap::new(),
    };
    for input in inputs.inputs {
        let Input::File(file) = input else {
            let what = "standard input cannot be read twice; name a file".to_owned();
            return Err(LearnError::File { path: "-".into(), what });
        };
        // A pipe or a device can be read once or without end; learning reads a capture more than once.
        let what = match std::fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() => None,
            Ok(_) => Some("this is no regular file, and cannot be read twice".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(what) = what {
            return Err(LearnError::File { path: file, what });
        }
        let within = match file.strip_prefix(root) {
            Ok(within) if !within.as_os_str().is_empty() => within.to_owned(),
            _ => PathBuf::from(file.file_name().unwrap_or_default()),
        };
        let group = match within.parent().and_then(Path::file_name) {
            Some(folder) => folder.to_string_lossy().into_owned(),
            None => {
                let name = within.to_string_lossy();
                name.split('.').find(|part| !part.is_empty()).unwrap_or_default().to_owned()
            }
        };
        let within = within.to_string_lossy().into_owned();
        let infected = matches!(truth, Truth::Malicious | Truth::Background | Truth::Unlabelled);
        let mut row = CaptureRow {
            path: format!("{}/{within}", truth.name()),
            kind: if infected { "malicious" } else { "benign" }.to_owned(),
            family: if infected { group.clone() } else { String::new() },
            source: group,
            file,
            whole: Some(truth),
            only_marks: false,
            sha256_original: String::new(),
        };
        if let Some(known) = known.get(&within) {
            if infected && !known.family.is_empty() {
                row.family.clone_from(&known.family);
            }
            row.source.clone_from(&known.source);
            row.sha256_original.clone_from(&known.sha256_original);
        }
        if row.sha256_original.is_empty() {
            // One that lies in two folders is one.
            row.sha256_original = sha256_of_file(&row.file).map(|hash| hex(&hash)).unwrap_or_default();
        }
        found.tables.captures.push(row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_tables_say_what_a_capture_is() {
        let root = tempfile::tempdir().unwrap();
        let capture = [0xd4, 0xc3, 0xb2, 0xa1, 1];
        for (at, path) in
            ["bad/dridex/x.pcap", "bad/y.one.pcap", "bad/deep/er/z", "good/a.pcap", "good/b.pcap"].iter().enumerate()
        {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, [&capture[..], &[at as u8]].concat()).unwrap();
        }
        let table = "path,kind,family,source\ndridex/x.pcap,malicious,zeus,museum\n";
        std::fs::write(root.path().join("bad/captures.csv"), table).unwrap();
        let labelled = [(Truth::Malicious, "bad"), (Truth::Benign, "good"), (Truth::Benign, "good/a.pcap")];
        let origin = Origin::Captures(labelled.map(|(truth, path)| (truth, root.path().join(path))).into());
        let found = find(&origin).unwrap();
        for path in ["/dev/null", "not-there.pcap"] {
            let error = find(&Origin::Captures(vec![(Truth::Benign, path.into())])).err().unwrap();
            assert!(error.to_string().contains(path), "{error}");
        }
        let said: Vec<[&str; 3]> =
            found.tables.captures.iter().map(|row| [&*row.path, &*row.family, &*row.source]).collect();
        assert_eq!(
            said,
            [
                ["malicious/deep/er/z", "er", "er"],
                ["malicious/dridex/x.pcap", "zeus", "museum"],
                ["malicious/y.one.pcap", "y", "y"],
                ["benign/a.pcap", "", "a"],
                ["benign/b.pcap", "", "b"],
                ["benign/a.pcap", "", "a"],
            ]
        );
        assert_eq!(found.tables.captures[3].sha256_original, found.tables.captures[5].sha256_original);
    }
}
