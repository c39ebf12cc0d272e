-- As the team had it: nothing keeps two chats from being between the same people.
CREATE TABLE chats (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id  text NOT NULL UNIQUE
);

-- Whom the client named, in its order, and as often as it named them.
CREATE TABLE members (
    chat_id text NOT NULL REFERENCES chats (id),
    place   bigint NOT NULL,
    name    text NOT NULL,
    PRIMARY KEY (chat_id, place)
);

CREATE TABLE messages (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id      text NOT NULL UNIQUE,
    chat_id text NOT NULL REFERENCES chats (id),
    author  text NOT NULL,
    text    text NOT NULL
);
CREATE INDEX messages_chat ON messages (chat_id, seq);
