//! How much one account may have going on at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A number of places for every account; copies share them.
#[derive(Clone, Debug)]
pub struct AtOnce {
    most: u32,
    taken: Arc<Mutex<HashMap<i64, u32>>>,
}

impl AtOnce {
    /// So many places for every account.
    pub fn new(most: u32) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// Takes one of this account's places; none where all are taken.
    pub fn enter(&self, account: i64) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(account).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { all: self.clone(), account })
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    all: AtOnce,
    account: i64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.all.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_nobody_takes_another_accounts() {
        let all = AtOnce::new(2);
        let (one, two) = (all.enter(1), all.enter(1));
        assert!(one.is_some() && two.is_some() && all.enter(1).is_none());
        assert!(all.enter(2).is_some());
        drop(one);
        assert!(all.enter(1).is_some());
        drop(two);
        assert!(all.taken.lock().unwrap().is_empty());
    }
}
