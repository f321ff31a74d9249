-- Uploads that go on after they were broken off, and who is told when an analysis is done.

-- One row for each upload that can be gone on with; its bytes are in partial/<key> in the data folder. The row stays for a
-- while after the end, so that a program which lost the last answer hears it.
CREATE TABLE uploads (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT    NOT NULL UNIQUE,            -- names it in addresses, and its file: random
    account_id  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    address     TEXT    NOT NULL,                   -- where it was begun from, for the audit log
    name        TEXT    NOT NULL,                   -- the file name as it is shown
    metadata    TEXT,                               -- `Upload-Metadata` as it was given
    modified    TEXT,                               -- when the file was last changed, as the page's script says
    length      INTEGER NOT NULL,
    kept        INTEGER NOT NULL DEFAULT 0,         -- bytes that have reached the disk, and never more
    choices     TEXT,                               -- JSON: how to confirm it; none where its owner is asked
    state       TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'refused')),
    entry       TEXT,                               -- the key of what it became
    refusal     TEXT,                               -- JSON: why it became nothing
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_by_account ON uploads (account_id, state);
CREATE INDEX uploads_by_end ON uploads (expires_at);
CREATE INDEX uploads_by_entry ON uploads (entry) WHERE entry IS NOT NULL;

-- What a program's `Idempotency-Key` made, and the answer it was given.
CREATE TABLE answers (
    account_id  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    key         TEXT    NOT NULL,                   -- as the program chose it
    request     BLOB    NOT NULL,                   -- SHA-256 of the request
    location    TEXT    NOT NULL,                   -- the key of what was made
    answer      TEXT,                               -- JSON; none where the portal ended before it was written
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_age ON answers (created_at);
CREATE INDEX answers_by_location ON answers (location);

-- Whoever asks once more with the key that began an upload which came to nothing begins a new one.
CREATE TRIGGER an_upload_goes AFTER DELETE ON uploads WHEN OLD.state <> 'done'
BEGIN
    DELETE FROM answers WHERE location = OLD.key;
END;

-- Analyses that came to an end and of which no webhook was told yet. A trigger writes them, in the transaction that ends
-- the analysis: none is forgotten, whatever ended it.
CREATE TABLE ended (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id   INTEGER NOT NULL,
    event      TEXT    NOT NULL CHECK (event IN ('done', 'failed'))
) STRICT;
CREATE TRIGGER an_analysis_ends AFTER UPDATE OF state ON entries
WHEN NEW.state IN ('done', 'failed') AND OLD.state IN ('queued', 'running')
BEGIN
    INSERT INTO ended (entry_id, event) VALUES (NEW.id, NEW.state);
END;

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook     TEXT    NOT NULL,                   -- its name in the configuration
    event       TEXT    NOT NULL CHECK (event IN ('done', 'failed', 'test')),
    entry       TEXT,                               -- the key of the entry
    body        TEXT    NOT NULL,                   -- JSON: what is sent
    state       TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dropped')),
    tries       INTEGER NOT NULL DEFAULT 0,
    next_at     INTEGER NOT NULL,                   -- when it is tried next
    words       TEXT,                               -- what the last try came to
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
CREATE INDEX deliveries_by_state ON deliveries (webhook, state, next_at);
CREATE INDEX deliveries_by_entry ON deliveries (entry);
