//! What is on the screen.

use super::find::{Finding, Writing};
use super::listing::{Listing, Row};
use super::prompt::{Asked, Prompt};
use super::theme::Theme;
use super::work::Work;
use ratatui::layout::Rect;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use veilwatch::analyser::{FlowLine, Index, Page, Statistics, Stream};
use veilwatch::output::plain;
use veilwatch::query::{Fields, OfFlow};
use veilwatch_core::detect::Verdict;

/// The whole of it.
pub(super) struct App {
    pub(super) work: Work,
    pub(super) theme: Theme,
    /// What filters may speak of.
    pub(super) fields: Fields,
    pub(super) view: View,
    pub(super) pane: Pane,
    /// The line of the selected packet among those that are listed.
    pub(super) at: usize,
    /// The first line of the list.
    pub(super) top: usize,
    pub(super) listing: Listing,
    /// The packet that stays selected while those before it are still looked for.
    pub(super) stay: Option<u64>,
    pub(super) page: Option<Page>,
    /// The selected packet, where it cannot be read.
    unreadable: Option<u64>,
    /// The selected line of the tree, and the first one that is shown.
    pub(super) node: usize,
    pub(super) node_top: usize,
    pub(super) bytes: Bytes,
    pub(super) flows: FlowList,
    pub(super) statistics: Option<Statistics>,
    pub(super) stream: Option<(u32, Stream)>,
    /// The first line of a view that is only read.
    pub(super) line: usize,
    pub(super) prompt: Option<Prompt>,
    pub(super) writing: Option<Writing>,
    pub(super) finding: Option<Finding>,
    pub(super) marks: BTreeSet<u64>,
    pub(super) message: String,
    /// Messages that nobody asked for, the latest last.
    pub(super) said: Vec<String>,
    /// Whether the list goes along with packets that come.
    pub(super) follows: bool,
    /// What comes next, once somebody is done here.
    pub(super) after: Option<After>,
    leaving_for: After,
    /// Sequences that are for the terminal itself.
    pub(super) to_terminal: Option<String>,
    pub(super) areas: Areas,
    rows: HashMap<u64, Row>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing.
    Leave,
    /// Another capture is chosen.
    Choose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Packets,
    Flows,
    Statistics,
    Stream,
    Copy,
    Help,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    List,
    Tree,
    Bytes,
}

/// The bytes of the selected packet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bytes {
    /// The first line of sixteen that is shown.
    pub(super) top: usize,
    /// The selected one.
    pub(super) at: usize,
    /// Where a selection of several began.
    pub(super) anchor: Option<usize>,
}

impl Bytes {
    /// Those that are selected together.
    pub(super) fn selected(&self) -> Option<std::ops::Range<usize>> {
        self.anchor.map(|anchor| anchor.min(self.at)..anchor.max(self.at) + 1)
    }
}

/// Flows as they are listed: alerts first, or in their order.
#[derive(Default)]
pub(super) struct FlowList {
    pub(super) at: usize,
    pub(super) top: usize,
    pub(super) by_time: bool,
    pub(super) shown: Vec<FlowLine>,
    /// Flows that were known when they were listed, and packets that a filter had found.
    pub(super) known: (usize, usize),
    listed: Option<Instant>,
}

/// Where panes were drawn, for the mouse.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Areas {
    pub(super) list: Rect,
    pub(super) tree: Rect,
    pub(super) bytes: Rect,
}

/// Lines of packets that are remembered.
const ROWS: usize = 4096;
/// Messages that are remembered.
const SAID: usize = 100;
/// Flows that are listed.
const FLOWS: usize = 20_000;
/// Between two listings of flows that still come.
const LISTED: Duration = Duration::from_secs(1);

impl App {
    pub(super) fn new(work: Work, theme: Theme) -> Self {
        let follows = work.live.is_some();
        let fields = Fields::of(&work.shown).with_verdicts();
        Self {
            work,
            theme,
            fields,
            view: View::Packets,
            pane: Pane::List,
            at: 0,
            top: 0,
            listing: Listing::All,
            stay: None,
            page: None,
            unreadable: None,
            node: 0,
            node_top: 0,
            bytes: Bytes::default(),
            flows: FlowList::default(),
            statistics: None,
            stream: None,
            line: 0,
            prompt: None,
            writing: None,
            finding: None,
            marks: BTreeSet::new(),
            message: String::new(),
            said: Vec::new(),
            follows,
            after: None,
            leaving_for: After::Leave,
            to_terminal: None,
            areas: Areas::default(),
            rows: HashMap::new(),
        }
    }

    /// Packets that are listed.
    pub(super) fn listed(&self) -> usize {
        self.listing.len(&self.work)
    }

    /// The number of the packet on a line of the list.
    pub(super) fn number(&self, line: usize) -> Option<u64> {
        self.listing.number(&self.work, line)
    }

