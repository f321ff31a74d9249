//! Pictures of the report: SVG alone, with a title and a sentence that says the main numbers. Text and axes have the
//! colour of the page around them.

use super::html::escaped;
use super::tables::told;
use crate::evaluate::{Curves, Judgement, Short};
use crate::learn::FamilyResult;
use crate::output::plain;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::{
    ChartBuilder, Circle, Color, DrawingArea, IntoDrawingArea, IntoFont, IntoLogRange, PathElement, RGBColor, Ranged,
    Rectangle, SVGBackend, Text,
};
use plotters::style::TextStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width of every picture: small enough to be read on a telephone.
const WIDTH: u32 = 480;
const HEIGHT: u32 = 300;
/// The lowest false-positive rate that is drawn.
const LEAST_RATE: f64 = 1e-4;
/// Characters of a label.
const LABEL: usize = 26;

/// Stands for the colour of text until the picture is whole.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_CODE: &str = "#010203";
/// The malicious; like the next one it has a contrast of 3 to 1 or more on light and on dark.
const MALICE: RGBColor = RGBColor(0xd6, 0x45, 0x3a);
/// What is not.
const REST: RGBColor = RGBColor(0x3a, 0x8f, 0x89);

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a picture cannot be drawn: {0}")]
pub struct PictureError(String);

fn failed(error: impl std::fmt::Display) -> PictureError {
    PictureError(error.to_string())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), PictureError>;

/// All pictures that a report has, each as a figure of HTML.
pub(super) fn pictures(judgement: &Judgement) -> Result<Vec<String>, PictureError> {
    let mut all = Vec::new();
    if let Some(curves) = &judgement.curves {
        all.extend([roc(curves)?, precision_recall(curves)?, reliability(curves)?, scores(curves)?]);
    }
    if let Some(protocol) = judgement.protocols.first().filter(|protocol| !protocol.families.is_empty()) {
        all.push(families(&protocol.families)?);
    }
    if judgement.table.iter().any(|short| short.average_precision.is_some()) {
        all.push(classifiers(&judgement.table)?);
    }
    Ok(all)
}

/// Draws, and puts title and sentence in front of what was drawn.
fn picture(
    title: &str,
    sentence: &str,
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, PictureError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    let svg = svg.replace(INK_CODE, "currentColor");
    let (open, rest) = svg.split_once('>').ok_or_else(|| failed("no SVG"))?;
    let open = open.replacen("<svg ", "<svg role=\"img\" ", 1);
    let (title, sentence) = (escaped(title), escaped(sentence));
    Ok(format!(
        "<figure>{open}><title>{title}</title><desc>{sentence}</desc>{rest}<figcaption><b>{title}.</b> {sentence}\
         </figcaption></figure>"
    ))
}

fn roc(curves: &Curves) -> Result<String, PictureError> {
    let at = |rate: f64| curves.roc.iter().filter(|(x, _)| *x <= rate).map(|(_, y)| *y).next_back().unwrap_or_default();
    let sentence = format!(
        "Share of malicious pairs found (upwards) by the share of others called malicious (to the right, each step ten times \
         as many): {:.3} at 1e-3, {:.3} at 1e-2, {:.3} at 1e-1",
        at(1e-3),
        at(1e-2),
        at(1e-1)
    );
    let line = steps(curves.roc.iter().map(|(x, y)| (x.max(LEAST_RATE), *y)));
    picture("ROC curve", &sentence, HEIGHT, |area| {
        let axes = ((LEAST_RATE..1.0).log_scale(), 0.0..1.02);
        chart(area, axes, ("false-positive rate", "recall"), &[(line, MALICE)], &[])
    })
}

fn precision_recall(curves: &Curves) -> Result<String, PictureError> {
    let at =
        |recall: f64| curves.precision_recall.iter().filter(|(x, _)| *x >= recall).map(|(_, y)| *y).fold(0.0, f64::max);
    let sentence = format!(
        "Share of what is called malicious that is (upwards) by the share of malicious pairs found (to the right): {:.3} at \
         a recall of .5, {:.3} at .8, {:.3} at .95",
        at(0.5),
        at(0.8),
        at(0.95)
    );
    let line = curves.precision_recall.clone();
    picture("Precision and recall", &sentence, HEIGHT, |area| {
        chart(area, (0.0..1.0, 0.0..1.02), ("recall", "precision"), &[(line, MALICE)], &[])
    })
}

