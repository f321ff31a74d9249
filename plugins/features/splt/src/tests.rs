use super::*;
use veilwatch_core::record::{FieldTable, Value};
use veilwatch_testkit::conformance::assert_conforms;
use veilwatch_testkit::flows::{Table, write};
use veilwatch_testkit::talk::Talk;

/// `veilwatch config example` prints every default: the file it prints holds those of this plugin.
#[test]
fn the_example_holds_the_defaults() {
    let file: toml::Table = include_str!("../../../../config/default.toml").parse().unwrap();
    let entries = file["plugin"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["use"].as_str() == Some("feature/splt")).unwrap();
    let written = entry["settings"].as_table().unwrap();
    let read: SpltSettings = written.clone().try_into().unwrap();
    assert_eq!(read, SpltSettings::default());
    let keys = 2;
    assert_eq!(written.len(), keys, "a setting is missing in config/default.toml");
}

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

/// A flow of TLS 1.3 whose hello and certificate are as long as said, one hour after the other data.
fn flow(hello: usize, certificate: usize, settings: &str) -> Table {
    let fields = FieldTable::new();
    let (client, server) = ([hello as u16 - 5, 1, 53, 90, 40], [122, 1, certificate as u16, 53, 200, 900]);
    let flight = 127 + 6 + certificate + 5 + 58;
    let mut talk = Talk::tcp().open().segments(1400).forward(&vec![1; hello]).backward(&vec![2; flight]);
    // However many packets that took, the rest begins on the second.
    talk = talk.until_ms(1000);
    let talk = talk.forward(&[3; 6 + 58]).wait_ms(500).forward(&[3; 95]).wait_ms(30).backward(&[4; 205]);
    let talk = talk.backward(&[4; 905]).wait_ms(2000).forward(&[3; 45]);
    let mut flow = talk.flow(&veilwatch_core::flow::Templates::default());
    let values = [
        ("tls.client.record_version", Value::U64(0x301)),
        ("tls.client.extensions", Value::U16List(&[0, 43])),
        ("tls.server.record_version", Value::U64(0x303)),
        ("tls.server.selected_version", Value::U64(0x304)),
        ("tls.records.client", Value::U16List(&client)),
        ("tls.records.client_types", Value::Bytes(&[22, 20, 23, 23, 23])),
        ("tls.records.server", Value::U16List(&server)),
        ("tls.records.server_types", Value::Bytes(&[22, 20, 23, 23, 23, 23])),
    ];
    write(&mut flow, &fields, &values).unwrap();
    Table::new(&declarations()[0], settings, &fields, &[flow]).unwrap()
}

#[test]
fn lengths_runs_and_pauses_by_hand() {
    let table = flow(517, 2000, "");
    let get = |name: &str| table.get(0, name).unwrap();
    assert_eq!([get("size_1"), get("size_2"), get("size_3"), get("size_4")], [517.0, -1200.0, -796.0, 64.0]);
    assert_eq!((get("size_8"), get("size_9").is_nan()), (45.0, true));
    assert_eq!(
        (get("bursts"), get("turns"), get("burst_packets_max"), get("burst_packets_mean")),
        (5.0, 4.0, 2.0, 1.6)
    );
    assert_eq!((get("forward_burst_bytes_max"), get("backward_burst_bytes_max")), (517.0, 2196.0));
    assert_eq!((get("forward_burst_bytes_mean"), get("backward_burst_bytes_mean")), ((721.0f32 / 3.0), 1653.0));
    assert_eq!(get("burst_ratio"), (721.0f64 / (721.0 + 3306.0)) as f32);
    assert_eq!((get("pauses"), get("even_gaps").is_nan()), (1.0, true));
    assert!((get("data_pause") - 0.5).abs() < 1e-3, "{}", get("data_pause"));
    // A little under a second of three and a half.
    assert!((0.2..0.3).contains(&get("handshake_share")), "{}", get("handshake_share"));
    assert!(get("think_share") > 0.9);
}

#[test]
fn behind_the_handshake_nothing_tells_its_lengths() {
    let rows: Vec<Vec<u32>> = [(300, 900), (517, 2000), (1800, 9000)]
        .into_iter()
        .map(|(hello, certificate)| {
            let table = flow(hello, certificate, "packets = 6\nafter_handshake = true");
            let all = table.columns().iter().map(|column| table.get(0, &column.name).unwrap().to_bits());
            all.collect()
        })
        .collect();
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0], rows[2]);
    let table = flow(517, 2000, "packets = 6\nafter_handshake = true");
    let sizes = ["size_1", "size_2", "size_3", "size_4"].map(|name| table.get(0, name).unwrap());
    assert_eq!(sizes, [95.0, -205.0, -905.0, 45.0]);
    // So many packets that those behind it may be cut off.
    let table = flow(517, 60_000, "packets = 6\nafter_handshake = true");
    assert!(table.columns().iter().all(|column| table.get(0, &column.name).unwrap().is_nan()));
    assert!(table.column("think_time").is_none());
}

#[test]
fn settings_are_checked() {
    let made = |text: &str| Splt::create(Settings::new(text)).map(|_| ()).map_err(|error| error.to_string());
    assert!(made("packets = 33").unwrap_err().contains("packets"));
    assert!(made("packets = 13\nafter_handshake = true").unwrap_err().contains("packets"));
    assert!(made("packets = 32").is_ok());
}
