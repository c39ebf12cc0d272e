CREATE TABLE payouts (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text NOT NULL UNIQUE,
    payer        text NOT NULL,
    amount       bigint NOT NULL CHECK (amount > 0),
    currency     text NOT NULL,
    payee        text NOT NULL,
    provider_ref text NOT NULL
);
CREATE INDEX payouts_payer ON payouts (payer, seq);

-- What the simulated provider keeps: in the field, another company's table.
CREATE TABLE provider_ledger (
    key      text PRIMARY KEY,
    calls    bigint NOT NULL,
    ref      text NOT NULL,
    amount   bigint NOT NULL,
    currency text NOT NULL,
    payee    text NOT NULL
);
