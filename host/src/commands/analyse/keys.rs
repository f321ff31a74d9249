//! What keys and the mouse do.

use super::app::{After, App, Areas, Pane, View};
use super::prompt::{Asked, Edited, Prompt};
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Position;
use veilwatch::analyser::Statistics;
use veilwatch::output::plain;

impl App {
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        if let KeyCode::Char('c') = key.code
            && key.modifiers.contains(KeyModifiers::CONTROL)
        {
            self.filter_edited(Edited::GivenUp);
            self.leave(After::Leave);
            return;
        }
        if self.prompt.is_some() {
            self.answer(key);
            self.turn_page();
            return;
        }
        self.message.clear();
        match (key.code, self.view) {
            (KeyCode::Char('q'), View::Packets) => self.leave(After::Leave),
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
            (KeyCode::Char('f'), _) if !key.modifiers.contains(KeyModifiers::CONTROL) => self.ask_filter(),
            (KeyCode::Char('w'), _) => self.ask(Asked::Save),
            (KeyCode::Char('O'), _) => self.leave(After::Choose),
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
            (KeyCode::BackTab, pane) => {
                self.pane = match pane {
                    Pane::List => Pane::Bytes,
                    Pane::Tree => Pane::List,
                    Pane::Bytes => Pane::Tree,
                };
            }
            (KeyCode::Esc, Pane::Bytes) if self.bytes.anchor.is_some() => self.bytes.anchor = None,
            (KeyCode::Esc, _) => {
                self.pane = Pane::List;
                if !self.stop_searches() {
                    self.list_all();
                }
            }
            (KeyCode::Char('g' | ':'), _) => self.ask(Asked::Number),
            (KeyCode::Char('/'), _) => self.ask(Asked::Find),
            (KeyCode::Char('f'), _) if modifiers.contains(KeyModifiers::CONTROL) => self.ask(Asked::Find),
            (KeyCode::Char('F'), _) => match self.filter_of_field() {
                Some(text) => {
                    self.ask_filter();
                    self.prompt = Some(Prompt::new(Asked::Filter, &text));
                    self.filter_edited(Edited::Changed);
                }
                None => self.message = "no filter knows the selected field".to_owned(),
            },
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
                    Some(number) => _ = self.go_to(number),
                    None => self.message = "no packet is marked; m marks one".to_owned(),
                }
            }
            (KeyCode::Char('o'), _) => self.only_this_flow(),
            (KeyCode::Char('s'), _) => self.follow_stream(),
            (KeyCode::Char('a'), _) => self.go_to_flow(),
            (KeyCode::Char('l'), _) if self.work.live.is_some() => (self.follows, self.stay) = (!self.follows, None),
            (KeyCode::Char('y'), _) => self.look(View::Copy),
            (code, Pane::List) => {
                let at = moved(self.at, code, self.listed(), page);
                self.follows &= at == self.at;
                (self.at, self.stay) = (at, None);
            }
            (code, Pane::Tree) => {
                let nodes = self.page.as_ref().map_or(0, |page| page.tree.nodes.len());
                self.node = moved(self.node, code, nodes, 10);
                self.bytes.anchor = None;
            }
            (code, Pane::Bytes) => self.bytes_key(code),
        }
    }

    /// Moves among bytes; the field that a byte belongs to is selected with it.
    fn bytes_key(&mut self, code: KeyCode) {
        let most = self.page.as_ref().map_or(0, |page| page.data.len()).saturating_sub(1);
        let at = self.bytes.at;
        let to = match code {
            KeyCode::Left | KeyCode::Char('h') => at.saturating_sub(1),
            KeyCode::Right => at + 1,
            KeyCode::Up | KeyCode::Char('k') => at.checked_sub(16).unwrap_or(at),
            KeyCode::Down | KeyCode::Char('j') if at + 16 <= most => at + 16,
            KeyCode::PageUp => at.saturating_sub(160),
            KeyCode::PageDown | KeyCode::Char(' ') => at + 160,
            KeyCode::Home => 0,
            KeyCode::End => most,
            KeyCode::Char('v') => {
                self.bytes.anchor = if self.bytes.anchor.is_some() { None } else { Some(at) };
                return;
            }
            _ => return,
        };
        self.select_byte(to.min(most));
    }

    fn select_byte(&mut self, at: usize) {
        self.bytes.at = at;
        let Some(page) = &self.page else { return };
        let holds = |node: &veilwatch_core::packet::dissect::PacketNode| {
            node.bytes.as_ref().filter(|bytes| bytes.contains(&at)).map(ExactSizeIterator::len)
        };
        // The innermost one that holds it.
        let nodes = page.tree.nodes.iter().enumerate();
        let innermost =
            nodes.filter_map(|(line, node)| Some((holds(node)?, std::cmp::Reverse(node.depth), line))).min();
        self.node = innermost.map_or(self.node, |(.., line)| line);
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
                    let numbers = flow.packets_to_look_at();
                    numbers.get(1).or(numbers.first()).copied().into_iter().for_each(|number| _ = self.go_to(number));
                }
                None => self.message = "there is no flow yet".to_owned(),
            },
            KeyCode::Char('o') => {
                if let Some(number) = self.flows.shown.get(self.flows.at).map(|flow| flow.first_packet)
                    && self.go_to(number)
                {
                    self.only_this_flow();
                }
            }
            code => self.flows.at = moved(self.flows.at, code, self.flows.shown.len(), 10),
        }
    }

    /// A key while somebody is asked something.
    fn answer(&mut self, key: KeyEvent) {
        let Some(prompt) = &mut self.prompt else { return };
        let what = prompt.what;
        if what == Asked::Leave {
            match key.code {
                KeyCode::Char('y') => self.leave_all_the_same(),
                _ => self.prompt = None,
            }
            return;
        }
        if what == Asked::Filter && key.code == KeyCode::Tab {
            return self.complete();
        }
        let edited = prompt.key(key);
        if what == Asked::Filter {
            return self.filter_edited(edited);
        }
        let text = std::mem::take(&mut prompt.text);
        match edited {
            Edited::Changed | Edited::Nothing => prompt.text = text,
            Edited::GivenUp => self.prompt = None,
            Edited::Entered => {
                self.prompt = None;
                match what {
                    Asked::Number => match text.trim().parse() {
                        Ok(number) => _ = self.go_to(number),
                        Err(_) => self.message = format!("`{}` is no number", plain(&text)),
                    },
                    Asked::Find => self.find(&text),
                    Asked::Save => self.save(&text),
                    Asked::Filter | Asked::Leave => {}
                }
            }
        }
    }

    pub(super) fn mouse(&mut self, event: MouseEvent) {
        let at = Position::new(event.column, event.row);
        let Areas { list, tree, bytes } = self.areas;
        let over = [(list, Pane::List), (tree, Pane::Tree), (bytes, Pane::Bytes)];
        let Some((area, pane)) = over.into_iter().find(|(area, _)| area.contains(at)) else { return };
        if self.view != View::Packets || self.prompt.is_some() {
            return;
        }
        let inside = usize::from(event.row.saturating_sub(area.y + 1));
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                self.pane = pane;
                match pane {
                    // The line above names the pane.
                    _ if event.row == area.y => {}
                    Pane::List => {
                        // The first line names the columns.
                        let line = self.top + inside.saturating_sub(1);
                        if inside > 0 && line < self.listed() {
                            (self.at, self.follows, self.stay) = (line, false, None);
                        }
                    }
                    Pane::Tree => {
                        let nodes = self.page.as_ref().map_or(0, |page| page.tree.nodes.len());
                        self.node = (self.node_top + inside).min(nodes.saturating_sub(1));
                        self.bytes.anchor = None;
                    }
                    Pane::Bytes => {
                        if let Some(byte) = byte_at((self.bytes.top + inside) * 16, event.column)
                            && self.page.as_ref().is_some_and(|page| byte < page.data.len())
                        {
                            self.select_byte(byte);
                        }
                    }
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

/// The byte that is drawn in a column of a line.
fn byte_at(line: usize, column: u16) -> Option<usize> {
    let right = usize::from(column).checked_sub(super::draw::OFFSET)?;
    // Behind the first eight is a gap.
    let right = if right >= 24 { right.checked_sub(1)? } else { right };
    let byte = right / 3;
    (byte < 16).then_some(line + byte)
}

/// Where a key that moves leads, from a line among `lines`, of which `page` are shown.
pub(super) fn moved(at: usize, code: KeyCode, lines: usize, page: usize) -> usize {
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
