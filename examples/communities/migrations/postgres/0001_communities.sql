CREATE TABLE communities (
    seq  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id   text NOT NULL UNIQUE,
    name text NOT NULL,
    slug text NOT NULL UNIQUE
);

CREATE TABLE memberships (
    community_id text NOT NULL REFERENCES communities (id),
    member       text NOT NULL,
    role         text NOT NULL,
    PRIMARY KEY (community_id, member)
);

CREATE TABLE subscriptions (
    community_id text NOT NULL REFERENCES communities (id),
    subscriber   text NOT NULL,
    PRIMARY KEY (community_id, subscriber)
);

CREATE TABLE tags (
    community_id text NOT NULL REFERENCES communities (id),
    place        bigint NOT NULL,
    tag          text NOT NULL CHECK (length(tag) BETWEEN 1 AND 30),
    PRIMARY KEY (community_id, tag)
);
