//! Looks at the headers of a shared library without running it.
//!
//! The system's loader maps what the headers name and trusts them: a library that was cut short ends the process with
//! a bus error inside `dlopen`. So everything that they name must lie within the file.

/// Why a file is no library that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is something else.
    NotLibrary(String),
    /// It is one, but does not hang together.
    Damaged(String),
}

/// `e_machine` of this program, where it is known.
const MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else if cfg!(target_arch = "riscv64") {
    Some(243)
} else {
    None
};

const SHARED_OBJECT: u16 = 3;
const HEADER: usize = 64;
const SEGMENT: u64 = 56;
const SECTION: u64 = 64;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
/// A section without bytes in the file.
const NO_BITS: u32 = 8;

struct File<'a>(&'a [u8]);

impl File<'_> {
    fn bytes<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let at = usize::try_from(at).ok()?;
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
    fn half(&self, at: u64) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }
    fn word(&self, at: u64) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }
    fn long(&self, at: u64) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }
    fn holds(&self, begin: u64, bytes: u64) -> bool {
        begin.checked_add(bytes).is_some_and(|end| end <= self.0.len() as u64)
    }
}

/// Checks the headers of a library: 64 bit, little endian, of this machine, and nothing that lies outside of the file.
pub(super) fn check(bytes: &[u8]) -> Result<(), Fault> {
    let file = File(bytes);
    let other = |why: &str| Err(Fault::NotLibrary(why.into()));
    if bytes.is_empty() {
        return other("the file is empty");
    }
    if !bytes.starts_with(b"\x7fELF") {
        let text = std::str::from_utf8(&bytes[..bytes.len().min(64)]).is_ok();
        return other(if text { "it looks like text" } else { "it has no ELF header" });
    }
    if bytes.len() < HEADER {
        return Err(Fault::Damaged(format!("{} bytes are less than an ELF header", bytes.len())));
    }
    if bytes[4] != 2 || bytes[5] != 1 {
        return other("it is not 64 bit and little endian");
    }
    let header = |at| file.half(at).unwrap_or_default();
    let machine = header(18);
    if MACHINE.is_some_and(|mine| mine != machine) {
        return other(&format!("it is for another processor, ELF machine {machine}"));
    }
    if header(16) != SHARED_OBJECT {
        return other(&format!("it is an ELF file of type {}, not a shared object", header(16)));
    }
    segments(&file)?;
    sections(&file)
}

/// What the system's loader maps.
fn segments(file: &File<'_>) -> Result<(), Fault> {
    let damaged = |why: String| Err(Fault::Damaged(why));
    let (table, size, count) = (file.long(32), file.half(54), file.half(56));
    let (Some(table), Some(count)) = (table, count.map(u64::from)) else { return damaged("no header".into()) };
    if count == 0 || size.map(u64::from) != Some(SEGMENT) || !file.holds(table, count * SEGMENT) {
        return damaged(format!("its {count} program headers do not fit into the file"));
    }
    let (mut loads, mut dynamic) = (false, false);
    for number in 0..count {
        let at = table + number * SEGMENT;
        let fields = (file.word(at), file.long(at + 8), file.long(at + 32), file.long(at + 40));
        let (Some(kind), Some(offset), Some(in_file), Some(in_memory)) = fields else {
            return damaged(format!("program header {number} cannot be read"));
        };
        if kind == 0 {
            continue;
        }
        if !file.holds(offset, in_file) {
            return damaged(format!(
                "segment {number} ends past the end of the file, which has {} bytes",
                file.0.len()
            ));
        }
        if kind == LOAD && in_file > in_memory {
            return damaged(format!("segment {number} is larger in the file than in memory"));
        }
        loads |= kind == LOAD;
        dynamic |= kind == DYNAMIC;
    }
    if loads && dynamic { Ok(()) } else { damaged("it has no segment to load, or nothing to link".into()) }
}

/// What stands behind the segments: where this is cut off, the file is not the one that was built.
fn sections(file: &File<'_>) -> Result<(), Fault> {
    let damaged = |why: String| Err(Fault::Damaged(why));
    let (Some(table), Some(size), Some(count)) = (file.long(40), file.half(58), file.half(60)) else {
        return damaged("no header".into());
    };
    // Without a table there is nothing to check: nobody needs it to load the library.
    if table == 0 {
        return Ok(());
    }
    if u64::from(size) != SECTION {
        return damaged(format!("section headers of {size} bytes"));
    }
    // More than fit into the header's field are counted in the first section.
    let count = if count == 0 { file.long(table.saturating_add(32)).unwrap_or(u64::MAX) } else { u64::from(count) };
    if !count.checked_mul(SECTION).is_some_and(|bytes| file.holds(table, bytes)) {
        return damaged(format!("its section headers end past the end of the file, which has {} bytes", file.0.len()));
    }
    // The first one describes nothing.
    for number in 1..count {
        let at = table + number * SECTION;
        let (Some(kind), Some(offset), Some(bytes)) = (file.word(at + 4), file.long(at + 24), file.long(at + 32))
        else {
            return damaged(format!("section header {number} cannot be read"));
        };
        if kind != 0 && kind != NO_BITS && !file.holds(offset, bytes) {
            return damaged(format!(
                "section {number} ends past the end of the file, which has {} bytes",
                file.0.len()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library of the system that is always there: the one this test itself links to.
    fn system() -> Vec<u8> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
        std::fs::read(path.unwrap()).unwrap()
    }

    #[test]
    fn a_good_library_passes_and_no_cut_one_does() {
        let whole = system();
        assert_eq!(check(&whole), Ok(()));
        for cut in [1, 2, 3, 17, 63, 64, 65, 500, whole.len() / 2, whole.len() - 1] {
            assert!(check(&whole[..cut]).is_err(), "cut after {cut} bytes");
        }
    }

    #[test]
    fn what_is_something_else_is_said_so() {
        let says = |bytes: &[u8]| match check(bytes) {
            Err(Fault::NotLibrary(why) | Fault::Damaged(why)) => why,
            Ok(()) => "nothing".into(),
        };
        assert_eq!(says(b""), "the file is empty");
        assert_eq!(says(b"a shopping list"), "it looks like text");
        assert_eq!(says(&[0xff; 100]), "it has no ELF header");
        let mut other = system();
        other[18] ^= 1;
        assert!(says(&other).contains("another processor"), "{}", says(&other));
        let mut executable = system();
        executable[16] = 2;
        assert!(says(&executable).contains("type 2"), "{}", says(&executable));
        let mut thirty_two = system();
        thirty_two[4] = 1;
        assert!(says(&thirty_two).contains("64 bit"));
    }

    /// Whatever stands in the headers, looking at them harms nobody.
    #[test]
    fn no_header_can_hurt() {
        let whole = system();
        let (mut refused, mut fine) = (0, 0);
        for at in 0..HEADER + 600 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if check(&changed).is_ok() { fine += 1 } else { refused += 1 }
            }
        }
        assert!(refused > 100 && fine > 100, "{refused} {fine}");
    }
}
