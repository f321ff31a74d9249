//! What is counted while the portal runs; a start begins at nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper ends of the histogram of durations, in seconds: pages at its lower end, uploads at its upper one.
pub const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// Requests of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// Answers by the first digit of their status, from 1 on.
    pub classes: [u64; 5],
    /// How many took no longer than each of [`BUCKETS`] and longer than the one before; the last one is for all others.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// Seconds of all of them.
    pub seconds: f64,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Figures {
    /// By method and pattern: as many as there are routes, whatever visitors ask for.
    routes: Mutex<BTreeMap<(&'static str, String), Route>>,
    /// Analyses by what became of them.
    analyses: Mutex<BTreeMap<&'static str, u64>>,
    /// Workers that died over an analysis.
    pub analyses_died: AtomicU64,
    /// Readers of packets that died.
    pub readers_died: AtomicU64,
}

impl Figures {
    /// Counts a request.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry((method, route.to_owned())).or_default();
        if let Some(class) = usize::from(status / 100).checked_sub(1).and_then(|at| route.classes.get_mut(at)) {
            *class += 1;
        }
        let seconds = took.as_secs_f64();
        let at = BUCKETS.iter().position(|most| seconds <= *most).unwrap_or(BUCKETS.len());
        if let Some(bucket) = route.buckets.get_mut(at) {
            *bucket += 1;
        }
        route.seconds += seconds;
    }

    /// The routes that were asked for.
    pub fn routes(&self) -> BTreeMap<(&'static str, String), Route> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts an analysis that came to this.
    pub fn analysed(&self, outcome: &'static str) {
        *self.analyses.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_default() += 1;
    }

    /// Analyses by what became of them.
    pub fn analyses(&self) -> BTreeMap<&'static str, u64> {
        self.analyses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts one more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_one_bucket() {
        let figures = Figures::default();
        for (status, seconds) in [(200, 0.001), (204, 0.005), (404, 0.3), (503, 4000.0)] {
            figures.answered("GET", "/", status, Duration::from_secs_f64(seconds));
        }
        figures.answered("POST", "/", 303, Duration::ZERO);
        let routes = figures.routes();
        assert_eq!(routes.len(), 2);
        let route = &routes[&("GET", "/".to_owned())];
        assert_eq!(route.classes, [0, 2, 0, 1, 1]);
        assert_eq!((route.buckets[0], route.buckets[6], route.buckets[12]), (2, 1, 1));
        assert_eq!(route.buckets.iter().sum::<u64>(), 4);
        assert!((route.seconds - 4000.306).abs() < 1e-9);
    }
}
