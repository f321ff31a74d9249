-- Teams, what they share, how much they may keep and for how long.

CREATE TABLE teams (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    name              TEXT    NOT NULL UNIQUE,
    retired           INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1)),
    created_at        INTEGER NOT NULL,
    quota_bytes       INTEGER,                      -- that may be shared with it; NULL: no bound of its own
    captures_days     INTEGER,                      -- the three shorten what holds everywhere; NULL: they do not
    entries_days      INTEGER,
    unconfirmed_days  INTEGER
) STRICT;

CREATE TABLE members (
    team_id     INTEGER NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    account_id  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    standing    TEXT    NOT NULL CHECK (standing IN ('reads', 'works', 'leads')),
    since       INTEGER NOT NULL,
    PRIMARY KEY (team_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_account ON members (account_id, team_id);

-- Of an account that was deleted a bare row stays, so that what it did for others still names somebody.
ALTER TABLE accounts ADD COLUMN quota_bytes INTEGER; -- NULL: as everywhere
ALTER TABLE accounts ADD COLUMN deleted_at INTEGER;

ALTER TABLE entries ADD COLUMN team_id INTEGER REFERENCES teams (id); -- whom it is shared with
ALTER TABLE entries ADD COLUMN capture_gone_at INTEGER; -- since when it does without its capture
ALTER TABLE entries ADD COLUMN kept_why TEXT;       -- why no timer deletes it
CREATE INDEX entries_by_team ON entries (team_id, id);

-- One row: how the timers go on.
CREATE TABLE retention (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    last_sweep_at  INTEGER,
    accepted_at    INTEGER NOT NULL DEFAULT 0,      -- newest row that an administrator vouched for
    waits          TEXT CHECK (waits IN ('behind', 'ahead')), -- why nothing is deleted
    entries        INTEGER NOT NULL DEFAULT 0,      -- what the timers deleted so far
    captures       INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO retention (id) VALUES (1);
