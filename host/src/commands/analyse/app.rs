//! What is on the screen, and what keys make of it.

use super::theme::Theme;
use super::work::Work;
use base64::Engine as _;
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Rect;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use veilwatch::analyser::{FlowLine, Page, Statistics, Stream, save};
use veilwatch::output::plain;
use veilwatch_core::detect::Verdict;

/// The whole of it.
pub(super) struct App {
    pub(super) work: Work,
    pub(super) theme: Theme,
    pub(super) view: View,
    pub(super) pane: Pane,
    /// Number of the selected packet, and where among those that are listed it stands.
    pub(super) at: usize,
    /// The first line of the list.
    pub(super) top: usize,
    /// Only these packets are listed.
    pub(super) only: Option<Only>,
    pub(super) page: Option<Page>,
    /// The selected line of the tree, and the first one that is shown.
    pub(super) node: usize,
    pub(super) node_top: usize,
    pub(super) byte_top: usize,
    pub(super) flows: FlowList,
    pub(super) statistics: Option<Statistics>,
    pub(super) stream: Option<(u32, Stream)>,
    /// The first line of a view that is only read.
    pub(super) line: usize,
    pub(super) prompt: Option<Prompt>,
    pub(super) marks: BTreeSet<u64>,
    pub(super) message: String,
    /// Whether the list goes along with packets that come.
    pub(super) follows: bool,
    pub(super) done: bool,
    /// Sequences that are for the terminal itself.
    pub(super) to_terminal: Option<String>,
    pub(super) areas: Areas,
    rows: HashMap<u64, Row>,
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

/// Packets that are listed alone.
pub(super) struct Only {
    pub(super) numbers: Vec<u64>,
    pub(super) words: String,
}

/// Flows as they are listed: alerts first, or in their order.
#[derive(Default)]
pub(super) struct FlowList {
    pub(super) at: usize,
    pub(super) top: usize,
    pub(super) by_time: bool,
    pub(super) shown: Vec<FlowLine>,
    known: usize,
}

/// A question to whoever sits there.
pub(super) struct Prompt {
    pub(super) what: Asked,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Number,
    Find,
    Save,
    Leave,
}

impl Asked {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Number => "go to packet",
            Self::Find => "find in info",
            Self::Save => "save the listed packets as",
            Self::Leave => "captured packets are not saved; leave? (y/n)",
        }
    }
}

/// A packet's line.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) time: String,
    pub(super) src: String,
    pub(super) dst: String,
    pub(super) protocol: String,
    pub(super) length: u32,
    pub(super) info: String,
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
/// Flows that are listed.
const FLOWS: usize = 20_000;
/// Packets that are looked through for a text at once: nobody waits longer than a second or two.
const FOUND_AT_ONCE: u64 = 20_000;

impl Row {
    fn of(page: &Page) -> Self {
        let micros = page.since_ns.unsigned_abs() / 1000;
        let sign = if page.since_ns < 0 { "-" } else { "" };
        Self {
            time: format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000),
            src: plain(&page.src),
            dst: plain(&page.dst),
            protocol: plain(&page.protocol),
            length: page.wire_len,
            info: plain(&page.info),
        }
    }
}

impl App {
    pub(super) fn new(work: Work, theme: Theme) -> Self {
        let follows = work.live.is_some();
        Self {
            work,
            theme,
            view: View::Packets,
            pane: Pane::List,
            at: 0,
            top: 0,
            only: None,
            page: None,
            node: 0,
            node_top: 0,
            byte_top: 0,
            flows: FlowList::default(),
            statistics: None,
            stream: None,
            line: 0,
            prompt: None,
            marks: BTreeSet::new(),
            message: String::new(),
            follows,
            done: false,
            to_terminal: None,
            areas: Areas::default(),
            rows: HashMap::new(),
        }
    }

    /// Packets that are listed.
    pub(super) fn listed(&self) -> usize {
        self.only.as_ref().map_or_else(|| self.work.shared.index().len() as usize, |only| only.numbers.len())
    }

