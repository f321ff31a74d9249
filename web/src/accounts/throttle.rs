//! How often a log-in may fail.
//!
//! Attempts are counted before the password is looked at, by account *and* by address, whether the account exists or
//! not. The tables are in memory and of bounded size: forgetting them at a restart costs an attacker's victim less than
//! a disk full of counters.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::config::Login;

/// Counts attempts.
#[derive(Debug)]
pub struct Throttle {
    limits: Login,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    accounts: HashMap<String, Window>,
    addresses: HashMap<IpAddr, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: i64,
    attempts: u32,
}

impl Throttle {
    /// Nobody has tried anything yet.
    pub fn new(limits: Login) -> Self {
        Self { limits, tables: Mutex::default() }
    }

    /// Counts one attempt, or says after how many seconds the next one is allowed.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn attempt(&self, account: &str, address: IpAddr, now: i64) -> Result<(), i64> {
        let Login { account_attempts, address_attempts, window_seconds, remembered, .. } = self.limits;
        let address = network(address);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        // The address first: one that is over its limit must not use up the attempts of the accounts it names.
        count(&mut tables.addresses, address, address_attempts, window_seconds, remembered, now)?;
        count(&mut tables.accounts, account.to_owned(), account_attempts, window_seconds, remembered, now)
    }

    /// Counts one attempt of an address that names no account, or says after how many seconds the next one is allowed.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn attempt_from(&self, address: IpAddr, now: i64) -> Result<(), i64> {
        let Login { address_attempts, window_seconds, remembered, .. } = self.limits;
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut tables.addresses, network(address), address_attempts, window_seconds, remembered, now)
    }

    /// Forgets the failures of an account: its owner has logged in. Of the address, only this attempt was none: whoever
    /// guesses the passwords of others gains nothing by knowing one.
    pub fn succeeded(&self, account: &str, address: IpAddr) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).accounts.remove(account);
        self.succeeded_from(address);
    }

    /// The same of an attempt that named no account.
    pub fn succeeded_from(&self, address: IpAddr) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = tables.addresses.get_mut(&network(address)) {
            window.attempts = window.attempts.saturating_sub(1);
        }
    }
}

/// What one person controls: an IPv4 address, or the /64 network of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

fn count<K: Clone + Eq + Hash>(
    table: &mut HashMap<K, Window>,
    key: K,
    limit: u32,
    length: i64,
    remembered: usize,
    now: i64,
) -> Result<(), i64> {
    if table.len() >= remembered && !table.contains_key(&key) {
        table.retain(|_, window| now - window.since < length);
        // Still full: the one with the fewest attempts has the least to forget, the oldest of those first.
        if table.len() >= remembered
            && let Some(least) = table.iter().min_by_key(|(_, window)| (window.attempts, window.since))
        {
            let least = least.0.clone();
            table.remove(&least);
        }
    }
    let window = table.entry(key).or_insert(Window { since: now, attempts: 0 });
    if now - window.since >= length {
        *window = Window { since: now, attempts: 0 };
    }
    if window.attempts >= limit {
        return Err((window.since + length - now).max(1));
    }
    window.attempts += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> Throttle {
        Throttle::new(Login {
            account_attempts: 3,
            address_attempts: 5,
            window_seconds: 60,
            remembered: 4,
            ..Login::default()
        })
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_is_throttled_from_everywhere_until_the_window_ends() {
        let throttle = throttle();
        for n in 1..=3 {
            assert_eq!(throttle.attempt("ada", at(&format!("192.0.2.{n}")), 100), Ok(()));
        }
        assert_eq!(throttle.attempt("ada", at("192.0.2.9"), 110), Err(50));
        assert_eq!(throttle.attempt("bob", at("192.0.2.9"), 110), Ok(()));
        assert_eq!(throttle.attempt("ada", at("192.0.2.9"), 160), Ok(()));
    }

    #[test]
    fn an_address_is_throttled_for_every_account_and_ipv6_by_network() {
        let throttle = throttle();
        for n in 0..5 {
            assert_eq!(throttle.attempt(&format!("user{n}"), at(&format!("2001:db8::{n}")), 0), Ok(()));
        }
        assert_eq!(throttle.attempt("ada", at("2001:db8::ffff"), 0), Err(60));
        assert_eq!(throttle.attempt("ada", at("2001:db8:0:1::1"), 0), Ok(()));
    }

    #[test]
    fn a_log_in_forgets_the_failures() {
        let throttle = throttle();
        for n in 0..9 {
            assert_eq!(throttle.attempt("ada", at(&format!("192.0.2.{n}")), 0), Ok(()), "{n}");
            throttle.succeeded("ada", at(&format!("192.0.2.{n}")));
        }
    }

    #[test]
    fn the_tables_stay_small_and_keep_the_worst() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.attempt("victim", at("192.0.2.1"), 0).unwrap();
        }
        for n in 0..100 {
            let _ = throttle.attempt(&format!("user{n}"), at(&format!("198.51.100.{n}")), 1);
        }
        assert!(throttle.attempt("victim", at("203.0.113.1"), 2).is_err());
        let tables = throttle.tables.lock().unwrap();
        assert!(tables.accounts.len() <= 4 && tables.addresses.len() <= 4);
    }
}
