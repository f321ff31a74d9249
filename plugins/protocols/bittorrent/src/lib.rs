//! BitTorrent between peers (BEP 3) over TCP, and its distributed hash table (BEP 5) over UDP.

mod dissect;
mod template;
#[cfg(test)]
mod tests;

pub use template::BitTorrent;

veilwatch_core::declare_plugins!(protocol "bittorrent" "BitTorrent: handshakes of peers, messages of the DHT": BitTorrent);
