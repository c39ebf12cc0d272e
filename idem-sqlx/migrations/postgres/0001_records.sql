-- The records of Idem on Postgres. `migrate()` runs this file; it can also be run by hand.

CREATE TABLE "idem" (
    id          bytea       PRIMARY KEY,  -- digest of operation, scope and key
    operation   text        NOT NULL,     -- operation, scope and key are for reading: control
    scope       text        NOT NULL,     -- characters in them are escaped
    key         text        NOT NULL,
    version     smallint    NOT NULL,     -- of the record format; rows of another one are left alone
    fingerprint bytea       NOT NULL,     -- digest of what the request asked for
    state       smallint    NOT NULL,     -- 1 in flight, 2 completed, 3 failed, 4 held
    hold        boolean     NOT NULL,     -- a lapsed lease means held, not free
    attempt     uuid        NOT NULL,     -- the claim that may write this row
    fence       bigint      NOT NULL,     -- grows with each claim
    number      integer     NOT NULL,     -- executions so far
    takeover    boolean     NOT NULL,     -- the last of them followed one whose lease had lapsed
    created_at  timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,     -- when the row may go; 'infinity' where somebody must decide
    status      smallint,                 -- the answer of a completed record
    headers     bytea,                    -- as HTTP/1 field lines
    body        bytea                     -- NULL: not kept
);

CREATE INDEX "idem_expires_at" ON "idem" (expires_at);

-- Outlives the rows, so that a deleted record's next fence is higher too. A CACHE above 1 would let
-- sessions draw out of order.
CREATE SEQUENCE "idem_fence" AS bigint CACHE 1;
