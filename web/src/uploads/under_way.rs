//! How much one account may have on its way at the same time: uploads, and bytes against its quota.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::accounts::Reason;
use crate::config::Limits;

/// What each account has on its way, and how many bytes came in since the start; copies share it. It lives in memory:
/// a restart ends every request, and with it what is under way.
#[derive(Clone, Debug, Default)]
pub struct UnderWay(Arc<Mutex<HashMap<i64, Load>>>, Arc<AtomicU64>);

#[derive(Debug, Default)]
struct Load {
    uploads: u32,
    bytes: u64,
}

impl UnderWay {
    /// Begins an upload of an account that keeps `kept_bytes` so far.
    ///
    /// # Errors
    /// Where the account has as many uploads under way as it may.
    pub fn begin(&self, account: i64, kept_bytes: u64, limits: &Limits) -> Result<Upload, Reason> {
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let load = loads.entry(account).or_default();
        if load.uploads >= limits.uploads_at_once {
            if load.uploads == 0 {
                loads.remove(&account);
            }
            return Err(Reason::TooManyUploads);
        }
        load.uploads += 1;
        let room = limits.quota_bytes.saturating_sub(kept_bytes);
        Ok(Upload { all: self.clone(), account, room, bytes: 0 })
    }

    /// Bytes that came in since the start, of uploads that failed as well.
    pub fn received(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    /// Counts bytes that came in of an upload whose room was taken before.
    pub fn count_in(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many uploads this account has under way.
    pub fn count(&self, account: i64) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&account).map_or(0, |load| load.uploads)
    }
}

/// One upload under way; dropping it gives back what it took.
#[derive(Debug)]
pub struct Upload {
    all: UnderWay,
    account: i64,
    /// Bytes that the quota left when it began.
    room: u64,
    bytes: u64,
}

impl Upload {
    /// Takes so many bytes more of the quota.
    ///
    /// # Errors
    /// Where what the account keeps and what it has on its way would be more than its quota.
    pub fn add(&mut self, bytes: u64) -> Result<(), Reason> {
        let mut loads = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        let load = loads.entry(self.account).or_default();
        let sum = load.bytes.saturating_add(bytes);
        if sum > self.room {
            return Err(Reason::Quota);
        }
        load.bytes = sum;
        self.bytes += bytes;
        self.all.count_in(bytes);
        Ok(())
    }

    /// Whose upload it is.
    pub fn account(&self) -> i64 {
        self.account
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut loads = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get_mut(&self.account) {
            load.bytes = load.bytes.saturating_sub(self.bytes);
            load.uploads = load.uploads.saturating_sub(1);
            if load.uploads == 0 {
                loads.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_uploads_and_others_have_their_own() {
        let (all, limits) = (UnderWay::default(), Limits { uploads_at_once: 2, ..Limits::default() });
        let first = all.begin(1, 0, &limits).unwrap();
        let _second = all.begin(1, 0, &limits).unwrap();
        assert_eq!(all.begin(1, 0, &limits).unwrap_err(), Reason::TooManyUploads);
        assert!(all.begin(2, 0, &limits).is_ok());
        drop(first);
        assert!(all.begin(1, 0, &limits).is_ok());
        assert_eq!((all.count(1), all.count(2)), (1, 0));
    }

    #[test]
    fn uploads_at_once_share_one_quota() {
        let (all, limits) = (UnderWay::default(), Limits { quota_bytes: 100, ..Limits::default() });
        let mut first = all.begin(1, 40, &limits).unwrap();
        let mut second = all.begin(1, 40, &limits).unwrap();
        assert_eq!(first.add(35), Ok(()));
        assert_eq!(second.add(26), Err(Reason::Quota));
        assert_eq!(second.add(25), Ok(()));
        assert_eq!(all.received(), 60);
        drop(first);
        assert_eq!(second.add(35), Ok(()));
        assert_eq!(second.add(u64::MAX), Err(Reason::Quota));
        drop(second);
        assert!(all.0.lock().unwrap().is_empty(), "nothing stays in memory");
        assert_eq!(all.begin(1, 200, &limits).unwrap().add(1), Err(Reason::Quota));
    }

    #[test]
    fn none_at_once_is_none_and_leaves_nothing() {
        let (all, limits) = (UnderWay::default(), Limits { uploads_at_once: 0, ..Limits::default() });
        assert_eq!(all.begin(1, 0, &limits).unwrap_err(), Reason::TooManyUploads);
        assert!(all.0.lock().unwrap().is_empty());
    }
}
