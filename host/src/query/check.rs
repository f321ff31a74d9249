//! Types are checked, and a tree of tests becomes a program.

use super::fields::{Fields, Known};
use super::literal::{self, Meant, example};
use super::program::{Program, Question, Reading, Step, Test};
use super::syntax::{self, Base, Comparison, Expression, Function, Item, Operand, Quantifier, Relation, Span};
use super::value::Ranges;
use super::{Kind, PATTERN_BYTES, PATTERN_MEMORY, PATTERNS, QueryError};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use std::cmp::Ordering;

/// Makes a program of an expression, over the fields of a level.
pub(super) fn check<S: Known>(text: &str, expression: &Expression, fields: &Fields) -> Result<Program<S>, QueryError> {
    let mut check = Check { text, fields, names: Vec::new(), sources: Vec::new(), steps: Vec::new(), patterns: 0 };
    check.expression(expression)?;
    Ok(Program { sources: check.sources, steps: check.steps })
}

struct Check<'a, S> {
    text: &'a str,
    fields: &'a Fields,
    /// Names of the sources, so that a field is read once however often it is spoken of.
    names: Vec<&'a str>,
    sources: Vec<S>,
    steps: Vec<Step>,
    patterns: usize,
}

impl<'a, S: Known> Check<'a, S> {
    fn wrong<T>(&self, place: Span, what: impl Into<String>) -> Result<T, QueryError> {
        Err(QueryError::new(self.text, place, what))
    }

    fn expression(&mut self, expression: &'a Expression) -> Result<(), QueryError> {
        match expression {
            Expression::All(members) => self.chain(members, Step::IfNo),
            Expression::Any(members) => self.chain(members, Step::IfYes),
            Expression::Not(inner) => {
                self.expression(inner)?;
                self.steps.push(Step::Not);
                Ok(())
            }
            Expression::Test(test) => {
                let test = self.test(test)?;
                self.steps.push(Step::Test(test));
                Ok(())
            }
        }
    }

    /// Members one after the other, until one decides.
    fn chain(&mut self, members: &'a [Expression], decided: fn(usize) -> Step) -> Result<(), QueryError> {
        let mut exits = Vec::new();
        for (at, member) in members.iter().enumerate() {
            self.expression(member)?;
            if at + 1 < members.len() {
                exits.push(self.steps.len());
                self.steps.push(Step::Not);
            }
        }
        let end = self.steps.len();
        for exit in exits {
            if let Some(step) = self.steps.get_mut(exit) {
                *step = decided(end);
            }
        }
        Ok(())
    }

    fn test(&mut self, test: &'a syntax::Test) -> Result<Test, QueryError> {
        let syntax::Test { left, relation, quantifier, .. } = test;
        if let Relation::Compare(comparison, right) = relation
            && is_constant(left)
        {
            if is_constant(right) {
                return self.wrong(test.span, "two constants are compared; one of them is to be a field");
            }
            return self.compare(right, comparison.flipped(), left, *quantifier);
        }
        if is_constant(left) {
            return self.wrong(left.span, "a constant stands here, where a field is wanted");
        }
        match relation {
            Relation::Present => {
                let (reading, _) = self.reading(left)?;
                if !reading.functions.is_empty() {
                    return self.wrong(left.span, "what a function gives is to be compared with something");
                }
                if quantifier.is_some() {
                    return self.wrong(test.span, "`any` and `all` stand before a comparison");
                }
                Ok(Test { left: reading, quantifier: Quantifier::Any, question: Question::Present })
            }
            Relation::Compare(comparison, right) => self.compare(left, *comparison, right, *quantifier),
            Relation::In(items) => {
                let (reading, kind) = self.reading(left)?;
                let ranges: Result<Vec<Meant>, QueryError> = items.iter().map(|item| self.item(item, kind)).collect();
                let question = Question::Within(Ranges::new(ranges?));
                Ok(Test { left: reading, quantifier: quantifier.unwrap_or(Quantifier::Any), question })
            }
            Relation::Contains(right) => {
                let (reading, kind) = self.reading(left)?;
                self.bytes(kind, left.span, "contains")?;
                let (value, _) = self.constant(right, kind)?;
                let needle = value.as_bytes().unwrap_or_default();
                let question = Question::Contains(Box::new(Finder::new(needle).into_owned()));
                Ok(Test { left: reading, quantifier: quantifier.unwrap_or(Quantifier::Any), question })
            }
            Relation::Matches(right) => {
                let (reading, kind) = self.reading(left)?;
                self.bytes(kind, left.span, "matches")?;
                let question = Question::Matches(self.pattern(right)?);
                Ok(Test { left: reading, quantifier: quantifier.unwrap_or(Quantifier::Any), question })
            }
        }
    }

