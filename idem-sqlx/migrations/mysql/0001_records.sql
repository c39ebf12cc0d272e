-- The records of Idem on MariaDB. `migrate()` runs this file; it can also be run by hand, and again
-- where it broke off. Times are UTC: compare them with UTC_TIMESTAMP(6).

CREATE TABLE IF NOT EXISTS `idem` (
    `id`          binary(32)  NOT NULL PRIMARY KEY, -- digest of operation, scope and key
    `operation`   longtext    NOT NULL,  -- operation, scope and key are for reading: control
    `scope`       longtext    NOT NULL,  -- characters in them are escaped
    `key`         longtext    NOT NULL,
    `version`     smallint    NOT NULL,  -- of the record format; rows of another one are left alone
    `fingerprint` binary(32)  NOT NULL,  -- digest of what the request asked for
    `state`       smallint    NOT NULL,  -- 1 in flight, 2 completed, 3 failed, 4 held
    `hold`        boolean     NOT NULL,  -- a lapsed lease means held, not free
    `attempt`     binary(16)  NOT NULL,  -- the claim that may write this row: a UUID's 16 bytes
    `fence`       bigint      NOT NULL,  -- grows with each claim
    `number`      int         NOT NULL,  -- executions so far
    `takeover`    boolean     NOT NULL,  -- the last of them followed one whose lease had lapsed
    `created_at`  datetime(6) NOT NULL,
    `lease_until` datetime(6) NOT NULL,
    `expires_at`  datetime(6),           -- when the row may go; NULL where somebody must decide
    `status`      smallint,              -- the answer of a completed record
    `headers`     longblob,              -- as HTTP/1 field lines
    `body`        longblob,              -- NULL: not kept
    INDEX `idem_expires_at` (`expires_at`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Outlives the rows, so that a deleted record's next fence is higher too.
CREATE SEQUENCE IF NOT EXISTS `idem_fence` NOCACHE ENGINE = InnoDB;
