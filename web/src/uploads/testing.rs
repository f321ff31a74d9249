//! A data folder with a database, and people who upload into it.

#![allow(clippy::unwrap_used, reason = "helpers of tests count as tests")]

use std::path::PathBuf;

use rocket::tokio::runtime::Builder;
use rusqlite::Connection;
use tempfile::TempDir;
use veilwatch::worker::Inspection;

use super::{Folders, Key, NewUpload, ReceiveLimits, Received, UnderWay, kept_bytes, receive};
use crate::accounts::people::{self, NewAccount};
use crate::accounts::{Actor, Refused, Role};
use crate::config::Limits;
use crate::database::Db;

/// When things are uploaded.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) connection: Connection,
    pub(crate) folders: Folders,
    pub(crate) under_way: UnderWay,
    pub(crate) limits: Limits,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Db::open(&folder.path().join("portal.sqlite")).unwrap();
        let folders = Folders::make(folder.path()).unwrap();
        let connection = connect(&folder);
        Self {
            folder,
            connection,
            folders,
            under_way: UnderWay::default(),
            limits: Limits { free_disk_bytes: 0, ..Limits::default() },
        }
    }

    /// A connection of one's own.
    pub(crate) fn another_connection(&self) -> Connection {
        connect(&self.folder)
    }

    pub(crate) fn account(&mut self, name: &str) -> i64 {
        let new = NewAccount { name: name.to_owned(), display_name: name.to_owned(), password_hash: String::new() };
        if people::count(&self.connection).unwrap() == 0 {
            return people::create_first(&mut self.connection, &new, &actor(), NOW).unwrap();
        }
        self.connection
            .execute(
                "INSERT INTO accounts (name, display_name, role, password_hash, created_at) VALUES (?1, ?1, ?2, '', 1)",
                (name, Role::Analyst.name()),
            )
            .unwrap();
        self.connection.last_insert_rowid()
    }

    /// An upload that has come in.
    pub(crate) fn received(&self, account: i64, bytes: &[u8]) -> Received {
        let kept = kept_bytes(&self.connection, account).unwrap();
        let upload = self.under_way.begin(account, kept, &self.limits).unwrap();
        Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(receive(&self.folders, bytes, ReceiveLimits::from(&self.limits), upload))
            .unwrap()
    }

    pub(crate) fn try_keep(&mut self, received: Received) -> Result<Key, Refused> {
        let new = NewUpload { name: "day one.pcap", inspection: &inspection() };
        keep_alone(&mut self.connection, &self.folders, received, &new, &self.limits)
    }

    pub(crate) fn keep(&mut self, account: i64, bytes: &[u8]) -> Key {
        let received = self.received(account, bytes);
        self.try_keep(received).unwrap()
    }

    /// Sets what a worker would.
    pub(crate) fn set(&self, key: &Key, assignments: &str) {
        let sql = format!("UPDATE entries SET {assignments} WHERE key = ?1");
        assert_eq!(self.connection.execute(&sql, [key.as_str()]).unwrap(), 1);
    }

    pub(crate) fn done(&self, key: &Key) {
        self.set(key, "state = 'done', packets = 9, flows = 3, scored = 2, malicious = 0, suspicious = 0");
        std::fs::write(self.folders.result(key), "a result").unwrap();
    }

    /// Files in one of the folders.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder.path().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// One number from the database.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The names of what the audit log holds.
    pub(crate) fn actions(&self) -> Vec<String> {
        let mut statement = self.connection.prepare("SELECT action FROM audit ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

fn connect(folder: &TempDir) -> Connection {
    let connection = Connection::open(folder.path().join("portal.sqlite")).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    connection
}

pub(crate) fn actor() -> Actor {
    Actor { name: Some("somebody".to_owned()), address: "192.0.2.1".to_owned() }
}

pub(crate) fn inspection() -> Inspection {
    Inspection {
        format: "pcap".to_owned(),
        compression: None,
        packets: 3,
        complete: true,
        bytes: 3,
        first_ns: Some(1),
        last_ns: Some(2),
        links: vec![(1, 3)],
        decoded: 3,
        damage: None,
    }
}

/// Keeps an upload, and does nothing else in the same step.
pub(crate) fn keep_alone(
    connection: &mut Connection,
    folders: &Folders,
    received: Received,
    new: &NewUpload<'_>,
    limits: &Limits,
) -> Result<Key, Refused> {
    super::store::keep(connection, folders, received, new, limits, &actor(), NOW, |_, _| Ok(()), |_, _| Ok(()))
}