    /// The number of the packet on a line of the list.
    pub(super) fn number(&self, line: usize) -> Option<u64> {
        match &self.only {
            Some(only) => only.numbers.get(line).copied(),
            None => (line < self.listed()).then_some(line as u64 + 1),
        }
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
        if let Some(line) = self.work.shared.said().pop() {
            self.message = line;
        }
        if self.follows && self.only.is_none() {
            self.at = self.listed().saturating_sub(1);
        }
        self.turn_page();
        let known = self.work.shared.verdicts.len();
        if self.view == View::Flows && known != self.flows.known {
            self.flows.known = known;
            self.list_flows();
        }
    }

    /// Has the page of the selected packet.
    fn turn_page(&mut self) {
        let number = self.number(self.at);
        if self.page.as_ref().map(|page| page.number) == number {
            return;
        }
        let page = number.map(|number| self.work.book.page(&self.work.shared.index(), number));
        self.page = match page {
            Some(Ok(page)) => page,
            Some(Err(error)) => {
                self.message = format!("packet {}: {error}", number.unwrap_or_default());
                None
            }
            None => None,
        };
        (self.node, self.node_top, self.byte_top) = (0, 0, 0);
    }

    fn list_flows(&mut self) {
        let by_time = self.flows.by_time;
        self.flows.shown = self.work.shared.verdicts.with(|flows| {
            let mut order: Vec<&FlowLine> = flows.iter().collect();
            let weight = |flow: &FlowLine| match flow.verdict {
                Some(Verdict::Malicious) => 0,
                Some(Verdict::Suspicious) => 1,
                _ if flow.category.is_some() => 2,
                _ => 3,
            };
            let score = |flow: &FlowLine| (flow.score.unwrap_or(-1.0) * 1e6) as i64;
            if by_time {
                order.sort_by_key(|flow| flow.first_ns);
            } else {
                order.sort_by_key(|flow| (weight(flow), -score(flow), flow.first_ns));
            }
            order.into_iter().take(FLOWS).cloned().collect()
        });
    }

