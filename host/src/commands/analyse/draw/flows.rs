use super::super::app::App;
use super::{cell, pane, scrolled, shortened};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};
use std::net::SocketAddr;
use veilwatch_core::flow::Endpoint;

fn shown(end: &Endpoint) -> String {
    SocketAddr::new(end.ip(), end.port).to_string()
}

/// Cells of an address with its port.
const ENDS: usize = 21;

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let [list, why] = Layout::vertical([Constraint::Min(4), Constraint::Length(10)]).areas(area);
    let height = usize::from(list.height.saturating_sub(2));
    app.flows.top = scrolled(app.flows.top, app.flows.at, height);
    let head = format!(
        "{}{}{}{}{}{}",
        cell("verdict", 10),
        cell("score", 5),
        cell("from", ENDS),
        cell("to", ENDS),
        cell("protocol", 8),
        "name, what it is for"
    );
    let mut lines = vec![Line::styled(head, Style::new().add_modifier(Modifier::UNDERLINED))];
    for (at, flow) in app.flows.shown.iter().enumerate().skip(app.flows.top).take(height) {
        let verdict = flow.judged.verdict.map_or("–".to_owned(), |verdict| verdict.to_string());
        let score = flow.judged.score.map_or("–".to_owned(), |score| format!("{score:.3}"));
        let purpose = flow.judged.category.map(|category| format!("({category})")).unwrap_or_default();
        let text = format!(
            "{}{}{}{}{}{} {purpose}",
            cell(&verdict, 10),
            cell(&score, 5),
            cell(&shortened(&shown(&flow.originator), ENDS), ENDS),
            cell(&shortened(&shown(&flow.responder), ENDS), ENDS),
            cell(flow.template.as_deref().unwrap_or("–"), 8),
            flow.name
        );
        let line = Line::styled(text, app.theme.verdict(flow.judged.verdict));
        lines.push(if at == app.flows.at { line.patch_style(app.theme.selected()) } else { line });
    }
    let order = if app.flows.by_time { "by time" } else { "worst first" };
    let more = match app.flows.known.0 {
        known if known > app.flows.shown.len() => format!(" that are listed of {known}"),
        _ => String::new(),
    };
    let title =
        format!("flows {} of {}{more}, {order}", (app.flows.at + 1).min(app.flows.shown.len()), app.flows.shown.len());
    frame.render_widget(Paragraph::new(lines).block(pane(title, true)), list);
    let mut told = Vec::new();
    if let Some(flow) = app.flows.shown.get(app.flows.at) {
        let [there, back] = flow.packets;
        let [sent, got] = flow.bytes;
        let packets: Vec<String> = flow.packets_to_look_at().iter().map(u64::to_string).collect();
        told.push(Line::raw(format!(
            "{there} packets with {sent} bytes there, {back} with {got} back; packets to look at: {}",
            packets.join(", ")
        )));
        told.extend(flow.reasons.iter().map(|reason| Line::raw(format!("• {reason}"))));
    }
    frame.render_widget(Paragraph::new(told).wrap(Wrap { trim: false }).block(pane("why".to_owned(), false)), why);
}
