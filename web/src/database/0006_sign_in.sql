-- Second factors, recovery codes, log-ins that are half done, and accounts of a provider.

CREATE TABLE second_factors (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    sealed     BLOB    NOT NULL,                 -- the secret, encrypted with a key of the portal's secret
    last_step  INTEGER NOT NULL,                 -- the step of the last code that was accepted: it and older ones are used up
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE recovery_codes (
    hash       BLOB    PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX recovery_codes_by_account ON recovery_codes (account_id);

-- When an administrator took the second factor away, until its owner has seen it.
ALTER TABLE accounts ADD COLUMN factor_taken_at INTEGER;

-- Log-ins that wait: for a code after the password, or for the way back from the provider.
CREATE TABLE pending (
    hash       BLOB    PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN ('code', 'provider')),
    account_id INTEGER REFERENCES accounts (id) ON DELETE CASCADE,
    session_id INTEGER REFERENCES sessions (id) ON DELETE CASCADE, -- that links its account to the provider's
    invitation BLOB,                             -- that becomes an account: its hash
    next       TEXT    NOT NULL,                 -- where to go on to
    place      TEXT    NOT NULL,                 -- the address that the provider sends back to
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX pending_by_account ON pending (account_id);
CREATE INDEX pending_by_session ON pending (session_id);

-- Whatever changes what an account is worth ends what was begun before.
CREATE TRIGGER pending_ends AFTER UPDATE OF password_hash, role, disabled ON accounts
BEGIN
    DELETE FROM pending WHERE account_id = NEW.id;
END;

-- Whose account of the provider is whose here.
CREATE TABLE identities (
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    account_id INTEGER NOT NULL UNIQUE REFERENCES accounts (id) ON DELETE CASCADE,
    linked_at  INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