    /// A packet's line, remembered as long as there is room.
    pub(super) fn row(&mut self, number: u64) -> Option<Row> {
        if let Some(row) = self.rows.get(&number) {
            return Some(row.clone());
        }
        let page = self.work.book.page(&self.work.shared.index(), number).ok()??;
        if self.rows.len() >= ROWS {
            self.rows.clear();
        }
        let row = Row::of(&page);
        self.rows.insert(number, row.clone());
        Some(row)
    }

    /// Takes in what came meanwhile.
    pub(super) fn tick(&mut self) {
        let said = self.work.shared.said();
        if !said.is_empty() {
            self.message = said.join("; ");
            self.said.extend(said);
            let more = self.said.len().saturating_sub(SAID);
            self.said.drain(..more);
        }
        self.found();
        if self.follows {
            self.at = self.listed().saturating_sub(1);
        } else if let Some(number) = self.stay {
            self.at = self.listing.line_from(&self.work, number);
            if let Listing::Filter(filter) = &self.listing
                && (filter.search.looked() >= number || filter.search.has_ended())
                && !filter.search.found().is_empty()
            {
                self.stay = None;
            }
        } else if let Some(number) = self.page.as_ref().map(|page| page.number)
            && self.number(self.at) != Some(number)
            && let Some(line) = self.listing.line(&self.work, number)
        {
            // More was found before it.
            self.at = line;
        }
        // Where verdicts are asked, a packet may be listed no more.
        self.at = self.at.min(self.listed().saturating_sub(1));
        self.turn_page();
        if self.view == View::Flows
            && self.flows.known != self.known_flows()
            && self.flows.listed.is_none_or(|listed| listed.elapsed() >= LISTED)
        {
            self.list_flows();
        }
    }

    fn known_flows(&self) -> (usize, usize) {
        let found = match &self.listing {
            Listing::Filter(filter) => filter.search.found().len(),
            Listing::All | Listing::Flow { .. } => 0,
        };
        (self.work.shared.verdicts.len(), found)
    }

    /// What is known of the flows of some packets.
    pub(super) fn judged(&self, numbers: &[u64]) -> Vec<Option<OfFlow>> {
        let shared = &self.work.shared;
        shared.verdicts.of_packets(&shared.index(), numbers.iter().copied())
    }

    /// Has the page of the selected packet.
    pub(super) fn turn_page(&mut self) {
        let number = self.number(self.at);
        if self.page.as_ref().map(|page| page.number) == number || number.is_some() && number == self.unreadable {
            return;
        }
        self.unreadable = None;
        let page = number.map(|number| self.work.book.page(&self.work.shared.index(), number));
        self.page = match page {
            Some(Ok(page)) => page,
            Some(Err(error)) => {
                self.message = format!("packet {}: {error}", number.unwrap_or_default());
                self.unreadable = number;
                None
            }
            None => None,
        };
        (self.node, self.node_top, self.bytes) = (0, 0, Bytes::default());
    }

    /// Lists flows; with a filter those of packets that it found.
    pub(super) fn list_flows(&mut self) {
        let shared = &self.work.shared;
        let of_listed: Option<HashSet<u32>> = match &self.listing {
            Listing::Filter(filter) => {
                let (found, index) = (filter.search.found(), shared.index());
                let flow = |number: &u32| index.place(u64::from(*number)).map(|place| place.flow);
                Some(found.iter().filter_map(flow).collect())
            }
            Listing::All | Listing::Flow { .. } => None,
        };
        self.flows.known = self.known_flows();
        let (by_time, index) = (self.flows.by_time, shared.index());
        let is_listed = |flow: &&FlowLine| of_listed.as_ref().is_none_or(|listed| is_among(&index, flow, listed));
        let shown = shared.verdicts.with(|flows| {
            let mut order: Vec<&FlowLine> = flows.iter().filter(is_listed).collect();
            let weight = |flow: &FlowLine| match flow.judged.verdict {
                Some(Verdict::Malicious) => 0,
                Some(Verdict::Suspicious) => 1,
                _ if flow.judged.category.is_some() => 2,
                _ => 3,
            };
            let score = |flow: &FlowLine| (flow.judged.score.unwrap_or(-1.0) * 1e6) as i64;
            if by_time {
                order.sort_by_key(|flow| flow.first_ns);
            } else {
                order.sort_by_key(|flow| (weight(flow), -score(flow), flow.first_ns));
            }
            order.into_iter().take(FLOWS).cloned().collect()
        });
        drop(index);
        self.flows.shown = shown;
        self.flows.listed = Some(Instant::now());
        self.flows.at = self.flows.at.min(self.flows.shown.len().saturating_sub(1));
    }

