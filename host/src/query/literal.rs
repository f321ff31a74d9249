//! What one writes for a value: the field beside it says how it is read.

use super::Kind;
use super::syntax::Base;
use super::value::Value;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The values that a constant stands for, from the first to the last: one, but for a network.
pub(super) type Meant = (Value<'static>, Value<'static>);

/// Nanoseconds of each unit of a duration. A longer name stands before one that it ends with.
const UNITS: [(&str, i128); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads a constant as a value of a kind, or says why it is none.
pub(super) fn read(base: &Base, kind: Kind) -> Result<Meant, String> {
    let one = |value: Value<'static>| Ok((value.clone(), value));
    match (base, kind) {
        // A bare word where text is wanted.
        (Base::Field(name), Kind::Text) => Err(format!("`{name}` is no field; text stands in quotes: \"{name}\"")),
        (Base::Field(name), _) => Err(format!("`{name}` is no field and no value; {} is wanted", example(kind))),
        (Base::Text(text), Kind::Text | Kind::Bytes) => one(Value::Bytes(Cow::Owned(text.clone()))),
        (Base::Text(text), Kind::Time) => {
            let text = std::str::from_utf8(text).unwrap_or_default();
            match time(text) {
                Some(time) => one(Value::Nanos(time)),
                None => Err(format!("this is no time; {} is wanted", example(kind))),
            }
        }
        (Base::Text(_), _) => Err(format!("text is compared with {kind} here; {} is wanted", example(kind))),
        (Base::Word(word), _) => match kind {
            Kind::Flag => match word.as_str() {
                "true" => one(Value::Number(1)),
                "false" => one(Value::Number(0)),
                _ => number(word).map(|number| (Value::Number(number), Value::Number(number))),
            },
            Kind::Number => number(word).map(|number| (Value::Number(number), Value::Number(number))),
            Kind::Real => real(word).map(|number| (Value::Real(number), Value::Real(number))),
            Kind::Text | Kind::Bytes => match octets(word) {
                Some(bytes) => one(Value::Bytes(Cow::Owned(bytes))),
                None if kind == Kind::Text => Err(format!("text stands in quotes: \"{word}\"")),
                None => Err(format!("these are no bytes; {} is wanted", example(kind))),
            },
            Kind::Ipv4 | Kind::Ipv6 | Kind::Ip => address(word, kind),
            Kind::Mac => match octets(word).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()) {
                Some(mac) => one(Value::Mac(mac)),
                None => Err(format!("this is no Ethernet address; {} is wanted", example(kind))),
            },
            Kind::Time => match decimal(word, UNITS[3].1).or_else(|| time(word)) {
                Some(time) => one(Value::Nanos(time)),
                None => Err(format!("this is no time; {} is wanted", example(kind))),
            },
            Kind::Duration => match duration(word) {
                Some(time) => one(Value::Nanos(time)),
                None => Err(format!("this is no duration; {} is wanted", example(kind))),
            },
        },
    }
}

/// What is written for a kind.
pub(super) fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Flag => "`true`, `false`, `1` or `0`",
        Kind::Number => "a whole number such as `443` or `0x1bb`",
        Kind::Real => "a number such as `0.9`",
        Kind::Text => "text such as `\"example\"`",
        Kind::Bytes => "bytes such as `de:ad:be:ef` or `\"text\"`",
        Kind::Ipv4 => "an address such as `10.0.0.1` or a network such as `10.0.0.0/8`",
        Kind::Ipv6 => "an address such as `fe80::1` or a network such as `fe80::/10`",
        Kind::Ip => "an address such as `10.0.0.1` or `fe80::1`, or a network such as `10.0.0.0/8`",
        Kind::Mac => "an address such as `02:00:5e:10:00:01`",
        Kind::Time => "a time such as `\"2026-11-23T17:53:06Z\"` (UTC, where it names no zone), or seconds since 1970",
        Kind::Duration => "a duration such as `1.5s`, `20ms`, `3m`, or seconds",
    }
}

fn number(word: &str) -> Result<u64, String> {
    let wrong = || Err(format!("`{word}` is no whole number from 0 to 18446744073709551615"));
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).or_else(|_| wrong());
    }
    if word.len() > 1 && word.starts_with('0') {
        // Octal for some, decimal for others.
        return Err("a number does not begin with `0`; hexadecimal ones begin with `0x`".into());
    }
    word.parse().or_else(|_| wrong())
}

fn real(word: &str) -> Result<f64, String> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'e' | b'E'));
    match word.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => Ok(number),
        _ => Err(format!("`{word}` is no number; {} is wanted", example(Kind::Real))),
    }
}

/// A decimal number of units, in whole parts of one; a fraction that is finer is cut.
fn decimal(word: &str, unit: i128) -> Option<i128> {
    let (negative, word) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
    let (whole, fraction) = word.split_once('.').unwrap_or((word, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut sum = whole.parse::<i128>().ok()?.checked_mul(unit)?;
    let mut part = unit;
    for digit in fraction.bytes() {
        // Of a minute a tenth is six seconds: no unit is below a nanosecond, and what is is cut.
        part /= 10;
        sum = sum.checked_add(part.checked_mul(i128::from(digit - b'0'))?)?;
    }
    Some(if negative { -sum } else { sum })
}

fn duration(word: &str) -> Option<i128> {
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((word.strip_suffix(name)?, *unit))).unwrap_or((word, UNITS[3].1));
    decimal(number, unit)
}

/// A time as RFC 3339 writes it, or without a zone, or a date alone.
fn time(text: &str) -> Option<i128> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_nanosecond());
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let begin = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    Some(civil.duration_since(begin).as_nanos())
}

/// Bytes as pairs of hexadecimal digits with `:` or `-` between them: two at least.
fn octets(word: &str) -> Option<Vec<u8>> {
    let between = if word.contains(':') { ':' } else { '-' };
    let bytes: Option<Vec<u8>> = word
        .split(between)
        .map(|pair| {
            let is = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            is.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        })
        .collect();
    bytes.filter(|bytes| bytes.len() > 1)
}

fn address(word: &str, kind: Kind) -> Result<Meant, String> {
    let wrong = || format!("this is no address; {} is wanted", example(kind));
    let (address, bits) = match word.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (word, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    match (kind, address) {
        (Kind::Ipv4, IpAddr::V6(_)) => return Err("the field holds addresses of IPv4, and this is one of IPv6".into()),
        (Kind::Ipv6, IpAddr::V4(_)) => return Err("the field holds addresses of IPv6, and this is one of IPv4".into()),
        _ => {}
    }
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => whole,
        Some(bits) => match bits.parse::<u32>() {
            Ok(number) if number <= whole && bits.bytes().all(|byte| byte.is_ascii_digit()) => number,
            _ => return Err(format!("a network's prefix has 0 to {whole} bits")),
        },
    };
    let (first, last): (IpAddr, IpAddr) = match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let net = u32::from(address) & !host;
            (Ipv4Addr::from(net).into(), Ipv4Addr::from(net | host).into())
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let net = u128::from(address) & !host;
            (Ipv6Addr::from(net).into(), Ipv6Addr::from(net | host).into())
        }
    };
    Ok((Value::Ip(first), Value::Ip(last)))
}
