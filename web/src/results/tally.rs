//! Hosts, added up while flows go by: who opened how many flows to how many servers, and how bad they were.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use veilwatch::engine::Detection;

use super::facts::{Found, Spread};
use super::schema::{FIRST_ALERT, MAX_HOSTS, MAX_PAIRS};

/// How much a flow matters when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It was not scored.
    Plain = 0,
    /// It was scored.
    Scored = 1,
    /// It is an alert.
    Alert = 2,
}

impl Weight {
    /// The weight of a flow with this verdict.
    pub fn of(is_scored: bool, verdict: Option<i64>) -> Self {
        match verdict {
            Some(verdict) if verdict >= FIRST_ALERT => Self::Alert,
            _ if is_scored => Self::Scored,
            _ => Self::Plain,
        }
    }

    /// How many there may be before one of this weight finds no room: heavier ones may go beyond `most` by half each.
    pub fn room(self, most: u64) -> u64 {
        most + most / 2 * self as u64
    }
}

/// What is added up of one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Flows it opened.
    pub flows: u64,
    /// Those that were scored.
    pub scored: u64,
    /// Those called malicious.
    pub malicious: u64,
    /// Those called suspicious.
    pub suspicious: u64,
    /// The largest score.
    pub score: Option<f64>,
    /// Servers it opened flows to.
    pub servers: u64,
    /// Packets of its flows, both ways.
    pub packets: u64,
    /// Bytes of its flows, both ways.
    pub bytes: u64,
    /// Begin of its first flow.
    pub first_ns: u64,
    /// End of its last flow.
    pub last_ns: u64,
}

/// All hosts.
#[derive(Debug, Default)]
pub struct Tally {
    hosts: HashMap<IpAddr, Host>,
    pairs: HashSet<(IpAddr, IpAddr)>,
    bad_servers: [HashSet<IpAddr>; 2],
    not_listed: u64,
}

impl Tally {
    /// Takes one flow.
    pub fn add(&mut self, detection: &Detection<'_>, verdict: Option<i64>) {
        let flow = detection.flow;
        let (source, server) = (flow.originator.ip(), flow.responder.ip());
        let weight = Weight::of(detection.scored.is_some(), verdict);
        let bad = verdict.and_then(|verdict| usize::try_from(verdict - FIRST_ALERT).ok());
        if let Some(servers) = bad.and_then(|at| self.bad_servers.get_mut(at))
            && servers.len() < MAX_HOSTS
        {
            servers.insert(server);
        }
        let room = weight.room(MAX_HOSTS as u64);
        if self.hosts.len() as u64 >= room && !self.hosts.contains_key(&source) {
            self.not_listed += 1;
            return;
        }
        let host = self.hosts.entry(source).or_insert_with(|| Host { first_ns: flow.first_ns, ..Host::default() });
        host.flows += 1;
        host.scored += u64::from(detection.scored.is_some());
        host.suspicious += u64::from(bad == Some(0));
        host.malicious += u64::from(bad == Some(1));
        if let Some(score) = detection.scored.and_then(|scored| scored.score) {
            host.score = Some(host.score.map_or(score, |most| most.max(score)));
        }
        if self.pairs.len() < MAX_PAIRS && self.pairs.insert((source, server)) {
            host.servers += 1;
        }
        host.packets += flow.stats.iter().map(|stats| stats.packets).sum::<u64>();
        host.bytes = flow.stats.iter().fold(host.bytes, |sum, stats| sum.saturating_add(stats.bytes));
        host.first_ns = host.first_ns.min(flow.first_ns);
        host.last_ns = host.last_ns.max(flow.last_ns);
    }

    /// Who talks to whom as malware does.
    pub fn found(&self) -> Found {
        let computers = |bad: fn(&Host) -> u64| self.hosts.values().filter(|host| bad(host) > 0).count() as u64;
        let [suspicious, malicious] = &self.bad_servers;
        Found {
            malicious: Spread { computers: computers(|host| host.malicious), servers: malicious.len() as u64 },
            suspicious: Spread { computers: computers(|host| host.suspicious), servers: suspicious.len() as u64 },
        }
    }

    /// Flows whose host found no room.
    pub fn not_listed(&self) -> u64 {
        self.not_listed
    }

    /// The hosts, the worst first.
    pub fn by_risk(self) -> Vec<(IpAddr, Host)> {
        let mut hosts: Vec<_> = self.hosts.into_iter().collect();
        let score = |host: &Host| host.score.unwrap_or(-1.0);
        hosts.sort_by(|(a_address, a), (b_address, b)| {
            (b.malicious.cmp(&a.malicious))
                .then(score(b).total_cmp(&score(a)))
                .then(b.suspicious.cmp(&a.suspicious))
                .then(b.flows.cmp(&a.flows))
                .then(a_address.cmp(b_address))
        });
        hosts
    }
}
