use super::{AnalyserError, Book, Index};
use crate::live::{Recorder, Recording};
use std::path::Path;
use veilwatch_core::packet::LinkType;

/// Writes packets into a capture of their own: classic pcap where the name ends with `.pcap`, else pcapng. A file that is there
/// already stays as it is. Returns how many.
pub fn save(
    book: &Book,
    index: &Index,
    numbers: impl Iterator<Item = u64> + Clone,
    path: &Path,
) -> Result<u64, AnalyserError> {
    let failed = |error| AnalyserError::Reading { name: path.display().to_string(), error };
    let mut links: Vec<LinkType> =
        numbers.clone().filter_map(|number| index.place(number)).map(|place| place.link).collect();
    links.sort_unstable();
    links.dedup();
    let interfaces: Vec<(String, LinkType)> =
        links.iter().map(|link| (link.name().unwrap_or("unknown").to_owned(), *link)).collect();
    let recording = Recording { path: path.to_owned(), ring: None };
    let mut recorder = Recorder::open(&recording, &interfaces)?;
    let cut_off = |why| Err(failed(std::io::Error::other(why)));
    let mut waiting = 0;
    for number in numbers {
        let Some(place) = index.place(number) else { continue };
        let data = book.bytes(&place).map_err(failed)?;
        let of = links.binary_search(&place.link).unwrap_or_default();
        recorder.add(of, place.time_ns, place.wire_len, [&data, &[], &[]]);
        waiting += data.len();
        if waiting >= PIECE {
            waiting = 0;
            recorder.flush().map_or(Ok(()), cut_off)?;
        }
    }
    recorder.finish(&[]).map_or(Ok(()), cut_off)?;
    Ok(recorder.counts().packets)
}

/// Bytes that are written at once.
const PIECE: usize = 1 << 20;
