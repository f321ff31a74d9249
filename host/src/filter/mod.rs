//! Capture filters in tcpdump's language (`man pcap-filter`): which packets of a capture count.
//!
//! | module | story |
//! |---|---|
//! | `libpcap` | the system's libpcap compiles an expression for a link type |
//! | `program` | the compiled program, checked and run |
//!
//! Only the compiler is libpcap's: it is loaded when the first filter is asked for, and a program without filters does not
//! need it. What it compiles is checked and run here, packet by packet, with every access in bounds.

mod libpcap;
mod program;

use libpcap::Libpcap;
pub(crate) use program::Instruction;
use program::Program;
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use veilwatch_core::packet::{LinkType, Packet};

/// Why there is no filter.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FilterError {
    /// No libpcap that can be used.
    #[error(
        "capture filters need libpcap, which was not found (tried {tried}); install it (package libpcap, such as \
         `apt install libpcap0.8`), or run without a filter"
    )]
    Library {
        /// The names it was looked for under.
        tried: String,
    },
    /// An expression that can be compiled for no link type.
    #[error("the capture filter `{text}` cannot be used: {why}; `man pcap-filter` describes the language")]
    Expression {
        /// The expression.
        text: String,
        /// What libpcap says of it.
        why: String,
    },
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It counts: there is no filter, or the filter lets it through, or it is of a link type that is not decoded, so that
    /// it is counted as that.
    Seen,
    /// The filter keeps it out.
    KeptOut,
    /// The expression cannot be compiled for its link type.
    Unfilterable,
}

/// A program for a link type, or why there is none.
type Compiled = Result<Arc<Program>, String>;

/// A capture filter.
#[derive(Debug, Clone)]
pub struct Filter {
    text: Arc<str>,
    /// What it was asked for so far; a capture has few link types.
    programs: Vec<(LinkType, Compiled)>,
}

impl Filter {
    /// Takes an expression; an empty one is no filter. It is compiled for Ethernet, and where it does not fit there for
    /// the others, so that a wrong one is told before anything is read. Names of hosts are looked up, as tcpdump does.
    pub fn new(text: &str) -> Result<Option<Self>, FilterError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let mut filter = Self { text: text.into(), programs: Vec::new() };
        let why = match compiled(text, LinkType::ETHERNET)? {
            Ok(_) => return Ok(Some(filter)),
            Err(why) => why,
        };
        filter.compile_all()?;
        if filter.programs.iter().any(|(_, program)| program.is_ok()) {
            return Ok(Some(filter));
        }
        Err(FilterError::Expression { text: text.to_owned(), why })
    }

    /// Compiles it for every link type that is decoded: for who will be able to look up nothing later.
    pub fn compile_all(&mut self) -> Result<(), FilterError> {
        for link in (0..=u16::MAX).map(LinkType).filter(|link| link.name().is_some()) {
            if !self.programs.iter().any(|(known, _)| *known == link) {
                self.programs.push((link, compiled(&self.text, link)?));
            }
        }
        Ok(())
    }

    /// Whether a packet counts.
    pub fn passage(&mut self, packet: &Packet<'_>) -> Passage {
        let at = match self.programs.iter().position(|(link, _)| *link == packet.link) {
            Some(at) => at,
            None if packet.link.name().is_none() => return Passage::Seen,
            None => {
                let program = compiled(&self.text, packet.link).unwrap_or_else(|error| Err(error.to_string()));
                self.programs.push((packet.link, program));
                self.programs.len() - 1
            }
        };
        match &self.programs[at].1 {
            Ok(program) if program.passes(packet.data, packet.wire_len) => Passage::Seen,
            Ok(_) => Passage::KeptOut,
            Err(_) => Passage::Unfilterable,
        }
    }

    /// The program for a link type, for the kernel.
    pub(crate) fn instructions(&self, link: LinkType) -> Result<Vec<Instruction>, FilterError> {
        let failed = |why| FilterError::Expression { text: self.text.to_string(), why };
        compiled(&self.text, link)?.map_err(failed)?;
        with_compiler(|compiler| compiler.known.get(&(self.text.to_string(), link)).map(|(_, known)| known.clone()))
            .map(Option::unwrap_or_default)
    }

    /// Why the expression cannot be compiled for a link type, where that was tried and failed.
    pub fn refusal(&self, link: LinkType) -> Option<&str> {
        let (_, program) = self.programs.iter().find(|(known, _)| *known == link)?;
        program.as_ref().err().map(String::as_str)
    }
}

/// The one compiler of the process, and what it was asked for already: a worker asks before it gives up everything, and
/// many captures ask for the same.
struct Compiler {
    libpcap: Libpcap,
    known: HashMap<(String, LinkType), (Compiled, Vec<Instruction>)>,
}

fn compiled(text: &str, link: LinkType) -> Result<Compiled, FilterError> {
    with_compiler(|Compiler { libpcap, known }| {
        let (program, _) = known.entry((text.to_owned(), link)).or_insert_with(|| {
            let text = CString::new(text).map_err(|_| "there is a zero byte in it".to_owned());
            match text.and_then(|text| libpcap.compile(&text, dlt(link))) {
                Ok(instructions) => (Program::new(&instructions).map(Arc::new), instructions),
                Err(why) => (Err(why), Vec::new()),
            }
        });
        program.clone()
    })
}

fn with_compiler<T>(ask: impl FnOnce(&mut Compiler) -> T) -> Result<T, FilterError> {
    static COMPILER: OnceLock<Result<Mutex<Compiler>, FilterError>> = OnceLock::new();
    let compiler = COMPILER
        .get_or_init(|| Ok(Mutex::new(Compiler { libpcap: Libpcap::load()?, known: HashMap::new() })))
        .as_ref()
        .map_err(Clone::clone)?;
    Ok(ask(&mut compiler.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// The number that libpcap has for a link type inside the program: mostly that of the file, as its `pcap-common.c` says.
fn dlt(link: LinkType) -> u16 {
    match link {
        LinkType::ATM_LLC => 11,
        LinkType::RAW | LinkType::RAW_ALT => 12,
        LinkType(number) => number,
    }
}

#[cfg(test)]
mod tests;
