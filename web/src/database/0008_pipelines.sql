-- Pipelines that administrators wrote here, each version of them; what became of plugins; entries of protocol tables.

CREATE TABLE pipelines (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT    NOT NULL UNIQUE,
    retired  INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1))
) STRICT;

-- Who wrote it is copied, as in the audit log: a version says the same for ever.
CREATE TABLE pipeline_versions (
    pipeline_id  INTEGER NOT NULL REFERENCES pipelines (id),
    version      INTEGER NOT NULL,                  -- from 1
    text         TEXT    NOT NULL,                  -- TOML, as it was typed
    words        TEXT    NOT NULL,                  -- what changed, in the words of whoever saved it
    saved_by     TEXT    NOT NULL,
    saved_at     INTEGER NOT NULL,
    PRIMARY KEY (pipeline_id, version)
) STRICT;

CREATE TRIGGER pipeline_versions_are_not_changed BEFORE UPDATE ON pipeline_versions
BEGIN
    SELECT RAISE(ABORT, 'a version of a pipeline is never changed');
END;

CREATE TRIGGER pipeline_versions_are_not_deleted BEFORE DELETE ON pipeline_versions
BEGIN
    SELECT RAISE(ABORT, 'a version of a pipeline is never deleted');
END;

-- REPLACE would get past the triggers before it.
CREATE TRIGGER pipeline_versions_are_not_replaced BEFORE INSERT ON pipeline_versions
WHEN EXISTS (SELECT 1 FROM pipeline_versions WHERE pipeline_id = NEW.pipeline_id AND version = NEW.version)
BEGIN
    SELECT RAISE(ABORT, 'a version of a pipeline is never replaced');
END;

-- The version that an entry's analysis used; none of a pipeline in the box or of the configuration.
ALTER TABLE entries ADD COLUMN pipeline_version INTEGER;

-- What went wrong with plugins in an analysis, by the instance.
CREATE TABLE plugin_troubles (
    entry_id  INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    plugin    TEXT    NOT NULL,
    records   INTEGER NOT NULL,                     -- on which it failed
    disabled  INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    PRIMARY KEY (entry_id, plugin)
) STRICT;

-- Entries of protocol tables over those in the box.
CREATE TABLE table_entries (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    tbl       TEXT    NOT NULL,                     -- name of the table
    key       TEXT    NOT NULL,                     -- its number, range or id
    fields    TEXT    NOT NULL,                     -- JSON: texts by the name of their field
    saved_by  TEXT    NOT NULL,
    saved_at  INTEGER NOT NULL,
    UNIQUE (tbl, key)
) STRICT;
