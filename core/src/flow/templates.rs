//! What flows are read by: the templates of a pipeline, which of them a flow is offered to, and the tables.

use crate::plugin::{Carrier, Openings, ProtocolTemplate};
use crate::tables::Tables;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A mask of templates for each first byte of a direction, and one for none yet.
type Masks = [u64; 257];

/// The templates of a pipeline, in order; at most [`MOST`](Self::MOST) are asked.
pub struct Templates {
    list: Vec<Box<dyn ProtocolTemplate>>,
    /// By carrier, then by direction: who may know a flow that begins so.
    openings: Box<[[Masks; 2]; 2]>,
    tables: Option<Arc<Tables>>,
}

impl Templates {
    /// Most templates of a pipeline.
    pub const MOST: usize = 64;

    /// These, in this order.
    pub fn new(list: Vec<Box<dyn ProtocolTemplate>>) -> Self {
        let mut templates = Self::default();
        list.into_iter().for_each(|template| templates.push(template));
        templates
    }

    /// The same with tables whose file types and warnings are looked for in payload.
    #[must_use]
    pub fn with_tables(self, tables: Arc<Tables>) -> Self {
        Self { tables: Some(tables), ..self }
    }

    /// The tables, where there are any.
    pub fn tables(&self) -> Option<&Tables> {
        self.tables.as_deref()
    }

    /// Adds one behind the others.
    pub fn push(&mut self, template: Box<dyn ProtocolTemplate>) {
        let at = self.list.len();
        if at < Self::MOST {
            for (carrier, masks) in [Carrier::Tcp, Carrier::Udp].into_iter().zip(self.openings.iter_mut()) {
                let Openings { forward, backward } = template.openings(carrier);
                for (masks, bytes) in masks.iter_mut().zip([forward, backward]) {
                    for (first, mask) in (0..=u8::MAX).map(Some).chain([None]).zip(masks.iter_mut()) {
                        *mask |= u64::from(bytes.holds(first)) << at;
                    }
                }
            }
        }
        self.list.push(template);
    }

    /// Those that may know a flow of which the directions begin like this, one bit each: what they say of it in
    /// [`openings`](ProtocolTemplate::openings). All of them as long as nobody has said anything.
    #[inline]
    pub fn asked(&self, carrier: Carrier, forward: &[u8], backward: &[u8]) -> u64 {
        if forward.is_empty() && backward.is_empty() {
            // Behind a hand-over, or a hole: nobody has said anything yet.
            return u64::MAX;
        }
        let [first, second] = &self.openings[usize::from(carrier == Carrier::Udp)];
        let place = |bytes: &[u8]| bytes.first().map_or(256, |byte| usize::from(*byte));
        first[place(forward)] | second[place(backward)]
    }

    /// Every template, one bit each.
    pub(super) fn all(&self) -> u64 {
        if self.list.len() >= Self::MOST { u64::MAX } else { (1 << self.list.len()) - 1 }
    }

    /// The templates whose bits are set, with their places, in order.
    pub fn among(&self, mut mask: u64) -> impl Iterator<Item = (u8, &dyn ProtocolTemplate)> {
        std::iter::from_fn(move || {
            let at = (mask != 0).then(|| mask.trailing_zeros() as u8)?;
            mask &= mask - 1;
            self.list.get(usize::from(at)).map(|template| (at, &**template))
        })
    }
}

impl Default for Templates {
    fn default() -> Self {
        Self { list: Vec::new(), openings: Box::new([[[0; 257]; 2]; 2]), tables: None }
    }
}

impl Deref for Templates {
    type Target = [Box<dyn ProtocolTemplate>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("count", &self.list.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{FirstBytes, PluginError, Probe, Progress, RecordSink, StreamView};

    struct Begins(Openings);

    impl ProtocolTemplate for Begins {
        fn openings(&self, carrier: Carrier) -> Openings {
            if carrier == Carrier::Tcp { self.0 } else { Openings::NONE }
        }
        fn probe(&self, _: &StreamView<'_>) -> Probe {
            Probe::No
        }
        fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            Ok(Progress::Done)
        }
    }

    #[test]
    fn who_is_asked() {
        let letters = Openings::either(FirstBytes::of(b"ab"));
        let server = Openings { forward: FirstBytes::NONE.or_silence(), backward: FirstBytes::of(b"b") };
        let list = [Openings::ANY, letters, server].map(|openings| Box::new(Begins(openings)) as Box<_>);
        let templates = Templates::new(Vec::from(list));
        assert_eq!(templates.asked(Carrier::Tcp, b"a", b""), 0b011);
        assert_eq!(templates.asked(Carrier::Tcp, b"", b"c"), 0b101);
        assert_eq!(templates.asked(Carrier::Tcp, b"x", b"b"), 0b111);
        assert_eq!(templates.asked(Carrier::Udp, b"a", b"b"), 0);
        assert_eq!(templates.asked(Carrier::Udp, b"", b""), u64::MAX, "who knows");
        assert_eq!((templates.all(), templates.among(0b101).map(|(at, _)| at).collect::<Vec<_>>()), (7, vec![0, 2]));
        assert_eq!(templates.among(1 << 63 | 1 << 5).count(), 0);
    }
}
