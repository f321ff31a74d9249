//! What people name on the command line becomes a list of captures.

use super::SourceError;
use super::error::shown;
use super::sniff::{Kind, MAGIC_BYTES};
use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The captures to read, in order.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Files and standard input: as named, the files of a folder by the bytes of their names.
    pub inputs: Vec<Input>,
    /// Files in folders that were left out because they start like no capture, or are no regular files.
    pub left_out: u64,
    /// Folders that could not be walked or hold no capture. Reading goes on without them; somebody should be told.
    pub unreadable: Vec<SourceError>,
}

/// One capture to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input, named `-`.
    Stdin,
    /// A file, or a pipe with a path.
    File(PathBuf),
}

/// How many folders inside one another are walked.
const DEPTH: usize = 64;

/// Turns files, folders and `-` into the list of captures they stand for.
///
/// A named file is always kept, whatever it holds: opening it says what is wrong. In folders, files that start like no
/// capture are left out, and links to folders are not followed; a link can lead back up.
pub fn expand(paths: &[PathBuf]) -> Result<Inputs, SourceError> {
    let mut found = Inputs::default();
    for path in paths {
        if path.as_os_str() == "-" {
            if found.inputs.contains(&Input::Stdin) {
                return Err(SourceError::StdinTwice);
            }
            found.inputs.push(Input::Stdin);
        } else if path.is_dir() {
            let before = found.inputs.len();
            if let Err(error) = walk(path, 0, &mut found) {
                found.unreadable.push(error);
                continue;
            }
            if found.inputs.len() == before {
                found.unreadable.push(SourceError::NoCapture { name: name(path) });
            }
        } else {
            found.inputs.push(Input::File(path.clone()));
        }
    }
    // With nothing to read at all, the first reason is the answer.
    if found.inputs.is_empty() && !found.unreadable.is_empty() {
        return Err(found.unreadable.remove(0));
    }
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Inputs) -> Result<(), SourceError> {
    if depth >= DEPTH {
        return Err(SourceError::TooDeep { name: name(folder), limit: DEPTH });
    }
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
    let mut entries = entries.map_err(|why| SourceError::opening(name(folder), why))?;
    entries.sort_by(|a, b| a.file_name().as_encoded_bytes().cmp(b.file_name().as_encoded_bytes()));
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(|why| SourceError::opening(name(&path), why))?;
        if kind.is_dir() {
            if let Err(error) = walk(&path, depth + 1, found) {
                found.unreadable.push(error);
            }
        } else if (kind.is_file() || path.is_file()) && may_be_capture(&path) {
            found.inputs.push(Input::File(path));
        } else if !path.is_dir() {
            found.left_out += 1;
        }
    }
    Ok(())
}

/// By its first bytes. A file that cannot be read counts as a capture, so that opening it says why.
fn may_be_capture(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC_BYTES as u64).read_to_end(&mut head));
    read.is_err() || Kind::of(&head) != Kind::Other
}

fn name(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCAP: &[u8] = &[0xd4, 0xc3, 0xb2, 0xa1];

    fn files(inputs: &Inputs, root: &Path) -> Vec<String> {
        let name = |input: &Input| match input {
            Input::Stdin => "-".to_owned(),
            Input::File(path) => path.strip_prefix(root).unwrap_or(path).display().to_string(),
        };
        inputs.inputs.iter().map(name).collect()
    }

    #[test]
    fn walks_folders_in_byte_order_and_leaves_strangers_out() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("f/b")).unwrap();
        fs::create_dir_all(at("f/e/nothing")).unwrap();
        for name in ["f/a", "f/Z", "f/b/x.pcap", "f/c", "named"] {
            fs::write(at(name), PCAP).unwrap();
        }
        fs::write(at("f/zipped"), [0x1f, 0x8b, 8, 0]).unwrap();
        fs::write(at("f/readme.txt"), "hello").unwrap();
        fs::write(at("f/empty.pcap"), "").unwrap();
        fs::write(at("stranger"), "hello").unwrap();
        let paths = [at("stranger"), at("f"), "-".into(), at("named"), at("missing")];
        let inputs = expand(&paths).unwrap();
        let expected = ["stranger", "f/Z", "f/a", "f/b/x.pcap", "f/c", "f/zipped", "-", "named", "missing"];
        assert_eq!(files(&inputs, root.path()), expected);
        assert_eq!(inputs.left_out, 2);
        assert!(inputs.unreadable.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn follows_links_to_files_but_not_to_folders() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("f")).unwrap();
        fs::write(at("real"), PCAP).unwrap();
        symlink(at("real"), at("f/file")).unwrap();
        symlink(at("f"), at("f/loop")).unwrap();
        symlink(at("gone"), at("f/dangling")).unwrap();
        let inputs = expand(&[at("f")]).unwrap();
        assert_eq!(files(&inputs, root.path()), ["f/file"]);
        assert_eq!(inputs.left_out, 1);
    }

    #[test]
    fn stops_at_a_depth_and_goes_on_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", 70).collect();
        fs::create_dir_all(root.path().join(&deep)).unwrap();
        fs::write(root.path().join(&deep).join("deep.pcap"), PCAP).unwrap();
        fs::write(root.path().join("top.pcap"), PCAP).unwrap();
        let inputs = expand(&[root.path().to_owned()]).unwrap();
        assert_eq!(files(&inputs, root.path()), ["top.pcap"]);
        assert!(matches!(inputs.unreadable[..], [SourceError::TooDeep { .. }]));
    }

    #[test]
    fn says_what_cannot_be() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("notes"), "hello").unwrap();
        let error = expand(&[root.path().to_owned()]).unwrap_err();
        assert!(error.to_string().starts_with("no capture in folder /"), "{error}");
        let twice = expand(&["-".into(), "-".into()]).unwrap_err();
        assert!(matches!(twice, SourceError::StdinTwice));
    }
}
