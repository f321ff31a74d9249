-- What people make of findings: marks that cover more than one flow, states, who looks at them, and what is said.
-- Times are seconds since 1970 (UTC).

-- A mark says why, what a malicious flow is for, and which flows it speaks of: all of one pair of computers, or all of a
-- server. It is never changed; it is withdrawn.
ALTER TABLE marks ADD COLUMN why TEXT NOT NULL DEFAULT 'other';
ALTER TABLE marks ADD COLUMN purpose TEXT;
ALTER TABLE marks ADD COLUMN scope TEXT NOT NULL DEFAULT 'flow'
    CHECK (scope IN ('flow', 'pair', 'name-and-address', 'address-and-port', 'name', 'address'));
ALTER TABLE marks ADD COLUMN covers INTEGER NOT NULL DEFAULT 1;
ALTER TABLE marks ADD COLUMN withdrawn_at INTEGER;
ALTER TABLE marks ADD COLUMN withdrawn_by INTEGER REFERENCES accounts (id);

-- The flows that a mark covers, copied, so that labels can be written without the result.
CREATE TABLE marked (
    mark_id      INTEGER NOT NULL REFERENCES marks (id) ON DELETE CASCADE,
    entry_id     INTEGER NOT NULL,
    flow_id      INTEGER NOT NULL,
    first_ns     INTEGER NOT NULL,
    client       TEXT    NOT NULL,
    client_port  INTEGER NOT NULL,
    server       TEXT    NOT NULL,
    server_port  INTEGER NOT NULL,
    sni          TEXT,
    PRIMARY KEY (entry_id, flow_id, mark_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX marked_by_mark ON marked (mark_id);
INSERT INTO marked SELECT id, entry_id, flow_id, first_ns, client, client_port, server, server_port, sni FROM marks;

-- What people work on: every entry, and every conversation in it that is worth a look.
CREATE TABLE items (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id     INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    kind         TEXT    NOT NULL CHECK (kind IN ('entry', 'conversation')),
    state        TEXT    NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'seen', 'confirmed', 'dismissed', 'closed')),
    words        TEXT    NOT NULL DEFAULT '',       -- with which it was closed
    assignee_id  INTEGER REFERENCES accounts (id),
    version      INTEGER NOT NULL DEFAULT 1,        -- grows with every change
    at           INTEGER NOT NULL,                  -- since when it waits
    place        INTEGER NOT NULL DEFAULT 2147483647, -- in the queue: the smallest comes first
    verdict      TEXT,                              -- from here on: the worst of its flows
    score        REAL,
    worth        REAL    NOT NULL DEFAULT 0,        -- what a word on it teaches, from 0 to 1
    novel        INTEGER NOT NULL DEFAULT 0 CHECK (novel IN (0, 1)),
    category     TEXT,
    flows        INTEGER NOT NULL DEFAULT 0,
    client       TEXT    NOT NULL DEFAULT '',       -- of an entry: empty
    server       TEXT    NOT NULL DEFAULT '',
    port         INTEGER NOT NULL DEFAULT 0,
    protocol     INTEGER NOT NULL DEFAULT 0,
    name         TEXT    NOT NULL DEFAULT '',       -- the server name that was asked for: the capture's text
    flow_id      INTEGER,                           -- its worst flow
    first_ns     INTEGER,                           -- and when and from where that began
    client_port  INTEGER,
    carried_from INTEGER                            -- the item of an earlier analysis whose state it took over
) STRICT;
CREATE UNIQUE INDEX items_by_entry ON items (entry_id, kind, client, server, port, protocol, name);
-- What is counted and filtered by, so that no item has to be read for it.
CREATE INDEX items_by_state ON items (entry_id, kind, state, assignee_id, category);
CREATE INDEX items_by_assignee ON items (assignee_id) WHERE assignee_id IS NOT NULL;

-- Every entry is an item, whichever way it came in.
INSERT INTO items (entry_id, kind, at) SELECT id, 'entry', created_at FROM entries;
CREATE TRIGGER entries_are_items AFTER INSERT ON entries
BEGIN
    INSERT INTO items (entry_id, kind, at) VALUES (NEW.id, 'entry', NEW.created_at);
END;

-- When an entry's conversations became items; none: not yet. And how many were too many; none: the result could not be read.
ALTER TABLE entries ADD COLUMN items_at INTEGER;
ALTER TABLE entries ADD COLUMN items_left INTEGER;
CREATE INDEX entries_without_items ON entries (id) WHERE state = 'done' AND items_at IS NULL;

-- What was changed of an item. Names are copied, not referenced.
CREATE TABLE changes (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id   INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    by        TEXT    NOT NULL,
    state     TEXT,                                 -- what it became; none where it stayed as it was
    assignee  TEXT,                                 -- the same; empty for nobody
    words     TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX changes_by_item ON changes (item_id, id);

CREATE TABLE comments (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id     INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    account_id  INTEGER NOT NULL REFERENCES accounts (id),
    at          INTEGER NOT NULL,
    text        TEXT    NOT NULL,                   -- empty once it was deleted
    version     INTEGER NOT NULL DEFAULT 1,
    edited_at   INTEGER,
    deleted_at  INTEGER
) STRICT;
CREATE INDEX comments_by_item ON comments (item_id, id);
