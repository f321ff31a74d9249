//! What was read out of a flow: typed records for what the built-in features need, declared fields for all the rest.
//!
//! A template writes values under a [`FieldId`]; extractors, output and filters read them by the same id. The typed
//! records ([`ClientHello`], [`ServerHello`], …) are views over a fixed range of ids, so that a dropped-in plugin sees
//! exactly what a built-in one sees. Names become ids once, when a pipeline is wired ([`FieldTable`]); no name is
//! hashed per flow.

mod dns;
mod field;
mod fingerprint;
mod limit;
mod prints;
mod tls;

pub use dns::{Dns, DnsLink, DnsLinks, dns_code_name, dns_type_name};
pub use field::{FieldError, FieldId, FieldKind, FieldSpec, FieldStore, FieldTable, Value};
pub use fingerprint::{Ja4, hex, is_grease, ja3, ja3_string, ja3s, ja4, ja4_raw};
pub use prints::{certificate_print, parameters_print, server_print, syn_print};
pub use tls::{CertificateInfo, ClientHello, ServerHello, TlsRecords, alert_name, handshake_name, is_post_quantum};

/// Where something stands in a flow, so that a reason can lead to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mark {
    /// The first byte of the ClientHello.
    ClientHello = 0,
    /// The first byte of the ServerHello.
    ServerHello = 1,
    /// The first byte of the server's Certificate message.
    Certificate = 2,
    /// The first encrypted record.
    ApplicationData = 3,
}

impl Mark {
    /// How many kinds of mark there are.
    pub const COUNT: usize = 4;

    /// The mark with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::ClientHello, Self::ServerHello, Self::Certificate, Self::ApplicationData]
            .get(usize::from(number))
            .copied()
    }
}

/// A value that can stand in a field: how a typed record's member is written and read.
pub trait FieldValue<'a>: Sized {
    /// The kind of field it needs.
    const KIND: FieldKind;
    /// As a field's value.
    fn to_value(&self) -> Value<'a>;
    /// Back from a field's value; a value of another kind gives `None`.
    fn from_value(value: Value<'a>) -> Option<Self>;
}

macro_rules! integer_field {
    ($($type:ty),*) => {$(
        impl<'a> FieldValue<'a> for $type {
            const KIND: FieldKind = FieldKind::U64;
            fn to_value(&self) -> Value<'a> {
                Value::U64(u64::from(*self))
            }
            fn from_value(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::U64(number) => Self::try_from(number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
integer_field!(u8, u16, u32, u64);

impl<'a> FieldValue<'a> for bool {
    const KIND: FieldKind = FieldKind::U64;
    fn to_value(&self) -> Value<'a> {
        Value::U64(u64::from(*self))
    }
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::U64(number) => Some(number != 0),
            _ => None,
        }
    }
}

impl<'a> FieldValue<'a> for f64 {
    const KIND: FieldKind = FieldKind::F64;
    fn to_value(&self) -> Value<'a> {
        Value::F64(*self)
    }
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::F64(number) => Some(number),
            _ => None,
        }
    }
}

impl<'a> FieldValue<'a> for &'a [u8] {
    const KIND: FieldKind = FieldKind::Bytes;
    fn to_value(&self) -> Value<'a> {
        Value::Bytes(self)
    }
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl<'a> FieldValue<'a> for &'a [u16] {
    const KIND: FieldKind = FieldKind::U16List;
    fn to_value(&self) -> Value<'a> {
        Value::U16List(self)
    }
    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::U16List(list) => Some(list),
            _ => None,
        }
    }
}

/// A typed record: a view over a run of fields with fixed ids.
pub trait Record<'a>: Sized {
    /// The fields, in order; the first one is always there when the record is.
    const FIELDS: &'static [FieldSpec];
    /// The id of the first field.
    const FIRST: FieldId;
    /// Builds the view from whatever holds the values.
    fn read(value: impl Fn(FieldId) -> Option<Value<'a>>) -> Option<Self>;
    /// Hands every member out under its id.
    fn write(&self, put: impl FnMut(FieldId, Value<'a>));
}

/// Defines a typed record: `name = type, first id; member: type = "field name", "what it is";`.
macro_rules! typed_record {
    ($(#[$meta:meta])* $name:ident, $prefix:literal, $first:literal; $($member:ident : $type:ty = $doc:literal),+ $(,)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq)]
        pub struct $name<'a> {
            $(#[doc = $doc] pub $member: $type,)+
        }
        impl<'a> $crate::record::Record<'a> for $name<'a> {
            const FIELDS: &'static [$crate::record::FieldSpec] = &[
                $($crate::record::FieldSpec {
                    name: std::borrow::Cow::Borrowed(concat!($prefix, ".", stringify!($member))),
                    kind: <$type as $crate::record::FieldValue<'a>>::KIND,
                    words: std::borrow::Cow::Borrowed($doc),
                }),+
            ];
            const FIRST: $crate::record::FieldId = $crate::record::FieldId($first);
            fn read(value: impl Fn($crate::record::FieldId) -> Option<$crate::record::Value<'a>>) -> Option<Self> {
                value(Self::FIRST)?;
                let mut id = $first;
                $(
                    let $member = value($crate::record::FieldId(id))
                        .and_then(|v| <$type as $crate::record::FieldValue<'a>>::from_value(v))
                        .unwrap_or_default();
                    id += 1;
                )+
                let _ = id;
                Some(Self { $($member),+ })
            }
            fn write(&self, mut put: impl FnMut($crate::record::FieldId, $crate::record::Value<'a>)) {
                let mut id = $first;
                $(
                    put($crate::record::FieldId(id), $crate::record::FieldValue::to_value(&self.$member));
                    id += 1;
                )+
                let _ = id;
            }
        }
    };
}
pub(crate) use typed_record;
