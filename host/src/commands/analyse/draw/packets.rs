use super::super::app::{App, Areas, Pane};
use super::super::listing::{Listing, Row};
use super::super::theme::Column;
use super::{cell, pane, scrolled};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use veilwatch::output::plain;
use veilwatch_core::detect::Verdict;

/// Cells before the first byte of a line: its offset, and a gap.
pub(in super::super) const OFFSET: usize = 7;

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let [list, tree, bytes] =
        Layout::vertical([Constraint::Percentage(45), Constraint::Percentage(30), Constraint::Percentage(25)])
            .areas(area);
    app.areas = Areas { list, tree, bytes };
    packet_list(app, frame, list);
    packet_tree(app, frame, tree);
    packet_bytes(app, frame, bytes);
}

/// Cells of a column, of which the last takes what is left; `ends` are those that addresses have.
fn width(column: Column, all: u16, ends: usize) -> usize {
    match column {
        Column::Number => 8,
        Column::Time => 12,
        Column::Source | Column::Destination => ends,
        Column::Protocol => 8,
        Column::Length => 6,
        Column::Verdict => 10,
        Column::Score => 5,
        Column::Info => usize::from(all),
    }
}

/// Cells of an address of IPv4, and of any other.
const SHORTEST_END: usize = 15;
const LONGEST_END: usize = 39;
/// Cells that are left for what packets say where addresses are long.
const INFO: usize = 32;

/// An address that is longer than its column keeps its begin and its end, by which one tells them apart.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width || width < 3 {
        return text.to_owned();
    }
    let (front, back) = ((width - 1).div_ceil(2), (width - 1) / 2);
    text.chars().take(front).chain(['…']).chain(text.chars().skip(count - back)).collect()
}

fn packet_list(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let height = usize::from(area.height.saturating_sub(2));
    app.top = scrolled(app.top, app.at, height);
    let columns = app.theme.columns.clone();
    let numbers: Vec<u64> = (app.top..app.top + height).map_while(|line| app.number(line)).collect();
    let rows: Vec<Option<Row>> = numbers.iter().map(|number| app.row(*number)).collect();
    // What packets say has its room, too.
    let fixed: usize = columns.iter().filter(|column| !column.is_flexible()).map(|c| width(*c, 0, 0) + 1).sum();
    let most = (usize::from(area.width).saturating_sub(fixed + INFO) / 2).clamp(SHORTEST_END, LONGEST_END);
    let long = |row: &Row| row.src.chars().count().max(row.dst.chars().count());
    let ends = rows.iter().flatten().map(long).max().unwrap_or_default().clamp(SHORTEST_END, most);
    let line = |cells: &dyn Fn(Column) -> String| {
        columns.iter().map(|column| cell(&cells(*column), width(*column, area.width, ends))).collect::<String>()
    };
    let titles = line(&|column: Column| column.title().to_owned());
    let mut lines = vec![Line::styled(format!("   {titles}"), Style::new().add_modifier(Modifier::UNDERLINED))];
    let judged = app.judged(&numbers);
    for (((at, number), row), judged) in (app.top..).zip(&numbers).zip(&rows).zip(judged) {
        let judged = judged.unwrap_or_default();
        let mark = if app.marks.contains(number) { '•' } else { ' ' };
        // Not every terminal shows colours.
        let alert = match judged.verdict {
            Some(Verdict::Malicious) => '!',
            Some(Verdict::Suspicious) => '?',
            _ => ' ',
        };
        let text = match row {
            Some(row) => {
                let style = match judged.verdict {
                    verdict @ Some(Verdict::Malicious | Verdict::Suspicious) => app.theme.verdict(verdict),
                    _ => app.theme.protocol(&row.protocol),
                };
                let text = line(&|column: Column| match column {
                    Column::Number => number.to_string(),
                    Column::Time => row.time.clone(),
                    Column::Source => shortened(&row.src, ends),
                    Column::Destination => shortened(&row.dst, ends),
                    Column::Protocol => row.protocol.clone(),
                    Column::Length => row.length.to_string(),
                    Column::Info => row.info.clone(),
                    Column::Verdict => judged.verdict.map(|verdict| verdict.to_string()).unwrap_or_default(),
                    Column::Score => judged.score.map(|score| format!("{score:.3}")).unwrap_or_default(),
                });
                Line::styled(format!("{mark}{alert} {text}"), style)
            }
            None => Line::raw(format!("{mark}{alert} {number} cannot be read")),
        };
        lines.push(if at == app.at { text.patch_style(app.theme.selected()) } else { text });
    }
    let title = match app.listing {
        Listing::All => format!("packets {} of {}", (app.at + 1).min(app.listed()), app.listed()),
        _ => format!(
            "packets {} of {} that are listed of {}",
            (app.at + 1).min(app.listed()),
            app.listed(),
            app.work.shared.index().len()
        ),
    };
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
    let is_active = app.pane == Pane::Bytes;
    let field = page.tree.nodes.get(app.node).and_then(|node| node.bytes.clone()).unwrap_or(0..0);
    let lit = app.bytes.selected().filter(|_| is_active).unwrap_or(field);
    // The selected field is seen, or the byte that somebody is at.
    match (is_active, lit.is_empty()) {
        (true, _) => app.bytes.top = scrolled(app.bytes.top, app.bytes.at / 16, height),
        (false, false) => {
            app.bytes.top = scrolled(app.bytes.top, lit.start / 16, height);
            app.bytes.at = lit.start;
        }
        (false, true) => {}
    }
    let mut lines = Vec::new();
    for (at, row) in page.data.chunks(16).enumerate().skip(app.bytes.top).take(height) {
        let mut spans = vec![Span::raw(format!("{:05x}  ", at * 16))];
        let style = |offset: usize| {
            let byte = at * 16 + offset;
            let style = if lit.contains(&byte) { app.theme.selected() } else { Style::new() };
            if is_active && byte == app.bytes.at {
                style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
            } else {
                style
            }
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
    let title = if is_active && app.bytes.anchor.is_some() {
        format!("bytes {} to {} of {} selected; y copies", lit.start, lit.end - 1, page.data.len())
    } else if lit.is_empty() {
        format!("{} bytes", page.data.len())
    } else {
        format!("bytes {} to {} of {}", lit.start, lit.end - 1, page.data.len())
    };
    frame.render_widget(Paragraph::new(lines).block(pane(title, app.pane == Pane::Bytes)), area);
}
