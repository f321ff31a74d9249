//! Classic BPF, the small language that capture filters are compiled to: S. McCanne and V. Jacobson, "The BSD Packet
//! Filter: A New Architecture for User-level Packet Capture", USENIX 1993. `MOD` and `XOR` came later.

/// An instruction as libpcap's `bpf_insn` and Linux's `sock_filter` have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    /// What to do.
    pub(crate) code: u16,
    /// Instructions to skip where a test holds.
    pub(crate) yes: u8,
    /// Instructions to skip where it does not.
    pub(crate) no: u8,
    /// A number, an offset into the packet, or a place in memory.
    pub(crate) k: u32,
}

/// Words of memory that a program has.
const MEMORY: usize = 16;

/// A program that was checked: it reads nothing but the packet and its own memory, and comes to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    steps: Box<[Step]>,
}

/// An instruction after the check. Places in memory are below [`MEMORY`]; targets are later steps that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Number into the accumulator.
    Number(u32),
    /// So many bytes of the packet into the accumulator, at an offset that the index may be added to.
    Load {
        bytes: u8,
        indexed: bool,
        at: u32,
    },
    LoadMemory(u8),
    LoadLength,
    /// Number into the index.
    IndexNumber(u32),
    IndexMemory(u8),
    IndexLength,
    /// Four times the low half of a byte into the index: the length of an IPv4 header.
    IndexHeader(u32),
    Store(u8),
    StoreIndex(u8),
    Compute(Compute, Operand),
    Negate,
    Jump(u32),
    Branch {
        test: Test,
        with: Operand,
        yes: u32,
        no: u32,
    },
    Return(u32),
    ReturnAccumulator,
    ToIndex,
    ToAccumulator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Number(u32),
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compute {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Or,
    And,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal,
    Greater,
    AtLeast,
    AnyBit,
}

impl Program {
    /// Checks a program: instructions that exist, jumps that go forward and stay inside, places in memory, divisors and
    /// shifts in range, a return at the end. An error says what is wrong.
    pub(super) fn new(instructions: &[Instruction]) -> Result<Self, String> {
        let steps = instructions
            .iter()
            .enumerate()
            .map(|(at, instruction)| {
                step(*instruction, at, instructions.len()).map_err(|why| format!("instruction {at}: {why}"))
            })
            .collect::<Result<Box<[Step]>, String>>()?;
        match steps.last() {
            Some(Step::Return(_) | Step::ReturnAccumulator) => Ok(Self { steps }),
            _ => Err("it does not end with a return".into()),
        }
    }

    /// Whether it lets a packet through: its bytes that were kept, and its length on the wire.
    pub(super) fn passes(&self, packet: &[u8], wire_len: u32) -> bool {
        self.run(packet, wire_len).is_some_and(|kept| kept != 0)
    }

    /// What it returns; nothing where it reads past the packet or divides by zero.
    pub(super) fn run(&self, packet: &[u8], wire_len: u32) -> Option<u32> {
        let (mut accumulator, mut index) = (0u32, 0u32);
        let mut memory = [0u32; MEMORY];
        let mut next = 0;
        loop {
            let step = *self.steps.get(next)?;
            next += 1;
            match step {
                Step::Number(number) => accumulator = number,
                Step::Load { bytes, indexed, at } => {
                    let at = (at as usize).checked_add(if indexed { index as usize } else { 0 })?;
                    let bytes = packet.get(at..at.checked_add(bytes.into())?)?;
                    accumulator = bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                }
                Step::LoadMemory(place) => accumulator = *memory.get(usize::from(place))?,
                Step::LoadLength => accumulator = wire_len,
                Step::IndexNumber(number) => index = number,
                Step::IndexMemory(place) => index = *memory.get(usize::from(place))?,
                Step::IndexLength => index = wire_len,
                Step::IndexHeader(at) => index = u32::from(*packet.get(at as usize)? & 0xf) << 2,
                Step::Store(place) => *memory.get_mut(usize::from(place))? = accumulator,
                Step::StoreIndex(place) => *memory.get_mut(usize::from(place))? = index,
                Step::Compute(what, with) => accumulator = what.of(accumulator, with.value(index))?,
                Step::Negate => accumulator = accumulator.wrapping_neg(),
                Step::Jump(target) => next = target as usize,
                Step::Branch { test, with, yes, no } => {
                    next = if test.holds(accumulator, with.value(index)) { yes } else { no } as usize;
                }
                Step::Return(kept) => return Some(kept),
                Step::ReturnAccumulator => return Some(accumulator),
                Step::ToIndex => index = accumulator,
                Step::ToAccumulator => accumulator = index,
            }
        }
    }
}

