//! A ring of memory that the kernel puts packets into: AF_PACKET with TPACKET_V3, as `packet(7)` and the kernel's
//! `packet_mmap.rst` describe it.
//!
//! The ring is cut into blocks. The kernel fills one with as many packets as come until it is full or some time went by,
//! marks it as ours, and goes on to the next; we mark it as the kernel's when we are through. Where the next one is still
//! ours, packets are lost, and counted.

#![allow(unsafe_code)] // memory shared with the kernel, and calls without a safe wrapper

use super::{Interface, LiveError, LiveSettings};
use crate::filter::Instruction;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{offset_of, size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use veilwatch_core::packet::LinkType;

/// A ring of one interface.
pub(super) struct Ring {
    socket: OwnedFd,
    /// Which of the capture's interfaces it is of.
    pub(super) interface: usize,
    pub(super) link: LinkType,
    memory: NonNull<u8>,
    block_bytes: usize,
    blocks: usize,
    /// Whether its interface takes packets that are for others, for as long as it exists.
    promiscuous: bool,
    /// The block that is read, or comes next.
    block: usize,
    /// Whether it is ours.
    ours: bool,
    /// Packets of it that are left, and where the next one's header lies in it.
    left: u32,
    at: usize,
}

// SAFETY: the memory is this ring's alone on our side, and belongs to no thread.
unsafe impl Send for Ring {}

/// A program for packets whose tag the kernel took out, and `program` for the others: those with a tag all pass, and are asked
/// when the tag is back in them.
pub(super) fn tagged_pass(program: Vec<Instruction>) -> Vec<Instruction> {
    /// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT` of the kernel's `filter.h`.
    const TAGGED: u32 = 0xffff_f000 + 48;
    let whether = Instruction { code: 0x20, yes: 0, no: 0, k: TAGGED };
    let not_so = Instruction { code: 0x15, yes: 1, no: 0, k: 0 };
    [whether, not_so, EVERYTHING[0]].into_iter().chain(program).collect()
}

/// A packet in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'r> {
    /// When the kernel had it, in nanoseconds since 1970.
    pub(super) time_ns: u64,
    /// Bytes it had, without the tag.
    pub(super) wire_len: u32,
    /// The tag of a virtual network (IEEE 802.1Q), which the kernel takes out of it: type and value.
    pub(super) tag: Option<[u8; 4]>,
    /// What is there of it.
    pub(super) data: &'r [u8],
}

/// What the kernel counted since it was asked last.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counted {
    /// Packets that it had, those that it lost among them.
    pub(super) received: u32,
    pub(super) dropped: u32,
}

/// A program that keeps no packet, and one that keeps all.
pub(super) const NOTHING: [Instruction; 1] = [Instruction { code: 6, yes: 0, no: 0, k: 0 }];
const EVERYTHING: [Instruction; 1] = [Instruction { code: 6, yes: 0, no: 0, k: u32::MAX }];

/// The tag's type where the kernel does not say it.
const TPID_8021Q: u16 = 0x8100;
/// Bytes of a frame, by which the kernel only checks the request: TPACKET_V3 has packets of any length.
const FRAME: usize = 2048;

type Header = libc::tpacket3_hdr;
type Descriptor = libc::tpacket_block_desc;

