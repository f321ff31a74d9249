-- Captures, what people uploaded, what became of it. Times are seconds since 1970 (UTC).

-- One row for each content; the file is captures/<sha256> in the data folder.
CREATE TABLE captures (
    sha256     TEXT    PRIMARY KEY,                 -- lower case hexadecimal
    bytes      INTEGER NOT NULL,
    stored_at  INTEGER NOT NULL
) STRICT;

-- What entries are sorted into: administrators edit the list.
CREATE TABLE categories (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT    NOT NULL UNIQUE,
    retired  INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1))
) STRICT;
INSERT INTO categories (name) VALUES ('Incident'), ('Malware sample'), ('Routine check');

CREATE TABLE entries (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    key           TEXT    NOT NULL UNIQUE,          -- names it in addresses: random
    account_id    INTEGER NOT NULL REFERENCES accounts (id),
    sha256        TEXT    NOT NULL REFERENCES captures (sha256),
    name          TEXT    NOT NULL,                 -- the file name as it was given: any text, always escaped
    note          TEXT    NOT NULL DEFAULT '',
    category_id   INTEGER REFERENCES categories (id),
    created_at    INTEGER NOT NULL,
    inspection    TEXT    NOT NULL,                 -- JSON: what was recognised
    state         TEXT    NOT NULL CHECK (state IN ('unconfirmed', 'queued', 'running', 'done', 'failed')),
    pipeline      TEXT,                             -- the three from the confirmation on
    packet_limit  INTEGER,
    confirmed_at  INTEGER,
    started_at    INTEGER,
    ended_at      INTEGER,
    starts        INTEGER NOT NULL DEFAULT 0,       -- how often its worker was started
    crashes       INTEGER NOT NULL DEFAULT 0,       -- how often its worker died
    stop_asked    INTEGER NOT NULL DEFAULT 0 CHECK (stop_asked IN (0, 1)),
    why           TEXT,                             -- of a failure: its kind and the words for it
    words         TEXT,
    packets       INTEGER,                          -- from here on: what the analysis came to
    flows         INTEGER,
    scored        INTEGER,
    malicious     INTEGER,
    suspicious    INTEGER,
    partial       INTEGER,
    blind         INTEGER,
    result_bytes  INTEGER
) STRICT;
CREATE INDEX entries_by_account ON entries (account_id, id);
CREATE INDEX entries_by_state ON entries (state, confirmed_at);
CREATE INDEX entries_by_capture ON entries (sha256);

-- What people say of an alert. The newest of a flow counts; the flow's facts are copied, so that labels can be written
-- without the result.
CREATE TABLE marks (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id     INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    flow_id      INTEGER NOT NULL,
    malicious    INTEGER NOT NULL CHECK (malicious IN (0, 1)),
    reason       TEXT    NOT NULL,
    account_id   INTEGER NOT NULL REFERENCES accounts (id),
    at           INTEGER NOT NULL,
    first_ns     INTEGER NOT NULL,
    client       TEXT    NOT NULL,
    client_port  INTEGER NOT NULL,
    server       TEXT    NOT NULL,
    server_port  INTEGER NOT NULL,
    sni          TEXT
) STRICT;
CREATE INDEX marks_by_entry ON marks (entry_id, flow_id);
