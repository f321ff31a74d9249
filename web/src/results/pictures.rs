//! Pictures, drawn on the server as SVG: no script, no style, nothing from elsewhere.
//!
//! Every picture comes with a sentence that says its main numbers and with its data as a table, for people who cannot see
//! it. Text in it takes the colour of the page around it, or one for a light or a dark ground.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, IntoFont, PathElement, RGBColor, Rectangle, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, TextStyle};
use thiserror::Error;
use veilwatch::output::plain;

mod calls;

pub use calls::calls;

use super::histograms::{Histograms, LENGTH_BINS, Pair, Share, interval_begin, length_range};
use super::human::{bytes, duration, grouped, percent, short_number, time};
use super::sentence::said;
use crate::pages::language::Messages;

/// Width of every picture.
const WIDTH: i32 = 720;
/// Height of those with bars that stand.
const HEIGHT: i32 = 280;
/// Protocols that are drawn one by one.
const PROTOCOLS: usize = 8;
/// Rows of a time line's table.
const TIME_ROWS: usize = 24;
/// Characters of a label.
const LABEL_CHARS: usize = 24;

/// Stands for the colour of text until the picture is whole.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_CODE: &str = "#010203";
/// Alerts; like the next one it has a contrast of 3 to 1 or more against both grounds.
const ALERT: RGBColor = RGBColor(0xd6, 0x45, 0x3a);
/// What is no alert.
const REST: RGBColor = RGBColor(0x3a, 0x8f, 0x89);

/// Which picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// Flows and alerts by the time they began.
    Timeline,
    /// Shares of protocols by bytes and by flows.
    Protocols,
    /// Lengths of the first payload packets of TLS flows.
    Lengths,
    /// Time between these packets.
    Intervals,
}

impl PictureKind {
    /// All pictures, in the order they are shown in.
    pub const ALL: [Self; 4] = [Self::Timeline, Self::Protocols, Self::Lengths, Self::Intervals];

    /// Its name in addresses of pages; with `picture.` before it, the message of its title.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::Protocols => "protocols",
            Self::Lengths => "lengths",
            Self::Intervals => "intervals",
        }
    }

    /// The picture of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The colour of text in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// That of the page it stands in: for pictures within a page.
    Page,
    /// Dark, for a light ground.
    OnLight,
    /// Light, for a dark ground.
    OnDark,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Page => "currentColor",
            Self::OnLight => "#1b2324",
            Self::OnDark => "#e4eaea",
        }
    }
}

/// A picture, and what it says for people who cannot see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// What it shows, in words.
    pub title: String,
    /// The picture: a whole SVG document that may stand within HTML.
    pub svg: String,
    /// Its main numbers in a sentence or two.
    pub alternative: String,
    /// The names of the columns of `rows`, the first of them too.
    pub columns: Vec<String>,
    /// Its data as a table: a name and its numbers.
    pub rows: Vec<(String, Vec<String>)>,
}

/// Why a picture cannot be drawn.
#[derive(Debug, Error)]
#[error("a picture cannot be drawn: {0}")]
pub struct PictureError(String);

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), PictureError>;

/// Draws a picture.
///
/// # Errors
/// Where the drawing library fails.
pub fn picture(
    kind: PictureKind,
    histograms: &Histograms,
    messages: &Messages,
    ink: Ink,
) -> Result<Picture, PictureError> {
    let words = Words(messages);
    let mut svg = String::new();
    let mut sketch = match kind {
        PictureKind::Timeline => timeline(histograms, words, &mut svg)?,
        PictureKind::Protocols => protocols(histograms, words, &mut svg)?,
        PictureKind::Lengths => lengths(&histograms.lengths, words, &mut svg)?,
        PictureKind::Intervals => intervals(&histograms.intervals, words, &mut svg)?,
    };
    if sketch.rows.is_empty() {
        sketch.alternative = words.get("empty");
        svg.clear();
        let area = area(&mut svg, 60);
        label(&area, &sketch.alternative, (WIDTH / 2, 30), HPos::Center)?;
        area.present().map_err(failed)?;
        drop(area);
    }
    Ok(of_sketch(words.get(kind.name()), sketch, &svg, ink))
}

