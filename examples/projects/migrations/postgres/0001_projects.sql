CREATE TABLE projects (
    seq   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id    text NOT NULL UNIQUE,
    owner text NOT NULL,
    name  text NOT NULL
);
