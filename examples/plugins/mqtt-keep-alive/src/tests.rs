use crate::declarations;
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::record::{FieldKind, FieldSpec, FieldTable, Value};
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::flows::{self, Table};
use veilwatch_testkit::talk::Talk;

/// What the template declares.
fn field() -> FieldSpec {
    FieldSpec::new("mqtt.kalive", FieldKind::U64, "keep-alive in seconds, 0 for none")
}

fn fields() -> FieldTable {
    let mut fields = FieldTable::new();
    fields.declare(field(), "mqtt").unwrap();
    fields
}

/// A client that says something three times, ten seconds apart, as a template would have read it.
fn flow(keep_alive: Option<u64>) -> FlowRecord {
    let ping = b"\xc0\0";
    let mut flow = Talk::tcp()
        .forward(ping)
        .wait_ms(10_000)
        .forward(ping)
        .wait_ms(10_000)
        .forward(ping)
        .flow(&veilwatch_core::flow::Templates::default());
    if let Some(seconds) = keep_alive {
        flows::write(&mut flow, &fields(), &[("mqtt.kalive", Value::U64(seconds))]).unwrap();
    }
    flow
}

#[test]
fn it_conforms() {
    for fields in [vec![], vec![field()]] {
        let report = check(&declarations()[0], &Options { fields, ..Options::default() });
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn values_by_hand() {
    // A share of a minute, of five seconds, of no time at all; more than a protocol's two bytes hold; no MQTT.
    let flows = [Some(60), Some(5), Some(0), Some(70_000), None].map(flow);
    let table = Table::new(&declarations()[0], "", &fields(), &flows).unwrap();
    let seconds = table.column("keep_alive").unwrap();
    assert_eq!(seconds[..3], [60.0, 5.0, 0.0]);
    let used = table.column("used").unwrap();
    assert!((used[0] - 1.0 / 6.0).abs() < 1e-4 && (used[1] - 2.0).abs() < 1e-4, "{used:?}");
    assert!([used[2], seconds[3], used[3], seconds[4], used[4]].iter().all(|value| value.is_nan()), "{table:?}");
}

#[test]
fn a_pipeline_without_the_template_has_no_values() {
    let table = Table::new(&declarations()[0], "", &FieldTable::new(), &[flow(Some(60))]).unwrap();
    assert!(table.get(0, "keep_alive").unwrap().is_nan());
}
