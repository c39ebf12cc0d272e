-- Without STRICT a sum that leaves the range of integers would become a float.
CREATE TABLE accounts (
    owner   TEXT PRIMARY KEY,
    balance INTEGER NOT NULL
) STRICT;
INSERT INTO accounts (owner, balance)
SELECT owner, sum(amount) FROM (
    SELECT payer AS owner, -amount AS amount FROM payments
    UNION ALL
    SELECT payee, amount FROM payments
) AS moved
GROUP BY owner;
