//! Reading captures: real ones, and those that other programs stumbled over.
//!
//! The captures are not part of the project; without them these tests say so and pass.

#![expect(clippy::expect_used, reason = "helpers of tests count as tests")]

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use veilwatch::source::inputs::{self, Input};
use veilwatch::source::{InputLimits, Source, SourceError, SourceStatus};

fn data(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: ../shared/data/{folder} is not there");
    None
}

/// Packets, a sum over all that is known of them, and the last word.
fn drain(mut source: Source) -> (u64, u64, SourceStatus) {
    let (mut count, mut sum) = (0, 0u64);
    let mut recycled = None;
    while let Some(block) = source.next_block(recycled.take()).expect("files do not fail") {
        for packet in block.packets() {
            count += 1;
            assert_eq!(packet.number, count);
            assert!(packet.wire_len as usize >= packet.data.len());
            let words = [packet.time_ns, packet.wire_len.into(), packet.link.0.into(), packet.data.len() as u64];
            let bytes = packet.data.iter().map(|&byte| u64::from(byte));
            sum = words
                .into_iter()
                .chain(bytes)
                .fold(sum, |sum, word| sum.rotate_left(5) ^ word.wrapping_mul(0x9e37_79b9));
        }
        recycled = Some(block);
    }
    (count, sum, source.status().clone())
}

#[test]
fn training_captures_are_read_whole() {
    let Some(folder) = data("train") else { return };
    let inputs = inputs::expand(&[folder]).expect("a folder of captures");
    let (mut files, mut packets) = (0, 0);
    for input in inputs.inputs {
        let Input::File(path) = input else { panic!("not a file") };
        let source = Source::open(&path, &InputLimits::default()).unwrap_or_else(|error| panic!("{error}"));
        let (count, _, status) = drain(source);
        assert_eq!(status.damage, None, "{}", path.display());
        assert_eq!(Some(status.file_bytes), status.total_bytes, "{}", path.display());
        files += 1;
        packets += count;
    }
    assert!(files > 1000 && packets > 900_000, "{files} captures with {packets} packets");
}

#[test]
fn bad_input_is_read_without_harm_and_the_same_in_any_pieces() {
    let Some(folder) = data("badinput") else { return };
    let small = InputLimits { block_bytes: 64, ..InputLimits::default() };
    let mut files = Vec::new();
    collect(&folder, &mut files);
    for path in files {
        let start = Instant::now();
        let bytes = fs::read(&path).expect("readable");
        let in_pieces = Source::from_reader(String::new(), Cursor::new(bytes), &small);
        match (Source::open(&path, &InputLimits::default()), in_pieces) {
            (Ok(whole), Ok(in_pieces)) => {
                let (whole, in_pieces) = (drain(whole), drain(in_pieces));
                assert_eq!((whole.0, whole.1), (in_pieces.0, in_pieces.1), "{}", path.display());
                assert_eq!(whole.2.damage, in_pieces.2.damage, "{}", path.display());
            }
            (Err(error), Err(_)) => assert!(!error.to_string().contains('\n'), "{error}"),
            _ => panic!("{} opens in one way only", path.display()),
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{}", path.display());
    }
}

#[test]
fn bad_input_gives_the_packets_other_readers_count() {
    let Some(folder) = data("badinput") else { return };
    // Deliberate differences: what Wireshark refuses for its link type or minor version is read as far as it goes.
    let table = fs::read_to_string(folder.join("captures.csv")).expect("a table");
    let counts: HashMap<&str, u64> = table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            Some((*fields.first()?, fields.get(7)?.parse().ok()?))
        })
        .collect();
    assert!(counts.len() > 1000, "{} counts", counts.len());
    for (name, expected) in counts {
        match Source::open(&folder.join(name), &InputLimits::default()) {
            Ok(source) => assert_eq!(drain(source).0, expected, "{name}"),
            Err(SourceError::NotACapture { looks, .. }) => assert!(looks.contains("snoop"), "{name}: {looks}"),
            Err(error) => panic!("{error}"),
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
