CREATE TABLE events (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    owner        TEXT NOT NULL,
    title        TEXT NOT NULL,
    participants INTEGER NOT NULL CHECK (participants > 0),
    price        INTEGER NOT NULL CHECK (price >= 0)
) STRICT;

CREATE TABLE accounts (
    owner  TEXT NOT NULL PRIMARY KEY,
    credit INTEGER NOT NULL CHECK (credit >= 0)
) STRICT;
