use super::*;
use veilwatch_core::feature::hash64;
use veilwatch_core::flow::{FlowRecord, Templates};
use veilwatch_core::record::{FieldTable, Value};
use veilwatch_testkit::conformance::assert_conforms;
use veilwatch_testkit::flows::{Table, write};
use veilwatch_testkit::talk::Talk;

fn flow(ciphers: &[u16], sni: &[u8]) -> FlowRecord {
    let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
    let values = [
        ("tls.client.record_version", Value::U64(0x301)),
        ("tls.client.ciphers", Value::U16List(ciphers)),
        ("tls.client.sni", Value::Bytes(sni)),
    ];
    write(&mut flow, &FieldTable::new(), &values).unwrap();
    flow
}

fn row(settings: &str, flow: FlowRecord) -> Vec<f32> {
    let table = Table::new(&declarations()[0], settings, &FieldTable::new(), &[flow]).unwrap();
    table.columns().iter().map(|column| table.get(0, &column.name).unwrap()).collect()
}

#[test]
fn weights_by_hand() {
    let settings = "groups = [\"alpn\", \"ciphers\"]\nwidth = 4096\nsigned = false\nseed = 0";
    // Twice 5, once 9; two in a row: 5 and 5, 5 and 9. GREASE is no term.
    let made = row(settings, flow(&[0x0a0a, 5, 5, 9], b""));
    let at = |kind: u64, what: &[u8]| hash64(kind << 48, what) as usize & 4095;
    let twice = 1.0 + 2f64.ln();
    let length = (twice * twice + 3.0).sqrt();
    assert_eq!(made[at(0, &[0, 5])], (twice / length) as f32);
    for other in [at(0, &[0, 9]), at(1, &[0, 5, 0, 5]), at(1, &[0, 5, 0, 9])] {
        assert_eq!(made[other], (1.0 / length) as f32);
    }
    assert_eq!(made.iter().filter(|value| **value != 0.0).count(), 4);
}

#[test]
fn seed_sign_and_groups_count() {
    let make = |settings: &str| row(settings, flow(&[1, 2, 3, 4, 5, 6, 7, 8], b"www.example.com"));
    let plain = make("");
    assert_eq!(plain.len(), 128);
    assert!((plain.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    assert!(plain.iter().any(|value| *value < 0.0));
    assert_ne!(plain, make("seed = 2"));
    let unit = |settings: &str| {
        let table = Table::new(&declarations()[0], settings, &FieldTable::new(), &[]).unwrap();
        table.columns()[0].unit.to_string()
    };
    let units = ["", "seed = 2", "signed = false", "groups = [\"names\"]", "groups = [\"alpn\"]"].map(unit);
    assert!(units.iter().all(|unit| unit.starts_with("weight ")));
    assert_eq!(units.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    assert_eq!(unit("width = 256"), units[0]);
    assert!(make("signed = false").iter().all(|value| *value >= 0.0));
    let ciphers = "groups = [\"ciphers\"]";
    assert_eq!(make(ciphers), row(ciphers, flow(&[1, 2, 3, 4, 5, 6, 7, 8], b"another.example")));
    assert_ne!(make(ciphers), make("groups = [\"ciphers\", \"names\"]"));
}

#[test]
fn without_terms_there_is_nothing() {
    assert!(row("groups = [\"alpn\"]", flow(&[], b"")).iter().all(|value| value.is_nan()));
}

#[test]
fn settings_are_checked() {
    let made = |text: &str| TermFrequency::create(Settings::new(text)).map(|_| ()).map_err(|error| error.to_string());
    assert!(made("width = 100").unwrap_err().contains("power of two"));
    assert!(made("width = 8192").unwrap_err().contains("width"));
    assert!(made("groups = [\"cipher\"]").unwrap_err().contains("`ciphers`"));
    assert!(made("groups = []").is_err());
}

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}
