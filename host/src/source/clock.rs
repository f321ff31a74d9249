/// How an interface's timestamps count: pcapng's `if_tsresol` and `if_tsoffset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Ticks per second as pcapng writes it: 10 to this power, or 2 to its low seven bits where the top bit is set.
    pub(super) resolution: u8,
    /// Seconds to add.
    pub(super) offset_s: i64,
}

impl Default for Clock {
    /// Microseconds since 1970, which is what an interface without options has.
    fn default() -> Self {
        Self { resolution: 6, offset_s: 0 }
    }
}

impl Clock {
    /// Nanoseconds since 1970, held within what 64 bits express.
    pub(super) fn nanoseconds(self, ticks: u64) -> u64 {
        match self {
            Self { resolution: 6, offset_s: 0 } => ticks.saturating_mul(1000),
            Self { resolution: 9, offset_s: 0 } => ticks,
            _ => self.any(ticks),
        }
    }

    fn any(self, ticks: u64) -> u64 {
        let ticks = i128::from(ticks);
        // At most 2^64 ticks times 10^9 is below 2^94, so none of this overflows.
        let ns = match self.resolution {
            binary @ 0x80.. => (ticks * 1_000_000_000) >> (binary & 0x7f),
            decimal @ 0..=9 => ticks * 10i128.pow(u32::from(9 - decimal)),
            decimal => 10i128.checked_pow(u32::from(decimal - 9)).map_or(0, |per_ns| ticks / per_ns),
        };
        let ns = ns + i128::from(self.offset_s) * 1_000_000_000;
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(resolution: u8, offset_s: i64, ticks: u64) -> u64 {
        Clock { resolution, offset_s }.nanoseconds(ticks)
    }

    #[test]
    fn counts_in_any_power_of_ten() {
        assert_eq!(Clock::default().nanoseconds(1_500_000), 1_500_000_000);
        assert_eq!(ns(9, 0, 7), 7);
        assert_eq!(ns(0, 0, 3), 3_000_000_000);
        assert_eq!(ns(3, 0, 3), 3_000_000);
        assert_eq!(ns(12, 0, 5_999), 5);
        assert_eq!(ns(127, 0, u64::MAX), 0);
    }

    #[test]
    fn counts_in_any_power_of_two() {
        assert_eq!(ns(0x80, 0, 3), 3_000_000_000);
        assert_eq!(ns(0x80 | 10, 0, 512), 500_000_000);
        assert_eq!(ns(0x80 | 32, 0, (7 << 32) | 1 << 31), 7_500_000_000);
        assert_eq!(ns(0xff, 0, u64::MAX), 0);
    }

    #[test]
    fn adds_the_offset_and_saturates() {
        assert_eq!(ns(6, 100, 1), 100_000_001_000);
        assert_eq!(ns(6, -1, 1_500_000), 500_000_000);
        assert_eq!(ns(6, -2, 1_500_000), 0);
        assert_eq!(ns(6, i64::MIN, 0), 0);
        assert_eq!(ns(6, i64::MAX, 0), u64::MAX);
        assert_eq!(ns(6, 0, u64::MAX), u64::MAX);
        assert_eq!(ns(0, 0, u64::MAX), u64::MAX);
    }
}
