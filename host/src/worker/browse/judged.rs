use crate::analyser::Index;
use crate::query::OfFlow;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use veilwatch_core::detect::{Category, Verdict};

/// What an analysis said of a flow: a line of JSON of the file that a parent writes for a child
/// ([`BrowseOrder::judged`](super::BrowseOrder::judged)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgedFlow {
    /// The number of its first packet.
    pub packet: u64,
    /// What the model says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// How sure it is, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How new the flow is to it, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<f64>,
    /// Whether training held nothing like it.
    #[serde(default)]
    pub novel: bool,
    /// The name of what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
}

/// The most flows that a child is told of: as many as it tells apart.
pub const JUDGED_FLOWS: usize = 2_000_000;
/// The first byte of that file while not all of it is there. Whoever writes it puts a line's end there at last.
pub const JUDGED_PART: u8 = 0;
/// Bytes of a line of that file.
const LINE: u64 = 512;

/// Whether all of that file is there. An empty one is only begun.
pub(super) fn is_whole(file: &File) -> io::Result<bool> {
    let mut first = [JUDGED_PART];
    Ok(file.read_at(&mut first, 0)? > 0 && first != [JUDGED_PART])
}

/// What is known of flows, by the index's flow and the number of their first packet: one pair of ends may have several.
#[derive(Debug, Default)]
pub(super) struct Judged(Vec<(u32, u64, OfFlow)>);

impl Judged {
    /// Reads all of it. What makes no sense is passed over: it came from a result, and that from the capture.
    pub(super) fn read(mut file: &File, index: &Index) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let (mut found, mut line) = (Vec::new(), Vec::new());
        while found.len() < JUDGED_FLOWS {
            line.clear();
            if lines.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let Ok(flow) = serde_json::from_slice::<JudgedFlow>(&line) else { continue };
            let Some(place) = index.place(flow.packet) else { continue };
            let JudgedFlow { packet, verdict, score, novelty, novel, category } = flow;
            let novel = novelty.map(|_| novel);
            found.push((place.flow, packet, OfFlow { verdict, score, novelty, novel, category }));
        }
        // Of what was told twice the later counts.
        found.reverse();
        found.sort_by_key(|(flow, first, _)| (*flow, *first));
        found.dedup_by_key(|(flow, first, _)| (*flow, *first));
        Ok(Self(found))
    }

    /// What is known of a packet's flow: of several with its ends the last one that had begun by then.
    pub(super) fn of(&self, index: &Index, number: u64) -> Option<&OfFlow> {
        let flow = index.place(number)?.flow;
        let behind = self.0.partition_point(|(of, first, _)| (*of, *first) <= (flow, number));
        let (of, _, known) = self.0.get(behind.checked_sub(1)?)?;
        (*of == flow).then_some(known)
    }
}
