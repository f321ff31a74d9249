//! What is looked into: a capture or an interface is chosen.

use super::draw::{pane, scrolled};
use super::keys::moved;
use super::theme::Theme;
use anyhow::Result;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use std::path::{Path, PathBuf};
use veilwatch::live::interfaces;
use veilwatch::output::plain;

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    Capture(PathBuf),
    Interface(String),
    Leave,
}

enum Entry {
    Folder(PathBuf),
    Capture(PathBuf, u64),
    Interface(String, String),
}

/// Entries of a folder that are listed.
const MOST: usize = 10_000;
/// How captures' names end.
const ENDINGS: [&str; 4] = [".pcap", ".pcapng", ".cap", ".dmp"];
/// And how those that are compressed go on.
const PACKED: [&str; 2] = [".gz", ".zst"];

struct Start<'t> {
    theme: &'t Theme,
    folder: PathBuf,
    entries: Vec<Entry>,
    at: usize,
    top: usize,
    said: String,
}

fn is_capture(name: &str) -> bool {
    let name = name.to_lowercase();
    let bare = PACKED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    ENDINGS.iter().any(|ending| bare.ends_with(ending))
}

/// Interfaces that are up, then what a folder has.
fn entries(folder: &Path) -> Vec<Entry> {
    let mut all = Vec::new();
    for interface in interfaces().unwrap_or_default().into_iter().filter(|interface| interface.is_up) {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        let words = format!("{} {}", interface.kind_word(), addresses.join(" "));
        all.push(Entry::Interface(interface.name, words));
    }
    all.extend(folder.parent().map(|parent| Entry::Folder(parent.to_owned())));
    let (mut folders, mut captures) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST) {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.path().metadata() {
            Ok(found) if found.is_dir() && !name.starts_with('.') => folders.push(entry.path()),
            Ok(found) if found.is_file() && is_capture(&name) => captures.push((entry.path(), found.len())),
            _ => {}
        }
    }
    folders.sort();
    captures.sort();
    all.extend(folders.into_iter().map(Entry::Folder));
    all.extend(captures.into_iter().map(|(path, bytes)| Entry::Capture(path, bytes)));
    all
}

fn name(path: &Path) -> String {
    plain(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// Lets somebody choose; `said` is what went wrong before.
pub(super) fn choose(
    terminal: &mut ratatui::DefaultTerminal,
    theme: &Theme,
    folder: &mut PathBuf,
    said: String,
) -> Result<Choice> {
    let mut start = Start { theme, folder: folder.clone(), entries: entries(folder), at: 0, top: 0, said };
    // Most people come for a capture.
    start.at = start.entries.iter().position(|entry| matches!(entry, Entry::Capture(..))).unwrap_or_default();
    loop {
        terminal.draw(|frame| start.draw(frame))?;
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(Choice::Leave),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(Choice::Leave),
            KeyCode::Backspace => {
                if let Some(parent) = start.folder.parent().map(Path::to_owned) {
                    start.go(&parent);
                }
            }
            KeyCode::Enter => match start.entries.get(start.at) {
                Some(Entry::Folder(path)) => {
                    let path = path.clone();
                    start.go(&path);
                }
                Some(Entry::Capture(path, _)) => {
                    *folder = start.folder;
                    return Ok(Choice::Capture(path.clone()));
                }
                Some(Entry::Interface(name, _)) => {
                    *folder = start.folder;
                    return Ok(Choice::Interface(name.clone()));
                }
                None => {}
            },
            code => start.at = moved(start.at, code, start.entries.len(), 10),
        }
    }
}

impl Start<'_> {
    fn go(&mut self, folder: &Path) {
        (self.folder, self.entries) = (folder.to_owned(), entries(folder));
        (self.at, self.top) = (0, 0);
        self.said.clear();
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
        let title = "veilwatch analyse: choose a capture, or an interface to capture on";
        frame.render_widget(Line::styled(title, Style::new().add_modifier(Modifier::BOLD)), head);
        let height = usize::from(body.height.saturating_sub(1));
        self.top = scrolled(self.top, self.at, height);
        let line = |(at, entry): (usize, &Entry)| {
            let text = match entry {
                Entry::Interface(name, words) => format!("  interface  {}  {}", plain(name), plain(words)),
                Entry::Folder(path) if Some(path.as_path()) == self.folder.parent() => "  folder     ..".to_owned(),
                Entry::Folder(path) => format!("  folder     {}/", name(path)),
                Entry::Capture(path, bytes) => format!("  capture    {}  {bytes} bytes", name(path)),
            };
            let style = if at == self.at { self.theme.selected() } else { Style::new() };
            Line::styled(text, style)
        };
        let lines: Vec<Line<'_>> = self.entries.iter().enumerate().skip(self.top).take(height).map(line).collect();
        let folder = plain(&self.folder.display().to_string());
        frame.render_widget(Paragraph::new(lines).block(pane(folder, true)), body);
        let text = if self.said.is_empty() {
            "Enter opens  arrows move  Backspace the folder above  q leave".to_owned()
        } else {
            self.said.clone()
        };
        frame.render_widget(Line::styled(text, Style::new().add_modifier(Modifier::DIM)), foot);
    }
}