impl Ring {
    /// Opens one, for packets that a program lets through. Rings of one `group` share the packets of an interface; the first one makes the group.
    pub(super) fn open(
        number: usize,
        interface: &Interface,
        promiscuous: bool,
        settings: &LiveSettings,
        program: Option<&[Instruction]>,
        group: &mut Option<u16>,
    ) -> Result<Self, LiveError> {
        let name = &interface.name;
        let link = interface.link().ok_or(LiveError::Unknown { name: name.clone(), kind: interface.kind })?;
        let failed = |what: &'static str| move |error| LiveError::Ring { name: name.clone(), what, error };
        // Without a protocol it gets no packets yet: none of another interface slips in.
        // SAFETY: takes numbers, and gives a descriptor or an error.
        let socket =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        if socket < 0 {
            let error = io::Error::last_os_error();
            if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
                let program =
                    std::env::current_exe().map_or_else(|_| "veilwatch".into(), |path| path.display().to_string());
                return Err(LiveError::Forbidden { interface: name.clone(), program });
            }
            return Err(failed("packets cannot be captured on this system")(error));
        }
        // SAFETY: it was just opened, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        set(&socket, libc::PACKET_VERSION, &version).map_err(failed("the kernel is too old (TPACKET_V3)"))?;
        let (block_bytes, blocks) = (settings.block(), settings.blocks());
        let request = libc::tpacket_req3 {
            tp_block_size: block_bytes as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: FRAME as u32,
            tp_frame_nr: (block_bytes / FRAME * blocks) as u32,
            tp_retire_blk_tov: settings.wait_milliseconds.clamp(1, 10_000),
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::PACKET_RX_RING, &request)
            .map_err(failed("the kernel has no memory for the ring: lower `live.ring_bytes`"))?;
        // SAFETY: a new mapping of what the kernel just made, of its length; it is unmapped when the ring is dropped.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                block_bytes * blocks,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        let mapped = if memory == libc::MAP_FAILED { None } else { NonNull::new(memory.cast::<u8>()) };
        let memory = mapped.ok_or_else(|| failed("the ring cannot be mapped")(io::Error::last_os_error()))?;
        let ring = Self {
            socket,
            interface: number,
            link,
            memory,
            block_bytes,
            blocks,
            promiscuous,
            block: 0,
            ours: false,
            left: 0,
            at: 0,
        };
        // Nothing comes in before it is known what is to: another ring of its group would have the same.
        ring.filter(&NOTHING).map_err(failed("the kernel takes no filter"))?;
        if interface.is_loopback {
            // There everything passes twice: on its way out, and in.
            set(&ring.socket, libc::PACKET_IGNORE_OUTGOING, &1 as &c_int)
                .map_err(failed("the kernel is too old (PACKET_IGNORE_OUTGOING)"))?;
        }
        ring.bind(interface.index).map_err(failed("the interface cannot be captured on"))?;
        if settings.rings > 1 {
            // Parts of packets stay parts: whoever reads the file puts them together too.
            let flags = libc::PACKET_FANOUT_HASH;
            let unique = if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
            let request = u32::from(group.unwrap_or_default()) | (flags | unique) << 16;
            set(&ring.socket, libc::PACKET_FANOUT, &request)
                .map_err(failed("its packets cannot be spread over rings"))?;
            let mut given: u32 = 0;
            get(&ring.socket, libc::PACKET_FANOUT, &mut given).map_err(failed("its group of rings cannot be told"))?;
            group.get_or_insert(given as u16);
        }
        ring.filter(program.unwrap_or(&EVERYTHING)).map_err(failed("the kernel does not take the filter"))?;
        Ok(ring)
    }

    /// Takes the packets of an interface from now on.
    pub(super) fn bind(&self, index: u32) -> io::Result<()> {
        // SAFETY: plain numbers, for which zeros are fine.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as c_int;
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address is of the kind and length that it is said to be, and is only read.
        checked(unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length) })?;
        if !self.promiscuous {
            return Ok(());
        }
        let (mr_type, mr_alen, mr_address) = (libc::PACKET_MR_PROMISC as u16, 0, [0; 8]);
        let member = libc::packet_mreq { mr_ifindex: index as c_int, mr_type, mr_alen, mr_address };
        set(&self.socket, libc::PACKET_ADD_MEMBERSHIP, &member)
    }

    /// Has the kernel keep only what a program lets through.
    pub(super) fn filter(&self, program: &[Instruction]) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            // `Instruction` is laid out as `sock_filter` is; it is only read.
            filter: program.as_ptr().cast_mut().cast(),
        };
        set_at(&self.socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// The kernel's number of an interface, if it is up. It is asked through the ring's own socket: a confined process opens
    /// no others.
    pub(super) fn up(&self, name: &str) -> io::Result<Option<u32>> {
        // SAFETY: plain bytes, for which zeros are fine.
        let mut request: libc::ifreq = unsafe { zeroed() };
        let room = request.ifr_name.len() - 1;
        request.ifr_name.iter_mut().zip(name.bytes().take(room)).for_each(|(into, byte)| *into = byte as _);
        let ask = |what: libc::c_ulong, request: &mut libc::ifreq| {
            // SAFETY: the request outlives the call, which reads its name and writes its other half.
            checked(unsafe { libc::ioctl(self.socket.as_raw_fd(), what as _, std::ptr::from_mut(request)) })
        };
        ask(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: that is what this call writes.
        if c_int::from(unsafe { request.ifr_ifru.ifru_flags }) & libc::IFF_UP == 0 {
            return Ok(None);
        }
        ask(libc::SIOCGIFINDEX, &mut request)?;
        // SAFETY: the same.
        Ok(Some(unsafe { request.ifr_ifru.ifru_ifindex } as u32))
    }

    /// What has happened to the socket since it was asked last, such as that its interface went down.
    pub(super) fn trouble(&self) -> Option<io::Error> {
        let mut error: c_int = 0;
        match get_at(&self.socket, libc::SOL_SOCKET, libc::SO_ERROR, &mut error) {
            Ok(()) if error == 0 => None,
            Ok(()) => Some(io::Error::from_raw_os_error(error)),
            Err(error) => Some(error),
        }
    }

    /// What the kernel counted since it was asked last.
    pub(super) fn counted(&self) -> io::Result<Counted> {
        let mut stats = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        get(&self.socket, libc::PACKET_STATISTICS, &mut stats)?;
        Ok(Counted { received: stats.tp_packets, dropped: stats.tp_drops })
    }

    /// When the next packet came, where there is one.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u64> {
        let header = self.header()?;
        Some(u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec))
    }

    /// The next packet, where there is one; it stays the next one until [`pass`](Self::pass).
    #[inline]
    pub(super) fn frame(&mut self) -> Option<Frame<'_>> {
        let header = self.header()?;
        let (start, length) = (self.at + usize::from(header.tp_mac), header.tp_snaplen as usize);
        if start.checked_add(length).is_none_or(|end| end > self.block_bytes) {
            return None;
        }
        let has = |flag| header.tp_status & flag != 0;
        let type_of_tag = if has(libc::TP_STATUS_VLAN_TPID_VALID) { header.hv1.tp_vlan_tpid } else { TPID_8021Q };
        let value = header.hv1.tp_vlan_tci as u16;
        // A priority without a network is a tag too.
        let tag = has(libc::TP_STATUS_VLAN_VALID).then(|| {
            let ([a, b], [c, d]) = (type_of_tag.to_be_bytes(), value.to_be_bytes());
            [a, b, c, d]
        });
        let time_ns = u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec);
        // SAFETY: inside the block, which is ours: the kernel writes none of it before it is released, for which `pass`
        // needs the ring that the frame borrows.
        let data = unsafe { std::slice::from_raw_parts(self.base().add(start), length) };
        Some(Frame { time_ns, wire_len: header.tp_len, tag, data })
    }

    /// Goes on behind the next packet. A block that is through is the kernel's again.
    #[inline]
    pub(super) fn pass(&mut self) {
        let Some(header) = self.header() else { return };
        self.left -= 1;
        // The last one's offset means nothing.
        if self.left == 0 {
            self.release();
        } else {
            self.at = self.at.saturating_add(header.tp_next_offset as usize);
        }
    }

    /// The header of the next packet.
    #[inline]
    fn header(&mut self) -> Option<Header> {
        while self.left == 0 || self.at > self.block_bytes - size_of::<Header>() {
            if self.ours {
                self.release();
            }
            if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return None;
            }
            // SAFETY: the descriptor stands at the begin of each block, which is ours now.
            let descriptor = unsafe { self.base().cast::<Descriptor>().read() };
            // SAFETY: the only member of the union.
            let block = unsafe { descriptor.hdr.bh1 };
            (self.ours, self.left, self.at) = (true, block.num_pkts, block.offset_to_first_pkt as usize);
        }
        // SAFETY: inside the block, which is ours; the kernel aligns headers.
        Some(unsafe { self.base().add(self.at).cast::<Header>().read() })
    }

    /// Gives the block back.
    fn release(&mut self) {
        fence(Ordering::Release);
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        (self.ours, self.left, self.at) = (false, 0, 0);
        self.block = (self.block + 1) % self.blocks;
    }

    /// Where the current block begins.
    fn base(&self) -> *mut u8 {
        // SAFETY: `block` is below `blocks`, so that it lies inside the mapping.
        unsafe { self.memory.as_ptr().add(self.block * self.block_bytes) }
    }

    fn status(&self) -> &AtomicU32 {
        const AT: usize = offset_of!(Descriptor, hdr) + offset_of!(libc::tpacket_hdr_v1, block_status);
        // SAFETY: an aligned word inside the mapping, which lives as long as the ring; both sides use it atomically.
        unsafe { AtomicU32::from_ptr(self.base().add(AT).cast()) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: what was mapped when it was opened; nothing borrows from it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.block_bytes * self.blocks) };
    }
}

fn checked(outcome: c_int) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    set_at(socket, libc::SOL_PACKET, option, value)
}

fn set_at<T>(socket: &OwnedFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let (from, length) = (std::ptr::from_ref(value).cast::<c_void>(), size_of::<T>() as u32);
    // SAFETY: so many bytes lie there, and are only read.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, from, length) })
}

fn get<T>(socket: &OwnedFd, option: c_int, value: &mut T) -> io::Result<()> {
    get_at(socket, libc::SOL_PACKET, option, value)
}

fn get_at<T>(socket: &OwnedFd, level: c_int, option: c_int, value: &mut T) -> io::Result<()> {
    let mut length = size_of::<T>() as u32;
    // SAFETY: so many bytes lie there; all callers have plain numbers, which any bytes are fine for.
    checked(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, std::ptr::from_mut(value).cast(), &raw mut length)
    })
}
