//! An expression as a list of steps over values that were gathered before: one pass over each test's values.
//!
//! There is one register, yes or no. A test sets it, and a step may leave out what cannot change it any more.

use super::syntax::{Comparison, Function, Quantifier};
use super::value::{Ranges, Value};
use regex::bytes::Regex;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// Values of each field that a program speaks of.
pub(super) type Values<'a> = Vec<Vec<Value<'a>>>;

/// One step.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Asks.
    Test(Test),
    /// Turns the answer round.
    Not,
    /// Goes on at another step, where the answer is yes.
    IfYes(usize),
    /// The same where it is no.
    IfNo(usize),
}

/// A question about one field.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) left: Reading,
    pub(super) quantifier: Quantifier,
    pub(super) question: Question,
}

/// A field's values with functions applied, the innermost first.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) slot: usize,
    pub(super) functions: Vec<Function>,
}

/// What is asked of a value.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// Whether there is one.
    Present,
    /// Whether it is among these.
    Within(Ranges),
    /// Whether it is not.
    Outside(Ranges),
    /// How it stands to a constant.
    Ordered(Comparison, Value<'static>),
    /// Whether bytes are in it.
    Contains(Box<memchr::memmem::Finder<'static>>),
    /// Whether a pattern is.
    Matches(Regex),
    /// How it stands to the values of another field.
    Field(Comparison, Reading),
}

/// A checked expression over fields from `S`.
#[derive(Clone)]
pub(super) struct Program<S> {
    /// Where the values of each field come from.
    pub(super) sources: Vec<S>,
    pub(super) steps: Vec<Step>,
}

impl<S> fmt::Debug for Program<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("fields", &self.sources.len()).field("steps", &self.steps).finish()
    }
}

impl<S> Program<S> {
    /// Whether it holds for values, one list for each source.
    pub(super) fn holds(&self, values: &Values<'_>) -> bool {
        let (mut at, mut holds) = (0, false);
        // Steps only lead forward.
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match step {
                Step::Test(test) => holds = test.holds(values),
                Step::Not => holds = !holds,
                Step::IfYes(to) if holds => at = *to,
                Step::IfNo(to) if !holds => at = *to,
                Step::IfYes(_) | Step::IfNo(_) => {}
            }
        }
        holds
    }
}

impl Reading {
    fn of<'v>(&self, values: &'v Values<'v>) -> Cow<'v, [Value<'v>]> {
        let mut read = Cow::Borrowed(values.get(self.slot).map_or(&[][..], Vec::as_slice));
        for function in &self.functions {
            if read.is_empty() {
                break;
            }
            let make = |make: fn(&[u8]) -> Value<'v>| read.iter().filter_map(Value::as_bytes).map(make).collect();
            read = Cow::Owned(match function {
                Function::Lower => make(|bytes| Value::Bytes(Cow::Owned(bytes.to_ascii_lowercase()))),
                Function::Upper => make(|bytes| Value::Bytes(Cow::Owned(bytes.to_ascii_uppercase()))),
                Function::Len => make(|bytes| Value::Number(bytes.len() as u64)),
                Function::Count => vec![Value::Number(read.len() as u64)],
            });
        }
        read
    }
}

impl Test {
    fn holds(&self, values: &Values<'_>) -> bool {
        let left = self.left.of(values);
        if left.is_empty() {
            return false;
        }
        let each = |holds: &dyn Fn(&Value<'_>) -> bool| match self.quantifier {
            Quantifier::Any => left.iter().any(holds),
            Quantifier::All => left.iter().all(holds),
        };
        match &self.question {
            Question::Present => true,
            Question::Within(ranges) => each(&|value| ranges.hold(value)),
            Question::Outside(ranges) => each(&|value| !ranges.hold(value)),
            Question::Ordered(comparison, constant) => {
                each(&|value| value.compare(constant).is_some_and(|order| stands(*comparison, order)))
            }
            Question::Contains(finder) => {
                each(&|value| value.as_bytes().is_some_and(|bytes| finder.find(bytes).is_some()))
            }
            Question::Matches(pattern) => each(&|value| value.as_bytes().is_some_and(|bytes| pattern.is_match(bytes))),
            Question::Field(comparison, right) => pair(*comparison, self.quantifier, &left, &right.of(values)),
        }
    }
}

/// Whether an order is what a comparison wants.
fn stands(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::AnyEqual | Comparison::AllEqual => order.is_eq(),
        Comparison::AllDiffer | Comparison::AnyDiffers => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::AtMost => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::AtLeast => order.is_ge(),
    }
}

