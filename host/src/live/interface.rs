use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
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

    /// The interface of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        interfaces().ok()?.into_iter().find(|interface| interface.name == name)
    }
}

/// The interfaces of this machine, in the kernel's order.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let all: Vec<_> = getifaddrs()?.collect();
    // Every interface has one entry of the packet family.
    for entry in &all {
        let Some(link) = entry.address.as_ref().and_then(SockaddrStorage::as_link_addr) else { continue };
        let has = |flag| entry.flags.contains(flag);
        let interface = Interface {
            name: entry.interface_name.clone(),
            index: link.ifindex() as u32,
            kind: link.hatype(),
            is_up: has(InterfaceFlags::IFF_UP),
            is_running: has(InterfaceFlags::IFF_RUNNING),
            is_loopback: has(InterfaceFlags::IFF_LOOPBACK),
            addresses: Vec::new(),
        };
        found.insert(interface.name.clone(), interface);
    }
    for entry in all {
        // Further addresses of IPv4 may have names of their own.
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let Some((interface, address)) = found.get_mut(name).zip(entry.address) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_leads_back_to_itself() {
        let all = interfaces().unwrap();
        let lo = all.iter().find(|interface| interface.is_loopback).unwrap();
        assert_eq!((lo.link(), lo.kind_word()), (Some(LinkType::ETHERNET), "loopback"));
        assert_eq!(Interface::named(&lo.name).unwrap().index, lo.index);
        assert_eq!(Interface::named("no such interface"), None);
    }
}
