//! The screen. Whatever a capture says is made plain before it gets here, and drawn as cells.

use super::app::{App, Areas, Asked, Pane, Row, View};
use super::theme::Column;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Sparkline};
use std::sync::atomic::Ordering;
use veilwatch::analyser::{FlowCount, HostCount, LengthCount, ProtocolCount, Statistics};
use veilwatch::output::plain;

const HELP: &str = "\
1 packets   2 flows with verdicts   3 statistics   ? this   q back, leave

arrows, j k, PageUp PageDown, Home End   move          Tab   list, tree, bytes
g   go to a packet by its number         /   find a text in packets' lines
o   only the packets of this flow        Esc   all packets again
s   follow what both sides said          a   to this packet's flow and its verdict
m   mark, n   next mark                  y   copy a field, bytes, a filter for this flow
w   save the listed packets as a capture

In flows: Enter leads to the packets behind a verdict, o lists the flow's alone,
t orders by time instead of by verdict.
Live: p pauses and goes on, x stops, l goes along with new packets.

The mouse selects and scrolls. `veilwatch packets` says the same in plain lines.";

/// Draws everything.
pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let title = title(app);
    frame.render_widget(Line::styled(title, Style::new().add_modifier(Modifier::BOLD)), head);
    match app.view {
        View::Packets => packets(app, frame, body),
        View::Flows => flows(app, frame, body),
        View::Statistics => statistics(app, frame, body),
        View::Stream => stream(app, frame, body),
        View::Copy => {
            packets(app, frame, body);
            copy(app, frame, body);
        }
        View::Help => {
            let lines = HELP.lines().skip(app.line).collect::<Vec<_>>().join("\n");
            frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::TOP).title("help")), body);
        }
    }
    foot_line(app, frame, foot);
}

fn title(app: &App) -> String {
    let shared = &app.work.shared;
    let packets = shared.index().len();
    let mut title = format!("{}: {packets} packets", plain(&app.work.name));
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
    if let Some(only) = &app.only {
        title.push_str(&format!(" — only {} packets of {}", only.numbers.len(), only.words));
    }
    title
}

fn foot_line(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let text = match &app.prompt {
        Some(prompt) if prompt.what == Asked::Leave => prompt.what.words().to_owned(),
        Some(prompt) => format!("{}: {}▏", prompt.what.words(), plain(&prompt.text)),
        None if !app.message.is_empty() => app.message.clone(),
        None => "? help  1 packets  2 flows  3 statistics  / find  g go to  o this flow  s stream  w save  q leave"
            .to_owned(),
    };
    frame.render_widget(Line::styled(text, Style::new().add_modifier(Modifier::DIM)), area);
}

