//! A text held against a file.

#![allow(clippy::panic, reason = "a helper of tests: what differs shows in the test that asked")]

use std::path::Path;

/// Holds a text against the file that says what it should be. With `VEILWATCH_WRITE_GOLDEN=1` in the environment the file
/// is written anew instead, for a person to review.
///
/// ```
/// let folder = std::env::temp_dir().join(format!("veilwatch-golden-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let path = folder.join("counts.txt");
/// std::fs::write(&path, "flows 2\n")?;
/// veilwatch_testkit::golden(&path, "flows 2\n");
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// Where the texts differ, with the first line that does; and where the file cannot be read or written.
pub fn golden(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    if std::env::var_os("VEILWATCH_WRITE_GOLDEN").is_some_and(|value| value == "1") {
        return std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let known = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; VEILWATCH_WRITE_GOLDEN=1 writes it", path.display()));
    if let Err(difference) = same_text(&known, text) {
        panic!("{}: {difference}; if that is right, VEILWATCH_WRITE_GOLDEN=1 writes it anew", path.display());
    }
}

/// Whether two texts are the same.
///
/// # Errors
/// The first line that differs, as it was and as it is.
pub fn same_text(known: &str, text: &str) -> Result<(), String> {
    if known == text {
        return Ok(());
    }
    let (mut old, mut new) = (known.split_inclusive('\n'), text.split_inclusive('\n'));
    for line in 1.. {
        match (old.next(), new.next()) {
            (a, b) if a != b => {
                let shown = |part: Option<&str>| part.map_or("the end".to_owned(), |part| format!("{part:?}"));
                return Err(format!("line {line} differs: it was {}, it is {}", shown(a), shown(b)));
            }
            (None, None) => break,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_shown() {
        assert_eq!(same_text("a\nb\n", "a\nb\n"), Ok(()));
        let told = |known, text| same_text(known, text).unwrap_err();
        assert_eq!(told("a\nb\n", "a\nc\n"), "line 2 differs: it was \"b\\n\", it is \"c\\n\"");
        assert_eq!(told("a\n", "a\nc"), "line 2 differs: it was the end, it is \"c\"");
        // A line's end counts.
        assert_eq!(told("a\n", "a"), "line 1 differs: it was \"a\\n\", it is \"a\"");
    }

    #[test]
    #[should_panic(expected = "VEILWATCH_WRITE_GOLDEN=1 writes it")]
    fn a_missing_file_says_how_it_is_made() {
        golden("no/such/folder/golden.txt", "");
    }
}
