use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nameindex};
use nix::sys::socket::{AddressFamily, SockaddrLike};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use veilwatch_core::packet::LinkType;

/// A network interface of this machine, as far as the process may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it; another one where it went and came again.
    pub index: u32,
    /// What its packets begin with, as the kernel's `ARPHRD_…` has it.
    pub kind: u16,
    /// Whether somebody switched it on.
    pub is_up: bool,
    /// Whether something is connected to it.
    pub is_running: bool,
    /// Whether it leads back to this machine.
    pub is_loopback: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The kernel's numbers for what packets begin with, of `if_arp.h`.
const ARPHRD_PPP: u16 = 512;
const ARPHRD_TUNNELS: [u16; 6] = [768, 769, 776, 778, 823, 519];
const ARPHRD_NONE: u16 = 0xfffe;

impl Interface {
    /// What packets of it begin with, where that is decoded.
    pub fn link(&self) -> Option<LinkType> {
        match self.kind {
            // The header that a packet has on the way to itself is one of Ethernet.
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::ETHERNET),
            libc::ARPHRD_IEEE80211 => Some(LinkType::IEEE802_11),
            libc::ARPHRD_IEEE80211_PRISM => Some(LinkType::PRISM),
            libc::ARPHRD_IEEE80211_RADIOTAP => Some(LinkType::RADIOTAP),
            // Without a header of their own.
            ARPHRD_NONE | ARPHRD_PPP => Some(LinkType::RAW),
            kind if ARPHRD_TUNNELS.contains(&kind) => Some(LinkType::RAW),
            _ => None,
        }
    }

    /// A word for its kind.
    pub fn kind_word(&self) -> &'static str {
        match self.kind {
            libc::ARPHRD_LOOPBACK => "loopback",
            ARPHRD_PPP => "PPP",
            kind if kind == ARPHRD_NONE || ARPHRD_TUNNELS.contains(&kind) => "tunnel",
            _ => self.link().and_then(LinkType::name).unwrap_or("not decoded"),
        }
    }
}

/// The interfaces of this machine, in the kernel's order.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for known in &if_nameindex()? {
        let name = known.name().to_string_lossy().into_owned();
        // One without an address of its own link is a tunnel, unless the system says otherwise.
        let (kind, addresses) = (kind_of(&name, known.index()).unwrap_or(ARPHRD_NONE), Vec::new());
        let (is_up, is_running, is_loopback) = (false, false, false);
        let interface = Interface { name, index: known.index(), kind, is_up, is_running, is_loopback, addresses };
        found.insert(interface.name.clone(), interface);
    }
    for entry in getifaddrs()? {
        // Further addresses of IPv4 may have names of their own.
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let Some(interface) = found.get_mut(name) else { continue };
        let has = |flag| entry.flags.contains(flag);
        interface.is_up = has(InterfaceFlags::IFF_UP);
        interface.is_running = has(InterfaceFlags::IFF_RUNNING);
        interface.is_loopback = has(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = entry.address else { continue };
        if let Some(link) = address.as_link_addr() {
            interface.kind = link.hatype();
        }
        let address = match address.family() {
            Some(AddressFamily::Inet) => address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip())),
            Some(AddressFamily::Inet6) => address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())),
            _ => None,
        };
        interface.addresses.extend(address);
    }
    let mut interfaces: Vec<Interface> = found.into_values().collect();
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// What the system's files say of an interface's kind, where they speak of the same network.
fn kind_of(name: &str, index: u32) -> Option<u16> {
    let read = |file: &str| std::fs::read_to_string(Path::new("/sys/class/net").join(name).join(file)).ok();
    let says: u32 = read("ifindex")?.trim().parse().ok()?;
    (says == index).then(|| read("type")?.trim().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_leads_back_to_itself() {
        let all = interfaces().unwrap();
        let lo = all.iter().find(|interface| interface.is_loopback).unwrap();
        assert_eq!((lo.link(), lo.kind_word()), (Some(LinkType::ETHERNET), "loopback"));
        assert_eq!(nix::net::if_::if_nametoindex(lo.name.as_str()), Ok(lo.index));
    }
}
