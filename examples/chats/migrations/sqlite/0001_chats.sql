-- As the team had it: nothing keeps two chats from being between the same people.
CREATE TABLE chats (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id  TEXT NOT NULL UNIQUE
);

-- Whom the client named, in its order, and as often as it named them.
CREATE TABLE members (
    chat_id TEXT NOT NULL REFERENCES chats (id),
    place   INTEGER NOT NULL,
    name    TEXT NOT NULL,
    PRIMARY KEY (chat_id, place)
);

CREATE TABLE messages (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    chat_id TEXT NOT NULL REFERENCES chats (id),
    author  TEXT NOT NULL,
    text    TEXT NOT NULL
);
CREATE INDEX messages_chat ON messages (chat_id, seq);
