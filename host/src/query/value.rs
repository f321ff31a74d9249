use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

/// A value of a field, or a constant. Those of one field are of one sort.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// Flags and whole numbers.
    Number(u64),
    /// Numbers with a fraction, all of them finite.
    Real(f64),
    /// Addresses.
    Ip(IpAddr),
    /// Ethernet addresses.
    Mac([u8; 6]),
    /// Times and durations, in nanoseconds.
    Nanos(i128),
    /// Text and bytes.
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// Bytes that stand somewhere already.
    pub(super) fn bytes(bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::Bytes(Cow::Borrowed(bytes.as_ref()))
    }

    /// Text that was made for this.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Bytes(Cow::Owned(text.into().into_bytes()))
    }

    /// Its bytes, where it has some.
    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// An order in which equal ones stand together. Addresses of IPv4 come before those of IPv6.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Ip(a), Self::Ip(b)) => a.cmp(b),
            (Self::Mac(a), Self::Mac(b)) => a.cmp(b),
            (Self::Nanos(a), Self::Nanos(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            // The check lets no two sorts meet.
            _ => self.sort().cmp(&other.sort()),
        }
    }

    /// How it stands to another; nothing between addresses of two families, where neither is the lower one.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        let strangers = match (self, other) {
            (Self::Ip(a), Self::Ip(b)) => a.is_ipv4() != b.is_ipv4(),
            _ => self.sort() != other.sort(),
        };
        (!strangers).then(|| self.order(other))
    }

    fn sort(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Real(_) => 1,
            Self::Ip(_) => 2,
            Self::Mac(_) => 3,
            Self::Nanos(_) => 4,
            Self::Bytes(_) => 5,
        }
    }
}

/// Closed ranges of values, in order and apart from one another: what a look-up halves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranges(Vec<(Value<'static>, Value<'static>)>);

impl Ranges {
    /// Ranges in any order, which may overlap.
    pub(super) fn new(mut ranges: Vec<(Value<'static>, Value<'static>)>) -> Self {
        ranges.sort_by(|a, b| a.0.order(&b.0));
        let mut joined: Vec<(Value<'static>, Value<'static>)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first.order(end) != Ordering::Greater => {
                    if last.order(end) == Ordering::Greater {
                        *end = last;
                    }
                }
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// Whether a value is in one of them.
    pub(super) fn hold(&self, value: &Value<'_>) -> bool {
        let behind = self.0.partition_point(|(first, _)| first.order(value) != Ordering::Greater);
        let range = behind.checked_sub(1).and_then(|at| self.0.get(at));
        range.is_some_and(|(_, last)| last.order(value) != Ordering::Less)
    }
}
