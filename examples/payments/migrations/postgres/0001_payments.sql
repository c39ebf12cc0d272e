CREATE TABLE payments (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       text NOT NULL UNIQUE,
    payer    text NOT NULL,
    amount   bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    payee    text NOT NULL
);
CREATE INDEX payments_payer ON payments (payer, seq);
