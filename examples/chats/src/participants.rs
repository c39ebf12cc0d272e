//! Who is in a chat, and the key that their chat has.

use std::{collections::BTreeSet, fmt::Write};

use serde::Deserialize;

/// The longest key, in bytes. Postgres indexes values of up to 2.7 kB.
const MAX_KEY: usize = 2000;

/// At least two names, each once, in the order of their bytes. A name is what it is: nothing is trimmed,
/// and `Ann` is somebody else than `ann`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct Participants(BTreeSet<String>);

/// The same for the same people, whoever names them in which order and how often, and different for all
/// others: each name has its length before it, so that no name can look like two. The migration
/// computes it in SQL for the chats that were there before.
pub(crate) fn participants_key(participants: &Participants) -> String {
    participants.names().fold(String::new(), |mut key, name| {
        // Writing to a string does not fail.
        let _ = write!(key, "{}:{name},", name.len());
        key
    })
}

/// Why these are no participants of a chat.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Unacceptable {
    #[error("a chat needs at least two different people")]
    TooFew,
    #[error("a name must not be empty")]
    Empty,
    #[error("a name must not contain the character U+0000")]
    Nul,
    #[error("the names are too long: at most {MAX_KEY} bytes, with 3 to 5 more for each name")]
    TooLong,
}

impl Participants {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn include(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub(crate) fn into_names(self) -> BTreeSet<String> {
        self.0
    }
}

impl TryFrom<Vec<String>> for Participants {
    type Error = Unacceptable;

    fn try_from(names: Vec<String>) -> Result<Self, Unacceptable> {
        let participants = Self(names.into_iter().collect());
        if participants.0.len() < 2 {
            Err(Unacceptable::TooFew)
        } else if participants.include("") {
            Err(Unacceptable::Empty)
        } else if participants.names().any(|it| it.contains('\0')) {
            Err(Unacceptable::Nul)
        } else if participants_key(&participants).len() > MAX_KEY {
            Err(Unacceptable::TooLong)
        } else {
            Ok(participants)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(names: &[&str]) -> Result<String, Unacceptable> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.try_into().map(|it| participants_key(&it))
    }

    #[test]
    fn order_and_repetition_do_not_count() {
        assert_eq!(key(&["bob", "ann"]), Ok("3:ann,3:bob,".to_owned()));
        assert_eq!(key(&["ann", "bob", "ann"]), key(&["bob", "ann"]));
    }

    #[test]
    fn every_byte_counts() {
        let others: &[&[&str]] = &[
            &["Ann", "bob"],
            &["ann ", "bob"],
            &["ann,3:bob", "x"],
            &["ann", "bob,1:x"],
            &["3:ann", "3:bob"],
            &["ann", "bob", "x"],
            &["annb", "ob"],
            &["ann,", "bob"],
            &["é", "bob"],
            &["e\u{301}", "bob"],
        ];
        let keys: BTreeSet<String> = others.iter().map(|it| key(it).unwrap()).collect();
        assert_eq!(keys.len(), others.len());
        assert!(!keys.contains(&key(&["ann", "bob"]).unwrap()));
    }

    #[test]
    fn what_is_no_chat_has_no_key() {
        assert_eq!(key(&[]), Err(Unacceptable::TooFew));
        assert_eq!(key(&["ann", "ann"]), Err(Unacceptable::TooFew));
        assert_eq!(key(&["ann", ""]), Err(Unacceptable::Empty));
        assert_eq!(key(&["ann", "b\0b"]), Err(Unacceptable::Nul));
        assert_eq!(key(&["a", &"x".repeat(1990)]).map(|it| it.len()), Ok(MAX_KEY));
        assert_eq!(key(&["a", &"x".repeat(1991)]), Err(Unacceptable::TooLong));
    }
}
