//! When flows may be over, by their slots.
//!
//! A sweep looks at every flow of a table, once a second: so their deadlines stand close together, in as few bytes as will
//! do, and are compared many at a time.

/// Deadlines in ticks of about a quarter of a second since the first one.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    begin_ns: Option<u64>,
    ticks: Vec<u32>,
}

/// Slots that are compared together; more than one sweep in so many finds nothing.
const TOGETHER: usize = 64;

impl Deadlines {
    /// Sets a slot's deadline; one of `u64::MAX` is over for nobody, as long as time is not.
    pub(super) fn set(&mut self, slot: u32, deadline_ns: u64) {
        let slot = slot as usize;
        if self.ticks.len() <= slot {
            self.ticks.resize(slot + 1, u32::MAX);
        }
        self.begin_ns.get_or_insert(deadline_ns);
        self.ticks[slot] = self.tick(deadline_ns);
    }

    /// Adds the slots whose deadline is over, or is about to be: a tick is not exact. None is missing.
    pub(super) fn over(&self, now_ns: u64, slots: &mut Vec<u32>) {
        let now = self.tick(now_ns);
        for (some, first) in self.ticks.chunks(TOGETHER).zip((0u32..).step_by(TOGETHER)) {
            if some.iter().fold(false, |any, tick| any | (*tick <= now)) {
                slots.extend(some.iter().zip(first..).filter(|(tick, _)| **tick <= now).map(|(_, slot)| slot));
            }
        }
    }

    /// What comes later never has the smaller tick.
    fn tick(&self, time_ns: u64) -> u32 {
        let since = time_ns.saturating_sub(self.begin_ns.unwrap_or_default());
        u32::try_from(since >> 28).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever times there are, also before the first and at the end of all times.
        #[test]
        fn nothing_that_is_over_is_missing(
            deadlines in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..1 << 40, Just(u64::MAX)], 1..200),
            now in prop_oneof![any::<u64>(), 0u64..1 << 40],
        ) {
            let mut all = Deadlines::default();
            deadlines.iter().zip(0..).for_each(|(deadline, slot)| all.set(slot, *deadline));
            let mut slots = Vec::new();
            all.over(now, &mut slots);
            prop_assert!(slots.is_sorted());
            for (deadline, slot) in deadlines.iter().zip(0..) {
                if now > *deadline {
                    prop_assert!(slots.contains(&slot), "{deadline} {now}");
                }
                // Nor is anything there long before its time, unless all of it is.
                if deadlines[0] < *deadline && now < *deadline && deadline - now > 1 << 29 && deadline - deadlines[0] < 1 << 58 {
                    prop_assert!(!slots.contains(&slot), "{deadline} {now}");
                }
            }
        }
    }
}
