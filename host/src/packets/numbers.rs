use std::str::FromStr;

/// Numbers of packets as one types them: `5`, `10-20`, `-3`, `100-`, and several of these with commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// First and last of each range.
    ranges: Vec<(u64, u64)>,
}

/// Why a text names no packets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumbersError {
    /// Neither a number nor a range.
    #[error("`{0}` names no packets; write a number such as 5, or a range: 10-20, -3 (up to 3), 100- (from 100 on)")]
    Form(String),
    /// The first packet is 1.
    #[error("`{0}`: the first packet is number 1")]
    Zero(String),
    /// From a larger to a smaller one.
    #[error("`{0}` ends before it begins")]
    Backward(String),
    /// More than [`Numbers::MOST`].
    #[error("more than {} ranges of packets", Numbers::MOST)]
    TooMany,
}

impl Numbers {
    /// Most ranges.
    pub const MOST: usize = 1024;

    /// All packets.
    pub fn all() -> Self {
        Self { ranges: vec![(1, u64::MAX)] }
    }

    /// Whether a packet is among them.
    pub fn holds(&self, number: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// The last of them, behind which nothing needs to be read.
    pub fn last(&self) -> u64 {
        self.ranges.iter().map(|(_, last)| *last).max().unwrap_or(0)
    }
}

impl FromStr for Numbers {
    type Err = NumbersError;

    fn from_str(text: &str) -> Result<Self, NumbersError> {
        let mut ranges = Vec::new();
        for part in text.split(',').map(str::trim) {
            if ranges.len() == Self::MOST {
                return Err(NumbersError::TooMany);
            }
            let number = |text: &str| match text.parse::<u64>() {
                Ok(0) => Err(NumbersError::Zero(part.to_owned())),
                // `+5` is one to Rust.
                Ok(number) if text.starts_with(|c: char| c.is_ascii_digit()) => Ok(number),
                _ => Err(NumbersError::Form(part.to_owned())),
            };
            let range = match part.split_once('-') {
                None => (number(part)?, number(part)?),
                Some(("", "")) => return Err(NumbersError::Form(part.to_owned())),
                Some((first, "")) => (number(first)?, u64::MAX),
                Some(("", last)) => (1, number(last)?),
                Some((first, last)) => (number(first)?, number(last)?),
            };
            if range.0 > range.1 {
                return Err(NumbersError::Backward(part.to_owned()));
            }
            ranges.push(range);
        }
        Ok(Self { ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_typed() {
        let held = |text: &str| {
            let numbers: Numbers = text.parse().unwrap();
            ((1..=12).filter(|number| numbers.holds(*number)).collect::<Vec<u64>>(), numbers.last())
        };
        assert_eq!(held("5"), (vec![5], 5));
        assert_eq!(held("2-4"), (vec![2, 3, 4], 4));
        assert_eq!(held("-3"), (vec![1, 2, 3], 3));
        assert_eq!(held("11-"), (vec![11, 12], u64::MAX));
        assert_eq!(held("9, 1-2,2-3"), (vec![1, 2, 3, 9], 9));
        assert_eq!(Numbers::all().last(), u64::MAX);
    }

    #[test]
    fn anything_else_is_told() {
        let told = |text: &str| text.parse::<Numbers>().unwrap_err();
        for text in ["", "-", "a", "1-b", "1--3", "+5", "1,", "99999999999999999999"] {
            assert!(matches!(told(text), NumbersError::Form(_)), "{text}");
        }
        assert_eq!(told("0-3"), NumbersError::Zero("0-3".into()));
        assert_eq!(told("4-3"), NumbersError::Backward("4-3".into()));
        assert_eq!(told(&vec!["1"; Numbers::MOST + 1].join(",")), NumbersError::TooMany);
    }
}
