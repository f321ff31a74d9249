//! What is told of a capture to Prometheus; [`veilwatch::metrics`] writes and serves it.

use anyhow::{Context, Result};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use veilwatch::engine::Progress;
use veilwatch::live::{Control, InterfaceCounts};
use veilwatch::metrics::{Kind, Text, serve};

/// What is told of a capture.
pub(super) struct Metrics {
    progress: Arc<Progress>,
    control: Control,
    /// Pieces of the log that could not be written.
    lost: Arc<AtomicU64>,
    started: SystemTime,
    /// Times that the configuration was read again, and of those the ones that failed.
    pub(super) reloads: AtomicU64,
    pub(super) failed_reloads: AtomicU64,
}

/// Takes the address, before rights are given up.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("metrics cannot be served at {address}"))?;
    if address.port() == 0 {
        super::super::say(&format!("metrics at http://{}/metrics", listener.local_addr()?));
    }
    Ok(listener)
}

impl Metrics {
    pub(super) fn new(progress: Arc<Progress>, control: Control, lost: Arc<AtomicU64>) -> Self {
        let (reloads, failed_reloads) = Default::default();
        Self { progress, control, lost, started: SystemTime::now(), reloads, failed_reloads }
    }

    /// Answers from now on, until the process ends.
    pub(super) fn serve(self, listener: Option<TcpListener>) -> Result<Arc<Self>> {
        let metrics = Arc::new(self);
        if let Some(listener) = listener {
            let metrics = Arc::clone(&metrics);
            serve(listener, move || metrics.text()).context("no thread for metrics")?;
        }
        Ok(metrics)
    }

    /// All figures.
    fn text(&self) -> String {
        let counts = self.control.counts();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut out = Text::default();
        let mut per_interface = |name: &str, help: &str, count: fn(&InterfaceCounts) -> u64| {
            let name = format!("veilwatch_{name}_total");
            out.family(&name, Kind::Counter, help);
            for interface in &counts.interfaces {
                out.sample(&name, &[("interface", &interface.name)], count(interface));
            }
        };
        per_interface("packets", "Packets taken from the interface.", |of| of.taken);
        per_interface("bytes", "Bytes of these packets on the wire.", |of| of.taken_bytes);
        per_interface("received", "Packets that the kernel had, lost ones among them.", |of| of.received);
        per_interface("dropped", "Packets that the kernel lost because nobody took them in time.", |of| of.dropped);
        per_interface("interface_downs", "Times that the interface went down.", |of| of.downs);
        let mut count = |name: &str, help: &str, value: u64| out.one(name, Kind::Counter, help, value);
        let progress = &self.progress;
        count("veilwatch_flows_total", "Flows that have ended.", read(&progress.flows));
        count("veilwatch_alerts_total", "Malicious and suspicious flows among them.", read(&progress.alerts));
        count("veilwatch_malicious_total", "Malicious flows among them.", read(&progress.malicious));
        count("veilwatch_recorded_packets_total", "Packets that were written down.", counts.recorded);
        count("veilwatch_recorded_bytes_total", "Bytes of the files they are in.", counts.recorded_bytes);
        let words = "Packets that were to be written down and could not.";
        count("veilwatch_not_recorded_packets_total", words, counts.not_recorded);
        count("veilwatch_log_lost_total", "Pieces of the result that could not be written.", read(&self.lost));
        count("veilwatch_reloads_total", "Times the configuration was read again.", read(&self.reloads));
        count("veilwatch_reloads_failed_total", "Those that failed.", read(&self.failed_reloads));
        out.program(self.started, env!("CARGO_PKG_VERSION"));
        out.into_string()
    }
}
