//! Pictures of how a model was judged: ROC, precision and recall, calibration.

use plotters::prelude::{Circle, PathElement};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor};
use veilwatch::evaluate::Digest;

use crate::pages::language::Messages;
use crate::results::pictures::{Ink, Picture, PictureError, area, escaped, failed, finished, label, line};
use crate::results::sentence::said;

/// Width and height of each.
const SIZE: (i32, i32) = (720, 420);
/// The square that a curve lies in: left, right, top, bottom.
const SQUARE: (i32, i32, i32, i32) = (70, 700, 20, 360);
/// Rows of a table.
const ROWS: usize = 21;
/// A curve; it has a contrast of 3 to 1 or more against both grounds.
const CURVE: RGBColor = RGBColor(0x3a, 0x8f, 0x89);

/// Which picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurveKind {
    /// Recall over the false-positive rate.
    Roc,
    /// Precision over recall.
    PrecisionRecall,
    /// Share of malicious pairs over the score.
    Calibration,
}

impl CurveKind {
    /// All, in the order they are shown in.
    pub const ALL: [Self; 3] = [Self::Roc, Self::PrecisionRecall, Self::Calibration];

    /// Its name in addresses; with `curve.` before it, the message of its title.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roc => "roc",
            Self::PrecisionRecall => "precision-recall",
            Self::Calibration => "calibration",
        }
    }

    /// The picture of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Draws one; none where the evaluation has no such curve.
///
/// # Errors
/// Where the drawing library fails.
pub fn curve(kind: CurveKind, digest: &Digest, messages: &Messages, ink: Ink) -> Result<Option<Picture>, PictureError> {
    let word = |key: &str| said(messages, &format!("curve.{key}"), |_| None);
    let points: Vec<(f64, f64)> = match kind {
        CurveKind::Roc => digest.roc.clone(),
        CurveKind::PrecisionRecall => digest.precision_recall.clone(),
        CurveKind::Calibration => digest.reliability.iter().map(|(score, share, _)| (*score, *share)).collect(),
    };
    if points.is_empty() {
        return Ok(None);
    }
    let (across, up) = match kind {
        CurveKind::Roc => ("false-positive-rate", "recall"),
        CurveKind::PrecisionRecall => ("recall", "precision"),
        CurveKind::Calibration => ("score", "share-malicious"),
    };
    let mut svg = String::new();
    {
        let area = area(&mut svg, SIZE.1);
        let (left, right, top, bottom) = SQUARE;
        let at = |x: f64, y: f64| {
            let along = |part: f64, from: i32, to: i32| from + (part * f64::from(to - from)).round() as i32;
            (along(x, left, right), along(y, bottom, top))
        };
        for tick in 0..=4 {
            let part = f64::from(tick) / 4.0;
            line(&area, at(0.0, part), at(1.0, part), if tick == 0 { 0.8 } else { 0.2 })?;
            line(&area, at(part, 0.0), at(part, 1.0), if tick == 0 { 0.8 } else { 0.2 })?;
            label(&area, &format!("{part}"), (left - 8, at(0.0, part).1), HPos::Right)?;
            let side = if tick == 4 { HPos::Right } else { HPos::Center };
            label(&area, &format!("{part}"), (at(part, 0.0).0, bottom + 16), side)?;
        }
        label(&area, &word(across), ((left + right) / 2, bottom + 44), HPos::Center)?;
        label(&area, &word(up), (left + 8, top + 12), HPos::Left)?;
        if kind != CurveKind::PrecisionRecall {
            // By chance, or as good as scores can be: what the curve is held against.
            line(&area, at(0.0, 0.0), at(1.0, 1.0), 0.5)?;
        }
        let path: Vec<(i32, i32)> = points.iter().map(|(x, y)| at(*x, *y)).collect();
        if kind == CurveKind::Calibration {
            for point in &path {
                area.draw(&Circle::new(*point, 5, CURVE.filled())).map_err(failed)?;
            }
        }
        area.draw(&PathElement::new(path, CURVE.stroke_width(2))).map_err(failed)?;
        area.present().map_err(failed)?;
    }
    let step = points.len().div_ceil(ROWS).max(1);
    let last = points.len() - 1;
    let rows = (0..points.len()).filter(|at| at % step == 0 || *at == last).filter_map(|at| {
        let (x, y) = points.get(at)?;
        let pairs = digest.reliability.get(at).filter(|_| kind == CurveKind::Calibration);
        let more = pairs.map(|(.., pairs)| pairs.to_string());
        Some((format!("{x:.4}"), std::iter::once(format!("{y:.4}")).chain(more).collect::<Vec<_>>()))
    });
    let rows: Vec<_> = rows.collect();
    let mut columns = vec![word(across), word(up)];
    if kind == CurveKind::Calibration {
        columns.push(word("pairs"));
    }
    let alternative = said(messages, &format!("curve.{}-words", kind.name()), |name| match name {
        "n" => Some(points.len().to_string()),
        "folds" => Some(digest.folds.to_string()),
        _ => None,
    });
    let svg = finished(&svg, &escaped(&alternative), ink);
    Ok(Some(Picture { title: word(kind.name()), svg, alternative, columns, rows }))
}
