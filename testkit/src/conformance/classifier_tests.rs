use super::super::Options;
use super::super::testing::{declare, fails_only, passes};
use super::agree;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, Declaration, Instance, PluginError, PluginKind, TrainingSet};

/// What a made-up classifier does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    KnowsBefore,
    Refuses,
    Reversed,
    ByInstance,
    CountsLessons,
    LoadsHalf,
    CountsTheBatch,
    NoParts,
    AnyWidth,
    MoreIsFine,
    BelievesAll,
    InfiniteAlone,
    OneAtATime,
}

/// Twice the first column, less what lies between the means of both classes there.
struct Middle {
    fault: Fault,
    instance: u64,
    lessons: u64,
    learnt: Option<Learnt>,
    busy: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Learnt {
    middle: f64,
    width: u64,
    more: u64,
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

fn error(words: &str) -> PluginError {
    PluginError::data(words)
}

/// The sum of all bytes, for [`Fault::BelievesAll`] to get wrong.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

impl Middle {
    fn learnt(&self, width: usize) -> Result<Learnt, PluginError> {
        let known = self.learnt.ok_or_else(|| error("nothing is known"))?;
        let fits = self.fault == Fault::AnyWidth || known.width == width as u64;
        if fits { Ok(known) } else { Err(error("rows of another width")) }
    }

    fn part(&self, row: &[f32]) -> f64 {
        let value = if row[0].is_nan() { 0.0 } else { f64::from(row[0]) * 2.0 };
        if self.fault == Fault::Reversed { -value } else { value }
    }
}

impl Classifier for Middle {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        if self.fault == Fault::Refuses {
            return Err(error("these rows are not good enough for me"));
        }
        self.lessons += 1;
        let mean = |label: bool| {
            let some = || data.rows.iter().zip(data.labels).filter(|(row, l)| **l == label && !row[0].is_nan());
            (some().count() > 0).then(|| some().map(|(row, _)| f64::from(row[0])).sum::<f64>() / some().count() as f64)
        };
        let middle = match (mean(false), mean(true)) {
            (Some(benign), Some(malicious)) => (benign + malicious) / 2.0,
            _ if self.fault == Fault::InfiniteAlone => f64::INFINITY,
            _ => return Err(error("rows of both kinds are needed")),
        };
        let more = match self.fault {
            Fault::ByInstance => self.instance,
            Fault::CountsLessons => self.lessons,
            _ => 0,
        };
        self.learnt = Some(Learnt { middle, width: data.rows.width() as u64, more });
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, PluginError> {
        if self.fault == Fault::KnowsBefore && self.learnt.is_none() {
            return Ok(Vec::new());
        }
        let Learnt { middle, width, more } = self.learnt.ok_or_else(|| error("nothing is known"))?;
        let mut bytes = [middle.to_le_bytes(), width.to_le_bytes(), more.to_le_bytes()].concat();
        bytes.extend(sum(&bytes).to_le_bytes());
        Ok(bytes)
    }

    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        let (numbers, rest) = weights.as_chunks::<8>();
        let surplus = self.fault == Fault::MoreIsFine;
        let [middle, width, more, sums] = match numbers {
            [first @ .., _, _, _, _] if first.is_empty() && rest.is_empty() => [0, 1, 2, 3].map(|at| numbers[at]),
            [a, b, c, d] if surplus => [*a, *b, *c, *d],
            _ => return Err(error("32 bytes are wanted")),
        };
        let right = sum(&weights[..24]) == u64::from_le_bytes(sums);
        let middle = match (right, self.fault) {
            (true, Fault::LoadsHalf) => f64::from_le_bytes(middle) / 2.0,
            (true, _) => f64::from_le_bytes(middle),
            (false, Fault::BelievesAll) => f64::NAN,
            (false, _) => return Err(error("the sum is wrong")),
        };
        self.learnt = Some(Learnt { middle, width: u64::from_le_bytes(width), more: u64::from_le_bytes(more) });
        Ok(())
    }

    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        let known = self.learnt(rows.width())?;
        let alone = !self.busy.swap(true, SeqCst);
        for (row, score) in rows.iter().zip(scores) {
            *score = self.part(row) - known.middle;
            *score += match self.fault {
                Fault::CountsTheBatch => rows.len() as f64,
                Fault::OneAtATime => f64::from(u8::from(alone)),
                _ => 0.0,
            };
        }
        if self.fault == Fault::OneAtATime {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.busy.store(false, SeqCst);
        Ok(())
    }

    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        self.learnt(row.len())?;
        contributions.fill(0.0);
        if self.fault != Fault::NoParts {
            contributions[0] = self.part(row);
        }
        Ok(())
    }
}

fn middle(fault: Fault) -> Middle {
    let instance = INSTANCES.fetch_add(1, SeqCst);
    Middle { fault, instance, lessons: 0, learnt: None, busy: AtomicBool::new(false) }
}

fn plugin(fault: Fault) -> Declaration {
    let create = move |settings: veilwatch_core::plugin::Settings<'_>| {
        settings.none()?;
        Ok(Instance::Classifier(Box::new(middle(fault))))
    };
    declare(PluginKind::Classifier, Arc::new(create))
}

#[test]
fn a_good_one_passes() {
    passes(&plugin(Fault::None), &Options::default(), &[]);
}

#[test]
fn each_fault_is_found_by_its_check() {
    for (fault, name) in [
        (Fault::KnowsBefore, "knows nothing before it learns"),
        (Fault::Refuses, "learns"),
        (Fault::Reversed, "scores grow with malice"),
        (Fault::ByInstance, "same rows and seed, same weights"),
        (Fault::CountsLessons, "forgets what it learnt before"),
        (Fault::LoadsHalf, "loading gives what was saved"),
        (Fault::CountsTheBatch, "scores do not depend on the batch"),
        (Fault::NoParts, "parts make the score"),
        (Fault::AnyWidth, "rows of another width refused"),
        (Fault::MoreIsFine, "cut or extended weights refused"),
        (Fault::BelievesAll, "changed weights do no harm"),
        (Fault::InfiniteAlone, "odd rows do no harm"),
        (Fault::OneAtATime, "called from two threads"),
    ] {
        fails_only(name, &plugin(fault), &Options::default());
    }
}

/// No classifier can tell on which side of the boundary it is, so that two stand for both sides here.
#[test]
fn a_difference_through_the_boundary_is_found() {
    assert!(agree(&mut middle(Fault::None), &mut middle(Fault::None)).is_ok());
    for fault in [Fault::Reversed, Fault::ByInstance, Fault::LoadsHalf, Fault::NoParts] {
        assert!(agree(&mut middle(Fault::None), &mut middle(fault)).is_err(), "{fault:?}");
    }
}
