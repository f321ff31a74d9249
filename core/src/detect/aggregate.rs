//! From flows to one word about a capture: scores of flows become that of their conversation, those of conversations that
//! of their host, and those of hosts that of the capture.
//!
//! **Why not the highest score.** Thresholds are chosen so that one benign service in a thousand has a flow beyond them: with
//! enough services one always has. **Why not the mean.** Whoever infects a host may have it open as many harmless flows as
//! they like. **Why no product of odds.** Flows of one conversation are the same program talking to the same server, so that
//! what the second one says, the first one has said already: a thousand retries are no thousand witnesses.
//!
//! Everything is added up as *places*: log-odds on a scale of the model's own, on which its lower threshold stands at 0 and
//! the upper one at 1 ([`Scale`]), so that one rule fits models of every steepness.
//!
//! * A **conversation** stands where its strongest flow stands, less [`ALONE`], and is lifted by its other flows in so far as
//!   they are above 0 themselves, and lowered in so far as they are below. `n` alike others weigh as `n / (1 + ρn)`, the
//!   effective size of a sample whose members go along with each other (Kish's design effect), so that repetition saturates:
//!   all the others of the world lift by at most [`LIFT`] beyond what a lone flow has, and lower by at most [`SINK`].
//! * A **host** stands where its strongest conversation stands, and is lifted by the next [`STRONGEST`] ones that are above 0,
//!   each counting half of the one before. Services are different witnesses, of whom one was wrong by chance more easily
//!   than three. Nothing lowers a host: what it does elsewhere in peace says nothing of this.
//! * The **capture** stands where its strongest host stands, lifted by others in the same way, and less.
//!
//! What follows, and is tested: a higher score never lowers anything; the order of flows changes no bit; harmless flows, as
//! many as somebody likes, lower a conversation by [`SINK`] and its host not at all through other services; flows below the
//! lower threshold never raise an alarm together, and flows below [`FLOOD`] none that is malicious.

use super::conversations::Conversations;
use super::{Thresholds, Verdict};
use crate::context::ConversationKey;
use crate::flow::FlowRecord;
use std::collections::BTreeMap;

/// What a flow that nothing goes along with must have beyond a threshold, in widths of the scale.
pub const ALONE: f64 = 0.05;
/// How far others can lift a conversation above its strongest flow.
pub const LIFT: f64 = 0.35;
/// How far they can lower it below what its strongest flow has alone.
pub const SINK: f64 = 0.35;
/// Others above the lower threshold of which half the lift comes: `1/ρ` for those.
const LIFT_HALF: f64 = 4.0;
/// Others far below it of which half the sinking comes. A client does many things with a server, and most of what a
/// command channel does is idle, so that many are needed.
const SINK_HALF: f64 = 16.0;
/// How far other conversations can lift a host above its strongest one.
pub const HOST_LIFT: f64 = 0.25;
/// How far other hosts can lift a capture above its strongest one.
pub const CAPTURE_LIFT: f64 = 0.1;
/// What stands no higher can in no number make anything malicious.
pub const FLOOD: f64 = 1.0 - LIFT - HOST_LIFT - CAPTURE_LIFT;
/// Conversations beside a host's strongest one, and hosts beside a capture's, that count.
pub const STRONGEST: usize = 4;
/// Conversations of a host that are named.
pub const NAMED: usize = 3;

/// The least width of a scale in log-odds, where thresholds meet.
const LEAST_WIDTH: f64 = 1e-3;
/// Scores nearer to 0 or 1 are no farther away: log-odds of 0 and 1 are infinite.
const NEAREST: f64 = 1e-9;
/// Sums are whole numbers of this, so that their order changes no bit.
const UNIT: f64 = (1u64 << 20) as f64;

/// Where scores stand between a model's thresholds, in log-odds: the lower threshold at 0, the upper one at 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    zero: f64,
    width: f64,
    /// Where the upper threshold stands: at 1, as these numbers round.
    malicious: f64,
}