fn reliability(curves: &Curves) -> Result<String, PictureError> {
    let pairs: Vec<String> =
        curves.reliability.iter().map(|(score, share, all)| format!("{score:.2}: {share:.2} of {all}")).collect();
    let sentence = format!(
        "Share of malicious pairs (upwards) among those with a score (to the right); on the line the score is what it says. \
         {}",
        pairs.join(", ")
    );
    let dots: Vec<(f64, f64)> = curves.reliability.iter().map(|(score, share, _)| (*score, *share)).collect();
    picture("Reliability", &sentence, HEIGHT, |area| {
        let line = vec![(0.0, 0.0), (1.0, 1.0)];
        chart(area, (0.0..1.0, 0.0..1.02), ("score", "share malicious"), &[(line, INK), (dots.clone(), MALICE)], &dots)
    })
}

fn scores(curves: &Curves) -> Result<String, PictureError> {
    let bins = curves.scores.len().max(1) as f64;
    let most = curves.scores.iter().map(|(a, b)| *a.max(b)).max().unwrap_or(1).max(10) as f64;
    let sum =
        |pick: fn(&(usize, usize)) -> usize, from: usize| -> usize { curves.scores.iter().skip(from).map(pick).sum() };
    let half = curves.scores.len() / 2;
    let sentence = format!(
        "Pairs (upwards, each step ten times as many) by score (to the right), malicious ones left in each bin: {} of {} \
         malicious and {} of {} others score .5 or more",
        sum(|bin| bin.0, half),
        sum(|bin| bin.0, 0),
        sum(|bin| bin.1, half),
        sum(|bin| bin.1, 0)
    );
    picture("Scores", &sentence, HEIGHT, |area| {
        let axes = (0.0..1.0, (0.7..most * 1.3).log_scale());
        let mut chart = builder(area).build_cartesian_2d(axes.0, axes.1).map_err(failed)?;
        mesh(&mut chart, ("score", "pairs"))?;
        for (at, (malicious, rest)) in curves.scores.iter().enumerate() {
            let left = at as f64 / bins;
            for (count, from, colour) in [(*malicious, 0.1, MALICE), (*rest, 0.5, REST)] {
                if count > 0 {
                    let corners = [(left + from / bins, 0.7), (left + (from + 0.4) / bins, count as f64)];
                    chart.draw_series(std::iter::once(Rectangle::new(corners, colour.filled()))).map_err(failed)?;
                }
            }
        }
        Ok(())
    })
}

/// A row of a picture: a name, a span between 0 and 1, perhaps a dot on it, and a text.
struct Bar {
    name: String,
    span: Option<(f64, f64)>,
    dot: Option<f64>,
    text: String,
}

/// A bar a family.
fn families(families: &[FamilyResult]) -> Result<String, PictureError> {
    let (pairs, found) = families.iter().fold((0, 0), |(pairs, found), one| (pairs + one.pairs, found + one.found));
    let missed: Vec<&str> = families.iter().filter(|one| one.found == 0).map(|one| one.family.as_str()).collect();
    let sentence = format!(
        "Pairs found of each family, which was new to the model: {found} of {pairs} in all; none of {}",
        if missed.is_empty() { "no family".into() } else { missed.join(", ") }
    );
    let rows: Vec<Bar> = families
        .iter()
        .map(|one| Bar {
            name: one.family.clone(),
            span: Some((0.0, one.found as f64 / one.pairs.max(1) as f64)),
            dot: None,
            text: format!("{} of {}", one.found, one.pairs),
        })
        .collect();
    bars("Recall by family", &sentence, &rows)
}

/// A dot with its interval a classifier.
fn classifiers(table: &[Short]) -> Result<String, PictureError> {
    let best = table
        .iter()
        .filter_map(|short| Some((short, short.average_precision?)))
        .max_by(|a, b| a.1.value.total_cmp(&b.1.value));
    let sentence = match best {
        Some((short, figure)) => {
            format!("Average precision by pair with its 95 % interval; best: {} {}", short.name, told(figure))
        }
        None => "Average precision by pair".into(),
    };
    let rows: Vec<Bar> = table
        .iter()
        .map(|short| Bar {
            name: short.name.clone(),
            span: short.average_precision.map(|figure| (figure.low, figure.high)),
            dot: short.average_precision.map(|figure| figure.value),
            text: short.average_precision.map_or_else(|| "failed".into(), |figure| format!("{:.3}", figure.value)),
        })
        .collect();
    bars("Classifiers", &sentence, &rows)
}

