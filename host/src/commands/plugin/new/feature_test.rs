//! What every plugin keeps to, and what this one says of flows that are known.

#![allow(clippy::unwrap_used, reason = "a test may")]

use veilwatch_core::flow::Templates;
use veilwatch_core::record::FieldTable;
use veilwatch_testkit::conformance::assert_conforms;
use veilwatch_testkit::flows::Table;
use veilwatch_testkit::talk::Talk;

use {{snake}}::declarations;

#[test]
fn keeps_to_the_contract() {
    assert_conforms(declarations());
}

#[test]
fn measures_the_longest_silence() {
    let talk = Talk::tcp().open().forward(b"one").wait_ms(2500).backward(b"two").wait_ms(20).forward(b"three");
    let short = Talk::tcp().open().forward(b"one");
    let flows = [talk.flow(&Templates::default()), short.flow(&Templates::default())];
    let table = Table::new(&declarations()[0], "packets = 8", &FieldTable::new(), &flows).unwrap();
    let silence = table.column("longest_silence").unwrap();
    assert!((silence[0] - 2.5).abs() < 0.01, "{silence:?}");
    assert!(silence[1].is_nan(), "{silence:?}");
}

#[test]
fn refuses_settings_out_of_range() {
    assert!(Table::new(&declarations()[0], "packets = 33", &FieldTable::new(), &[]).is_err());
}