/// The picture of a sketch.
fn of_sketch(title: String, sketch: Sketch, svg: &str, ink: Ink) -> Picture {
    let svg = finished(svg, &escaped(&sketch.alternative), ink);
    Picture { title, svg, alternative: sketch.alternative, columns: sketch.columns, rows: sketch.rows }
}

/// The whole document: with its words, which are escaped, and its colour of text.
pub(crate) fn finished(svg: &str, alternative: &str, ink: Ink) -> String {
    let begin = format!("<svg role=\"img\" aria-label=\"{alternative}\" ");
    svg.replacen("<svg ", &begin, 1).replace(INK_CODE, ink.code())
}

/// What a picture says beside its lines.
struct Sketch {
    alternative: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// Messages of pictures.
#[derive(Clone, Copy)]
struct Words<'a>(&'a Messages);

impl Words<'_> {
    fn get(self, key: &str) -> String {
        self.fill(key, &[])
    }

    fn fill(self, key: &str, values: &[(&str, String)]) -> String {
        said(self.0, &format!("picture.{key}"), |name| {
            values.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone())
        })
    }
}

pub(crate) fn failed(error: impl std::fmt::Display) -> PictureError {
    PictureError(error.to_string())
}

pub(crate) fn area(svg: &mut String, height: i32) -> Area<'_> {
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    SVGBackend::with_string(svg, size).into_drawing_area()
}

/// Text that XML can hold, of a length that fits.
fn printable(text: &str) -> String {
    let text = plain(text);
    let allowed = |c: &char| !matches!(c, '\u{fffe}' | '\u{ffff}');
    let mut short: String = text.chars().filter(allowed).take(LABEL_CHARS).collect();
    if text.chars().count() > LABEL_CHARS {
        short.push('…');
    }
    short
}

