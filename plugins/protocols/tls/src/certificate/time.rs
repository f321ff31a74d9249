//! Times of a certificate (RFC 5280 section 4.1.2.5), and the other forms of them that are about (X.680 sections 46, 47).

use crate::der::{Reader, tag};

/// Reads one time: seconds since 1970, 0 for what was before.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<u64> {
    let value = reader.value()?;
    let seconds = match value.tag {
        tag::UTC_TIME => utc(value.content),
        tag::GENERALIZED_TIME => generalized(value.content),
        _ => None,
    }?;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// `YYMMDDhhmm`, perhaps seconds, and a time zone.
fn utc(text: &[u8]) -> Option<i64> {
    let mut rest = text;
    let year = pair(&mut rest)?;
    let seconds = date_and_time(if year >= 50 { 1900 + year } else { 2000 + year }, &mut rest)?;
    match rest {
        b"Z" => Some(seconds),
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let mut zone = zone;
            let (hours, minutes) = (pair(&mut zone)?, pair(&mut zone)?);
            let offset = hours * 3600 + minutes * 60;
            let is_zone = zone.is_empty() && hours <= 25 && minutes < 60;
            is_zone.then_some(if *sign == b'+' { seconds - offset } else { seconds + offset })
        }
        _ => None,
    }
}

/// `YYYYMMDDhhmm`, perhaps seconds and up to three digits behind them, and `Z`.
fn generalized(text: &[u8]) -> Option<i64> {
    let mut rest = text;
    let year = pair(&mut rest)? * 100 + pair(&mut rest)?;
    let seconds = date_and_time(year, &mut rest)?;
    match rest {
        b"Z" => Some(seconds),
        [b'.', digits @ .., b'Z'] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => Some(seconds),
        _ => None,
    }
}

/// Month to seconds, which may be missing.
fn date_and_time(year: i64, rest: &mut &[u8]) -> Option<i64> {
    let (month, day, hour, minute) = (pair(rest)?, pair(rest)?, pair(rest)?, pair(rest)?);
    let second = if rest.len() > 1 { pair(rest)? } else { 0 };
    let is_time = hour < 24 && minute < 60 && second < 60;
    let days = days(year, month, day)?;
    is_time.then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// A number of two digits.
fn pair(rest: &mut &[u8]) -> Option<i64> {
    let (&[high, low], behind) = rest.split_first_chunk()?;
    *rest = behind;
    let is_number = high.is_ascii_digit() && low.is_ascii_digit();
    is_number.then(|| i64::from(high - b'0') * 10 + i64::from(low - b'0'))
}

/// Days of the Gregorian calendar from 1970 to a day, if there is such a day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end, and months of 153 days in every five.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719 468 days lie between the first of March of the year 0 and 1970.
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_and_their_odd_forms() {
        for (text, seconds) in [
            ("700101000000Z", Some(0)),
            ("200101000000Z", Some(1_577_836_800)),
            ("491231235959Z", Some(2_524_607_999)),
            ("500101000000Z", Some(-631_152_000)),
            ("000229000000Z", Some(951_782_400)),
            ("010229000000Z", None),
            ("7001010000Z", Some(0)),
            ("700101020030+0130", Some(1830)),
            ("700101020030-0130", Some(12_630)),
            ("700101000000-0030", Some(1800)),
            ("700101000000+2600", None),
            ("700101000000+0060", None),
            ("700101000000+00300", None),
            ("700101000000", None),
            ("7001010000", None),
            ("700101000000ZZ", None),
            ("701301000000Z", None),
            ("700001000000Z", None),
            ("700100000000Z", None),
            ("700132000000Z", None),
            ("700431000000Z", None),
            ("700101240000Z", None),
            ("700101006000Z", None),
            ("700101000060Z", None),
            ("7001010000 0Z", None),
            ("", None),
        ] {
            assert_eq!(utc(text.as_bytes()), seconds, "{text}");
        }
        for (text, seconds) in [
            ("19700101000000Z", Some(0)),
            ("197001010001Z", Some(60)),
            ("20500101000000Z", Some(2_524_608_000)),
            ("99991231235959Z", Some(253_402_300_799)),
            ("00000101000000Z", Some(-62_167_219_200)),
            ("21000229000000Z", None),
            ("19700101000001.123Z", Some(1)),
            ("19700101000001.Z", Some(1)),
            ("19700101000001.1234Z", None),
            ("19700101000001,1Z", None),
            ("19700101000001", None),
            ("19700101000001+0000", None),
        ] {
            assert_eq!(generalized(text.as_bytes()), seconds, "{text}");
        }
    }
}
