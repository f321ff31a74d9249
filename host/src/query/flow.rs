use super::check::check;
use super::fields::{Fields, FlowRead};
use super::program::{Program, Values};
use super::syntax::Expression;
use super::value::Value;
use super::{QueryError, parse};
use crate::engine::{Detection, Sink};
use std::fmt;
use std::io;
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::record::Value as Written;

/// An expression about flows and their verdicts.
#[derive(Debug, Clone)]
pub struct FlowQuery {
    expression: Expression,
    program: Program<FlowRead>,
}

impl FlowQuery {
    /// Parses an expression, and checks it against the fields of flows.
    pub fn new(text: &str, fields: &Fields) -> Result<Self, QueryError> {
        let expression = parse(text)?;
        let program = check(text, &expression, fields)?;
        Ok(Self { expression, program })
    }

    /// Whether it holds of a flow.
    pub fn holds(&self, detection: &Detection<'_>) -> bool {
        let read = |source: &FlowRead| {
            let mut values = Vec::new();
            gather(*source, detection, &mut values);
            values
        };
        let values: Values<'_> = self.program.sources.iter().map(read).collect();
        self.program.holds(&values)
    }

    /// The expression.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }
}

/// The values of a field. An empty text or list counts as none: so typed records say that there was nothing.
fn gather<'v>(source: FlowRead, detection: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    match source {
        FlowRead::Known(read) => read(detection, out),
        FlowRead::Field(id) => match detection.flow.fields.get(id) {
            None => {}
            Some(Written::U64(number)) => out.push(Value::Number(number)),
            Some(Written::F64(number)) => out.extend(number.is_finite().then_some(Value::Real(number))),
            Some(Written::Bytes(bytes)) => out.extend((!bytes.is_empty()).then(|| Value::bytes(bytes))),
            Some(Written::U16List(list)) => out.extend(list.iter().map(|number| Value::Number((*number).into()))),
        },
        FlowRead::Template(at) => {
            let flow = detection.flow;
            let guest = flow.guests.iter().any(|guest| guest.template == at);
            if guest || flow.templates().any(|(template, _)| template == at) {
                out.push(Value::Number(1));
            }
        }
        FlowRead::Column(at) => {
            let value = detection.scored.and_then(|scored| scored.row.get(at)).copied();
            out.extend(value.filter(|value| value.is_finite()).map(|value| Value::Real(value.into())));
        }
    }
}

impl fmt::Display for FlowQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

/// Lets those flows through to a sink of which an expression holds, early records too.
pub struct WhereSink<'a> {
    query: Option<&'a FlowQuery>,
    sink: &'a mut dyn Sink,
}

impl<'a> WhereSink<'a> {
    /// Before a sink; without an expression all flows get there.
    pub fn new(query: Option<&'a FlowQuery>, sink: &'a mut dyn Sink) -> Self {
        Self { query, sink }
    }

    fn lets(&self, detection: &Detection<'_>) -> bool {
        self.query.is_none_or(|query| query.holds(detection))
    }
}

impl fmt::Debug for WhereSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhereSink").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Sink for WhereSink<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        if self.lets(detection) { self.sink.flow(detection) } else { Ok(()) }
    }

    fn ended(&mut self, flow: &mut FlowRecord) {
        self.sink.ended(flow);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn renew(&mut self) {
        self.sink.renew();
    }

    fn early(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        if self.lets(detection) { self.sink.early(detection) } else { Ok(()) }
    }
}