impl Scale {
    /// The scale of some thresholds.
    pub fn new(thresholds: Thresholds) -> Self {
        let (lower, upper) = (log_odds(thresholds.suspicious), log_odds(thresholds.malicious));
        let width = (upper - lower).max(LEAST_WIDTH);
        // The upper threshold counts: where they meet, the lower one gives way by a hair.
        let zero = if width > upper - lower { upper - width } else { lower };
        Self { zero, width, malicious: (upper - zero) / width }
    }

    /// The log-odds between the thresholds.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Where a score stands.
    pub fn place(&self, score: f64) -> f64 {
        (log_odds(score) - self.zero) / self.width
    }

    /// The score that stands there.
    pub fn score(&self, place: f64) -> f64 {
        1.0 / (1.0 + (-(self.zero + place * self.width)).exp())
    }

    /// The verdict on what stands there.
    pub fn verdict(&self, place: f64) -> Verdict {
        if place.is_nan() {
            Verdict::Unknown
        } else if place >= self.malicious {
            Verdict::Malicious
        } else if place >= 0.0 {
            Verdict::Suspicious
        } else {
            Verdict::Benign
        }
    }
}

fn log_odds(score: f64) -> f64 {
    let score = score.clamp(NEAREST, 1.0 - NEAREST);
    (score / (1.0 - score)).ln()
}

/// What the flows of one conversation say together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Where the strongest flow stands.
    strongest: f64,
    /// What is above 0, each flow by at most 1, in [`UNIT`]s.
    above: u64,
    /// What is below.
    below: u64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { strongest: f64::NEG_INFINITY, above: 0, below: 0 }
    }
}

/// A part of a width as a whole number.
fn units(part: f64) -> u64 {
    (part.clamp(0.0, 1.0) * UNIT) as u64
}

/// How much of a half-way number of others there is, from 0 to 1.
fn saturated(units: u64, half: f64) -> f64 {
    let others = units as f64 / UNIT;
    others / (others + half)
}

impl Evidence {
    /// Takes in where a flow stands; NaN says nothing.
    pub fn add(&mut self, place: f64) {
        if !place.is_nan() {
            self.strongest = self.strongest.max(place);
            self.above = self.above.saturating_add(units(place));
            self.below = self.below.saturating_add(units(-place));
        }
    }

    /// Where the conversation stands; NaN where no flow said anything.
    pub fn place(&self) -> f64 {
        if self.strongest == f64::NEG_INFINITY {
            return f64::NAN;
        }
        let above = saturated(self.above.saturating_sub(units(self.strongest)), LIFT_HALF);
        let below = saturated(self.below.saturating_sub(units(-self.strongest)), SINK_HALF);
        self.strongest - ALONE + (ALONE + LIFT) * above - SINK * below
    }
}

/// Where a whole stands whose parts stand there, the strongest first.
fn together(places: impl IntoIterator<Item = f64>, lift: f64) -> f64 {
    let mut places = places.into_iter();
    let Some(mut place) = places.next() else { return f64::NAN };
    let mut share = lift;
    for next in places.take(STRONGEST) {
        share /= 2.0;
        place += share * next.clamp(0.0, 1.0);
    }
    place
}

/// Where a host stands whose conversations stand there, in any order; NaN where it has none.
pub fn host_place(mut conversations: Vec<f64>) -> f64 {
    conversations.sort_by(|a, b| b.total_cmp(a));
    together(conversations, HOST_LIFT)
}

/// One conversation, put together.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationConclusion {
    /// The server name, where it was asked for by one; else empty.
    pub name: Box<[u8]>,
    /// The server's address: of a conversation by name, that of its strongest flow.
    pub address: [u8; 16],
    /// The server's port.
    pub port: u16,
    /// Scored flows.
    pub flows: u64,
    /// Alerts among them.
    pub alerts: u64,
    /// Its score.
    pub score: f64,
    /// Its verdict.
    pub verdict: Verdict,
}

