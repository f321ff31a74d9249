//! The targets of `cargo fuzz`: each calls one of those that the tests and the runner on stable Rust have as well.

#[path = "../../host/tests/fuzz/targets.rs"]
#[allow(unreachable_pub, reason = "in its other homes it is private")]
mod targets;

use std::sync::OnceLock;
use targets::Target;
use veilwatch_testkit::fuzz::{Input, Look};

/// Reads bytes with a target.
///
/// # Panics
/// Where something does not hold, and where there is no such target: this is what a fuzzer looks for.
pub fn run(name: &str, bytes: &[u8]) {
    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    let targets = TARGETS.get_or_init(|| targets::targets().expect("plugins in the box can be made"));
    let target = targets.iter().find(|target| target.name == name).expect("a target of this name");
    let input = Input::decode(bytes);
    if let Err(why) = target.read(&input, Look::of(&input)) {
        panic!("{why}");
    }
}