impl Operand {
    fn value(self, index: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Index => index,
        }
    }
}

impl Compute {
    fn of(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::Subtract => a.wrapping_sub(b),
            Self::Multiply => a.wrapping_mul(b),
            Self::Divide => a.checked_div(b)?,
            Self::Remainder => a.checked_rem(b)?,
            Self::Or => a | b,
            Self::And => a & b,
            Self::Xor => a ^ b,
            // Past the width nothing is left.
            Self::ShiftLeft => a.checked_shl(b).unwrap_or(0),
            Self::ShiftRight => a.checked_shr(b).unwrap_or(0),
        })
    }
}

impl Test {
    fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::AtLeast => a >= b,
            Self::AnyBit => a & b != 0,
        }
    }
}

/// Checks the instruction at `at` of a program of `length`. A code is a sum: class in the lowest three bits; then width
/// and mode of loads, or the operation and where its operand comes from.
fn step(instruction: Instruction, at: usize, length: usize) -> Result<Step, String> {
    let Instruction { code, yes, no, k } = instruction;
    let place = || match u8::try_from(k) {
        Ok(place) if usize::from(place) < MEMORY => Ok(place),
        _ => Err(format!("there is no memory at {k}")),
    };
    // Jumps count from the next instruction on; so they go forward, as long as they do not wrap round.
    let target = |skipped: u32| match (at as u64 + 1).checked_add(skipped.into()) {
        Some(target) if target < length as u64 => Ok(target as u32),
        _ => Err("it jumps backwards or out of the program, as `protochain` does; that is not supported".to_owned()),
    };
    let with = if code & 0x08 == 0 { Operand::Number(k) } else { Operand::Index };
    let branch = |test| Ok(Step::Branch { test, with, yes: target(yes.into())?, no: target(no.into())? });
    let compute = |what| match (what, with) {
        (Compute::Divide | Compute::Remainder, Operand::Number(0)) => Err("it divides by zero".to_owned()),
        (Compute::ShiftLeft | Compute::ShiftRight, Operand::Number(32..)) => Err(format!("it shifts by {k} bits")),
        _ => Ok(Step::Compute(what, with)),
    };
    match code {
        0x00 => Ok(Step::Number(k)),
        0x20 => Ok(Step::Load { bytes: 4, indexed: false, at: k }),
        0x28 => Ok(Step::Load { bytes: 2, indexed: false, at: k }),
        0x30 => Ok(Step::Load { bytes: 1, indexed: false, at: k }),
        0x40 => Ok(Step::Load { bytes: 4, indexed: true, at: k }),
        0x48 => Ok(Step::Load { bytes: 2, indexed: true, at: k }),
        0x50 => Ok(Step::Load { bytes: 1, indexed: true, at: k }),
        0x60 => Ok(Step::LoadMemory(place()?)),
        0x80 => Ok(Step::LoadLength),
        0x01 => Ok(Step::IndexNumber(k)),
        0x61 => Ok(Step::IndexMemory(place()?)),
        0x81 => Ok(Step::IndexLength),
        0xb1 => Ok(Step::IndexHeader(k)),
        0x02 => Ok(Step::Store(place()?)),
        0x03 => Ok(Step::StoreIndex(place()?)),
        0x04 | 0x0c => compute(Compute::Add),
        0x14 | 0x1c => compute(Compute::Subtract),
        0x24 | 0x2c => compute(Compute::Multiply),
        0x34 | 0x3c => compute(Compute::Divide),
        0x44 | 0x4c => compute(Compute::Or),
        0x54 | 0x5c => compute(Compute::And),
        0x64 | 0x6c => compute(Compute::ShiftLeft),
        0x74 | 0x7c => compute(Compute::ShiftRight),
        0x84 => Ok(Step::Negate),
        0x94 | 0x9c => compute(Compute::Remainder),
        0xa4 | 0xac => compute(Compute::Xor),
        0x05 => Ok(Step::Jump(target(k)?)),
        0x15 | 0x1d => branch(Test::Equal),
        0x25 | 0x2d => branch(Test::Greater),
        0x35 | 0x3d => branch(Test::AtLeast),
        0x45 | 0x4d => branch(Test::AnyBit),
        0x06 => Ok(Step::Return(k)),
        0x16 => Ok(Step::ReturnAccumulator),
        0x07 => Ok(Step::ToIndex),
        0x87 => Ok(Step::ToAccumulator),
        _ => Err(format!("there is no code {code:#06x}")),
    }
}
