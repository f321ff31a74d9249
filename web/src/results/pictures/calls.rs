//! The calls of a conversation over time: when, how far apart, how much was sent, and how like a beacon's they were.

use std::collections::BTreeSet;

use super::{
    ALERT, Area, Drawn, Frame, HPos, Ink, Picture, PictureError, REST, Sketch, WIDTH, Words, area, bar, failed, key,
    label, line, of_sketch,
};
use crate::pages::language::Messages;
use crate::results::conversation::{Call, Conversation, median};
use crate::results::human::{bytes, duration, grouped, time};
use crate::results::schema::{FIRST_ALERT, verdict_number};
use plotters::prelude::RGBColor;

/// Height of the picture.
const HEIGHT: i32 = 420;
/// Width and height of a dot; dots at one place are drawn once, so that a picture is no larger than its ground.
const DOT: i32 = 3;
/// Rows of the table: so many pieces of the time.
const ROWS: usize = 24;
/// The least gap that is told from none, in nanoseconds.
const LEAST_GAP: f64 = 1e6;

/// Draws the calls of a conversation that has some.
///
/// # Errors
/// Where the drawing library fails.
pub fn calls(conversation: &Conversation, messages: &Messages, ink: Ink) -> Result<Picture, PictureError> {
    let words = Words(messages);
    let all = &conversation.calls;
    let mut svg = String::new();
    let span = all.first().zip(all.last()).map(|(first, last)| (first.flow.first_ns, last.flow.first_ns));
    let (from, to) = span.unwrap_or_default();
    draw(conversation, words, &mut svg, (from, to))?;
    let alternative = words.fill(
        "calls-words",
        &[
            ("calls", grouped(all.len() as u64)),
            ("alerts", grouped(all.iter().filter(|call| is_alert(call)).count() as u64)),
            ("from", time(from)),
            ("to", time(to)),
            (
                "gap",
                median(all.iter().filter_map(|call| call.gap_ns))
                    .map_or_else(|| words.get("never"), |gap| duration(gap as f64)),
            ),
            ("sent", bytes(median(all.iter().map(|call| call.sent)).unwrap_or_default())),
        ],
    );
    let step = all.len().div_ceil(ROWS).max(1);
    let rows = all.chunks(step).map(|some| {
        let count = |count: usize| grouped(count as u64);
        let gap = median(some.iter().filter_map(|call| call.gap_ns))
            .map_or_else(|| "–".to_owned(), |gap| duration(gap as f64));
        let sent = bytes(median(some.iter().map(|call| call.sent)).unwrap_or_default());
        let alerts = some.iter().filter(|call| is_alert(call)).count();
        let begin = some.first().map(|call| time(call.flow.first_ns)).unwrap_or_default();
        (begin, vec![count(some.len()), count(alerts), gap, sent])
    });
    let columns = ["time", "calls", "alerts", "gap", "sent"].map(|name| words.get(name)).to_vec();
    let sketch = Sketch { alternative, columns, rows: rows.collect() };
    Ok(of_sketch(words.get("calls-title"), sketch, &svg, ink))
}

fn is_alert(call: &Call) -> bool {
    call.flow.verdict.and_then(verdict_number).is_some_and(|verdict| verdict >= FIRST_ALERT)
}

fn draw(conversation: &Conversation, words: Words<'_>, svg: &mut String, (from, to): (u64, u64)) -> Drawn {
    let area = area(svg, HEIGHT);
    let lane = |top, bottom| Frame { left: 90, right: WIDTH - 15, top, bottom };
    let [when, gaps, sent, like] = [lane(34, 74), lane(112, 192), lane(230, 300), lane(338, 386)];
    let next = key(&area, &words.get("alerts"), (when.left, 14), ALERT)?;
    key(&area, &words.get("calls-rest"), (next, 14), REST)?;
    let x = |at: u64| {
        let part = if to > from { at.saturating_sub(from) as f64 / (to - from) as f64 } else { 0.5 };
        when.left + (part * f64::from(when.right - when.left - DOT)).round() as i32
    };
    sticks(&area, when, conversation, x)?;
    for (frame, name) in [(gaps, "gap"), (sent, "sent"), (like, "likeness")] {
        label(&area, &words.get(name), (frame.left, frame.top - 14), HPos::Left)?;
    }
    let all = &conversation.calls;
    let of_gap = |call: &Call| call.gap_ns.map(|gap| (gap as f64).max(LEAST_GAP));
    if let Some(scale) = Scale::of(all.iter().filter_map(of_gap)) {
        scale.axis(&area, gaps, duration)?;
        if let Some(period) =
            conversation.rhythm().map(|rhythm| f64::from(rhythm.period) * 1e9).filter(|p| p.is_finite())
        {
            let y = scale.y(gaps, period);
            line(&area, (gaps.left, y), (gaps.right, y), 0.6)?;
        }
        dots(&area, all, |call| Some((x(call.flow.first_ns), scale.y(gaps, of_gap(call)?))))?;
    }
    let of_sent = |call: &Call| (call.sent as f64).max(1.0);
    if let Some(scale) = Scale::of(all.iter().map(of_sent)) {
        scale.axis(&area, sent, |number| bytes(number.round() as u64))?;
        dots(&area, all, |call| Some((x(call.flow.first_ns), scale.y(sent, of_sent(call)))))?;
    }
    like.axis(&area, 1.0, |part| format!("{part}"))?;
    let height = f64::from(like.bottom - like.top);
    dots(&area, all, |call| {
        let score = f64::from(call.rhythm.score);
        (!score.is_nan()).then(|| (x(call.flow.first_ns), like.bottom - (score * height).round() as i32))
    })?;
    for (at, edge, side) in [(from, when.left, HPos::Left), (to, when.right, HPos::Right)] {
        label(&area, &time(at), (edge, HEIGHT - 14), side)?;
    }
    area.present().map_err(failed)
}

