//! SSH (RFC 4253): who both sides say they are, the algorithms that they offer, and HASSH, a fingerprint of these.

mod dissect;
mod side;
mod template;
#[cfg(test)]
mod tests;

pub use template::Ssh;

veilwatch_core::declare_plugins!(protocol "ssh" "SSH: banners, algorithms, HASSH": Ssh);