/// Rows one under the other.
fn bars(title: &str, sentence: &str, rows: &[Bar]) -> Result<String, PictureError> {
    const STEP: i32 = 20;
    const LEFT: i32 = 200;
    const RIGHT: i32 = 410;
    let height = (rows.len() as i32 * STEP + 16).unsigned_abs();
    let place = |share: f64| LEFT + (share.clamp(0.0, 1.0) * f64::from(RIGHT - LEFT)).round() as i32;
    picture(title, sentence, height, |area| {
        for (at, bar) in rows.iter().enumerate() {
            let y = 14 + at as i32 * STEP;
            label(area, &bar.name, (LEFT - 8, y), HPos::Right)?;
            let ground = Rectangle::new([(LEFT, y - 1), (RIGHT, y + 1)], INK.mix(0.2).filled());
            area.draw(&ground).map_err(failed)?;
            // An interval is thinner than a bar, so that its dot is seen.
            let (half, colour) = if bar.dot.is_some() { (2, REST) } else { (6, MALICE) };
            if let Some((from, to)) = bar.span.filter(|(from, to)| to > from) {
                let span = Rectangle::new([(place(from), y - half), (place(to), y + half)], colour.filled());
                area.draw(&span).map_err(failed)?;
            }
            if let Some(value) = bar.dot {
                area.draw(&Circle::new((place(value), y), 5, MALICE.filled())).map_err(failed)?;
            }
            label(area, &bar.text, (RIGHT + 8, y), HPos::Left)?;
        }
        Ok(())
    })
}

/// Corners of a curve that goes by steps.
fn steps(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::new();
    for (x, y) in points {
        if let Some((_, before)) = line.last().copied() {
            line.push((x, before));
        }
        line.push((x, y));
    }
    line
}

/// Lines and dots over axes.
fn chart<X, Y>(
    area: &Area<'_>,
    axes: (X, Y),
    names: (&str, &str),
    lines: &[(Vec<(f64, f64)>, RGBColor)],
    dots: &[(f64, f64)],
) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = builder(area).build_cartesian_2d(axes.0, axes.1).map_err(failed)?;
    mesh(&mut chart, names)?;
    for (line, colour) in lines {
        let path = PathElement::new(line.clone(), colour.stroke_width(2));
        chart.draw_series(std::iter::once(path)).map_err(failed)?;
    }
    chart.draw_series(dots.iter().map(|at| Circle::new(*at, 4, MALICE.filled()))).map_err(failed)?;
    Ok(())
}

fn builder<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(8).margin_right(16).x_label_area_size(40).y_label_area_size(52);
    builder
}

fn mesh<X, Y>(
    chart: &mut plotters::chart::ChartContext<'_, SVGBackend<'_>, plotters::prelude::Cartesian2d<X, Y>>,
    names: (&str, &str),
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let words = |size: u32| TextStyle::from(("sans-serif", size).into_font()).color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc(names.0)
        .y_desc(names.1)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .axis_style(INK.mix(0.6))
        .bold_line_style(INK.mix(0.15))
        .light_line_style(INK.mix(0.0))
        .label_style(words(14))
        .axis_desc_style(words(14))
        .draw()
        .map_err(failed)
}

/// A number of an axis.
fn short(value: f64) -> String {
    if value != 0.0 && value < 0.01 {
        format!("{value:.0e}")
    } else {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn label(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos) -> Drawn {
    let style = TextStyle::from(("sans-serif", 14).into_font()).color(&INK).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(printable(text), at, style)).map_err(failed)
}

/// Text that XML can hold, of a length that fits.
fn printable(text: &str) -> String {
    let text = plain(text);
    let allowed = |c: &char| !matches!(c, '\u{fffe}' | '\u{ffff}');
    let mut short: String = text.chars().filter(allowed).take(LABEL).collect();
    if text.chars().count() > LABEL {
        short.push('…');
    }
    short
}
