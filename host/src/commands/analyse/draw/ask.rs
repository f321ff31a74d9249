use super::super::app::App;
use super::super::find::CHOICES;
use super::super::prompt::{Asked, Prompt};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use veilwatch::output::plain;

/// Lines that are needed.
pub(super) fn height(app: &App) -> u16 {
    if app.writing.is_some() { 3 } else { 1 }
}

pub(super) fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let dim = Style::new().add_modifier(Modifier::DIM);
    let Some(prompt) = &app.prompt else {
        let text = if app.message.is_empty() {
            match area.width {
                ..110 => "? help  1 packets  2 flows  3 numbers  f filter  / find  w save  q leave",
                _ => {
                    "? help  1 packets  2 flows  3 statistics  f filter  / find  g go to  o this flow  s stream  w save  q leave"
                }
            }
        } else {
            app.message.as_str()
        };
        frame.render_widget(Line::styled(text.to_owned(), dim), area);
        return;
    };
    if prompt.what == Asked::Leave {
        frame.render_widget(Line::raw(prompt.what.words()), area);
        return;
    }
    let mut lines = vec![asked(prompt, area.width)];
    if let Some(writing) = &app.writing {
        // Under the line that is written, as far as it is the one that is shown.
        match &writing.error {
            Some(error) => {
                let [_, carets] = error.lines();
                let before = " ".repeat(prompt.what.words().chars().count() + 2);
                let is_whole = prompt.text.chars().count() + before.len() < usize::from(area.width);
                lines.push(Line::raw(if is_whole { format!("{before}{carets}") } else { String::new() }));
                lines.push(Line::styled(plain(error.what()), dim));
            }
            None => lines.push(Line::styled("Tab completes  Enter keeps  Esc gives up", dim)),
        }
        let choices = app.choices();
        if !choices.is_empty() && writing.error.as_ref().is_none_or(|_| choices.len() <= CHOICES) {
            let line = match choices.as_slice() {
                [(name, words)] => format!("{name}: {words}"),
                _ => {
                    let names: Vec<&str> = choices.iter().take(CHOICES).map(|(name, _)| *name).collect();
                    let more =
                        if choices.len() > CHOICES { format!(" … {} fields", choices.len()) } else { String::new() };
                    format!("{}{more}", names.join("  "))
                }
            };
            // An error stays on the last line, names stand above it.
            let at = 1.min(lines.len());
            match &writing.error {
                Some(_) => lines[at] = Line::styled(line, dim),
                None => lines.push(Line::styled(line, dim)),
            }
        }
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// A question and its answer so far, in which the cursor's letter is turned round.
fn asked(prompt: &Prompt, width: u16) -> Line<'static> {
    let words = format!("{}: ", prompt.what.words());
    let (before, behind) = prompt.text.split_at_checked(prompt.cursor).unwrap_or((&prompt.text, ""));
    let mut behind = behind.chars();
    let at = behind.next().map_or(" ".to_owned(), |letter| plain(&letter.to_string()));
    // Of a long one the part before the cursor is seen.
    let room = usize::from(width).saturating_sub(words.chars().count() + 2);
    let before = plain(before);
    let cut = before.chars().count().saturating_sub(room);
    let before: String = if cut > 0 { "…".chars().chain(before.chars().skip(cut)).collect() } else { before };
    Line::from(vec![
        Span::raw(words),
        Span::raw(before),
        Span::styled(at, Style::new().add_modifier(Modifier::REVERSED)),
        Span::raw(plain(behind.as_str())),
    ])
}
