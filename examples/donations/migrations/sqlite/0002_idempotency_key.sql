-- The donations that are there have no key, and keep their place, those made twice, too: to SQLite no
-- NULL is equal to another one. (It cannot add a column with UNIQUE, so the index comes by itself.)
ALTER TABLE donations ADD COLUMN idempotency_key TEXT;
CREATE UNIQUE INDEX donations_idempotency_key ON donations (idempotency_key);
