//! When flows may be over, by their slots.
//!
//! A sweep looks at every flow of a table, once a second: so their deadlines stand close together, in as few bytes as will
//! do, and are compared many at a time.

/// Deadlines in ticks of about a second since 1970. Past the year 2115 all are one: sweeps look at more flows then than they
/// need to.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    ticks: Vec<u32>,
}

/// Slots that are compared together; most sweeps find nothing among so many.
const TOGETHER: usize = 64;

impl Deadlines {
    /// Sets a slot's deadline; `u64::MAX` for a slot without a flow.
    pub(super) fn set(&mut self, slot: u32, deadline_ns: u64) {
        let slot = slot as usize;
        if self.ticks.len() <= slot {
            self.ticks.resize(slot + 1, u32::MAX);
        }
        self.ticks[slot] = tick(deadline_ns);
    }

    /// Adds the slots whose deadline is over, or is about to be: a tick is not exact. None is missing.
    pub(super) fn over(&self, now_ns: u64, slots: &mut Vec<u32>) {
        let now = tick(now_ns);
        for (some, first) in self.ticks.chunks(TOGETHER).zip((0u32..).step_by(TOGETHER)) {
            if some.iter().fold(false, |any, tick| any | (*tick <= now)) {
                slots.extend(some.iter().zip(first..).filter(|(tick, _)| **tick <= now).map(|(_, slot)| slot));
            }
        }
    }
}

/// What comes later never has the smaller tick.
fn tick(time_ns: u64) -> u32 {
    u32::try_from(time_ns >> 30).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever times there are, also at the end of all times.
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
                // Nor is anything there long before its time.
                if deadline.saturating_sub(now) > 1 << 30 && now < 1 << 61 {
                    prop_assert!(!slots.contains(&slot), "{deadline} {now}");
                }
            }
        }
    }
}
