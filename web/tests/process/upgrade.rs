//! A data folder of an older version comes up and keeps what is in it.

use rusqlite::{Connection, params};

use crate::backup::says;
use crate::portal::{Portal, example};

/// The tables of the first release with entries.
const OLD: [&str; 2] =
    [include_str!("../../src/database/0001_accounts.sql"), include_str!("../../src/database/0002_entries.sql")];

/// Puts a database with the old tables in the place of one with the new ones, and everything into it that fits.
fn downgrade(path: &std::path::Path) {
    let new = path.with_extension("new");
    // What the portal left in the write-ahead log belongs to it.
    let whole = Connection::open(path).unwrap();
    whole.query_row("PRAGMA wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    whole.close().unwrap();
    std::fs::rename(path, &new).unwrap();
    let old = Connection::open(path).unwrap();
    OLD.iter().for_each(|sql| old.execute_batch(sql).unwrap());
    old.pragma_update(None, "user_version", i64::try_from(OLD.len()).unwrap()).unwrap();
    old.execute("ATTACH ?1 AS new", [new.to_str().unwrap()]).unwrap();
    let names = |sql: &str, of: &str| -> Vec<String> {
        let mut rows = old.prepare(sql).unwrap();
        rows.query_map(params![of], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    old.execute_batch("DELETE FROM categories").unwrap();
    for table in ["accounts", "sessions", "api_tokens", "audit", "captures", "categories", "entries", "marks"] {
        let columns = names("SELECT name FROM pragma_table_info(?1, 'main')", table).join(", ");
        old.execute_batch(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")).unwrap();
    }
    old.execute_batch("DETACH new").unwrap();
    old.close().unwrap();
    std::fs::remove_file(new).unwrap();
}

#[test]
fn an_older_database_comes_up_and_keeps_its_entries() {
    let mut portal = Portal::start(&[]);
    let ada = portal.administrator();
    let key = ada.analyse(&portal, "default", &example("first-run.pcap"));
    let (entry, lines) = (ada.done(&portal, &key), ada.lines(&portal, &key));
    let waits = ada.upload(&portal, "", &example("benign-odd.pcap")).is(201).json();
    portal.terminate();
    let path = portal.data().join("portal.sqlite");
    downgrade(&path);
    let version = || {
        let database = Connection::open(&path).unwrap();
        database.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(version(), 2);

    portal.again();
    assert!(version() > 2);
    assert_eq!(ada.entry(&portal, &key), entry);
    assert_eq!(ada.lines(&portal, &key), lines);
    assert_eq!(ada.entry(&portal, waits["key"].as_str().unwrap()), waits);
    ada.get(&portal, &format!("/entries/{key}")).is(200);
    let again = ada.analyse(&portal, "default", &example("first-run.pcap"));
    ada.done(&portal, &again);
    assert_eq!(ada.lines(&portal, &again), lines);

    // And a newer one is left alone, with the words that help.
    portal.terminate();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let folder = portal.data().parent().unwrap().to_owned();
    for arguments in [&[][..], &["backup", "b"], &["check"]] {
        assert!(says(&folder, arguments, 2).contains("start the newer portal, or restore a backup"));
    }
    assert_eq!(version(), 999);
}