/// Compares each value of one field with each of another, without trying all pairs: what is equal is found in sorted
/// lists, and what is lower by the ends of both.
fn pair(comparison: Comparison, quantifier: Quantifier, left: &[Value<'_>], right: &[Value<'_>]) -> bool {
    if left.is_empty() || right.is_empty() {
        return false;
    }
    match comparison {
        Comparison::AnyEqual | Comparison::AllEqual => match quantifier {
            Quantifier::Any => meet(left, right),
            Quantifier::All => alike(left, right),
        },
        Comparison::AllDiffer | Comparison::AnyDiffers => match quantifier {
            Quantifier::Any => !alike(left, right),
            Quantifier::All => !meet(left, right),
        },
        _ => ordered(comparison, quantifier, left, right),
    }
}

/// Whether the lists have a value in common.
fn meet(left: &[Value<'_>], right: &[Value<'_>]) -> bool {
    let sorted = |values: &[Value<'_>]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].order(&values[*b]));
        order
    };
    let (a, b) = (sorted(left), sorted(right));
    let (mut a, mut b) = (a.iter().map(|at| &left[*at]).peekable(), b.iter().map(|at| &right[*at]).peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.order(y) {
            Ordering::Less => _ = a.next(),
            Ordering::Greater => _ = b.next(),
            Ordering::Equal => return true,
        }
    }
    false
}

/// Whether all values of both lists are the same one.
fn alike(left: &[Value<'_>], right: &[Value<'_>]) -> bool {
    let Some(first) = left.first() else { return false };
    left.iter().chain(right).all(|value| value.order(first).is_eq())
}

/// Whether one list stands to the other as wanted. Addresses of two families stand to one another in no way.
fn ordered(comparison: Comparison, quantifier: Quantifier, left: &[Value<'_>], right: &[Value<'_>]) -> bool {
    let is_old = |value: &&Value<'_>| matches!(value, Value::Ip(address) if address.is_ipv4());
    let families = [true, false].map(|old| {
        let of = |values: &[Value<'_>]| {
            let mut ends: Option<(usize, usize)> = None;
            for (at, value) in values.iter().enumerate().filter(|(_, value)| is_old(value) == old) {
                let (low, high) = ends.get_or_insert((at, at));
                if value.order(&values[*low]).is_lt() {
                    *low = at;
                }
                if value.order(&values[*high]).is_gt() {
                    *high = at;
                }
            }
            ends
        };
        (of(left), of(right))
    });
    let wants_low = matches!(comparison, Comparison::Less | Comparison::AtMost);
    let holds = |left_end: usize, right_end: usize| {
        left.get(left_end).zip(right.get(right_end)).is_some_and(|(a, b)| stands(comparison, a.order(b)))
    };
    match quantifier {
        // The one that has it easiest.
        Quantifier::Any => families.into_iter().any(|ends| match ends {
            (Some((left_low, left_high)), Some((right_low, right_high))) => {
                if wants_low {
                    holds(left_low, right_high)
                } else {
                    holds(left_high, right_low)
                }
            }
            _ => false,
        }),
        // The one that has it hardest; where both families are, some pair cannot stand.
        Quantifier::All => {
            let there = |ends: Option<_>| usize::from(ends.is_some());
            let met = families.iter().filter(|(a, b)| a.is_some() && b.is_some()).count();
            let sides = families.iter().map(|(a, b)| there(*a) + there(*b)).sum::<usize>();
            met == 1
                && sides == 2
                && families.into_iter().any(|ends| match ends {
                    (Some((left_low, left_high)), Some((right_low, right_high))) => {
                        if wants_low {
                            holds(left_high, right_low)
                        } else {
                            holds(left_low, right_high)
                        }
                    }
                    _ => false,
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn addresses() -> impl Strategy<Value = Vec<Value<'static>>> {
        let one = (0..4_u8, any::<bool>()).prop_map(|(last, old)| {
            Value::Ip(if old {
                IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
            } else {
                IpAddr::V6(Ipv6Addr::from(u128::from(last)))
            })
        });
        prop::collection::vec(one, 0..4)
    }

    proptest! {
        /// What is found in sorted lists and at their ends is what all pairs say.
        #[test]
        fn two_fields_are_compared_as_all_their_pairs(left in addresses(), right in addresses()) {
            for comparison in Comparison::ALL {
                for quantifier in [Quantifier::Any, Quantifier::All] {
                    let one = |a: &Value<'_>, b: &Value<'_>| match comparison {
                        Comparison::AnyEqual | Comparison::AllEqual => a == b,
                        Comparison::AllDiffer | Comparison::AnyDiffers => a != b,
                        _ => a.compare(b).is_some_and(|order| stands(comparison, order)),
                    };
                    let mut pairs = left.iter().flat_map(|a| right.iter().map(move |b| one(a, b)));
                    let wanted = !left.is_empty() && !right.is_empty() && match quantifier {
                        Quantifier::Any => pairs.any(|holds| holds),
                        Quantifier::All => pairs.all(|holds| holds),
                    };
                    prop_assert_eq!(pair(comparison, quantifier, &left, &right), wanted, "{:?} {:?}", comparison, quantifier);
                }
            }
        }
    }
}
