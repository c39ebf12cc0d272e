-- The records of Idem on Postgres in 16 partitions, by the hash of their ids. It follows the files in
-- `../postgres`. `migrate()` of a store that is `partitioned()` runs this file where there are no
-- records yet, and `partition()` where there are; it can also be run by hand, in one transaction:
-- psql --single-transaction --file.
--
-- Nobody can use the table meanwhile. Privileges that were granted on it are not granted on the new
-- one.

ALTER TABLE "idem" RENAME TO "idem_plain";

CREATE TABLE "idem" (LIKE "idem_plain" INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY HASH (id);

CREATE TABLE "idem_p0" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 0);
CREATE TABLE "idem_p1" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 1);
CREATE TABLE "idem_p2" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 2);
CREATE TABLE "idem_p3" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 3);
CREATE TABLE "idem_p4" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 4);
CREATE TABLE "idem_p5" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 5);
CREATE TABLE "idem_p6" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 6);
CREATE TABLE "idem_p7" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 7);
CREATE TABLE "idem_p8" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 8);
CREATE TABLE "idem_p9" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 9);
CREATE TABLE "idem_p10" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 10);
CREATE TABLE "idem_p11" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 11);
CREATE TABLE "idem_p12" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 12);
CREATE TABLE "idem_p13" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 13);
CREATE TABLE "idem_p14" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 14);
CREATE TABLE "idem_p15" PARTITION OF "idem" FOR VALUES WITH (MODULUS 16, REMAINDER 15);

INSERT INTO "idem" SELECT * FROM "idem_plain";

DROP TABLE "idem_plain";

ALTER TABLE "idem" ADD PRIMARY KEY (id);
CREATE INDEX "idem_expires_at" ON "idem" (expires_at);