    fn compare(
        &mut self,
        left: &'a Operand,
        comparison: Comparison,
        right: &'a Operand,
        quantifier: Option<Quantifier>,
    ) -> Result<Test, QueryError> {
        let (reading, kind) = self.reading(left)?;
        let own = match comparison {
            Comparison::AllDiffer | Comparison::AllEqual => Quantifier::All,
            _ => Quantifier::Any,
        };
        let quantifier = quantifier.unwrap_or(own);
        if !is_constant(right) && self.is_field(right) {
            let (other, other_kind) = self.reading(right)?;
            if !alike(kind, other_kind) {
                let what = format!("{kind} is compared with {other_kind}");
                return self.wrong(right.span, what);
            }
            return Ok(Test { left: reading, quantifier, question: Question::Field(comparison, other) });
        }
        let (first, last) = self.constant(right, kind)?;
        let question = match comparison {
            Comparison::AnyEqual | Comparison::AllEqual => Question::Within(Ranges::new(vec![(first, last)])),
            Comparison::AllDiffer | Comparison::AnyDiffers => Question::Outside(Ranges::new(vec![(first, last)])),
            _ if first != last => {
                return self.wrong(right.span, "a network is neither lower nor higher than an address");
            }
            _ => Question::Ordered(comparison, first),
        };
        Ok(Test { left: reading, quantifier, question })
    }

    /// A member of a set, from its first value to its last.
    fn item(&self, item: &Item, kind: Kind) -> Result<Meant, QueryError> {
        let (first, end) = self.constant(&item.first, kind)?;
        let Some(last) = &item.last else { return Ok((first, end)) };
        let place = item.first.span.to(last.span);
        let (begin, last) = self.constant(last, kind)?;
        if first != end || begin != last {
            return self.wrong(place, "a range goes from one value to another; a network is a range by itself");
        }
        match first.compare(&last) {
            Some(Ordering::Less | Ordering::Equal) => Ok((first, last)),
            Some(Ordering::Greater) => self.wrong(place, "this range ends before it begins"),
            None => self.wrong(place, "this range goes from one family of addresses to the other"),
        }
    }

    fn constant(&self, operand: &Operand, kind: Kind) -> Result<Meant, QueryError> {
        if !operand.functions.is_empty() || self.is_field(operand) {
            return self.wrong(operand.span, format!("a constant is wanted here: {}", example(kind)));
        }
        // A word of hexadecimal letters alone looks like a name.
        literal::read(&operand.base, kind).or_else(|what| match &operand.base {
            Base::Field(name) => {
                let near = self.fields.nearest(S::LEVEL, name);
                let meant = near.map(|near| format!("; the nearest field is `{near}`")).unwrap_or_default();
                self.wrong(operand.span, what + &meant)
            }
            _ => self.wrong(operand.span, what),
        })
    }

    /// Whether an operand speaks of a field, rightly or wrongly.
    fn is_field(&self, operand: &Operand) -> bool {
        match &operand.base {
            Base::Field(name) => {
                !operand.functions.is_empty() || name.contains('.') || self.fields.get(S::LEVEL, name).is_some()
            }
            _ => false,
        }
    }

