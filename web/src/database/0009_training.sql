-- Models learned from the portal.
CREATE TABLE trainings (
    -- Never given twice: what runs may outlive its row.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'conflicts', 'failed', 'stopped')),
    pipeline TEXT NOT NULL,
    -- What the model is called in the registry.
    model TEXT NOT NULL,
    -- Names in the folder of labelled data, as a JSON list.
    sources TEXT NOT NULL,
    -- SHA-256 of the captures whose marks are learnt from, as a JSON list.
    captures TEXT NOT NULL,
    marks INTEGER NOT NULL,
    weight REAL NOT NULL,
    on_conflict TEXT NOT NULL CHECK (on_conflict IN ('refuse', 'label', 'mark')),
    seed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    starts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    stop_asked INTEGER NOT NULL DEFAULT 0,
    why TEXT,
    words TEXT,
    -- The version that the registry has of it.
    version INTEGER,
    -- What came of it, as JSON.
    report TEXT
) STRICT;
CREATE INDEX trainings_by_account ON trainings (account_id, id);
CREATE INDEX trainings_by_state ON trainings (state);

-- Which model scores beside that of a pipeline, and decides nothing.
CREATE TABLE shadows (
    pipeline TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the two came to in an analysis.
CREATE TABLE shadow_runs (
    entry_id INTEGER PRIMARY KEY REFERENCES entries (id) ON DELETE CASCADE,
    challenger TEXT NOT NULL,
    champion TEXT NOT NULL,
    flows INTEGER NOT NULL,
    same_verdict INTEGER NOT NULL,
    champion_alerts INTEGER NOT NULL,
    challenger_alerts INTEGER NOT NULL,
    both_alert INTEGER NOT NULL,
    failed INTEGER NOT NULL
) STRICT;
CREATE INDEX shadow_runs_by_challenger ON shadow_runs (challenger);
