CREATE TABLE events (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text NOT NULL UNIQUE,
    owner        text NOT NULL,
    title        text NOT NULL,
    participants bigint NOT NULL CHECK (participants > 0),
    price        bigint NOT NULL CHECK (price >= 0)
);

CREATE TABLE accounts (
    owner  text PRIMARY KEY,
    credit bigint NOT NULL CHECK (credit >= 0)
);
