//! What there is to learn from: the operator's folder of labelled data.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Things of the folder that are offered.
pub const OFFERED: usize = 200;
/// What a table of labelled rows begins with, of any version.
const TABLE: &[u8] = b"# veilwatch-features-";
/// The tables of a folder of labelled captures.
const OF_FOLDERS: [&str; 2] = ["captures.csv", "flows.csv"];

/// Names in the folder that can be learnt from, in order: folders with captures.csv (the folder itself is an empty name) and
/// tables of labelled rows.
pub fn sources(folder: &Path) -> Vec<String> {
    let is_labelled = |folder: &Path| folder.join("captures.csv").is_file();
    let mut found: Vec<String> = if is_labelled(folder) { vec![String::new()] } else { Vec::new() };
    let Ok(there) = std::fs::read_dir(folder) else { return found };
    for entry in there.flatten() {
        let path = entry.path();
        // A name goes into an order as text, and is looked up by it again.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || OF_FOLDERS.contains(&name.as_str()) {
            continue;
        }
        if is_labelled(&path) || (path.is_file() && is_table(&path)) {
            found.push(name);
        }
    }
    found.sort();
    found.truncate(OFFERED);
    found
}

fn is_table(path: &Path) -> bool {
    let mut begin = [0; TABLE.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_labels_and_tables_are_offered() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("good/captures.csv", "path");
        write("nothing/readme", "");
        write("rows.csv", "# veilwatch-features-2 x\n");
        write("flows.csv", "# veilwatch-features-2 x\n");
        write("other.csv", "a,b\n");
        write(".hidden/captures.csv", "path");
        assert_eq!(sources(folder.path()), ["good", "rows.csv"]);
        write("captures.csv", "path");
        assert_eq!(sources(folder.path()), ["", "good", "rows.csv"]);
        assert!(sources(Path::new("/not/there")).is_empty());
    }
}
