CREATE TABLE accounts (
    owner   text PRIMARY KEY,
    balance bigint NOT NULL
);
INSERT INTO accounts (owner, balance)
SELECT owner, sum(amount) FROM (
    SELECT payer AS owner, -amount AS amount FROM payments
    UNION ALL
    SELECT payee, amount FROM payments
) AS moved
GROUP BY owner;