/// One host, put together.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConclusion {
    /// Its address.
    pub address: [u8; 16],
    /// Its score.
    pub score: f64,
    /// Its verdict.
    pub verdict: Verdict,
    /// Conversations with a score.
    pub conversations: u64,
    /// Scored flows.
    pub flows: u64,
    /// Alerts among them.
    pub alerts: u64,
    /// The strongest conversations, at most [`NAMED`].
    pub strongest: Vec<ConversationConclusion>,
}

/// A capture, put together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conclusion {
    /// Score and verdict; none where no flow has a score.
    pub outcome: Option<(f64, Verdict)>,
    /// Hosts with a scored flow.
    pub hosts: u64,
    /// Those called malicious.
    pub malicious_hosts: u64,
    /// Those called suspicious.
    pub suspicious_hosts: u64,
    /// Alerts among the flows of all of them.
    pub alerts: u64,
    /// The hosts with the highest scores, the worst first.
    pub worst: Vec<HostConclusion>,
}

/// What is known of a conversation so far.
#[derive(Debug, Clone, Default)]
struct Known {
    evidence: Evidence,
    flows: u64,
    alerts: u64,
    /// The server of its strongest flow.
    address: [u8; 16],
}

/// Puts the flows of a run together, bounded: where a conversation finds no room, the weaker half of all is forgotten.
#[derive(Debug)]
pub struct Aggregator {
    scale: Scale,
    known: Conversations<Known>,
}

impl Aggregator {
    /// One for scores of a model with these thresholds, which tells at most `limit` conversations apart (two at the least);
    /// whether a service is a name, where there is one, says `by_name`.
    pub fn new(thresholds: Thresholds, limit: usize, by_name: bool) -> Self {
        Self { scale: Scale::new(thresholds), known: Conversations::new(limit, by_name) }
    }

    /// Takes in a final flow that has a score and a verdict.
    pub fn observe(&mut self, flow: &FlowRecord, score: f64, verdict: Verdict) {
        // Where the model abstains there is nothing to add up.
        if score.is_nan() || verdict == Verdict::Unknown {
            return;
        }
        let place = self.scale.place(score);
        let known = self.known.of(self.known.key(flow), |known| known.evidence.place());
        // Of flows that are alike, the smaller address: which came first must not count.
        let strongest = known.evidence.strongest;
        if known.flows == 0 || place > strongest || (place == strongest && flow.responder.address < known.address) {
            known.address = flow.responder.address;
        }
        known.evidence.add(place);
        known.flows += 1;
        known.alerts += u64::from(verdict.is_alert());
    }

    /// Conversations that were forgotten because the limit was reached.
    pub fn forgotten(&self) -> u64 {
        self.known.forgotten()
    }