    /// Goes to a packet; where it is not listed, all are. Says whether there is one.
    pub(super) fn go_to(&mut self, number: u64) -> bool {
        (self.follows, self.stay) = (false, None);
        if self.work.shared.index().place(number).is_none() {
            self.message = format!("there is no packet {number}");
            return false;
        }
        if self.listing.line(&self.work, number).is_none() {
            self.list_all();
        }
        if let Some(line) = self.listing.line(&self.work, number) {
            (self.at, self.stay, self.view) = (line, None, View::Packets);
        }
        self.turn_page();
        true
    }

    /// Shows another view from its begin.
    pub(super) fn look(&mut self, view: View) {
        (self.view, self.line) = (view, 0);
    }

    pub(super) fn only_this_flow(&mut self) {
        let Some(number) = self.number(self.at) else { return };
        let index = self.work.shared.index();
        let numbers: Option<Vec<u64>> = index.flow_of(number).map(|(flow, _)| index.packets_of(flow).collect());
        drop(index);
        match numbers {
            Some(numbers) => self.list_flow(numbers, number),
            None => self.message = format!("packet {number} is of no flow"),
        }
    }

    pub(super) fn follow_stream(&mut self) {
        let Some(number) = self.number(self.at) else { return };
        let index = self.work.shared.index();
        let Some((flow, _)) = index.flow_of(number) else {
            drop(index);
            self.message = format!("packet {number} is of no flow");
            return;
        };
        let nesting = self.work.shown.config().flows.nesting;
        let followed = Stream::of(&self.work.book, &index, flow, nesting);
        drop(index);
        match followed {
            Ok(stream) => {
                self.stream = Some((flow, stream));
                self.look(View::Stream);
            }
            Err(error) => self.message = format!("the flow cannot be read: {error}"),
        }
    }

    /// From a packet to its flow among those that are judged.
    pub(super) fn go_to_flow(&mut self) {
        let Some(number) = self.number(self.at) else { return };
        if self.work.shared.index().flow_of(number).is_none() {
            self.message = format!("packet {number} is of no flow");
            return;
        }
        self.list_flows();
        let flow = self.work.shared.verdicts.of_packet(&self.work.shared.index(), number);
        let at = flow.as_ref().and_then(|flow| self.flows.shown.iter().position(|shown| shown.id == flow.id));
        match at {
            Some(at) => {
                self.flows.at = at;
                self.look(View::Flows);
            }
            None if flow.is_some() || self.work.shared.judged.load(Ordering::Relaxed) => {
                self.message = "its flow is not listed".to_owned();
            }
            None => self.message = "its flow has not ended yet, or is not judged yet".to_owned(),
        }
    }

    pub(super) fn pause(&mut self) {
        if self.work.shared.indexed.load(Ordering::Acquire) {
            self.message = "it is stopped and cannot go on; O begins another capture".to_owned();
            return;
        }
        let paused = !self.work.shared.paused.fetch_xor(true, Ordering::Relaxed);
        self.message = if paused { "paused: packets that come are not kept; p goes on" } else { "goes on" }.to_owned();
    }

    pub(super) fn ask(&mut self, what: Asked) {
        self.prompt = Some(Prompt::new(what, ""));
    }

    /// Leaves, or asks whether to where packets would be lost.
    pub(super) fn leave(&mut self, after: After) {
        let shared = &self.work.shared;
        let unsaved = self.work.live.is_some() && shared.index().len() > shared.saved.load(Ordering::Relaxed);
        let was_asked = matches!(&self.prompt, Some(prompt) if prompt.what == Asked::Leave);
        if unsaved && !was_asked {
            self.leaving_for = after;
            self.ask(Asked::Leave);
        } else {
            self.after = Some(after);
        }
    }

    /// Leaves although packets are lost.
    pub(super) fn leave_all_the_same(&mut self) {
        self.after = Some(self.leaving_for);
    }

    pub(super) fn save(&mut self, name: &str) {
        let name = name.trim();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let of_home = name.strip_prefix("~/").zip(home).map(|(rest, home)| home.join(rest));
        let path = of_home.unwrap_or_else(|| PathBuf::from(name));
        if path.as_os_str().is_empty() {
            return;
        }
        if self.work.shared.saving.load(Ordering::Relaxed) {
            self.message = "packets are being saved; try again when they are".to_owned();
            return;
        }
        let numbers = (!matches!(self.listing, Listing::All)).then(|| self.listing.numbers(&self.work));
        let so_far = if self.listing.is_whole() { "" } else { ", those that were found so far" };
        self.message = match self.work.save(numbers, path) {
            Ok(()) => format!("saving{so_far} …"),
            Err(error) => plain(&format!("{error:#}")),
        };
    }
}

/// Whether a flow is one of those that packets are of.
fn is_among(index: &Index, flow: &FlowLine, flows: &HashSet<u32>) -> bool {
    index.place(flow.first_packet).is_some_and(|place| flows.contains(&place.flow))
}
