//! Words become a tree of tests. `&&` binds more tightly than `||`, and `!` more tightly than both.

use super::lex::{Token, tokens};
use super::syntax::{Base, Comparison, Expression, Function, Item, Operand, Quantifier, Relation, Span, Test};
use super::{FUNCTIONS, NESTING, QueryError, SET_ITEMS};

/// Parses an expression; of fields and their kinds nothing is known here.
pub fn parse(text: &str) -> Result<Expression, QueryError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens: &tokens, at: 0, depth: 0 };
    if tokens.is_empty() {
        return Err(parser.wrong("an expression is missing"));
    }
    let expression = parser.any()?;
    match parser.peek() {
        None => Ok(expression),
        Some(Token::Sign(")")) => Err(parser.wrong("this parenthesis was not opened")),
        Some(_) => Err(parser.wrong("`&&` or `||` is missing before this")),
    }
}

/// Words that are no names.
const RESERVED: [&str; 24] = [
    "and", "or", "not", "in", "contains", "matches", "any", "all", "eq", "ne", "lt", "le", "gt", "ge", "any_eq",
    "all_eq", "any_ne", "all_ne", "true", "false", "lower", "upper", "len", "count",
];

struct Parser<'t> {
    text: &'t str,
    tokens: &'t [(Token, Span)],
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// Where the next token stands, or the end.
    fn span(&self) -> Span {
        let end = Span { start: self.text.len(), end: self.text.len() };
        self.tokens.get(self.at).map_or(end, |(_, span)| *span)
    }

    fn wrong(&self, what: impl Into<String>) -> QueryError {
        QueryError::new(self.text, self.span(), what)
    }

    /// Takes a sign or a word, if it comes next.
    fn takes(&mut self, wanted: &str) -> bool {
        let is = match self.peek() {
            Some(Token::Sign(sign)) => *sign == wanted,
            Some(Token::Word(word)) => word == wanted,
            _ => false,
        };
        self.at += usize::from(is);
        is
    }

    fn takes_one_of(&mut self, wanted: &[&str]) -> bool {
        wanted.iter().any(|wanted| self.takes(wanted))
    }

    fn any(&mut self) -> Result<Expression, QueryError> {
        self.chain(&["||", "or"], Self::all, Expression::Any)
    }

    fn all(&mut self) -> Result<Expression, QueryError> {
        self.chain(&["&&", "and"], Self::not, Expression::All)
    }

    fn chain(
        &mut self,
        signs: &[&str],
        member: fn(&mut Self) -> Result<Expression, QueryError>,
        chain: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, QueryError> {
        let first = member(self)?;
        let mut members = vec![first];
        while self.takes_one_of(signs) {
            members.push(member(self)?);
        }
        Ok(match members.pop() {
            Some(only) if members.is_empty() => only,
            last => {
                members.extend(last);
                chain(members)
            }
        })
    }

    /// Goes one level down, within bounds.
    fn deeper(&mut self, inner: fn(&mut Self) -> Result<Expression, QueryError>) -> Result<Expression, QueryError> {
        self.depth += 1;
        if self.depth > NESTING {
            return Err(self.wrong(format!("parentheses and negations stand in one another {NESTING} deep at most")));
        }
        let expression = inner(self)?;
        self.depth -= 1;
        Ok(expression)
    }

    fn not(&mut self) -> Result<Expression, QueryError> {
        if self.takes_one_of(&["!", "not"]) {
            return Ok(Expression::Not(Box::new(self.deeper(Self::not)?)));
        }
        if self.takes("(") {
            let opened = self.at - 1;
            let inner = self.deeper(Self::any)?;
            if !self.takes(")") {
                if self.peek().is_none() {
                    self.at = opened;
                    return Err(self.wrong("this parenthesis is not closed"));
                }
                return Err(self.wrong("`&&`, `||` or `)` is missing before this"));
            }
            return Ok(inner);
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expression, QueryError> {
        let begin = self.span();
        let quantifier = if self.takes("any") {
            Some(Quantifier::Any)
        } else if self.takes("all") {
            Some(Quantifier::All)
        } else {
            None
        };
        let left = self.operand()?;
        let mut negated = false;
        let relation = if let Some(comparison) = self.comparison() {
            Relation::Compare(comparison, self.operand()?)
        } else if self.takes("contains") {
            Relation::Contains(self.operand()?)
        } else if self.takes_one_of(&["matches", "~"]) {
            Relation::Matches(self.operand()?)
        } else if self.takes("in") {
            Relation::In(self.set()?)
        } else if self.peek() == Some(&Token::Word("not".into())) {
            self.at += 1;
            if !self.takes("in") {
                return Err(self.wrong("`not` stands before what it negates; behind a field only `not in` may follow"));
            }
            negated = true;
            Relation::In(self.set()?)
        } else {
            Relation::Present
        };
        if self.comparison().is_some() {
            self.at -= 1;
            return Err(self.wrong("comparisons are not chained; write `a < b && b < c`"));
        }
        let end = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(begin, |(_, span)| *span);
        let test = Expression::Test(Test { quantifier, left, relation, span: begin.to(end) });
        Ok(if negated { Expression::Not(Box::new(test)) } else { test })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        const SIGNS: [(&[&str], Comparison); 8] = [
            (&["==", "eq", "any_eq"], Comparison::AnyEqual),
            (&["!=", "ne", "all_ne"], Comparison::AllDiffer),
            (&["===", "all_eq"], Comparison::AllEqual),
            (&["~=", "!==", "any_ne"], Comparison::AnyDiffers),
            (&["<", "lt"], Comparison::Less),
            (&["<=", "le"], Comparison::AtMost),
            (&[">", "gt"], Comparison::Greater),
            (&[">=", "ge"], Comparison::AtLeast),
        ];
        SIGNS.iter().find(|(signs, _)| self.takes_one_of(signs)).map(|(_, comparison)| *comparison)
    }

    /// A set in braces, or one network without.
    fn set(&mut self) -> Result<Vec<Item>, QueryError> {
        if !self.takes("{") {
            return match self.peek() {
                Some(Token::Word(word)) if word.contains('/') => Ok(vec![Item { first: self.operand()?, last: None }]),
                _ => Err(self.wrong("a set such as `{1, 2, 5..9}` or a network such as `10.0.0.0/8` is missing")),
            };
        }
        let opened = self.at - 1;
        let mut items = Vec::new();
        loop {
            if self.peek().is_none() {
                self.at = opened;
                return Err(self.wrong("this set is not closed"));
            }
            if items.len() == SET_ITEMS {
                return Err(self.wrong(format!("a set has {SET_ITEMS} members at most")));
            }
            let first = self.operand()?;
            let last = if self.takes("..") { Some(self.operand()?) } else { None };
            items.push(Item { first, last });
            if self.takes("}") {
                return Ok(items);
            }
            if self.peek().is_some() && !self.takes(",") {
                return Err(self.wrong("`,` or `}` is missing before this"));
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, QueryError> {
        let begin = self.span();
        let mut functions = Vec::new();
        while let (Some(Token::Word(word)), Some((Token::Sign("("), _))) = (self.peek(), self.tokens.get(self.at + 1)) {
            let Some(function) = Function::ALL.into_iter().find(|function| function.name() == word) else {
                let known = Function::ALL.map(|function| format!("`{}`", function.name())).join(", ");
                return Err(self.wrong(format!("there is no function `{word}`; there are {known}")));
            };
            if functions.len() == FUNCTIONS {
                return Err(self.wrong(format!("functions stand in one another {FUNCTIONS} deep at most")));
            }
            functions.push(function);
            self.at += 2;
        }
        let base = match self.peek() {
            Some(Token::Text(bytes)) => Base::Text(bytes.clone()),
            Some(Token::Word(word)) if word == "true" || word == "false" => Base::Word(word.clone()),
            Some(Token::Word(word)) if RESERVED.contains(&word.as_str()) => {
                return Err(self.wrong(format!("a field or a value is missing before `{word}`")));
            }
            Some(Token::Word(word)) if is_name(word) => Base::Field(word.clone()),
            Some(Token::Word(word)) => Base::Word(word.clone()),
            Some(Token::Sign(sign)) => return Err(self.wrong(format!("a field or a value is missing before `{sign}`"))),
            None => return Err(self.wrong("a field or a value is missing here")),
        };
        let mut span = begin.to(self.span());
        self.at += 1;
        for _ in &functions {
            span = span.to(self.span());
            if !self.takes(")") {
                return Err(self.wrong("`)` is missing behind a function's field"));
            }
        }
        Ok(Operand { functions, base, span })
    }
}

/// Whether a word is a name, and no number, address or time.
pub(super) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !word.contains([':', '/'])
}
