use super::find::Search;
use super::judged::{Judged, is_whole};
use super::say::*;
use crate::analyser::{Book, Follower, Index, Indexer, KeptIndexes, Page, Stream};
use crate::engine::Pipeline;
use crate::output::{bounded, plain};
use crate::query::{Fields, Level, PacketQuery};
use crate::source::{Damage, InputLimits, Source, SourceError, Unpacking};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use veilwatch_core::record::hex;

/// Searches whose findings are remembered.
const SEARCHES: usize = 3;
/// Flows that are told apart: whoever sends packets of more of them gets no more of the index.
const FLOWS: usize = 2_000_000;
/// How long a piece of a search takes.
const PIECE: Duration = Duration::from_millis(15);
/// How long a search goes on that nobody asks for any more.
const ABANDONED: Duration = Duration::from_secs(10);

/// The files that were opened before the child was confined.
pub(super) struct Files {
    pub(super) capture: File,
    pub(super) kept: Option<File>,
    pub(super) judged: Option<File>,
    pub(super) index: File,
    pub(super) unpacked: File,
}

/// A capture on its desk.
pub(super) struct Desk {
    order: BrowseOrder,
    files: Files,
    limits: InputLimits,
    name: &'static str,
    pipeline: &'static Arc<Pipeline>,
    fields: Fields,
    stage: Stage,
    /// The file that packets are read from, and packets of it by their numbers.
    plain: File,
    book: &'static Book,
    index: Index,
    total_bytes: u64,
    damage: Option<String>,
    /// What ended unpacking before the capture's end.
    unpacking_damage: Option<Damage>,
    index_bytes: Option<u64>,
    /// The one that was asked for last is the first.
    searches: VecDeque<Search>,
    /// When the first one was asked for, if it is to go on.
    wanted: Option<Instant>,
    stream: Option<(u32, Stream)>,
    /// What an analysis said of flows, once it was read.
    judged: Option<Judged>,
}

enum Stage {
    Unpacking(Box<Unpacking>),
    Indexing(Box<Indexer>),
    /// The capture grows; whether all of it was read that was there a moment ago.
    Following(Box<Follower>, bool),
    /// An index that was made is still to be written.
    Writing,
    Ready,
}

impl Desk {
    /// Lays a capture on it. Where an index was kept, all of it is known at once, once it is unpacked.
    pub(super) fn new(
        order: BrowseOrder,
        files: Files,
        limits: InputLimits,
        name: &'static str,
        pipeline: Pipeline,
    ) -> Result<Self, SourceError> {
        let failed = |error: io::Error| SourceError::Read { name: name.to_owned(), what: error.to_string() };
        let pipeline: &'static Arc<Pipeline> = Box::leak(Box::new(Arc::new(pipeline)));
        let total_bytes = files.capture.metadata().map_err(failed)?.len();
        let unpacking = Unpacking::of(&files.capture, name, &limits)?;
        let plain = if unpacking.is_some() { &files.unpacked } else { &files.capture };
        let plain = plain.try_clone().map_err(failed)?;
        // Both live as long as the child.
        let book: &'static Book =
            Box::leak(Box::new(Book::new(plain.try_clone().map_err(failed)?, Arc::clone(pipeline))));
        let mut desk = Self {
            fields: match &files.judged {
                Some(_) => Fields::of(pipeline).with_verdicts(),
                None => Fields::of(pipeline),
            },
            stage: Stage::Ready,
            order,
            files,
            limits,
            name,
            pipeline,
            plain,
            book,
            index: Index::default(),
            total_bytes,
            damage: None,
            unpacking_damage: None,
            index_bytes: None,
            searches: VecDeque::new(),
            wanted: None,
            stream: None,
            judged: None,
        };
        match unpacking {
            Some(unpacking) => desk.stage = Stage::Unpacking(Box::new(unpacking)),
            None => desk.begin_index()?,
        }
        Ok(desk)
    }

