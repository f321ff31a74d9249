use super::super::app::App;
use super::{cell, pane};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Sparkline};
use veilwatch::analyser::{FlowCount, HostCount, LengthCount, ProtocolCount, Statistics};
use veilwatch::output::plain;

pub(super) fn stream(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
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

pub(super) fn statistics(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let Some(statistics) = &app.statistics else { return };
    let [over_time, rest] = Layout::vertical([Constraint::Length(5), Constraint::Min(3)]).areas(area);
    let Statistics { protocols, flows, hosts, lengths, rate } = statistics;
    let packets: Vec<u64> = rate.stretches.iter().map(|(packets, _)| *packets).collect();
    let most = packets.iter().max().copied().unwrap_or_default();
    let title = format!("packets in stretches of {:.3} s, at most {most}", rate.seconds);
    frame.render_widget(Sparkline::default().data(&packets).block(pane(title, false)), over_time);
    let head = |text: &str| Line::styled(text.to_owned(), Style::new().add_modifier(Modifier::BOLD));
    let mut lines = vec![head("of all packets, protocols: packets, bytes")];
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

pub(super) fn copy(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let copies = app.copies();
    let height = (copies.len() as u16 * 2 + 2).min(area.height);
    let popup = Rect { y: area.y + area.height.saturating_sub(height), height, ..area };
    let lines: Vec<Line<'_>> = (1..)
        .zip(&copies)
        .flat_map(|(number, (what, text))| {
            [Line::raw(format!("{number}  {what}")), Line::raw(format!("   {}", plain(text)))]
        })
        .collect();
    frame.render_widget(Clear, popup);
    frame.render_widget(
        Paragraph::new(lines).block(Block::new().borders(Borders::ALL).title("copy: a digit chooses")),
        popup,
    );
}
