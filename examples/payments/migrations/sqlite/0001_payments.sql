CREATE TABLE payments (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    payer    TEXT NOT NULL,
    amount   INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    payee    TEXT NOT NULL
);
CREATE INDEX payments_payer ON payments (payer, seq);