    /// Whether something is left to do.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Ready | Stage::Following(_, true)) || self.is_searching()
    }

    fn is_searching(&self) -> bool {
        let is_wanted = self.wanted.is_some_and(|asked| asked.elapsed() < ABANDONED);
        // What speaks of verdicts waits for them.
        let goes_on = |search: &Search| {
            search.scanned < self.index.len() && (!search.asks_verdicts() || self.is_known() && self.judged.is_some())
        };
        is_wanted && self.searches.front().is_some_and(goes_on)
    }

    /// Reads what an analysis said of flows, once all packets are known and all of it is there. Only while somebody waits for an
    /// answer: then the parent does not write.
    fn judge(&mut self) -> io::Result<()> {
        if self.judged.is_none()
            && self.is_known()
            && let Some(file) = &self.files.judged
            && is_whole(file)?
        {
            self.judged = Some(Judged::read(file, &self.index)?);
        }
        Ok(())
    }

    /// Whether all packets are known, as far as they came.
    fn is_known(&self) -> bool {
        matches!(self.stage, Stage::Writing | Stage::Ready | Stage::Following(_, true))
    }

    /// Says that more may have come.
    pub(super) fn look_again(&mut self) {
        if let Stage::Following(_, is_read) = &mut self.stage {
            *is_read = false;
        }
    }

    /// Does a small piece of it.
    pub(super) fn work(&mut self) -> Result<(), SourceError> {
        let failed = |error: io::Error| SourceError::Read { name: self.name.to_owned(), what: error.to_string() };
        let is_searching = self.is_searching();
        match &mut self.stage {
            Stage::Unpacking(unpacking) => {
                if !unpacking.more(&mut self.files.unpacked).map_err(failed)? {
                    self.unpacking_damage = unpacking.damage().cloned();
                    self.begin_index()?;
                }
            }
            Stage::Indexing(indexer) => {
                let known = self.index.len();
                let is_full = known >= self.order.packets || self.index.flows().len() >= FLOWS;
                match indexer.more()? {
                    Some(_) if is_full => {
                        self.index.left_out = 1;
                        self.end_index();
                    }
                    Some(more) => self.index.take(more),
                    None => {
                        let damage = self.unpacking_damage.take().or_else(|| indexer.damage());
                        self.index.end(damage);
                        self.end_index();
                    }
                }
            }
            Stage::Following(_, true) => {}
            Stage::Following(follower, is_read) => {
                let is_full = self.index.len() >= self.order.packets || self.index.flows().len() >= FLOWS;
                match follower.more()? {
                    Some(_) if is_full => {
                        self.index.left_out = 1;
                        self.end_index();
                        self.stage = Stage::Ready;
                    }
                    Some(more) => self.index.take(more),
                    None if follower.damage().is_some() => {
                        self.index.end(follower.damage());
                        self.end_index();
                        self.stage = Stage::Ready;
                    }
                    None => *is_read = true,
                }
            }
            // People come first.
            Stage::Writing if !is_searching => {
                self.write_index();
                self.stage = Stage::Ready;
            }
            Stage::Writing | Stage::Ready => {}
        }
        if self.is_searching()
            && let Some(search) = self.searches.front_mut()
        {
            search.more(&self.index, self.judged.as_ref(), Instant::now() + PIECE).map_err(failed)?;
        }
        Ok(())
    }

    fn begin_index(&mut self) -> Result<(), SourceError> {
        // It guards a table against chosen addresses, and changes nothing else.
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let nesting = self.pipeline.config().flows.nesting;
        if self.order.follows {
            let failed = |error: io::Error| SourceError::Read { name: self.name.to_owned(), what: error.to_string() };
            let file = self.plain.try_clone().map_err(failed)?;
            let follower = Follower::new(file, self.name, &self.limits, nesting, seed).map_err(failed)?;
            self.stage = Stage::Following(Box::new(follower), false);
            return Ok(());
        }
        if let Some(index) = self.kept() {
            self.index = index;
            self.end_index();
            self.stage = Stage::Ready;
            return Ok(());
        }
        let failed = |error: io::Error| SourceError::Read { name: self.name.to_owned(), what: error.to_string() };
        let source = Source::from_file(self.plain.try_clone().map_err(failed)?, self.name, &self.limits)?;
        self.stage = Stage::Indexing(Box::new(Indexer::new(source, nesting, seed)));
        Ok(())
    }

    fn end_index(&mut self) {
        self.damage = self.index.damage.as_ref().map(|damage| bounded(damage.to_string().as_bytes(), WORDS_BYTES));
        self.stage = Stage::Writing;
    }

    /// What an index of this capture, made by these rules, is called.
    fn identity(&self) -> String {
        let BrowseOrder { identity, packets, .. } = &self.order;
        let InputLimits { unpacked_bytes, expansion_ratio, packet_bytes, interfaces, .. } = &self.limits;
        let nesting = self.pipeline.config().flows.nesting;
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{identity}\n{packets} {unpacked_bytes} {expansion_ratio} {packet_bytes} {interfaces}\n{nesting} {version}"
        )
    }

    fn kept(&mut self) -> Option<Index> {
        let file = self.files.kept.take()?;
        let is_small = file.metadata().ok()?.len() <= self.order.index_bytes;
        is_small.then(|| KeptIndexes::read(file, &self.identity())).flatten()
    }

    /// Where it cannot be written, it is made again the next time.
    fn write_index(&mut self) {
        let is_small = KeptIndexes::bytes(&self.index) <= self.order.index_bytes;
        let Some(file) = self.files.index.try_clone().ok().filter(|_| is_small) else { return };
        if KeptIndexes::write(file, &self.identity(), &self.index).is_ok() {
            self.index_bytes = self.files.index.metadata().ok().map(|metadata| metadata.len());
        }
    }

    /// How far it has come.
    pub(super) fn read(&self) -> ReadState {
        let (stage, bytes) = match &self.stage {
            Stage::Unpacking(unpacking) => (ReadStage::Unpacking, unpacking.read()),
            Stage::Indexing(indexer) => (ReadStage::Indexing, indexer.read()),
            Stage::Following(follower, _) => (ReadStage::Following, follower.read()),
            Stage::Writing | Stage::Ready => (ReadStage::Ready, self.total_bytes),
        };
        let total = match &self.stage {
            Stage::Indexing(_) | Stage::Following(..) => self.plain.metadata().map_or(0, |metadata| metadata.len()),
            _ => self.total_bytes,
        };
        ReadState {
            stage,
            bytes: bytes.min(total),
            total_bytes: total,
            packets: self.index.len(),
            is_cut: self.index.left_out > 0,
            damage: self.damage.clone(),
            index_bytes: self.index_bytes,
        }
    }

    /// Answers, or nothing where more work would make a better answer. `last` is for those who wait no longer.
    pub(super) fn answer(&mut self, ask: &Ask, last: bool) -> io::Result<Option<Said>> {
        if !last && matches!(self.stage, Stage::Following(_, false)) {
            return Ok(None);
        }
        self.judge()?;
        match ask {
            Ask::Rows { from, count, flow: Some(packet), .. } => self.rows_of_flow(*packet, *from, *count, last),
            Ask::Rows { from, count, flow: None, filter, search } => self.rows(*from, *count, filter, *search, last),
            Ask::Packet { number } => {
                let page = self.book.page(&self.index, *number)?;
                let is_missing = page.is_none() && !self.is_known();
                Ok((last || !is_missing).then(|| Said::Packet(page.map(|page| Box::new(self.page(page))))))
            }
            // What comes later in the capture would be missing.
            Ask::Stream { .. } if !last && !self.is_known() => Ok(None),
            Ask::Stream { packet, skip } => self.stream(*packet, *skip).map(|part| Some(Said::Stream(part))),
            Ask::Complete { text, cursor } => {
                let cursor = usize::try_from(*cursor).unwrap_or(usize::MAX).min(text.len());
                let found = self.fields.complete_at(Level::Packet, text, cursor);
                let field = |field: &crate::query::FieldInfo<'_>| {
                    (bounded(field.name.as_bytes(), CELL_BYTES), bounded(field.words.as_bytes(), INFO_BYTES))
                };
                Ok(Some(Said::Complete(Completed {
                    replaces: (found.replaces.start as u64, found.replaces.end as u64),
                    fields: found.fields.iter().take(COMPLETIONS).map(field).collect(),
                })))
            }
        }
    }

    fn rows(&mut self, from: u64, count: u32, filter: &str, search: bool, last: bool) -> io::Result<Option<Said>> {
        let (from, count) = (from.max(1), count.clamp(1, ROWS) as usize);
        let is_known = self.is_known();
        if filter.trim().is_empty() {
            self.wanted = None;
            // Behind the last one there is nothing, wherever that is.
            let from = from.min(self.index.len() + 1);
            let shown: Vec<u64> = self.index.from(from).take(count).map(|(number, _)| number).collect();
            let after = from.saturating_add(count as u64);
            if !last && !is_known && self.index.len() < after {
                return Ok(None);
            }
            let before = (from > 1).then(|| from.saturating_sub(count as u64).max(1));
            let after = (self.index.len() >= after).then_some(after);
            return Ok(Some(Said::Rows(PacketRows { rows: self.lines(&shown)?, before, after, search: None })));
        }
        if let Err(wrong) = self.look_for(filter) {
            return Ok(Some(Said::Wrong(wrong)));
        }
        self.wanted = search.then(Instant::now);
        let Some(found) = self.searches.front() else { return Ok(None) };
        let done = is_known && found.scanned >= self.index.len();
        let first = found.hits.partition_point(|hit| u64::from(*hit) < from);
        let shown = found.hits.get(first..).unwrap_or_default();
        // What an analysis said comes from elsewhere: no work here brings it.
        let lacks_verdicts = is_known && found.asks_verdicts() && self.judged.is_none();
        if !last && !done && search && shown.len() <= count && !lacks_verdicts {
            return Ok(None);
        }
        let after = shown.get(count).map(|hit| u64::from(*hit));
        let before = first.checked_sub(1).and_then(|_| found.hits.get(first.saturating_sub(count)));
        let before = before.map(|hit| u64::from(*hit));
        let (found_so_far, may_miss) = (found.hits.len() as u64, found.may_miss());
        let searched = Searched { scanned: found.scanned, found: found_so_far, done, may_miss };
        let shown: Vec<u64> = shown.iter().take(count).map(|hit| u64::from(*hit)).collect();
        Ok(Some(Said::Rows(PacketRows { rows: self.lines(&shown)?, before, after, search: Some(searched) })))
    }

    /// Lines of the packets of one flow.
    fn rows_of_flow(&mut self, packet: u64, from: u64, count: u32, last: bool) -> io::Result<Option<Said>> {
        if !last && !self.is_known() {
            return Ok(None);
        }
        self.wanted = None;
        let count = count.clamp(1, ROWS) as usize;
        let (mut earlier, mut shown) = (VecDeque::new(), Vec::new());
        if let Some((flow, _)) = self.index.flow_of(packet) {
            for number in self.index.packets_of(flow) {
                if number < from {
                    earlier.push_back(number);
                    if earlier.len() > count {
                        earlier.pop_front();
                    }
                } else if shown.len() <= count {
                    shown.push(number);
                } else {
                    break;
                }
            }
        }
        let after = shown.get(count).copied();
        shown.truncate(count);
        let before = earlier.front().copied();
        Ok(Some(Said::Rows(PacketRows { rows: self.lines(&shown)?, before, after, search: None })))
    }

    /// Has the search for a filter in front of all others.
    fn look_for(&mut self, filter: &str) -> Result<(), WrongFilter> {
        let search = match self.searches.iter().position(|search| search.text == filter) {
            Some(at) => self.searches.remove(at),
            None => {
                let query = PacketQuery::new(filter, &self.fields).map_err(|error| WrongFilter {
                    what: bounded(error.what().as_bytes(), WORDS_BYTES),
                    place: (error.place().start as u64, error.place().end as u64),
                })?;
                self.searches.truncate(SEARCHES - 1);
                Some(Search::new(filter, query, self.book))
            }
        };
        self.searches.extend(search);
        self.searches.rotate_right(1);
        Ok(())
    }

    fn lines(&self, numbers: &[u64]) -> io::Result<Vec<PacketRow>> {
        let line = |number: &u64| Ok(self.book.page(&self.index, *number)?.map(|page| self.row(&page)));
        numbers.iter().filter_map(|number| line(number).transpose()).collect()
    }

    fn row(&self, page: &Page) -> PacketRow {
        let cell = |text: &str| bounded(text.as_bytes(), CELL_BYTES);
        let known = self.judged.as_ref().and_then(|judged| judged.of(&self.index, page.number));
        PacketRow {
            number: page.number,
            since_ns: i64::try_from(page.since_ns).unwrap_or(if page.since_ns < 0 { i64::MIN } else { i64::MAX }),
            src: cell(&page.src),
            dst: cell(&page.dst),
            protocol: cell(&page.protocol),
            wire_len: page.wire_len,
            info: bounded(page.info.as_bytes(), INFO_BYTES),
            verdict: known.and_then(|known| known.verdict),
        }
    }

    fn page(&self, page: Page) -> PacketPage {
        let node = |node: &veilwatch_core::packet::dissect::PacketNode| PacketField {
            depth: node.depth,
            field: plain(&node.field),
            label: plain(&node.label),
            value: plain(&node.value),
            bytes: node.bytes.as_ref().map(|range| (range.start as u64, range.end as u64)),
        };
        let flow = self.index.flow_of(page.number).map(|(_, flow)| flow.packets);
        PacketPage {
            row: self.row(&page),
            time_ns: page.time_ns,
            nodes: page.tree.nodes.iter().map(node).collect(),
            left_out: page.tree.left_out as u64,
            checksums: page
                .checksums
                .iter()
                .take(REMARKS)
                .map(|sum| (sum.field.to_owned(), sum.status.to_string()))
                .collect(),
            warnings: page.warnings.iter().take(REMARKS).map(|words| bounded(words.as_bytes(), WORDS_BYTES)).collect(),
            hex: hex(page.data.get(..PACKET_BYTES).unwrap_or(&page.data)),
            captured: page.data.len() as u64,
            flow_packets: flow.map(|[there, back]| there + back),
        }
    }

    fn stream(&mut self, packet: u64, skip: u64) -> io::Result<Option<StreamPart>> {
        let Some((flow, known)) = self.index.flow_of(packet) else { return Ok(None) };
        let end = |end: &veilwatch_core::flow::Endpoint| std::net::SocketAddr::new(end.ip(), end.port).to_string();
        let mut ends = [end(&known.key.low), end(&known.key.high)];
        if !known.upward {
            ends.reverse();
        }
        let is_whole = self.is_known();
        let stream = match self.stream.take() {
            Some((of, stream)) if of == flow && is_whole && !self.order.follows => stream,
            _ => Stream::of(self.book, &self.index, flow, self.pipeline.config().flows.nesting)?,
        };
        let mut part = StreamPart { ends, pieces: Vec::new(), skipped: skip, bytes: 0, is_cut: stream.is_cut };
        let end = skip.saturating_add(STREAM_BYTES as u64);
        for said in &stream.said {
            let length = said.bytes.len() as u64;
            let at = |place: u64| place.saturating_sub(part.bytes).min(length) as usize;
            let bytes = said.bytes.get(at(skip)..at(end)).unwrap_or_default();
            if !bytes.is_empty() {
                let (first_side, packet) = (said.first_side, said.packet);
                part.pieces.push(StreamPiece { first_side, packet, hex: hex(bytes) });
            }
            part.bytes += length;
        }
        self.stream = Some((flow, stream));
        Ok(Some(part))
    }
}
