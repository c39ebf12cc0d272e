-- The records of Idem on SQLite. `migrate()` runs this file; it can also be run by hand.
-- Times are milliseconds since 1970: datetime(expires_at / 1000, 'unixepoch') makes them readable.

CREATE TABLE "idem" (
    id          BLOB    NOT NULL PRIMARY KEY, -- digest of operation, scope and key
    operation   TEXT    NOT NULL,             -- operation, scope and key are for reading: control
    scope       TEXT    NOT NULL,             -- characters in them are escaped
    key         TEXT    NOT NULL,
    version     INTEGER NOT NULL,             -- of the record format; rows of another one are left alone
    fingerprint BLOB    NOT NULL,             -- digest of what the request asked for
    state       INTEGER NOT NULL,             -- 1 in flight, 2 completed, 3 failed, 4 held
    hold        INTEGER NOT NULL,             -- a lapsed lease means held, not free
    attempt     BLOB    NOT NULL,             -- the claim that may write this row: a UUID's 16 bytes
    fence       INTEGER NOT NULL,             -- grows with each claim
    number      INTEGER NOT NULL,             -- executions so far
    takeover    INTEGER NOT NULL,             -- the last of them followed one whose lease had lapsed
    created_at  INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    expires_at  INTEGER,                      -- when the row may go; NULL where somebody must decide
    status      INTEGER,                      -- the answer of a completed record
    headers     BLOB,                         -- as HTTP/1 field lines
    body        BLOB                          -- NULL: not kept
) STRICT;

CREATE INDEX "idem_expires_at" ON "idem" (expires_at);

-- Outlives the rows, so that a deleted record's next fence is higher too. The triggers make drawing
-- a part of the claim's own statement.
CREATE TABLE "idem_fence" (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL
) STRICT;

INSERT INTO "idem_fence" (one, last) VALUES (1, 0);

CREATE TRIGGER "idem_fence_inserted" AFTER INSERT ON "idem" BEGIN
    UPDATE "idem_fence" SET last = max(last, NEW.fence);
END;

CREATE TRIGGER "idem_fence_updated" AFTER UPDATE OF fence ON "idem" BEGIN
    UPDATE "idem_fence" SET last = max(last, NEW.fence);
END;
