//! How Windows shares files and screens: SMB ([MS-SMB], [MS-SMB2]) and RDP ([MS-RDPBCGR]). Each is a template of its own.

mod dissect;
mod rdp;
mod smb;
#[cfg(test)]
mod tests;

pub use rdp::Rdp;
pub use smb::Smb;

veilwatch_core::declare_plugins!(
    protocol "smb" "SMB: dialects offered and chosen": Smb,
    protocol "rdp" "RDP: who asks, and what protects the connection": Rdp,
);
