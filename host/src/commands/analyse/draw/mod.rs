//! The screen. Whatever a capture says is made plain before it gets here, and drawn as cells.
//!
//! | module | story |
//! |---|---|
//! | `packets` | list, tree and bytes |
//! | `flows` | flows with their verdicts |
//! | `read` | views that are only read: streams, statistics, what may be copied |
//! | `ask` | the last lines: keys, messages, questions, a filter while it is written |

mod ask;
mod flows;
mod packets;
mod read;

pub(super) use packets::OFFSET;

use super::app::{App, View};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};
use std::sync::atomic::Ordering;
use veilwatch::output::plain;

const HELP: &str = "\
1 packets   2 flows with verdicts   3 statistics   ? this   q back, leave   O another capture

f   display filter: as it is written, Tab completes, Enter keeps, Esc gives up
F   the selected field as a filter       Esc   stops looking, then lists all packets again
arrows, j k, PageUp PageDown, Home End   move          Tab   list, tree, bytes
g   go to a packet by its number         /   find a text in packets' lines; / Enter goes on
o   only the packets of this flow        a   to this packet's flow and its verdict
s   follow what both sides said          w   save the listed packets as a capture
m   mark, n   next mark                  y   copy a field, bytes, a filter for this flow
In bytes: arrows move, v begins or ends a selection, y copies it.

In flows: Enter leads to the packets behind a verdict, o lists the flow's alone,
t orders by time instead of by verdict; with a filter only flows of its packets are there.
Live: p pauses and goes on, x stops, l goes along with new packets.

Before a packet • is a mark, ! of a malicious flow, ? of a suspicious one.
The mouse selects and scrolls. `veilwatch packets` says the same in plain lines.";

/// Draws everything.
pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(ask::height(app))])
            .areas(frame.area());
    let title = title(app);
    frame.render_widget(Line::styled(title, Style::new().add_modifier(Modifier::BOLD)), head);
    match app.view {
        View::Packets => packets::draw(app, frame, body),
        View::Flows => flows::draw(app, frame, body),
        View::Statistics => read::statistics(app, frame, body),
        View::Stream => read::stream(app, frame, body),
        View::Copy => {
            packets::draw(app, frame, body);
            read::copy(app, frame, body);
        }
        View::Help => {
            let mut lines: Vec<&str> = HELP.lines().collect();
            if !app.said.is_empty() {
                lines.extend(["", "What was said so far:"]);
                lines.extend(app.said.iter().map(String::as_str));
            }
            let lines = lines.into_iter().skip(app.line).collect::<Vec<_>>().join("\n");
            let text = Paragraph::new(lines).wrap(Wrap { trim: false });
            frame.render_widget(text.block(Block::new().borders(Borders::TOP).title("help")), body);
        }
    }
    ask::draw(app, frame, foot);
}

fn title(app: &App) -> String {
    let shared = &app.work.shared;
    let packets = shared.index().len();
    // The folder would leave no room for what is known.
    let name = app.work.name.rsplit('/').next().unwrap_or_default();
    let mut title = format!("{}: {packets} packets", plain(name));
    let (read, all) = (shared.read_bytes.load(Ordering::Relaxed), shared.all_bytes.load(Ordering::Relaxed));
    if app.work.live.is_some() {
        let state = match (shared.indexed.load(Ordering::Relaxed), shared.paused.load(Ordering::Relaxed)) {
            (true, _) => "stopped",
            (false, true) => "paused",
            (false, false) => "capturing",
        };
        title.push_str(&format!(", {state}"));
        if let Some(live) = &app.work.live {
            title.push_str(&format!(", {} lost", live.control.counts().dropped()));
        }
    } else if !shared.indexed.load(Ordering::Relaxed) && all > 0 {
        title.push_str(&format!(", {} % read", (read * 100 / all).min(100)));
    }
    let alerts = shared.progress.alerts.load(Ordering::Relaxed);
    title.push_str(&format!(", {} flows, {alerts} alerts", shared.progress.flows.load(Ordering::Relaxed)));
    if !shared.judged.load(Ordering::Relaxed) {
        title.push_str(" so far");
    }
    if shared.index().damage.is_some() {
        title.push_str(", damaged");
    }
    if let Some(words) = app.listing.words(&app.work) {
        title.push_str(&format!(" — {words}"));
    }
    title
}

pub(super) fn pane<'a>(title: String, is_active: bool) -> Block<'a> {
    let style = if is_active { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    // A mark beside the style: not every terminal shows styles.
    let title = if is_active { format!("▶ {title}") } else { title };
    Block::new().borders(Borders::TOP).title(title).border_style(style).title_style(style)
}

/// Where the first line must be for a selected one to be seen.
pub(super) fn scrolled(top: usize, at: usize, height: usize) -> usize {
    if at < top { at } else { top.max((at + 1).saturating_sub(height.max(1))) }
}

/// A text in a column of so many cells, and a gap.
fn cell(text: &str, width: usize) -> String {
    let mut cut: String = text.chars().take(width).collect();
    let missing = width.saturating_sub(cut.chars().count());
    cut.extend(std::iter::repeat_n(' ', missing + 1));
    cut
}

/// An address that is longer than its column keeps its begin and its end, by which one tells them apart.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width || width < 3 {
        return text.to_owned();
    }
    let (front, back) = ((width - 1).div_ceil(2), (width - 1) / 2);
    text.chars().take(front).chain(['…']).chain(text.chars().skip(count - back)).collect()
}
