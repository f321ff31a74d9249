//! How much one account may have going on at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rocket::tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

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

/// What only a few may do at the same time, one of each account; copies share it.
///
/// One account has one turn at most, and whoever comes meanwhile waits for it without taking anybody else's: an account
/// that always has something to do leaves the other turns to the others.
#[derive(Clone, Debug)]
pub struct OneEach {
    all: Arc<Semaphore>,
    lines: Arc<Mutex<HashMap<i64, Line>>>,
}

/// Those of one account who have its turn or wait for it.
#[derive(Debug)]
struct Line {
    turn: Arc<Semaphore>,
    people: usize,
}

impl OneEach {
    /// So many turns at the same time, of all accounts.
    pub fn new(most: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), lines: Arc::default() }
    }

    /// Waits for the account's own turn, and then for one of all. Whoever waits no more leaves the line, and nothing is
    /// left of it.
    ///
    /// # Errors
    /// Where there are no turns any more.
    pub async fn take(&self, account: i64) -> Result<Turn, AcquireError> {
        let (in_line, turn) = self.line_up(account);
        // The account's own first: whoever waits for it must hold nothing that others could use.
        let own = turn.acquire_owned().await?;
        let shared = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Turn { _shared: shared, _own: own, _in_line: in_line })
    }

    fn line_up(&self, account: i64) -> (InLine, Arc<Semaphore>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(account).or_insert_with(|| Line { turn: Arc::new(Semaphore::new(1)), people: 0 });
        line.people += 1;
        (InLine { all: self.clone(), account }, Arc::clone(&line.turn))
    }
}

/// A turn that is taken until this is dropped. The line goes last, or a new one begins beside a turn that is taken.
#[derive(Debug)]
pub struct Turn {
    _shared: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _in_line: InLine,
}

/// Somebody in the line of an account; the last one takes it away.
#[derive(Debug)]
struct InLine {
    all: OneEach,
    account: i64,
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut lines = self.all.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.account) {
            line.people -= 1;
            if line.people == 0 {
                lines.remove(&self.account);
            }
        }
    }
}

/// What somebody waits for, where it is there already: a test then knows that they wait, and bets on no time.
#[cfg(test)]
pub(crate) fn already<T>(waits: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    use std::task::{Context, Poll, Waker};
    match std::pin::Pin::new(waits).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(what) => Some(what),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_has_one_turn_and_keeps_no_other() {
        let turns = OneEach::new(2);
        let first = already(&mut Box::pin(turns.take(1))).unwrap().unwrap();
        let (mut second, mut third) = (Box::pin(turns.take(1)), Box::pin(turns.take(1)));
        assert!(already(&mut second).is_none() && already(&mut third).is_none());
        // Who waits for its own turn has not taken the one that is free.
        let other = already(&mut Box::pin(turns.take(2))).unwrap().unwrap();
        let mut late = Box::pin(turns.take(3));
        assert!(already(&mut late).is_none());
        // The account's next one comes after whoever waited for a turn of all.
        drop(first);
        assert!(already(&mut second).is_none());
        let late = already(&mut late).unwrap().unwrap();
        drop(other);
        let second = already(&mut second).unwrap().unwrap();
        // One of all is free again, and still it is not for the account's third.
        drop(late);
        assert!(already(&mut third).is_none());
        drop(second);
        assert!(already(&mut third).unwrap().is_ok());
    }

    #[test]
    fn who_waits_no_more_is_forgotten() {
        let turns = OneEach::new(1);
        let held = already(&mut Box::pin(turns.take(1))).unwrap().unwrap();
        // One waits for the account's own turn, one has that and waits for a turn of all.
        let (mut own, mut shared) = (Box::pin(turns.take(1)), Box::pin(turns.take(2)));
        assert!(already(&mut own).is_none() && already(&mut shared).is_none());
        assert_eq!(turns.lines.lock().unwrap().len(), 2);
        drop((own, shared));
        assert_eq!(turns.lines.lock().unwrap().len(), 1);
        // Neither has taken a turn along.
        drop(held);
        assert!(turns.lines.lock().unwrap().is_empty());
        for account in [1, 2] {
            assert!(already(&mut Box::pin(turns.take(account))).unwrap().is_ok());
        }
        assert!(turns.lines.lock().unwrap().is_empty());
    }

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
