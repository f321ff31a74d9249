//! What the flows of a capture come to, for people and programs.

use super::jsonl::rounded;
use super::text::bounded;
use serde::Serialize;
use std::fmt::Write;
use std::net::SocketAddr;
use veilwatch_core::detect::{Conclusion, ConversationConclusion, HostConclusion, Verdict};
use veilwatch_core::flow::Endpoint;

/// Bytes of a server name in a line for people.
const NAME_BYTES: usize = 80;

/// The conclusion on a capture.
#[derive(Serialize)]
pub(super) struct ConclusionFacts {
    score: f64,
    verdict: Verdict,
    words: String,
    hosts: u64,
    malicious_hosts: u64,
    suspicious_hosts: u64,
}

/// The conclusion on one host.
#[derive(Serialize)]
pub(super) struct HostFacts {
    host: String,
    score: f64,
    verdict: Verdict,
    conversations: u64,
    flows: u64,
    alerts: u64,
    strongest: Vec<ConversationFacts>,
}

#[derive(Serialize)]
struct ConversationFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    server: String,
    port: u16,
    score: f64,
    verdict: Verdict,
    flows: u64,
    alerts: u64,
}

impl ConclusionFacts {
    /// What there is to say; nothing where no flow has a score.
    pub(super) fn of(conclusion: &Conclusion) -> Option<Self> {
        let (score, verdict) = conclusion.outcome?;
        Some(Self {
            score: rounded(score),
            verdict,
            words: words(conclusion, verdict),
            hosts: conclusion.hosts,
            malicious_hosts: conclusion.malicious_hosts,
            suspicious_hosts: conclusion.suspicious_hosts,
        })
    }
}

impl HostFacts {
    /// The worst hosts, with names of at most so many bytes.
    pub(super) fn worst(conclusion: &Conclusion, text_bytes: usize) -> Vec<Self> {
        let conversation = |it: &ConversationConclusion| ConversationFacts {
            name: (!it.name.is_empty()).then(|| bounded(&it.name, text_bytes)),
            server: ip(it.address).to_string(),
            port: it.port,
            score: rounded(it.score),
            verdict: it.verdict,
            flows: it.flows,
            alerts: it.alerts,
        };
        let host = |host: &HostConclusion| Self {
            host: ip(host.address).to_string(),
            score: rounded(host.score),
            verdict: host.verdict,
            conversations: host.conversations,
            flows: host.flows,
            alerts: host.alerts,
            strongest: host.strongest.iter().map(conversation).collect(),
        };
        conclusion.worst.iter().map(host).collect()
    }
}

fn ip(address: [u8; 16]) -> std::net::IpAddr {
    Endpoint { address, port: 0 }.ip()
}

/// The conclusion in one sentence.
fn words(conclusion: &Conclusion, verdict: Verdict) -> String {
    let hosts = |n: u64| if n == 1 { "1 host".to_owned() } else { format!("{n} hosts") };
    let Conclusion { malicious_hosts, suspicious_hosts, alerts, .. } = *conclusion;
    match verdict {
        Verdict::Malicious if malicious_hosts == 0 => {
            format!("no host is malicious by itself, but {} together are", hosts(suspicious_hosts))
        }
        Verdict::Malicious if suspicious_hosts > 0 => {
            format!("{} as malware does, {} worth a look", talk(malicious_hosts), are(suspicious_hosts))
        }
        Verdict::Malicious => format!("{} as malware does", talk(malicious_hosts)),
        Verdict::Suspicious if suspicious_hosts == 0 => {
            "nothing stands out by itself, but hosts together do".to_owned()
        }
        Verdict::Suspicious => format!("nothing is clearly malicious; {} worth a look", are(suspicious_hosts)),
        _ if alerts > 0 => {
            "on the whole nothing looks like malware; single flows stand out, and nothing bears them out".to_owned()
        }
        _ => "nothing looks like malware".to_owned(),
    }
}

fn talk(hosts: u64) -> String {
    if hosts == 1 { "1 host talks".to_owned() } else { format!("{hosts} hosts talk") }
}

fn are(hosts: u64) -> String {
    if hosts == 1 { "1 host is".to_owned() } else { format!("{hosts} hosts are") }
}

/// The conclusion and the worst hosts that are not benign, a line each; nothing where no flow has a score.
pub(super) fn text(conclusion: &Conclusion, hosts: usize) -> String {
    let mut out = String::new();
    let Some((score, verdict)) = conclusion.outcome else { return out };
    let _ = writeln!(out, "taken together: {verdict} ({score:.3}): {}", words(conclusion, verdict));
    for host in conclusion.worst.iter().filter(|host| host.verdict != Verdict::Benign).take(hosts) {
        let HostConclusion { address, score, verdict, conversations, flows, alerts, strongest } = host;
        let _ = write!(
            out,
            "  {}: {verdict} ({score:.3}), {alerts} alerts among {flows} flows to {conversations} services",
            ip(*address)
        );
        if let Some(it) = strongest.first() {
            let service = match &*it.name {
                [] => SocketAddr::new(ip(it.address), it.port).to_string(),
                name => format!("{}:{}", bounded(name, NAME_BYTES), it.port),
            };
            let _ = write!(out, "; worst {service} ({:.3}, {} flows)", it.score, it.flows);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_flows_are_told_though_no_host_is() {
        let said = |alerts| words(&Conclusion { hosts: 2, alerts, ..Conclusion::default() }, Verdict::Benign);
        assert!(said(3).contains("single flows stand out"));
        assert_eq!(said(0), "nothing looks like malware");
    }
}
