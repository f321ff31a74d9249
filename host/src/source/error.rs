use std::io;

/// Why a capture cannot be read at all: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is there by this name.
    #[error("cannot open {name}: there is no such file; check the path")]
    NotFound {
        /// Name of the capture.
        name: String,
    },
    /// It is there, but not for us.
    #[error("cannot open {name}: permission denied; make it readable for the user that runs this")]
    Permission {
        /// Name of the capture.
        name: String,
    },
    /// A folder stands where one capture was asked for.
    #[error("cannot read {name}: it is a folder; name a capture inside it")]
    Folder {
        /// Name of the folder.
        name: String,
    },
    /// The system refused for another reason.
    #[error("cannot open {name}: {why}; check the path and the disk")]
    Open {
        /// Name of the capture.
        name: String,
        /// The system's own words.
        why: io::Error,
    },
    /// Reading failed before there was any packet.
    #[error("cannot read {name}: {what}; copy or unpack it again and retry")]
    Read {
        /// Name of the capture.
        name: String,
        /// What went wrong.
        what: String,
    },
    /// Its reader was told to stop before there was a header.
    #[error("{name}: interrupted before its header was there")]
    Interrupted {
        /// Name of the capture.
        name: String,
    },
    /// There is not one byte in it.
    #[error("{name} is empty; check whether writing the capture failed or has not begun")]
    Empty {
        /// Name of the capture.
        name: String,
    },
    /// Its first bytes are those of something else.
    #[error("{name} is no capture: it looks like {looks}; expected pcap or pcapng, optionally in gzip or zstd")]
    NotACapture {
        /// Name of the capture.
        name: String,
        /// What the first bytes look like.
        looks: String,
    },
    /// It ends inside its file header.
    #[error("{name} is cut off: {have} bytes of {format}'s {need}-byte header are there; copy or record it again")]
    HeaderCut {
        /// Name of the capture.
        name: String,
        /// Name of the format.
        format: &'static str,
        /// Bytes that are there.
        have: usize,
        /// Bytes the header has.
        need: usize,
    },
    /// The format is ours, its version is not.
    #[error("{name} is {format} version {major}.{minor}, which is not supported; convert it: editcap -F pcapng IN OUT")]
    Version {
        /// Name of the capture.
        name: String,
        /// Name of the format.
        format: &'static str,
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// Compressed, and that compressed, and that compressed.
    #[error("{name} is compressed more than twice over; unpack it first")]
    Nested {
        /// Name of the capture.
        name: String,
    },
    /// A folder has nothing for us.
    #[error("no capture in folder {name}; expected pcap or pcapng files, optionally in gzip or zstd")]
    NoCapture {
        /// Name of the folder.
        name: String,
    },
    /// Folders inside folders, deeper than anybody means.
    #[error("folder {name} lies more than {limit} folders deep; name it itself to read it")]
    TooDeep {
        /// Name of the folder.
        name: String,
        /// How many levels are walked.
        limit: usize,
    },
    /// Standard input can be read only once.
    #[error("standard input (-) is named twice; name it once")]
    StdinTwice,
}

impl SourceError {
    /// Sorts what the system said on opening `name` into what a person can act on.
    pub(super) fn opening(name: String, why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::NotFound => Self::NotFound { name },
            io::ErrorKind::PermissionDenied => Self::Permission { name },
            io::ErrorKind::IsADirectory => Self::Folder { name },
            _ => Self::Open { name, why },
        }
    }
}

/// A name as messages show it: on one line and without anything a terminal would obey. File names are chosen by
/// whoever made the file.
pub(super) fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}c é.pcap"), "a\\nb\\u{1b}[31m\\u{202e}c é.pcap");
    }
}
