use std::fmt;
use veilwatch_core::detect::is_unruly;

/// Where something stands in an expression, in bytes. Two things are equal wherever they stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// Bytes before it.
    pub start: usize,
    /// Bytes up to its end.
    pub end: usize,
}

impl Span {
    /// From the beginning of this to the end of another.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A parsed expression. Chains are flat; what stands in parentheses is a member of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// `a && b && c`: at least two.
    All(Vec<Expression>),
    /// `a || b || c`: at least two.
    Any(Vec<Expression>),
    /// `!a`
    Not(Box<Expression>),
    /// What is asked of fields.
    Test(Test),
}

impl Expression {
    /// Whether one of the names in it is such a one, on whichever side of a test it stands.
    pub(super) fn has_name(&self, is: fn(&str) -> bool) -> bool {
        let operand = |operand: &Operand| matches!(&operand.base, Base::Field(name) if is(name));
        match self {
            Self::All(members) | Self::Any(members) => members.iter().any(|member| member.has_name(is)),
            Self::Not(inner) => inner.has_name(is),
            Self::Test(Test { left, relation, .. }) => {
                operand(left)
                    || match relation {
                        Relation::Present => false,
                        Relation::Compare(_, right) | Relation::Contains(right) | Relation::Matches(right) => {
                            operand(right)
                        }
                        Relation::In(items) => {
                            items.iter().any(|item| operand(&item.first) || item.last.as_ref().is_some_and(operand))
                        }
                    }
            }
        }
    }
}

/// One question about a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// Whether any or all values must do, where that is said.
    pub quantifier: Option<Quantifier>,
    /// Of what it is asked.
    pub left: Operand,
    /// What is asked.
    pub relation: Relation,
    /// All of it.
    pub span: Span,
}

/// How many of a field's values must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// One at least.
    Any,
    /// Each of them, and there is one.
    All,
}

/// What a test asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Relation {
    /// Whether it is there.
    Present,
    /// Whether it compares like this.
    Compare(Comparison, Operand),
    /// Whether it is in a set.
    In(Vec<Item>),
    /// Whether these bytes are in it.
    Contains(Operand),
    /// Whether a regular expression is found in it.
    Matches(Operand),
}

/// A comparison, in the order of Wireshark 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`: some value is equal.
    AnyEqual,
    /// `!=`: all values differ.
    AllDiffer,
    /// `===`: all values are equal.
    AllEqual,
    /// `~=`: some value differs.
    AnyDiffers,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AnyEqual,
        Self::AllDiffer,
        Self::AllEqual,
        Self::AnyDiffers,
        Self::Less,
        Self::AtMost,
        Self::Greater,
        Self::AtLeast,
    ];

    /// Its sign.
    pub fn sign(self) -> &'static str {
        match self {
            Self::AnyEqual => "==",
            Self::AllDiffer => "!=",
            Self::AllEqual => "===",
            Self::AnyDiffers => "~=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }

    /// The same, asked from the other side.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Greater => Self::Less,
            Self::AtLeast => Self::AtMost,
            same => same,
        }
    }
}

/// A member of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The member, or the first one of a range.
    pub first: Operand,
    /// The last one of a range, which belongs to it.
    pub last: Option<Operand>,
}

/// A field or a constant, perhaps within functions.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// The functions, outermost first.
    pub functions: Vec<Function>,
    /// What they are called with.
    pub base: Base,
    /// All of it.
    pub span: Span,
}

/// What an operand is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// A field's name.
    Field(String),
    /// A constant without quotes, such as `443`, `10.0.0.0/8`, `de:ad` or `1.5s`: its field says what it stands for.
    Word(String),
    /// Text in quotes, as bytes.
    Text(Vec<u8>),
}

/// What can be made of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Text with small letters, of ASCII alone.
    Lower,
    /// Text with capital letters, of ASCII alone.
    Upper,
    /// Bytes of each value.
    Len,
    /// How many values there are.
    Count,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lower, Self::Upper, Self::Len, Self::Count];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Len => "len",
            Self::Count => "count",
        }
    }

    /// What it gives, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Lower => "text with small letters",
            Self::Upper => "text with capital letters",
            Self::Len => "bytes of each value",
            Self::Count => "how many values there are",
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = |f: &mut fmt::Formatter<'_>, members: &[Self], sign: &str, loose: fn(&Self) -> bool| {
            for (at, member) in members.iter().enumerate() {
                if at > 0 {
                    write!(f, " {sign} ")?;
                }
                if loose(member) { write!(f, "({member})")? } else { write!(f, "{member}")? }
            }
            Ok(())
        };
        match self {
            Self::All(members) => chain(f, members, "&&", |member| matches!(member, Self::All(_) | Self::Any(_))),
            Self::Any(members) => chain(f, members, "||", |member| matches!(member, Self::Any(_))),
            Self::Not(inner) if matches!(**inner, Self::Test(_) | Self::Not(_)) => write!(f, "!{inner}"),
            Self::Not(inner) => write!(f, "!({inner})"),
            Self::Test(test) => test.fmt(f),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quantifier {
            Some(Quantifier::Any) => f.write_str("any ")?,
            Some(Quantifier::All) => f.write_str("all ")?,
            None => {}
        }
        self.left.fmt(f)?;
        match &self.relation {
            Relation::Present => Ok(()),
            Relation::Compare(comparison, right) => write!(f, " {} {right}", comparison.sign()),
            Relation::Contains(right) => write!(f, " contains {right}"),
            Relation::Matches(right) => write!(f, " matches {right}"),
            Relation::In(items) => {
                f.write_str(" in {")?;
                for (at, Item { first, last }) in items.iter().enumerate() {
                    let gap = if at > 0 { ", " } else { "" };
                    write!(f, "{gap}{first}")?;
                    if let Some(last) = last {
                        write!(f, "..{last}")?;
                    }
                }
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.functions.iter().try_for_each(|function| write!(f, "{}(", function.name()))?;
        match &self.base {
            Base::Field(word) | Base::Word(word) => f.write_str(word)?,
            Base::Text(bytes) => quote(bytes, f)?,
        }
        self.functions.iter().try_for_each(|_| f.write_str(")"))
    }
}

/// Text as it is written in an expression.
fn quote(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if is_unruly(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
    }
    f.write_str("\"")
}
