CREATE TABLE payouts (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    payer        TEXT NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount > 0),
    currency     TEXT NOT NULL,
    payee        TEXT NOT NULL,
    provider_ref TEXT NOT NULL
);
CREATE INDEX payouts_payer ON payouts (payer, seq);

-- What the simulated provider keeps: in the field, another company's table.
CREATE TABLE provider_ledger (
    key      TEXT PRIMARY KEY,
    calls    INTEGER NOT NULL,
    ref      TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    currency TEXT NOT NULL,
    payee    TEXT NOT NULL
);
