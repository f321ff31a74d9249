-- Whose captures a watched folder's are: the account that its name in the configuration meant first.
CREATE TABLE watched (
    folder      TEXT    PRIMARY KEY NOT NULL,       -- as the configuration has it
    name        TEXT    NOT NULL,                   -- the login name that the configuration gave
    account_id  INTEGER NOT NULL                    -- which may have been deleted since
) STRICT;
