use super::{AnalyserError, Book, Index, Place};
use crate::live::{Recorder, Recording};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use veilwatch_core::packet::LinkType;

/// Bytes that are written at once.
const PIECE: usize = 1 << 20;
/// Packets whose places are taken from the index at once: whoever captures waits no longer than for these.
const AT_ONCE: usize = 4096;

/// Writes packets into a capture of their own: classic pcap where the name ends with `.pcap`, else pcapng. A file that is there
/// already stays as it is. Returns how many. The index may grow meanwhile.
pub fn save(
    book: &Book,
    index: &RwLock<Index>,
    numbers: impl Iterator<Item = u64> + Clone,
    path: &Path,
) -> Result<u64, AnalyserError> {
    let failed = |error| AnalyserError::Reading { name: path.display().to_string(), error };
    let mut links: Vec<LinkType> = Vec::new();
    in_pieces(index, numbers.clone(), |places| {
        for place in places {
            if let Err(at) = links.binary_search(&place.link) {
                links.insert(at, place.link);
            }
        }
        Ok(())
    })?;
    let interfaces: Vec<(String, LinkType)> =
        links.iter().map(|link| (link.name().unwrap_or("unknown").to_owned(), *link)).collect();
    let recording = Recording { path: path.to_owned(), ring: None };
    let mut recorder = Recorder::open(&recording, &interfaces)?;
    let cut_off = |why| Err(failed(std::io::Error::other(why)));
    let mut waiting = 0;
    in_pieces(index, numbers, |places| {
        for place in places {
            let data = book.bytes(place).map_err(failed)?;
            let of = links.binary_search(&place.link).unwrap_or_default();
            recorder.add(of, place.time_ns, place.wire_len, [&data, &[], &[]]);
            waiting += data.len();
            if waiting >= PIECE {
                waiting = 0;
                recorder.flush().map_or(Ok(()), cut_off)?;
            }
        }
        Ok(())
    })?;
    recorder.finish(&[]).map_or(Ok(()), cut_off)?;
    Ok(recorder.counts().packets)
}

/// Hands on places of packets, so many at once.
fn in_pieces(
    index: &RwLock<Index>,
    numbers: impl Iterator<Item = u64>,
    mut take: impl FnMut(&[Place]) -> Result<(), AnalyserError>,
) -> Result<(), AnalyserError> {
    let mut numbers = numbers.peekable();
    let mut places = Vec::with_capacity(AT_ONCE);
    while numbers.peek().is_some() {
        places.clear();
        let known = index.read().unwrap_or_else(PoisonError::into_inner);
        places.extend(numbers.by_ref().take(AT_ONCE).filter_map(|number| known.place(number)));
        drop(known);
        take(&places)?;
    }
    Ok(())
}
