//! What every plugin keeps to, and what this one reads of conversations that are known.

#![allow(clippy::unwrap_used, reason = "a test may")]

use veilwatch_testkit::conformance::assert_conforms;
use veilwatch_testkit::talk::{Talk, Wired};

use {{snake}}::declarations;

#[test]
fn keeps_to_the_contract() {
    assert_conforms(declarations());
}

#[test]
fn reads_the_first_line() {
    let template = Wired::new(&declarations()[0], "").unwrap();
    // In pieces, as it may come.
    let talk = Talk::tcp().open().forward(b"SS").forward(b"H-2.0-one").forward(b"\r\nmore").backward(b"hello\r\n");
    let told = template.read(&talk);
    assert!(told.recognised());
    assert_eq!(told.text("{{snake}}.line"), Some("SSH-2.0-one"));
}

#[test]
fn leaves_others_alone() {
    let template = Wired::new(&declarations()[0], "begins = \"HELO \"").unwrap();
    assert!(!template.read(&Talk::tcp().open().forward(b"SSH-2.0-one\r\n")).recognised());
    assert!(Wired::new(&declarations()[0], "begins = \"\"").is_err());
}