    /// A field with its functions, and the kind of what comes of it.
    fn reading(&mut self, operand: &'a Operand) -> Result<(Reading, Kind), QueryError> {
        let Base::Field(name) = &operand.base else {
            return self.wrong(operand.span, "a function is called with a field");
        };
        let place = name_of(operand, name);
        let Some((mut kind, source)) = S::find(self.fields, name) else {
            return self.wrong(place, self.fields.unknown(S::LEVEL, name));
        };
        let slot = self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.names.push(name);
            self.sources.push(source);
            self.sources.len() - 1
        });
        let mut functions = operand.functions.clone();
        functions.reverse();
        for function in &functions {
            kind = match function {
                Function::Count => Kind::Number,
                _ if !matches!(kind, Kind::Text | Kind::Bytes) => {
                    let what = format!("`{}` is for text and bytes, and this is {kind}", function.name());
                    return self.wrong(operand.span, what);
                }
                Function::Len => Kind::Number,
                Function::Lower | Function::Upper => kind,
            };
        }
        Ok((Reading { slot, functions }, kind))
    }

    fn bytes(&self, kind: Kind, place: Span, word: &str) -> Result<(), QueryError> {
        match kind {
            Kind::Text | Kind::Bytes => Ok(()),
            _ => self.wrong(place, format!("`{word}` is for text and bytes, and this is {kind}")),
        }
    }

    fn pattern(&mut self, operand: &Operand) -> Result<Regex, QueryError> {
        let Base::Text(pattern) = &operand.base else {
            return self.wrong(operand.span, "a regular expression in quotes is wanted here");
        };
        let Ok(pattern) = std::str::from_utf8(pattern) else {
            return self.wrong(operand.span, "a regular expression is UTF-8; write bytes as `r\"\\xff\"` with `(?-u)`");
        };
        if pattern.len() > PATTERN_BYTES {
            return self.wrong(operand.span, format!("a regular expression has {PATTERN_BYTES} bytes at most"));
        }
        self.patterns += 1;
        if self.patterns > PATTERNS {
            return self.wrong(operand.span, format!("an expression has {PATTERNS} regular expressions at most"));
        }
        // Wireshark looks past capital and small letters, too.
        let built = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(PATTERN_MEMORY)
            .dfa_size_limit(PATTERN_MEMORY)
            .build();
        built.or_else(|error| {
            let why = match error {
                regex::Error::CompiledTooBig(_) => "it takes more than its share of memory".to_owned(),
                // The last line says what is wrong, after a picture of where.
                other => {
                    let text = other.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    last.strip_prefix("error: ").unwrap_or(last).to_owned()
                }
            };
            self.wrong(operand.span, format!("this regular expression cannot be used: {why}"))
        })
    }
}

/// Where a field's name stands, within the functions around it.
fn name_of(operand: &Operand, name: &str) -> Span {
    match operand.functions.len() {
        0 => operand.span,
        // Between the last parenthesis that opens and the first one that closes there may be blanks: all of it is shown then.
        _ => {
            let before: usize = operand.functions.iter().map(|function| function.name().len() + 1).sum();
            let start = operand.span.start + before;
            if start + name.len() + operand.functions.len() == operand.span.end {
                Span { start, end: start + name.len() }
            } else {
                operand.span
            }
        }
    }
}

fn is_constant(operand: &Operand) -> bool {
    operand.functions.is_empty() && !matches!(operand.base, Base::Field(_))
}

/// Whether values of two kinds may be compared.
fn alike(left: Kind, right: Kind) -> bool {
    let sort = |kind| match kind {
        Kind::Flag | Kind::Number => Kind::Number,
        Kind::Text | Kind::Bytes => Kind::Bytes,
        Kind::Ipv4 | Kind::Ipv6 | Kind::Ip => Kind::Ip,
        other => other,
    };
    sort(left) == sort(right)
}
