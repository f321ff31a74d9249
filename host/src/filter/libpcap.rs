//! The compiler of capture filters: the system's libpcap, loaded when a filter is first asked for. The only place that
//! calls it, and one of the few with `unsafe`.

#![allow(unsafe_code)] // calling a C library; there is no safe way

use super::FilterError;
use super::program::Instruction;
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::ptr::NonNull;

/// What the library may be called, the most common name first.
#[cfg(target_os = "macos")]
const NAMES: [&str; 2] = ["libpcap.A.dylib", "libpcap.dylib"];
#[cfg(not(target_os = "macos"))]
const NAMES: [&str; 3] = ["libpcap.so.1", "libpcap.so.0.8", "libpcap.so"];

/// Longest packet that a program lets through whole: libpcap's own maximum, which no result depends on.
const SNAPLEN: c_int = 262_144;
const OPTIMISE: c_int = 1;
/// `PCAP_NETMASK_UNKNOWN`: a capture does not tell it.
const NETMASK: u32 = u32::MAX;

/// libpcap's `pcap_t`.
enum Handle {}

/// libpcap's `bpf_program`.
#[repr(C)]
struct RawProgram {
    len: c_uint,
    instructions: *mut Instruction,
}

/// What is called of the library; see pcap_open_dead(3), pcap_compile(3), pcap_geterr(3), pcap_freecode(3), pcap_close(3).
pub(super) struct Libpcap {
    open_dead: unsafe extern "C" fn(c_int, c_int) -> *mut Handle,
    compile: unsafe extern "C" fn(*mut Handle, *mut RawProgram, *const c_char, c_int, u32) -> c_int,
    error: unsafe extern "C" fn(*mut Handle) -> *const c_char,
    free: unsafe extern "C" fn(*mut RawProgram),
    close: unsafe extern "C" fn(*mut Handle),
    /// Must live as long as what was taken from it.
    _library: Library,
}

impl Libpcap {
    /// Loads the library from where the system has its libraries.
    pub(super) fn load() -> Result<Self, FilterError> {
        let tried = || FilterError::Library { tried: NAMES.join(", ") };
        // SAFETY: the library's constructors run; it is the system's own, found by the system's own rules.
        let found = NAMES.iter().find_map(|name| unsafe { Library::new(*name) }.ok());
        let library = found.ok_or_else(tried)?;
        // SAFETY: the types are those of libpcap's header, unchanged since its version 0.8.
        let all = unsafe {
            (|| {
                Ok::<_, libloading::Error>((
                    *library.get(b"pcap_open_dead\0")?,
                    *library.get(b"pcap_compile\0")?,
                    *library.get(b"pcap_geterr\0")?,
                    *library.get(b"pcap_freecode\0")?,
                    *library.get(b"pcap_close\0")?,
                ))
            })()
        };
        let (open_dead, compile, error, free, close) = all.map_err(|_| tried())?;
        Ok(Self { open_dead, compile, error, free, close, _library: library })
    }

    /// Compiles an expression for a link type, given as the number that this library has for it (`DLT_…`). An error is
    /// what the library says. Before libpcap 1.8 only one thread at a time may compile: hence `&mut`.
    pub(super) fn compile(&mut self, text: &CStr, dlt: u16) -> Result<Vec<Instruction>, String> {
        // SAFETY: takes two numbers, and gives a handle or nothing.
        let handle = NonNull::new(unsafe { (self.open_dead)(dlt.into(), SNAPLEN) }).ok_or("it gives no handle")?;
        let mut program = RawProgram { len: 0, instructions: std::ptr::null_mut() };
        // SAFETY: handle, program and text outlive the call, which keeps none of them.
        let status = unsafe { (self.compile)(handle.as_ptr(), &raw mut program, text.as_ptr(), OPTIMISE, NETMASK) };
        let outcome = if status != 0 {
            // SAFETY: the text lies in the handle, which is open, and ends with a zero.
            let why = unsafe { CStr::from_ptr((self.error)(handle.as_ptr())) };
            Err(why.to_string_lossy().into_owned())
        } else if program.instructions.is_null() {
            Err("it gives no program".to_owned())
        } else {
            // SAFETY: so many instructions lie there; `Instruction` is laid out as `bpf_insn` is. They are copied.
            let copied = unsafe { std::slice::from_raw_parts(program.instructions, program.len as usize) }.to_vec();
            // SAFETY: what was compiled above, freed once.
            unsafe { (self.free)(&raw mut program) };
            Ok(copied)
        };
        // SAFETY: opened above, closed once.
        unsafe { (self.close)(handle.as_ptr()) };
        outcome
    }

    /// What libpcap itself says to a packet: the oracle of the tests.
    #[cfg(test)]
    pub(super) fn offline(&self, program: &[Instruction], packet: &[u8], wire_len: u32) -> u32 {
        /// libpcap's `pcap_pkthdr`.
        #[repr(C)]
        struct Header {
            time: libc::timeval,
            captured: u32,
            wire: u32,
        }
        type Offline = unsafe extern "C" fn(*const RawProgram, *const Header, *const u8) -> c_int;
        let header =
            Header { time: libc::timeval { tv_sec: 0, tv_usec: 0 }, captured: packet.len() as u32, wire: wire_len };
        let raw = RawProgram { len: program.len() as u32, instructions: program.as_ptr().cast_mut() };
        // SAFETY: the types are those of libpcap's header; nothing is written through the pointers.
        unsafe {
            let offline = self._library.get::<Offline>(b"pcap_offline_filter\0").unwrap();
            offline(&raw const raw, &raw const header, packet.as_ptr()) as u32
        }
    }
}
