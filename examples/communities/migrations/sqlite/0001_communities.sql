CREATE TABLE communities (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    id   TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE
);

CREATE TABLE memberships (
    community_id TEXT NOT NULL REFERENCES communities (id),
    member       TEXT NOT NULL,
    role         TEXT NOT NULL,
    PRIMARY KEY (community_id, member)
);

CREATE TABLE subscriptions (
    community_id TEXT NOT NULL REFERENCES communities (id),
    subscriber   TEXT NOT NULL,
    PRIMARY KEY (community_id, subscriber)
);

-- `length` counts up to a zero byte only, which Postgres refuses in a text.
CREATE TABLE tags (
    community_id TEXT NOT NULL REFERENCES communities (id),
    place        INTEGER NOT NULL,
    tag          TEXT NOT NULL CHECK (length(tag) BETWEEN 1 AND 30 AND instr(tag, char(0)) = 0),
    PRIMARY KEY (community_id, tag)
);