    /// Goes to a packet; where it is not listed, all are.
    pub(super) fn go_to(&mut self, number: u64) {
        self.follows = false;
        if self.only.as_ref().is_some_and(|only| only.numbers.binary_search(&number).is_err()) {
            self.only = None;
        }
        let line = match &self.only {
            Some(only) => only.numbers.binary_search(&number).ok(),
            None => usize::try_from(number.saturating_sub(1)).ok(),
        };
        match line.filter(|line| *line < self.listed()) {
            Some(line) => (self.at, self.view) = (line, View::Packets),
            None => self.message = format!("there is no packet {number}"),
        }
        self.turn_page();
    }

    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        if let KeyCode::Char('c') = key.code
            && key.modifiers.contains(KeyModifiers::CONTROL)
        {
            self.leave();
            return;
        }
        if self.prompt.is_some() {
            self.answer(key.code);
            return;
        }
        self.message.clear();
        match (key.code, self.view) {
            (KeyCode::Char('q'), View::Packets) => self.leave(),
            (
                KeyCode::Char('q') | KeyCode::Esc,
                View::Flows | View::Statistics | View::Stream | View::Copy | View::Help,
            ) => {
                self.view = View::Packets;
            }
            (KeyCode::Char('?') | KeyCode::F(1), _) => self.look(View::Help),
            (KeyCode::Char('1'), view) if view != View::Copy => self.view = View::Packets,
            (KeyCode::Char('2'), view) if view != View::Copy => {
                self.list_flows();
                self.look(View::Flows);
            }
            (KeyCode::Char('3'), view) if view != View::Copy => {
                self.statistics = Some(Statistics::of(&self.work.shared.index(), self.work.shown.tables()));
                self.look(View::Statistics);
            }
            (KeyCode::Char('w'), _) => self.ask(Asked::Save),
            (KeyCode::Char('p'), _) if self.work.live.is_some() => self.pause(),
            (KeyCode::Char('x'), _) if self.work.live.is_some() => {
                self.work.stop();
                self.message = "stopped; what was captured stays".to_owned();
            }
            (code, View::Packets) => self.packets_key(code, key.modifiers),
            (code, View::Flows) => self.flows_key(code),
            (code, View::Copy) => self.copy_key(code),
            (code, View::Statistics | View::Stream | View::Help) => self.line = moved(self.line, code, usize::MAX, 20),
        }
        self.turn_page();
    }

    fn look(&mut self, view: View) {
        (self.view, self.line) = (view, 0);
    }

    fn packets_key(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        let page = usize::from(self.areas.list.height.saturating_sub(2)).max(1);
        match (code, self.pane) {
            (KeyCode::Tab, pane) => {
                self.pane = match pane {
                    Pane::List => Pane::Tree,
                    Pane::Tree => Pane::Bytes,
                    Pane::Bytes => Pane::List,
                };
            }
            (KeyCode::Esc, _) => {
                let number = self.number(self.at);
                (self.only, self.pane) = (None, Pane::List);
                self.at = number.map_or(0, |number| number as usize - 1);
            }
            (KeyCode::Char('g' | ':'), _) => self.ask(Asked::Number),
            (KeyCode::Char('/'), _) => self.ask(Asked::Find),
            (KeyCode::Char('f'), _) if modifiers.contains(KeyModifiers::CONTROL) => self.ask(Asked::Find),
            (KeyCode::Char('m'), _) => {
                if let Some(number) = self.number(self.at)
                    && !self.marks.remove(&number)
                {
                    self.marks.insert(number);
                }
            }
            (KeyCode::Char('n'), _) => {
                let now = self.number(self.at).unwrap_or_default();
                let next = self.marks.range(now + 1..).next().or_else(|| self.marks.first()).copied();
                match next {
                    Some(number) => self.go_to(number),
                    None => self.message = "no packet is marked; m marks one".to_owned(),
                }
            }
            (KeyCode::Char('o'), _) => self.only_this_flow(),
            (KeyCode::Char('s'), _) => self.follow_stream(),
            (KeyCode::Char('a'), _) => self.go_to_flow(),
            (KeyCode::Char('l'), _) if self.work.live.is_some() => self.follows = !self.follows,
            (KeyCode::Char('y'), _) => self.look(View::Copy),
            (code, Pane::List) => {
                let at = moved(self.at, code, self.listed(), page);
                self.follows &= at == self.at;
                self.at = at;
            }
            (code, Pane::Tree) => {
                let nodes = self.page.as_ref().map_or(0, |page| page.tree.nodes.len());
                self.node = moved(self.node, code, nodes, 10);
            }
            (code, Pane::Bytes) => {
                let lines = self.page.as_ref().map_or(0, |page| page.data.len().div_ceil(16));
                self.byte_top = moved(self.byte_top, code, lines, 10);
            }
        }
    }

    fn flows_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('t') => {
                self.flows.by_time = !self.flows.by_time;
                self.list_flows();
            }
            KeyCode::Enter => match self.flows.shown.get(self.flows.at) {
                // The first one that tells something; a flow begins with packets that say little.
                Some(flow) => {
                    let number = flow.evidence.get(1).or(flow.evidence.first()).copied();
                    number.into_iter().for_each(|number| self.go_to(number));
                }
                None => self.message = "there is no flow yet".to_owned(),
            },
            KeyCode::Char('o') => {
                if let Some(number) =
                    self.flows.shown.get(self.flows.at).and_then(|flow| flow.evidence.first()).copied()
                {
                    self.go_to(number);
                    self.only_this_flow();
                }
            }
            code => self.flows.at = moved(self.flows.at, code, self.flows.shown.len(), 10),
        }
    }

    fn only_this_flow(&mut self) {
        let Some(number) = self.number(self.at) else { return };
        let index = self.work.shared.index();
        let Some((flow, _)) = index.flow_of(number) else {
            drop(index);
            self.message = format!("packet {number} is of no flow");
            return;
        };
        let numbers: Vec<u64> = index.packets_of(flow).collect();
        drop(index);
        self.at = numbers.binary_search(&number).unwrap_or_default();
        let words = format!("the flow of packet {number}");
        self.only = Some(Only { numbers, words });
        self.follows = false;
    }

    fn follow_stream(&mut self) {
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
    fn go_to_flow(&mut self) {
        let Some(number) = self.number(self.at) else { return };
        let key = self.work.shared.index().flow_of(number).map(|(_, flow)| flow.key);
        let Some(key) = key else {
            self.message = format!("packet {number} is of no flow");
            return;
        };
        self.list_flows();
        let of_key = |flow: &FlowLine| {
            let [one, other] = [flow.originator, flow.responder].map(|end| (end.ip(), end.port()));
            let [low, high] = [key.low, key.high].map(|end| (end.ip(), end.port));
            flow.protocol == key.protocol && ((one, other) == (low, high) || (one, other) == (high, low))
        };
        // Of several with these ports the last one that had begun by then.
        let candidates = self.flows.shown.iter().enumerate().filter(|(_, flow)| of_key(flow));
        let begun = |flow: &FlowLine| flow.evidence.first().is_some_and(|first| *first <= number);
        let found = candidates.filter(|(_, flow)| begun(flow)).max_by_key(|(_, flow)| flow.first_ns);
        match found.map(|(at, _)| at) {
            Some(at) => {
                self.flows.at = at;
                self.look(View::Flows);
            }
            None if self.work.shared.judged.load(Ordering::Relaxed) => {
                self.message = "its flow is not listed".to_owned()
            }
            None => self.message = "its flow has not ended yet, or is not judged yet".to_owned(),
        }
    }

    /// What may be copied, with the words for it.
    pub(super) fn copies(&self) -> Vec<(&'static str, String)> {
        let Some(page) = &self.page else { return Vec::new() };
        let mut all = Vec::new();
        if let Some(node) = page.tree.nodes.get(self.node) {
            all.push(("the selected field", format!("{}: {}", plain(&node.field), plain(&node.value))));
            if let Some(bytes) = node.bytes.as_ref().and_then(|range| page.data.get(range.clone())) {
                all.push(("its bytes", bytes.iter().map(|byte| format!("{byte:02x}")).collect()));
            }
        }
        if let Some((_, flow)) = self.work.shared.index().flow_of(page.number) {
            let (low, high) = (flow.key.low, flow.key.high);
            let (ip, transport) =
                (if low.is_ipv4() { "ip" } else { "ipv6" }, if flow.key.protocol == 6 { "tcp" } else { "udp" });
            all.push((
                "this flow, for --where and Wireshark",
                format!(
                    "{ip}.addr == {} && {ip}.addr == {} && {transport}.port == {} && {transport}.port == {}",
                    low.ip(),
                    high.ip(),
                    low.port,
                    high.port
                ),
            ));
            all.push((
                "this flow, for tcpdump and --filter",
                format!(
                    "{transport} and host {} and host {} and port {} and port {}",
                    low.ip(),
                    high.ip(),
                    low.port,
                    high.port
                ),
            ));
        }
        all
    }

    fn copy_key(&mut self, code: KeyCode) {
        let KeyCode::Char(digit @ '1'..='9') = code else { return };
        let chosen = self.copies().into_iter().nth(digit as usize - '1' as usize);
        if let Some((what, text)) = chosen {
            // OSC 52: terminals that allow it put this on the clipboard.
            let packed = base64::engine::general_purpose::STANDARD.encode(&text);
            self.to_terminal = Some(format!("\x1b]52;c;{packed}\x07"));
            self.message = format!("copied {what}: {text}");
            self.view = View::Packets;
        }
    }

    fn pause(&mut self) {
        let paused = !self.work.shared.paused.fetch_xor(true, Ordering::Relaxed);
        self.message = if paused { "paused: packets that come are not kept; p goes on" } else { "goes on" }.to_owned();
    }

    fn ask(&mut self, what: Asked) {
        self.prompt = Some(Prompt { what, text: String::new() });
    }

    /// Leaves, or asks whether to where packets would be lost.
    fn leave(&mut self) {
        let unsaved = self.work.live.as_ref().is_some_and(|live| live.nothing_saved);
        if unsaved
            && !self.work.shared.index().is_empty()
            && !matches!(&self.prompt, Some(prompt) if prompt.what == Asked::Leave)
        {
            self.ask(Asked::Leave);
        } else {
            self.done = true;
        }
    }

    fn answer(&mut self, code: KeyCode) {
        let Some(prompt) = &mut self.prompt else { return };
        match code {
            KeyCode::Esc => self.prompt = None,
            KeyCode::Char('y') if prompt.what == Asked::Leave => self.done = true,
            _ if prompt.what == Asked::Leave => self.prompt = None,
            KeyCode::Backspace => _ = prompt.text.pop(),
            KeyCode::Char(letter) if prompt.text.len() < 1000 => prompt.text.push(letter),
            KeyCode::Enter => {
                let Prompt { what, text } = Prompt { what: prompt.what, text: std::mem::take(&mut prompt.text) };
                self.prompt = None;
                match what {
                    Asked::Number => match text.trim().parse() {
                        Ok(number) => self.go_to(number),
                        Err(_) => self.message = format!("`{}` is no number", plain(&text)),
                    },
                    Asked::Find => self.find(&text),
                    Asked::Save => self.save(&text),
                    Asked::Leave => {}
                }
            }
            _ => {}
        }
    }

    /// Goes to the next packet whose line has a text in it.
    fn find(&mut self, text: &str) {
        let wanted = text.to_lowercase();
        if wanted.is_empty() {
            return;
        }
        let lines = self.listed();
        let begin = self.at;
        for step in 1..=(lines as u64).min(FOUND_AT_ONCE) as usize {
            let line = (begin + step) % lines.max(1);
            let Some(number) = self.number(line) else { continue };
            let found = self.work.book.page(&self.work.shared.index(), number);
            let Ok(Some(page)) = found else { continue };
            let says = |words: &str| words.to_lowercase().contains(&wanted);
            if says(&page.info) || says(&page.src) || says(&page.dst) || says(&page.protocol) {
                (self.at, self.follows) = (line, false);
                return;
            }
        }
        self.message = if lines as u64 > FOUND_AT_ONCE {
            format!("not in the next {FOUND_AT_ONCE} packets; / again goes on from here")
        } else {
            "no packet's line has it".to_owned()
        };
        if lines as u64 > FOUND_AT_ONCE {
            self.at = (begin + FOUND_AT_ONCE as usize) % lines;
        }
    }

    fn save(&mut self, name: &str) {
        let path = PathBuf::from(name.trim());
        if path.as_os_str().is_empty() {
            return;
        }
        let index = self.work.shared.index();
        let saved = match &self.only {
            Some(only) => save(&self.work.book, &index, only.numbers.iter().copied(), &path),
            None => save(&self.work.book, &index, 1..=index.len(), &path),
        };
        drop(index);
        let all = self.only.is_none();
        self.message = match saved {
            Ok(packets) => {
                if let Some(live) = self.work.live.as_mut().filter(|_| all) {
                    live.nothing_saved = false;
                }
                format!("{packets} packets are in {}", plain(&path.display().to_string()))
            }
            Err(error) => plain(&error.to_string()),
        };
    }

    pub(super) fn mouse(&mut self, event: MouseEvent) {
        let at = ratatui::layout::Position::new(event.column, event.row);
        let Areas { list, tree, bytes } = self.areas;
        let over = [(list, Pane::List), (tree, Pane::Tree), (bytes, Pane::Bytes)];
        let Some((area, pane)) = over.into_iter().find(|(area, _)| area.contains(at)) else { return };
        if self.view != View::Packets {
            return;
        }
        let inside = usize::from(event.row.saturating_sub(area.y + 1));
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                self.pane = pane;
                match pane {
                    Pane::List => {
                        // The first line names the columns.
                        let line = self.top + inside.saturating_sub(1);
                        if inside > 0 && line < self.listed() {
                            (self.at, self.follows) = (line, false);
                        }
                    }
                    Pane::Tree => {
                        let nodes = self.page.as_ref().map_or(0, |page| page.tree.nodes.len());
                        self.node = (self.node_top + inside).min(nodes.saturating_sub(1));
                    }
                    Pane::Bytes => {}
                }
            }
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                let code = if event.kind == MouseEventKind::ScrollDown { KeyCode::Down } else { KeyCode::Up };
                self.pane = pane;
                (0..3).for_each(|_| self.packets_key(code, KeyModifiers::NONE));
            }
            _ => {}
        }
        self.turn_page();
    }
}

/// Where a key that moves leads, from a line among `lines`, of which `page` are shown.
fn moved(at: usize, code: KeyCode, lines: usize, page: usize) -> usize {
    let last = lines.saturating_sub(1);
    let to = match code {
        KeyCode::Down | KeyCode::Char('j') => at.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => at.saturating_add(page),
        KeyCode::PageUp => at.saturating_sub(page),
        KeyCode::Home => 0,
        KeyCode::End if lines < usize::MAX => last,
        _ => at,
    };
    to.min(last)
}