    /// What it all comes to, with the worst `hosts` by name.
    pub fn conclude(self, hosts: usize) -> Conclusion {
        let scale = self.scale;
        let mut by_host: BTreeMap<[u8; 16], Vec<(f64, ConversationKey, Known)>> = BTreeMap::new();
        for (key, known) in self.known.into_known() {
            by_host.entry(key.host).or_default().push((known.evidence.place(), key, known));
        }
        let mut all: Vec<(f64, HostConclusion)> = Vec::with_capacity(by_host.len());
        for (address, mut conversations) in by_host {
            // Stable: those that are alike stand in the order of their keys.
            conversations.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
            let place = together(conversations.iter().map(|(place, ..)| *place), HOST_LIFT);
            let sum = |of: fn(&Known) -> u64| conversations.iter().map(|(.., known)| of(known)).sum();
            let (count, flows, alerts) = (conversations.len() as u64, sum(|it| it.flows), sum(|it| it.alerts));
            let named = conversations.into_iter().take(NAMED).map(|(place, key, known)| ConversationConclusion {
                name: key.name,
                address: known.address,
                port: key.port,
                flows: known.flows,
                alerts: known.alerts,
                score: scale.score(place),
                verdict: scale.verdict(place),
            });
            let host = HostConclusion {
                address,
                score: scale.score(place),
                verdict: scale.verdict(place),
                conversations: count,
                flows,
                alerts,
                strongest: named.collect(),
            };
            all.push((place, host));
        }
        all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let place = together(all.iter().map(|(place, _)| *place), CAPTURE_LIFT);
        let count = |verdict| all.iter().filter(|(_, host)| host.verdict == verdict).count() as u64;
        Conclusion {
            outcome: (!place.is_nan()).then(|| (scale.score(place), scale.verdict(place))),
            hosts: all.len() as u64,
            malicious_hosts: count(Verdict::Malicious),
            suspicious_hosts: count(Verdict::Suspicious),
            alerts: all.iter().map(|(_, host)| host.alerts).sum(),
            worst: all.into_iter().take(hosts).map(|(_, host)| host).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place_of(flows: &[f64]) -> f64 {
        let mut evidence = Evidence::default();
        flows.iter().for_each(|place| evidence.add(*place));
        evidence.place()
    }

    /// Rounding of the last bits.
    const HAIR: f64 = 1e-9;
    const DEFAULT: Thresholds = Thresholds { suspicious: 0.26, malicious: 0.83 };

    #[test]
    fn the_scale_stands_on_the_thresholds() {
        for thresholds in [DEFAULT, Thresholds { suspicious: 0.009, malicious: 0.9997 }] {
            let scale = Scale::new(thresholds);
            for (score, verdict) in [
                (thresholds.malicious, Verdict::Malicious),
                (thresholds.suspicious, Verdict::Suspicious),
                (thresholds.malicious - 1e-6, Verdict::Suspicious),
                (thresholds.suspicious - 1e-6, Verdict::Benign),
                (f64::NAN, Verdict::Unknown),
            ] {
                assert_eq!(scale.verdict(scale.place(score)), verdict, "{score}");
            }
            assert!((scale.place(thresholds.malicious) - 1.0).abs() < HAIR);
            assert!((scale.score(scale.place(0.4)) - 0.4).abs() < HAIR);
        }
        // Thresholds that meet, and such that nothing reaches.
        let met = Scale::new(Thresholds { suspicious: 0.5, malicious: 0.5 });
        assert_eq!(met.verdict(met.place(0.5)), Verdict::Malicious);
        // Even so a flow by itself makes the capture what it is.
        for thresholds in
            [Thresholds { suspicious: 0.2, malicious: 0.2 }, Thresholds { suspicious: 0.367, malicious: 0.576 }]
        {
            let mut aggregator = Aggregator::new(thresholds, 10, true);
            let score = thresholds.malicious + 0.02;
            aggregator.observe(&flow(1, 1, 443), score, thresholds.verdict(score));
            assert!(aggregator.conclude(1).outcome.unwrap().1.is_alert(), "{thresholds:?}");
        }
        let never = Scale::new(Thresholds { suspicious: 1.0, malicious: 1.0 });
        assert_eq!(never.verdict(never.place(0.999)), Verdict::Benign);
        assert!([0.0, 1.0].iter().all(|score| never.place(*score).is_finite()));
    }

    #[test]
    fn neither_one_flow_nor_a_flood_decides_alone() {
        // Just beyond the threshold by itself, and seen twice more.
        assert!(place_of(&[1.01]) < 1.0);
        assert!(place_of(&[1.01, 0.9, 0.9]) > 1.0);
        // One odd flow among hundreds that are none, to the same service.
        let mut odd = vec![-1.0; 300];
        odd.push(1.2);
        assert!(place_of(&odd) < 1.0, "{}", place_of(&odd));
        // A steady run of what is all but malicious.
        assert!(place_of(&[0.8; 20]) > 1.0);
        // Of what is hardly suspicious no run is long enough.
        assert!(place_of(&[0.3; 100_000]) < 1.0);
        assert!(place_of(&[]).is_nan() && place_of(&[f64::NAN]).is_nan());
    }

    fn flow(host: u8, server: u16, port: u16) -> FlowRecord {
        use crate::flow::{FlowLimits, FlowTable, Templates};
        use crate::packet::Decoded;
        let [high, low] = server.to_be_bytes();
        let packet = Decoded {
            src: [host; 16],
            dst: [high, low, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
            src_port: 40_000,
            dst_port: port,
            protocol: 17,
            lan: 0,
            ip_len: 128,
            payload_len: 100,
            tcp: None,
            payload: &[],
        };
        let mut table = FlowTable::new(FlowLimits::default(), 0);
        table.push(1, 1_000_000_000, &packet, &Templates::default());
        table.finish_all(0, &Templates::default());
        table.take_finished().remove(0)
    }

    /// What (host, server, place) come to.
    fn concluded(flows: &[(u8, u16, f64)], limit: usize) -> (Conclusion, u64) {
        concluded_by(DEFAULT, flows, limit)
    }

    fn concluded_by(thresholds: Thresholds, flows: &[(u8, u16, f64)], limit: usize) -> (Conclusion, u64) {
        let scale = Scale::new(thresholds);
        let mut aggregator = Aggregator::new(thresholds, limit, true);
        for (host, server, place) in flows {
            aggregator.observe(&flow(*host, *server, 443), scale.score(*place), scale.verdict(*place));
        }
        let forgotten = aggregator.forgotten();
        (aggregator.conclude(10), forgotten)
    }

    fn standing(flows: &[(u8, u16, f64)]) -> f64 {
        concluded(flows, 10_000).0.outcome.map_or(f64::NAN, |(score, _)| Scale::new(DEFAULT).place(score))
    }

    #[test]
    fn hosts_are_told_with_what_makes_them_so() {
        let flows = [(1, 1, -2.0), (1, 2, 1.5), (1, 2, 1.4), (1, 3, 0.5), (2, 1, -3.0), (2, 4, -2.0)];
        let (conclusion, _) = concluded(&flows, 100);
        assert_eq!(conclusion.outcome.unwrap().1, Verdict::Malicious);
        assert_eq!((conclusion.hosts, conclusion.malicious_hosts, conclusion.suspicious_hosts), (2, 1, 0));
        // All alerts count, whether their hosts are told or not.
        let mut untold = Aggregator::new(DEFAULT, 10, true);
        untold.observe(&flow(1, 1, 443), 0.99, Verdict::Malicious);
        let untold = untold.conclude(0);
        assert_eq!((conclusion.alerts, untold.alerts, untold.worst.len()), (3, 1, 0));
        let worst = &conclusion.worst[0];
        assert_eq!((worst.address, worst.conversations, worst.flows, worst.alerts), ([1; 16], 3, 4, 3));
        let strongest: Vec<_> = worst.strongest.iter().map(|it| (it.address[1], it.flows, it.verdict)).collect();
        let expected = [(2, 2, Verdict::Malicious), (3, 1, Verdict::Suspicious), (1, 1, Verdict::Benign)];
        assert_eq!(strongest, expected);
        // Nothing that has a score is nothing known, and no peace.
        assert_eq!(concluded(&[], 100).0, Conclusion::default());
        let mut abstained = Aggregator::new(DEFAULT, 10, true);
        abstained.observe(&flow(1, 1, 443), 0.99, Verdict::Unknown);
        assert_eq!(abstained.conclude(10), Conclusion::default());
    }

    #[test]
    fn a_flood_of_conversations_hides_nothing_that_is_strong() {
        let mut flows = vec![(1, 7, 2.0)];
        flows.extend((100..600).map(|server| (1, server, -1.0)));
        let (conclusion, forgotten) = concluded(&flows, 20);
        assert_eq!(conclusion.outcome.unwrap().1, Verdict::Malicious);
        assert_eq!(conclusion.worst[0].strongest[0].address[1], 7);
        assert!((480..500).contains(&forgotten), "{forgotten}");
        assert_eq!(concluded(&flows, 1000).1, 0);
    }

    fn flows() -> impl Strategy<Value = Vec<(u8, u16, f64)>> {
        proptest::collection::vec((0u8..3, 0u16..4, -3.0..3.0f64), 1..24)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A higher score never lowers anything.
        #[test]
        fn it_grows_with_every_score(mut flows in flows(), at in any::<prop::sample::Index>(), more in 0.0..2.0f64) {
            let before = standing(&flows);
            let at = at.index(flows.len());
            flows[at].2 += more;
            prop_assert!(standing(&flows) >= before - HAIR);
        }

        /// Nor does another flow that is an alert itself.
        #[test]
        fn another_alert_never_helps(mut flows in flows(), alert in (0u8..4, 0u16..5, 0.0..3.0f64)) {
            let before = standing(&flows);
            flows.push(alert);
            prop_assert!(standing(&flows) >= before - HAIR);
        }

        /// Which flow comes first changes no bit.
        #[test]
        fn order_decides_nothing(flows in flows(), shuffled in any::<u64>()) {
            let mut others = flows.clone();
            others.sort_by_key(|(host, server, place)| {
                (place.to_bits() ^ u64::from(*host) << 8 ^ u64::from(*server)).wrapping_mul(shuffled | 1)
            });
            let bits = |conclusion: &Conclusion| {
                let hosts: Vec<_> = conclusion.worst.iter().map(|host| (host.address, host.score.to_bits())).collect();
                (conclusion.outcome.map(|(score, _)| score.to_bits()), hosts)
            };
            prop_assert_eq!(bits(&concluded(&flows, 100).0), bits(&concluded(&others, 100).0));
        }

        /// Harmless flows pull down by a bounded part within their conversation, and by nothing elsewhere.
        #[test]
        fn peace_elsewhere_excuses_nothing(flows in flows(), place in -5.0..0.0f64, count in 1usize..60) {
            let before = standing(&flows);
            let mut elsewhere = flows.clone();
            elsewhere.extend((0..count).map(|at| (at as u8 % 5, 100 + at as u16, place)));
            prop_assert!(standing(&elsewhere) >= before - HAIR);
            let mut within = flows.clone();
            let strongest = flows.iter().copied().max_by(|a, b| a.2.total_cmp(&b.2)).unwrap_or_default();
            within.extend(vec![(strongest.0, strongest.1, place); count]);
            prop_assert!(standing(&within) >= before - SINK - HAIR);
            // No flow of a capture stands much higher than the capture.
            prop_assert!(standing(&within) >= strongest.2 - ALONE - SINK - HAIR);
        }

        /// Whatever is below the lower threshold never becomes an alarm, and what is hardly above it nothing malicious.
        #[test]
        fn floods_alarm_nobody(flows in flows(), repeat in 1usize..40) {
            let capped = |most: f64| -> Vec<_> {
                let capped = flows.iter().map(|(host, server, place)| (*host, *server, place.min(most)));
                capped.flat_map(|flow| vec![flow; repeat]).collect()
            };
            prop_assert!(standing(&capped(-HAIR)) < 0.0);
            prop_assert!(standing(&capped(FLOOD - HAIR)) < 1.0);
        }

        /// Nor do they with other thresholds, however near to each other.
        #[test]
        fn floods_alarm_nobody_by_any_thresholds(
            suspicious in 0.01..0.99f64,
            more in 0.0..0.5f64,
            flows in flows(),
            repeat in 1usize..40,
        ) {
            let thresholds = Thresholds { suspicious, malicious: (suspicious + more).min(0.999) };
            let flood: Vec<_> = flows
                .iter()
                .flat_map(|(host, server, place)| vec![(*host, *server, place.min(FLOOD - 1e-3)); repeat])
                .collect();
            let (conclusion, _) = concluded_by(thresholds, &flood, 10_000);
            prop_assert!(conclusion.outcome.is_none_or(|(_, verdict)| verdict != Verdict::Malicious));
            prop_assert_eq!(conclusion.malicious_hosts, 0);
        }
    }
}