/// A stick for each call; those of alerts stand before the others.
fn sticks(area: &Area<'_>, frame: Frame, conversation: &Conversation, x: impl Fn(u64) -> i32) -> Drawn {
    line(area, (frame.left, frame.bottom), (frame.right, frame.bottom), 0.8)?;
    for (alerts, colour) in [(false, REST), (true, ALERT)] {
        let calls = conversation.calls.iter().filter(|call| is_alert(call) == alerts);
        for x in calls.map(|call| x(call.flow.first_ns)).collect::<BTreeSet<_>>() {
            bar(area, (x, frame.top), (x + 1, frame.bottom), colour)?;
        }
    }
    Ok(())
}

/// A dot for each call that has a place; those of alerts lie upon the others.
fn dots(area: &Area<'_>, calls: &[Call], place: impl Fn(&Call) -> Option<(i32, i32)>) -> Drawn {
    let on_grid = |(x, y): (i32, i32)| (x - x % DOT, y - y % DOT);
    let drawn = |alerts: bool, colour: RGBColor| {
        let places = calls.iter().filter(|call| is_alert(call) == alerts).filter_map(&place).map(on_grid);
        places
            .collect::<BTreeSet<_>>()
            .into_iter()
            .try_for_each(|(x, y)| bar(area, (x, y - 1), (x + DOT, y - 1 + DOT), colour))
    };
    drawn(false, REST)?;
    drawn(true, ALERT)
}

/// A scale on which each step is a multiple of the one before it.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// One on which all of these lie, none of them at its ends where they are alike.
    fn of(all: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = all.fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(one), high.max(one)));
        (low.is_finite() && high > 0.0).then_some(Self { low: low / 1.5, high: high * 1.5 })
    }

    fn y(self, frame: Frame, value: f64) -> i32 {
        let part = ((value / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0);
        frame.bottom - (part * f64::from(frame.bottom - frame.top)).round() as i32
    }

    fn axis(self, area: &Area<'_>, frame: Frame, name: impl Fn(f64) -> String) -> Drawn {
        for (value, strength) in [(self.low, 0.8), ((self.low * self.high).sqrt(), 0.2), (self.high, 0.2)] {
            let y = self.y(frame, value);
            line(area, (frame.left, y), (frame.right, y), strength)?;
            label(area, &name(value), (frame.left - 8, y), HPos::Right)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use crate::pages::Language;
    use crate::results::conversation::tests::{beacon, call};

    #[test]
    fn a_beacon_and_the_oddest_of_conversations_can_be_drawn() {
        let one = Conversation { calls: vec![call(0, u64::MAX, 0)], is_whole: true };
        let ends = Conversation { calls: vec![call(0, 0, 0), call(1, u64::MAX, u64::MAX)], is_whole: true };
        let many =
            Conversation { calls: (0..10_000).map(|n| call(n, n * n * 7919, n % 977)).collect(), is_whole: false };
        for (conversation, rows) in [(beacon(), 24), (one, 1), (ends, 2), (many, 24)] {
            for language in Language::ALL {
                let messages = language.messages().unwrap();
                for ink in [Ink::OnLight, Ink::OnDark] {
                    let picture = calls(&conversation, &messages, ink).unwrap();
                    check(&picture);
                    assert!(picture.rows.len() <= ROWS && picture.rows.len() >= rows / 2, "{}", picture.rows.len());
                    assert!(picture.svg.len() < 2 << 20, "{}", picture.svg.len());
                }
            }
        }
    }
}
