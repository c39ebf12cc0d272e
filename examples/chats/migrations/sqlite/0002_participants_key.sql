-- Who is in a chat, each once, in the order of their bytes, as `<bytes>:<name>,`: the key that
-- `participants_key` in src/participants.rs makes. A chat that could not be opened today (a single
-- name or none, a name that is empty, more than 2000 bytes) gets none, and stays as it is.
ALTER TABLE chats ADD COLUMN participants_key TEXT;

UPDATE chats SET participants_key = keyed.key
FROM (
    SELECT chat_id, group_concat(length(bytes) || ':' || name || ',', '' ORDER BY bytes) AS key
    FROM (SELECT DISTINCT chat_id, name, CAST(name AS BLOB) AS bytes FROM members) AS named
    GROUP BY chat_id
    HAVING count(*) >= 2 AND min(length(bytes)) > 0
) AS keyed
WHERE chats.id = keyed.chat_id AND length(CAST(keyed.key AS BLOB)) <= 2000;

-- The chats that were merged, each with the oldest one of the same people: their ids still lead there.
CREATE TABLE former_chats (
    id      TEXT PRIMARY KEY,
    chat_id TEXT NOT NULL REFERENCES chats (id)
);
INSERT INTO former_chats (id, chat_id)
SELECT id, oldest FROM (
    SELECT id, first_value(id) OVER (PARTITION BY participants_key ORDER BY seq) AS oldest
    FROM chats
    WHERE participants_key IS NOT NULL
) AS chats_by_people
WHERE id <> oldest;

UPDATE messages SET chat_id = former_chats.chat_id
FROM former_chats
WHERE messages.chat_id = former_chats.id;
DELETE FROM members WHERE chat_id IN (SELECT id FROM former_chats);
DELETE FROM chats WHERE id IN (SELECT id FROM former_chats);

CREATE UNIQUE INDEX chats_participants_key ON chats (participants_key);
