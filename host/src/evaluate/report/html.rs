//! The report as one page: no script, nothing from elsewhere, for light and dark, for wide and narrow.

use super::pictures::{PictureError, pictures};
use super::tables::{self, Table};
use crate::evaluate::{Ending, Judgement, Level};
use crate::output::plain;
use std::fmt::Write;

const STYLE: &str = include_str!("report.css");

/// The report as HTML. Names of captures, families and classifiers are whoever's who made them: all text is escaped.
///
/// # Errors
/// Where a picture cannot be drawn.
pub fn html(judgement: &Judgement) -> Result<String, PictureError> {
    let mut page = Page(String::new());
    let counts = &judgement.data;
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
    page.raw(&format!("<title>Veilwatch: evaluation</title><style>{STYLE}</style></head><body><main>"));
    page.raw("<h1>Evaluation</h1>");
    page.text(
        "p",
        &format!(
            "{} on {} columns. {} captures; {} malicious flows, {} benign ones, {} of infected machines' own; {} without a \
             strong label. {}Veilwatch {}, seed {}, {} bootstrap samples.",
            judgement.classifier,
            counts.columns,
            counts.captures,
            counts.malicious_flows,
            counts.benign_flows,
            counts.background_flows,
            counts.unlabelled_flows,
            if judgement.quick { "The quick way: families and sources packed into few folds. " } else { "" },
            judgement.made_by,
            judgement.seed,
            judgement.bootstrap_samples
        ),
    );
    headline(&mut page, judgement);
    if let Some(audit) = &judgement.audit {
        page.table(&tables::audit(audit), true);
    }
    let pictures = if judgement.withheld.is_empty() { pictures(judgement)? } else { Vec::new() };
    if !pictures.is_empty() {
        page.raw("<h2>Pictures</h2><p class=\"about\">By pair, families left out, both negatives.</p><div class=\"pictures\">");
        pictures.iter().for_each(|picture| page.raw(picture));
        page.raw("</div>");
    }
    if !judgement.protocols.is_empty() {
        page.table(&tables::protocols(judgement), true);
        page.raw("<dl>");
        for protocol in &judgement.protocols {
            page.text("dt", protocol.name);
            let left =
                if protocol.left_out > 0 { format!(" ({} flows left out)", protocol.left_out) } else { String::new() };
            page.text("dd", &format!("{}{left}", protocol.words));
        }
        page.raw("</dl>");
    }
    for protocol in &judgement.protocols {
        for level in Level::ALL {
            if let Some(table) = tables::level(judgement, protocol, level) {
                page.table(&table, level == Level::Pair);
            }
        }
    }
    tables::transfer(judgement).iter().for_each(|table| page.table(table, true));
    tables::others(judgement).iter().for_each(|table| page.table(table, true));
    page.raw("<h2>How many variants were looked at</h2>");
    page.text("p", &tables::variants(judgement));
    page.raw("<details><summary>Their names</summary><ul>");
    judgement.variants.names.iter().for_each(|name| page.text("li", name));
    page.raw("</ul></details>");
    page.text("p", &format!("Data {}, schema {}.", judgement.data_sha256, judgement.schema_sha256));
    page.raw("</main></body></html>\n");
    Ok(page.0)
}

fn headline(page: &mut Page, judgement: &Judgement) {
    if let Some(table) = tables::headline(judgement) {
        let untested = judgement.audit.iter().flat_map(|audit| &audit.checks);
        let untested = untested.filter(|check| check.ending == Ending::TooLittle).count();
        page.raw("<section class=\"headline\">");
        page.table(&table, true);
        let rest = if untested > 0 {
            format!("; for {untested} of its checks there is too little data")
        } else {
            String::new()
        };
        page.text("p", &format!("The audit passed{rest}."));
        page.raw("</section>");
    } else if !judgement.withheld.is_empty() {
        page.raw("<section class=\"headline withheld\"><h2>The headline is withheld</h2>");
        let why = tables::why_withheld(judgement);
        page.text("p", &format!("No figure of this report is to be quoted, because {why}:"));
        page.raw("<ul>");
        judgement.withheld.iter().for_each(|why| page.text("li", why));
        page.raw("</ul></section>");
    }
}

/// A page that grows.
struct Page(String);

impl Page {
    /// Markup of ours.
    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// An element with text of anybody's.
    fn text(&mut self, element: &str, text: &str) {
        let _ = write!(self.0, "<{element}>{}</{element}>", escaped(text));
    }

    /// A table, which scrolls by itself where it is too wide; folded away where it is not `open`.
    fn table(&mut self, table: &Table, open: bool) {
        let title = escaped(&table.title);
        if open {
            let _ = write!(self.0, "<h2>{title}</h2>");
        } else {
            let _ = write!(self.0, "<details><summary>{title}</summary>");
        }
        if !table.about.is_empty() {
            let _ = write!(self.0, "<p class=\"about\">{}</p>", escaped(&table.about));
        }
        let _ = write!(
            self.0,
            "<div class=\"wide\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\"><table><thead><tr>"
        );
        table.head.iter().for_each(|cell| self.text("th", cell));
        self.raw("</tr></thead><tbody>");
        for row in &table.rows {
            let kind = match row.first().map(|cell| cell.chars().next()) {
                Some(Some('✓')) => " class=\"passed\"",
                Some(Some('✗')) => " class=\"failed\"",
                _ => "",
            };
            let _ = write!(self.0, "<tr{kind}>");
            row.iter().for_each(|cell| self.text("td", cell));
            self.raw("</tr>");
        }
        self.raw("</tbody></table></div>");
        if !open {
            self.raw("</details>");
        }
    }
}

/// Text for HTML, between tags and in attributes; what turns the reading direction, and control characters, are shown as
/// escapes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escaped("<b onclick=\"x\">&'"), "&lt;b onclick=&quot;x&quot;&gt;&amp;&#39;");
        // What turns the reading direction is shown.
        assert!(!escaped("a\u{202e}b").contains('\u{202e}'));
        let mut page = Page(String::new());
        let cell = "<script>alert(1)</script>".to_owned();
        let table = Table {
            title: cell.clone(),
            about: cell.clone(),
            head: vec![cell.clone()],
            rows: vec![vec![cell.clone()]],
        };
        page.table(&table, true);
        page.table(&table, false);
        page.text("p", &cell);
        assert!(!page.0.contains("<script"), "{}", page.0);
    }
}