fn pane<'a>(title: String, is_active: bool) -> Block<'a> {
    let style = if is_active { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    // A mark beside the style: not every terminal shows styles.
    let title = if is_active { format!("▶ {title}") } else { title };
    Block::new().borders(Borders::TOP).title(title).border_style(style).title_style(style)
}

/// Where the first line must be for a selected one to be seen.
fn scrolled(top: usize, at: usize, height: usize) -> usize {
    if at < top { at } else { top.max((at + 1).saturating_sub(height.max(1))) }
}

fn packets(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let [list, tree, bytes] =
        Layout::vertical([Constraint::Percentage(45), Constraint::Percentage(30), Constraint::Percentage(25)])
            .areas(area);
    app.areas = Areas { list, tree, bytes };
    packet_list(app, frame, list);
    packet_tree(app, frame, tree);
    packet_bytes(app, frame, bytes);
}

/// Widths of columns, of which the last takes what is left.
fn width(column: Column, all: u16) -> usize {
    match column {
        Column::Number => 8,
        Column::Time => 12,
        Column::Source | Column::Destination if all < 140 => 15,
        Column::Source | Column::Destination => 24,
        Column::Protocol => 8,
        Column::Length => 6,
        Column::Info => usize::from(all),
    }
}

fn cell(text: &str, width: usize) -> String {
    let mut cut: String = text.chars().take(width).collect();
    let missing = width.saturating_sub(cut.chars().count());
    cut.extend(std::iter::repeat_n(' ', missing + 1));
    cut
}

fn packet_list(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let height = usize::from(area.height.saturating_sub(2));
    app.top = scrolled(app.top, app.at, height);
    let columns = app.theme.columns.clone();
    let line = |cells: &dyn Fn(Column) -> String| {
        columns.iter().map(|column| cell(&cells(*column), width(*column, area.width))).collect::<String>()
    };
    let titles = line(&|column: Column| column.title().to_owned());
    let mut lines = vec![Line::styled(format!("  {titles}"), Style::new().add_modifier(Modifier::UNDERLINED))];
    for at in app.top..app.top + height {
        let Some(number) = app.number(at) else { break };
        let mark = if app.marks.contains(&number) { "• " } else { "  " };
        let text = match app.row(number) {
            Some(Row { time, src, dst, protocol, length, info }) => {
                let style = app.theme.protocol(&protocol);
                let text = line(&|column: Column| match column {
                    Column::Number => number.to_string(),
                    Column::Time => time.clone(),
                    Column::Source => src.clone(),
                    Column::Destination => dst.clone(),
                    Column::Protocol => protocol.clone(),
                    Column::Length => length.to_string(),
                    Column::Info => info.clone(),
                });
                Line::styled(format!("{mark}{text}"), style)
            }
            None => Line::raw(format!("{mark}{number} cannot be read")),
        };
        lines.push(if at == app.at { text.patch_style(app.theme.selected()) } else { text });
    }
    let title = format!("packets {} of {}", (app.at + 1).min(app.listed()), app.listed());
    frame.render_widget(Paragraph::new(lines).block(pane(title, app.pane == Pane::List)), area);
}

fn packet_tree(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let height = usize::from(area.height.saturating_sub(1));
    app.node_top = scrolled(app.node_top, app.node, height);
    let Some(page) = &app.page else {
        frame.render_widget(pane("no packet".to_owned(), app.pane == Pane::Tree), area);
        return;
    };
    let shown = page.tree.nodes.iter().enumerate().skip(app.node_top).take(height);
    let lines: Vec<Line<'_>> = shown
        .map(|(at, node)| {
            let value = if node.value.is_empty() { String::new() } else { format!(": {}", plain(&node.value)) };
            let cut = if node.cut { " …" } else { "" };
            let text = format!("{}{}{value}{cut}", "  ".repeat(node.depth.into()), plain(&node.label));
            let style = if node.depth == 0 { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
            Line::styled(text, if at == app.node { style.patch(app.theme.selected()) } else { style })
        })
        .collect();
    let field = page.tree.nodes.get(app.node).map(|node| plain(&node.field)).unwrap_or_default();
    let checksums: Vec<String> = page.checksums.iter().map(|sum| format!("{} {}", sum.field, sum.status)).collect();
    let mut title = format!("packet {} — {field}", page.number);
    if !checksums.is_empty() {
        title.push_str(&format!(" — checksums: {}", checksums.join(", ")));
    }
    for warning in &page.warnings {
        title.push_str(&format!(" — warning: {}", plain(warning)));
    }
    frame.render_widget(Paragraph::new(lines).block(pane(title, app.pane == Pane::Tree)), area);
}

fn packet_bytes(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let Some(page) = &app.page else {
        frame.render_widget(pane(String::new(), app.pane == Pane::Bytes), area);
        return;
    };
    let height = usize::from(area.height.saturating_sub(1));
    let lit = page.tree.nodes.get(app.node).and_then(|node| node.bytes.clone()).unwrap_or(0..0);
    if app.pane != Pane::Bytes && !lit.is_empty() {
        // The selected field is seen.
        app.byte_top = scrolled(app.byte_top, lit.start / 16, height);
    }
    let mut lines = Vec::new();
    for (at, row) in page.data.chunks(16).enumerate().skip(app.byte_top).take(height) {
        let mut spans = vec![Span::raw(format!("{:05x}  ", at * 16))];
        let style = |offset: usize| {
            if lit.contains(&(at * 16 + offset)) { app.theme.selected() } else { Style::new() }
        };
        for offset in 0..16 {
            let gap = if offset == 7 { "  " } else { " " };
            match row.get(offset) {
                Some(byte) => {
                    spans.push(Span::styled(format!("{byte:02x}"), style(offset)));
                    spans.push(Span::raw(gap));
                }
                None => spans.push(Span::raw(format!("  {gap}"))),
            }
        }
        spans.push(Span::raw(" "));
        for (offset, byte) in row.iter().enumerate() {
            let shown = if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
            spans.push(Span::styled(shown.to_string(), style(offset)));
        }
        lines.push(Line::from(spans));
    }
    let title = if lit.is_empty() {
        format!("{} bytes", page.data.len())
    } else {
        format!("bytes {} to {} of {}", lit.start, lit.end - 1, page.data.len())
    };
    frame.render_widget(Paragraph::new(lines).block(pane(title, app.pane == Pane::Bytes)), area);
}

fn flows(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let [list, why] = Layout::vertical([Constraint::Min(4), Constraint::Length(7)]).areas(area);
    let height = usize::from(list.height.saturating_sub(2));
    app.flows.top = scrolled(app.flows.top, app.flows.at, height);
    let head = format!(
        "{}{}{}{}{}{}",
        cell("verdict", 10),
        cell("score", 5),
        cell("from", 21),
        cell("to", 21),
        cell("protocol", 8),
        "name, what it is for"
    );
    let mut lines = vec![Line::styled(head, Style::new().add_modifier(Modifier::UNDERLINED))];
    for (at, flow) in app.flows.shown.iter().enumerate().skip(app.flows.top).take(height) {
        let verdict = flow.verdict.map_or("–".to_owned(), |verdict| verdict.to_string());
        let score = flow.score.map_or("–".to_owned(), |score| format!("{score:.3}"));
        let purpose = flow.category.map(|category| format!("({category})")).unwrap_or_default();
        let text = format!(
            "{}{}{}{}{}{} {purpose}",
            cell(&verdict, 10),
            cell(&score, 5),
            cell(&flow.originator.to_string(), 21),
            cell(&flow.responder.to_string(), 21),
            cell(flow.template.as_deref().unwrap_or("–"), 8),
            flow.name
        );
        let line = Line::styled(text, app.theme.verdict(flow.verdict));
        lines.push(if at == app.flows.at { line.patch_style(app.theme.selected()) } else { line });
    }
    let order = if app.flows.by_time { "by time" } else { "worst first" };
    let title =
        format!("flows {} of {}, {order}", (app.flows.at + 1).min(app.flows.shown.len()), app.flows.shown.len());
    frame.render_widget(Paragraph::new(lines).block(pane(title, true)), list);
    let mut told = Vec::new();
    if let Some(flow) = app.flows.shown.get(app.flows.at) {
        let [there, back] = flow.packets;
        let [sent, got] = flow.bytes;
        let packets: Vec<String> = flow.evidence.iter().map(u64::to_string).collect();
        told.push(Line::raw(format!(
            "{there} packets with {sent} bytes there, {back} with {got} back; packets to look at: {}",
            packets.join(", ")
        )));
        told.extend(flow.reasons.iter().map(|reason| Line::raw(format!("• {reason}"))));
    }
    frame.render_widget(Paragraph::new(told).block(pane("why".to_owned(), false)), why);
}

fn stream(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let Some((_, stream)) = &app.stream else { return };
    let mut lines = Vec::new();
    for said in &stream.said {
        let side = if said.first_side { "→" } else { "←" };
        lines.push(Line::styled(
            format!("{side} packet {}, {} bytes", said.packet, said.bytes.len()),
            Style::new().add_modifier(Modifier::BOLD),
        ));
        let text: String = said.bytes.iter().map(|byte| shown(*byte)).collect();
        lines.extend(text.lines().map(|line| Line::raw(line.to_owned())));
    }
    if stream.is_cut {
        lines.push(Line::raw("… and more that is not shown, or missing in the capture"));
    }
    let most = lines.len().saturating_sub(1);
    app.line = app.line.min(most);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(app.line).take(area.height.into()).collect();
    frame.render_widget(Paragraph::new(shown).block(pane("what both sides said".to_owned(), true)), area);
}

/// A byte as text: what is no letter is a point, but lines stay lines.
fn shown(byte: u8) -> char {
    match byte {
        b'\n' => '\n',
        0x20..0x7f => char::from(byte),
        _ => '·',
    }
}

fn statistics(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let Some(statistics) = &app.statistics else { return };
    let [over_time, rest] = Layout::vertical([Constraint::Length(5), Constraint::Min(3)]).areas(area);
    let Statistics { protocols, flows, hosts, lengths, rate } = statistics;
    let packets: Vec<u64> = rate.stretches.iter().map(|(packets, _)| *packets).collect();
    let most = packets.iter().max().copied().unwrap_or_default();
    let title = format!("packets in stretches of {:.3} s, at most {most}", rate.seconds);
    frame.render_widget(Sparkline::default().data(&packets).block(pane(title, false)), over_time);
    let head = |text: &str| Line::styled(text.to_owned(), Style::new().add_modifier(Modifier::BOLD));
    let mut lines = vec![head("protocols: packets, bytes")];
    for ProtocolCount { depth, name, packets, bytes } in protocols {
        let name = cell(&plain(name), 24);
        lines.push(Line::raw(format!("{}{name} {packets:>10} {bytes:>14}", "  ".repeat(*depth))));
    }
    lines.push(head("lengths in bytes: packets"));
    for LengthCount { range: (from, to), packets } in lengths {
        let to = if *to == u32::MAX { "more".to_owned() } else { to.to_string() };
        lines.push(Line::raw(format!("  {from} to {to}: {packets}")));
    }
    lines.push(head("hosts: packets and bytes sent, packets and bytes got"));
    for HostCount { host, sent, got } in hosts {
        let host = cell(&host.to_string(), 40);
        lines.push(Line::raw(format!("  {host} {:>9} {:>13} {:>9} {:>13}", sent.0, sent.1, got.0, got.1)));
    }
    lines.push(head("flows: packets, bytes"));
    let index = app.work.shared.index();
    for FlowCount { flow, packets, bytes } in flows {
        let Some(flow) = index.flows().get(*flow as usize) else { continue };
        let [low, high] = [flow.key.low, flow.key.high].map(|end| std::net::SocketAddr::new(end.ip(), end.port));
        lines.push(Line::raw(format!("  {} {packets:>9} {bytes:>13}", cell(&format!("{low} ↔ {high}"), 50))));
    }
    drop(index);
    app.line = app.line.min(lines.len().saturating_sub(1));
    let shown: Vec<Line<'_>> = lines.into_iter().skip(app.line).take(rest.height.into()).collect();
    frame.render_widget(Paragraph::new(shown).block(pane("statistics".to_owned(), true)), rest);
}

fn copy(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let copies = app.copies();
    let height = (copies.len() as u16 * 2 + 2).min(area.height);
    let popup = Rect { y: area.y + area.height.saturating_sub(height), height, ..area };
    let lines: Vec<Line<'_>> = (1..)
        .zip(&copies)
        .flat_map(|(number, (what, text))| [Line::raw(format!("{number}  {what}")), Line::raw(format!("   {text}"))])
        .collect();
    frame.render_widget(Clear, popup);
    frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::ALL).title("copy")), popup);
}
