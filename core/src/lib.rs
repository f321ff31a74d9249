//! The pure engine of Veilwatch.
//!
//! Everything that decides what a capture *means* stands here, and nothing that touches the world: this crate does no
//! I/O, reads no clock, starts no thread and keeps no global. Time is packet time and comes in as an argument, so that
//! the same capture gives the same verdicts today and next year.
//!
//! | module | story |
//! |---|---|
//! | [`packet`] | a captured frame becomes addresses, ports and payload |
//! | [`stream`] | the first bytes of each direction, in TCP order |
//! | [`flow`] | packets become flows; flows end by packet time |
//! | [`record`] | what was read out of a flow: typed records and declared fields |
//! | [`context`] | what crosses flows: conversations |
//! | [`feature`] | schemas, rows, batches of flows as extractors see them |
//! | [`detect`] | scores, verdicts, reasons |
//! | [`tables`] | what numbers, first bytes and names stand for |
//! | [`plugin`] | the contract: three kinds of plugin as safe traits |
//! | [`abi`] | the same contract across a library boundary |
//!
//! `ARCHITECTURE.md` follows a packet through all of them.

pub mod abi;
pub mod context;
pub mod detect;
pub mod feature;
pub mod flow;
pub mod packet;
pub mod plugin;
pub mod record;
pub mod stream;
pub mod tables;