/// Text for an attribute.
pub(crate) fn escaped(text: &str) -> String {
    plain(text)
        .chars()
        .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

pub(crate) fn label(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos) -> Drawn {
    let style = TextStyle::from(("sans-serif", 15).into_font()).color(&INK).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

fn bar(area: &Area<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Drawn {
    area.draw(&Rectangle::new([from, to], colour.filled())).map_err(failed)
}

pub(crate) fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), strength: f64) -> Drawn {
    area.draw(&PathElement::new(vec![from, to], INK.mix(strength))).map_err(failed)
}

/// A square of a colour and what it stands for; gives where the next one may begin.
fn key(area: &Area<'_>, text: &str, at: (i32, i32), colour: RGBColor) -> Result<i32, PictureError> {
    bar(area, (at.0, at.1 - 5), (at.0 + 10, at.1 + 5), colour)?;
    label(area, text, (at.0 + 16, at.1), HPos::Left)?;
    let wide: i32 = text.chars().map(|c| if c.is_ascii() { 8 } else { 13 }).sum();
    Ok(at.0 + 40 + wide)
}

/// A part of the whole, as a number of pixels.
fn pixels(part: f64, whole: f64, most: i32) -> i32 {
    if whole > 0.0 && part > 0.0 {
        // The least that there is can still be seen.
        ((part / whole * f64::from(most)).round() as i32).clamp(1, most)
    } else {
        0
    }
}

/// The upper end of an axis: the next of 1, 2, 4, 6, 8, 10, …, whose halves are round as well.
fn round_up(most: f64) -> f64 {
    if most.is_nan() || most <= 0.0 {
        return 1.0;
    }
    let size = 10f64.powf(most.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0].into_iter().map(|step| step * size).find(|end| *end >= most).unwrap_or(10.0 * size)
}

/// Where bars stand: left and right, top and bottom.
#[derive(Clone, Copy)]
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Frame {
    /// The place of one of so many bins.
    fn bin(self, at: usize, bins: usize) -> (i32, i32) {
        let wide = f64::from(self.right - self.left);
        let place = |at: usize| self.left + (wide * at as f64 / bins.max(1) as f64).round() as i32;
        (place(at), place(at + 1))
    }

    /// The axis on the left with its end and its middle.
    fn axis(self, area: &Area<'_>, end: f64, name: impl Fn(f64) -> String) -> Drawn {
        for (part, strength) in [(0.0, 0.8), (0.5, 0.2), (1.0, 0.2)] {
            let y = self.bottom - pixels(part, 1.0, self.bottom - self.top);
            line(area, (self.left, y), (self.right, y), strength)?;
            label(area, &name(end * part), (self.left - 8, y), HPos::Right)?;
        }
        Ok(())
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// The place of the largest count.
fn largest(counts: &[u64]) -> Option<(usize, u64)> {
    // The first among equals.
    let most = counts.iter().copied().max().filter(|most| *most > 0)?;
    counts.iter().position(|count| *count == most).map(|at| (at, most))
}

fn timeline(histograms: &Histograms, words: Words<'_>, svg: &mut String) -> Result<Sketch, PictureError> {
    let timeline = &histograms.timeline;
    let bins = timeline.flows.len();
    let at = |bin: usize| timeline.start_ns.saturating_add(timeline.width_ns.saturating_mul(bin as u64));
    let area = area(svg, HEIGHT);
    let alerts = Frame { left: 70, right: WIDTH - 15, top: 34, bottom: 84 };
    let flows = Frame { top: 114, bottom: HEIGHT - 34, ..alerts };
    let next = key(&area, &words.get("alerts"), (alerts.left, 14), ALERT)?;
    key(&area, &words.get("flows"), (next, 14), REST)?;
    for (frame, counts, colour) in [(alerts, &timeline.alerts, ALERT), (flows, &timeline.flows, REST)] {
        let end = round_up(counts.iter().copied().max().unwrap_or_default().max(2) as f64);
        frame.axis(&area, end, short_number)?;
        for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (left, right) = frame.bin(bin, bins);
            let high = pixels(*count as f64, end, frame.bottom - frame.top);
            // A pixel between bars, where there is room for one.
            bar(&area, (left, frame.bottom - high), ((right - 1).max(left + 1), frame.bottom), colour)?;
        }
    }
    let in_days = timeline.width_ns.saturating_mul(bins as u64) > 2 * 86_400_000_000_000;
    for tick in 0..=4 {
        let bin = bins * tick / 4;
        let (x, _) = flows.bin(bin, bins);
        let when = time(at(bin));
        let text = if in_days { when.get(..10) } else { when.get(11..) }.unwrap_or_default();
        let side = if tick == 4 {
            HPos::Right
        } else if tick == 0 {
            HPos::Left
        } else {
            HPos::Center
        };
        label(&area, text, (x, HEIGHT - 16), side)?;
    }
    area.present().map_err(failed)?;
    let alternative = largest(&timeline.flows).map(|(bin, most)| {
        words.fill(
            "timeline-words",
            &[
                ("flows", grouped(sum(&timeline.flows))),
                ("alerts", grouped(sum(&timeline.alerts))),
                ("from", time(timeline.start_ns)),
                ("to", time(at(bins))),
                ("width", duration(timeline.width_ns as f64)),
                ("most", grouped(most)),
                ("at", time(at(bin))),
            ],
        )
    });
    let step = bins.div_ceil(TIME_ROWS).max(1);
    let chunks = timeline.flows.chunks(step).zip(timeline.alerts.chunks(step)).enumerate();
    let rows =
        chunks.map(|(row, (flows, alerts))| (time(at(row * step)), vec![grouped(sum(flows)), grouped(sum(alerts))]));
    Ok(Sketch {
        alternative: alternative.unwrap_or_default(),
        columns: vec![words.get("time"), words.get("flows"), words.get("alerts")],
        rows: rows.collect(),
    })
}

fn protocols(histograms: &Histograms, words: Words<'_>, svg: &mut String) -> Result<Sketch, PictureError> {
    let all = &histograms.protocols;
    let total = |of: fn(&Share) -> u64| all.iter().fold(0, |sum: u64, share| sum.saturating_add(of(share)));
    let (all_bytes, all_flows) = (total(|share| share.bytes), total(|share| share.flows));
    let named = |share: &&Share| !share.name.is_empty();
    let mut shown: Vec<Share> = all.iter().filter(named).take(PROTOCOLS).cloned().collect();
    let part = |of: fn(&Share) -> u64, whole: u64| {
        let shown = shown.iter().fold(0, |sum: u64, share| sum.saturating_add(of(share)));
        whole.saturating_sub(shown)
    };
    let rest = Share {
        name: words.get("others"),
        flows: part(|share| share.flows, all_flows),
        bytes: part(|share| share.bytes, all_bytes),
    };
    if rest.flows > 0 {
        shown.push(rest);
    }
    for share in &mut shown {
        share.name = printable(&share.name);
    }
    let height = 44 + 26 * i32::try_from(shown.len()).unwrap_or_default();
    let area = area(svg, height);
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let (names, wide) = (120, 190);
    let columns = [(names + 10, "bytes"), (names + 10 + wide + 95, "flows")];
    for (x, name) in columns {
        label(&area, &words.get(name), (x, 16), HPos::Left)?;
    }
    let mut rows = Vec::new();
    for (y, protocol) in (0..).map(|row| 44 + 26 * row).zip(&shown) {
        label(&area, &protocol.name, (names, y), HPos::Right)?;
        let shares = [share(protocol.bytes, all_bytes), share(protocol.flows, all_flows)];
        for ((x, _), share) in columns.into_iter().zip(shares) {
            let long = pixels(share, 1.0, wide);
            bar(&area, (x, y - 8), (x + long, y + 8), REST)?;
            label(&area, &percent(share), (x + long + 8, y), HPos::Left)?;
        }
        let texts = [bytes(protocol.bytes), percent(shares[0]), grouped(protocol.flows), percent(shares[1])];
        rows.push((protocol.name.clone(), texts.to_vec()));
    }
    area.present().map_err(failed)?;
    let top = |of: fn(&Share) -> u64, whole: u64| {
        let mut order: Vec<&Share> = shown.iter().filter(|share| of(share) > 0).collect();
        order.sort_by_key(|share| std::cmp::Reverse(of(share)));
        let names = order.iter().take(3).map(|of_it| format!("{} {}", of_it.name, percent(share(of(of_it), whole))));
        names.collect::<Vec<_>>().join(", ")
    };
    let tops = [("bytes", top(|share| share.bytes, all_bytes)), ("flows", top(|share| share.flows, all_flows))];
    Ok(Sketch {
        alternative: words.fill("protocols-words", &tops),
        columns: ["protocol", "bytes", "bytes", "flows", "flows"].map(|name| words.get(name)).to_vec(),
        rows,
    })
}

/// Draws the shares of alerts beside those of the other flows.
fn compare(
    pair: &Pair,
    words: Words<'_>,
    svg: &mut String,
    ticks: &[(usize, String)],
    ends: Option<[String; 2]>,
) -> Drawn {
    let area = area(svg, HEIGHT);
    let frame = Frame { left: 70, right: WIDTH - 15, top: 40, bottom: HEIGHT - 34 };
    let sides = [(&pair.alerts, ALERT, "alerts"), (&pair.rest, REST, "other-flows")];
    let share = |counts: &[u64], count: u64| count as f64 / sum(counts).max(1) as f64;
    let most =
        sides.iter().flat_map(|(counts, ..)| counts.iter().map(|count| share(counts, *count))).fold(0.0, f64::max);
    let end = round_up(most);
    frame.axis(&area, end, percent)?;
    let bins = pair.rest.len();
    let mut next = frame.left;
    for (side, (counts, colour, name)) in (0..).zip(sides) {
        if sum(counts) == 0 {
            continue;
        }
        next = key(&area, &words.get(name), (next, 14), colour)?;
        for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (left, right) = frame.bin(bin, bins);
            let half = (right - left - 2) / 2;
            let left = left + 1 + side * half;
            let high = pixels(share(counts, *count), end, frame.bottom - frame.top);
            bar(&area, (left, frame.bottom - high), (left + half, frame.bottom), colour)?;
        }
    }
    for (bin, text) in ticks {
        label(&area, text, (frame.bin(*bin, bins).0, HEIGHT - 16), HPos::Center)?;
    }
    if let Some([left, right]) = ends {
        let middle = (frame.left + frame.right) / 2;
        line(&area, (middle, frame.top), (middle, frame.bottom), 0.5)?;
        label(&area, &format!("← {left}"), (middle - 10, frame.top - 8), HPos::Right)?;
        label(&area, &format!("{right} →"), (middle + 10, frame.top - 8), HPos::Left)?;
    }
    area.present().map_err(failed)
}

/// The sentence and the table of a comparison; `name` gives a bin's name, and its name with a share.
fn compared(
    pair: &Pair,
    words: Words<'_>,
    [column, sentence]: [&str; 2],
    name: impl Fn(usize) -> String,
    with_share: impl Fn(usize, String) -> String,
) -> Sketch {
    let (alerts, rest) = (sum(&pair.alerts), sum(&pair.rest));
    let share = |count: u64, all: u64| percent(count as f64 / all.max(1) as f64);
    let top = |counts: &[u64], all: u64| {
        largest(counts).map_or_else(|| words.get("never"), |(bin, count)| with_share(bin, share(count, all)))
    };
    let rows = pair.alerts.iter().zip(&pair.rest).enumerate().filter(|(_, (a, b))| **a > 0 || **b > 0);
    Sketch {
        alternative: words.fill(
            sentence,
            &[
                ("alerts", grouped(alerts)),
                ("alert", top(&pair.alerts, alerts)),
                ("rest", grouped(rest)),
                ("other", top(&pair.rest, rest)),
            ],
        ),
        columns: [column, "alerts", "other-flows"].map(|name| words.get(name)).to_vec(),
        rows: rows.map(|(bin, (a, b))| (name(bin), vec![share(*a, alerts), share(*b, rest)])).collect(),
    }
}

fn lengths(pair: &Pair, words: Words<'_>, svg: &mut String) -> Result<Sketch, PictureError> {
    let ticks: Vec<_> = (0..=LENGTH_BINS).step_by(4).map(|bin| (bin, length_range(bin).0.abs().to_string())).collect();
    compare(pair, words, svg, &ticks, Some([words.get("from-server"), words.get("to-server")]))?;
    let parts = |bin: usize| {
        let (low, high) = length_range(bin);
        let outer = bin == 0 || bin + 1 == LENGTH_BINS;
        let (near, far) = if low < 0 { (-high, -low) } else { (low, high) };
        let far = if outer { "…".to_owned() } else { far.to_string() };
        ((near + 1).to_string(), far, words.get(if low < 0 { "from-server" } else { "to-server" }))
    };
    let name = |bin| {
        let (low, high, direction) = parts(bin);
        format!("{low} – {high} {direction}")
    };
    let with_share = |bin, share| {
        let (low, high, direction) = parts(bin);
        words.fill("bin", &[("low", low), ("high", high), ("direction", direction), ("share", share)])
    };
    Ok(compared(pair, words, ["length", "lengths-words"], name, with_share))
}

fn intervals(pair: &Pair, words: Words<'_>, svg: &mut String) -> Result<Sketch, PictureError> {
    let begin = |bin: usize| duration(interval_begin(bin) * 1000.0);
    let bins = pair.rest.len();
    let round = |microseconds: f64| {
        let units = [(1e6, "s"), (1e3, "ms"), (1.0, "µs")];
        let (size, unit) = units.into_iter().find(|(size, _)| microseconds >= *size * 0.999).unwrap_or((1.0, "µs"));
        format!("{} {unit}", (microseconds / size).round())
    };
    let ticks: Vec<_> = (1..bins).step_by(3).map(|bin| (bin, round(interval_begin(bin)))).collect();
    compare(pair, words, svg, &ticks, None)?;
    let parts = |bin: usize| {
        let low = if bin == 0 { "0".to_owned() } else { begin(bin) };
        let high = if bin + 1 == bins { "…".to_owned() } else { begin(bin + 1) };
        (low, high)
    };
    let name = |bin| {
        let (low, high) = parts(bin);
        format!("{low} – {high}")
    };
    let with_share = |bin, share| {
        let (low, high) = parts(bin);
        words.fill("span", &[("low", low), ("high", high), ("share", share)])
    };
    Ok(compared(pair, words, ["interval", "intervals-words"], name, with_share))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pages::Language;
    use crate::results::tests::{CAPTURES, example, open, pipeline, result};

    pub(super) fn check(picture: &Picture) {
        let document =
            roxmltree::Document::parse(&picture.svg).unwrap_or_else(|error| panic!("{error}\n{}", picture.svg));
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            assert!(["svg", "rect", "text", "polyline", "line"].contains(&node.tag_name().name()), "{node:?}");
            for attribute in node.attributes() {
                let name = attribute.name();
                assert!(name != "style" && !name.starts_with("on") && !name.contains("href"), "{name}");
                let number = ["x", "y", "width", "height"].contains(&name).then(|| attribute.value().parse::<i64>());
                assert!(number.is_none_or(|number| number.is_ok_and(|n| (0..=720).contains(&n))), "{attribute:?}");
            }
        }
        assert_eq!(document.root_element().attribute("aria-label"), Some(picture.alternative.as_str()));
        assert!(!picture.svg.contains(INK_CODE));
        let text = format!("{picture:?}");
        assert!(!text.contains("picture.") && !text.contains("NaN"), "{text}");
        assert!(picture.rows.iter().all(|(_, cells)| cells.len() + 1 == picture.columns.len()));
    }

    #[test]
    fn pictures_of_captures() {
        let (folder, pipeline) = (tempfile::tempdir().unwrap(), pipeline());
        for capture in CAPTURES {
            let file = open(&result(folder.path(), &pipeline, &example(capture)));
            let (histograms, summary) = (file.histograms().unwrap(), file.summary().unwrap());
            assert_eq!(sum(&histograms.timeline.flows), summary.flows);
            assert_eq!(sum(&histograms.timeline.alerts), summary.malicious + summary.suspicious);
            assert_eq!(histograms.protocols.iter().map(|share| share.flows).sum::<u64>(), summary.flows);
            assert_eq!(histograms.protocols[0].name, "TLS");
            for language in Language::ALL {
                let messages = language.messages().unwrap();
                for kind in PictureKind::ALL {
                    for ink in [Ink::Page, Ink::OnLight, Ink::OnDark] {
                        let picture = picture(kind, &histograms, &messages, ink).unwrap();
                        check(&picture);
                        assert!(picture.svg.contains(ink.code()) && !picture.rows.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_and_too_much_can_be_drawn() {
        let messages = Language::English.messages().unwrap();
        let empty = Histograms::default();
        let mut odd = Histograms::default();
        odd.timeline.width_ns = u64::MAX;
        odd.timeline.start_ns = u64::MAX;
        odd.timeline.flows = vec![u64::MAX; 240];
        odd.timeline.alerts = vec![u64::MAX; 240];
        odd.lengths = Pair { alerts: vec![u64::MAX; LENGTH_BINS], rest: vec![0; LENGTH_BINS] };
        odd.intervals = odd.lengths.clone();
        let name = "<script>alert(1)</script>\u{0}\u{fffe}&\"' #010203".to_owned();
        odd.protocols = vec![Share { name, flows: u64::MAX, bytes: u64::MAX }; 60];
        for kind in PictureKind::ALL {
            let nothing = picture(kind, &empty, &messages, Ink::Page).unwrap();
            check(&nothing);
            assert_eq!(nothing.alternative, "There is nothing to draw.");
            let much = picture(kind, &odd, &messages, Ink::Page).unwrap();
            check(&much);
            assert!(!much.svg.contains("<script"));
        }
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(RGBColor(r, g, b): RGBColor) -> f64 {
        let part = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
    }

    #[test]
    fn colours_can_be_told_from_both_grounds() {
        let grounds = [RGBColor(0xff, 0xff, 0xff), RGBColor(0x14, 0x19, 0x1a), RGBColor(0x1d, 0x24, 0x26)];
        for colour in [ALERT, REST] {
            for ground in grounds {
                let (a, b) = (luminance(colour), luminance(ground));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 3.0, "{colour:?} on {ground:?}: {contrast}");
            }
        }
    }
}
