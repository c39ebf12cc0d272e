//! Where a record lives: which keys it has, and in which shard.

use std::fmt::Write;

use idem_core::{Fence, RecordId};

use crate::error::SetupError;

/// All keys of a shard are in one hash slot, because they have the same hash tag.
pub(crate) const SHARDS: usize = 256;

/// A fence is what its shard drew, followed by three digits that say which shard it was: so fences
/// are unique, and their order over all shards is that of the clocks.
const PER_DRAW: i64 = 1_000;

/// The first byte of a record's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shard(u8);

impl Shard {
    pub(crate) fn of(id: &RecordId) -> Self {
        Self::of_digest(id.digest())
    }

    pub(crate) const fn of_digest(digest: &[u8; 32]) -> Self {
        Self(digest[0])
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// What all its keys are in one slot by.
    pub(crate) fn tag(self) -> String {
        format!("{{{:02x}}}", self.0)
    }

    /// How the shard's fences end.
    pub(crate) fn suffix(self) -> String {
        format!("{:03}", self.0)
    }

    /// The first draw of which the fence is above another one.
    pub(crate) fn first_draw_above(self, fence: Fence) -> i64 {
        (fence.get() - i64::from(self.0)).div_euclid(PER_DRAW) + 1
    }
}

/// Names keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    database: i64,
}

impl Keys {
    /// Braces in the prefix would be taken for the hash tag.
    pub(crate) fn new(prefix: String, database: i64) -> Result<Self, SetupError> {
        let is_plain = |it: u8| it.is_ascii_graphic() && !matches!(it, b'{' | b'}');
        if prefix.len() > 100 || !prefix.bytes().all(is_plain) {
            return Err(SetupError::Prefix { prefix });
        }
        Ok(Self { prefix, database })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The hash of a record.
    pub(crate) fn record(&self, digest: &[u8; 32]) -> String {
        let mut key = self.in_shard(Shard(digest[0]));
        for byte in digest {
            write!(key, "{byte:02x}").expect("strings take all that is written");
        }
        key
    }

    /// The last fence that a shard drew.
    pub(crate) fn fences(&self, shard: Shard) -> String {
        self.in_shard(shard) + "fence"
    }

    /// The sorted set of a shard's records that can come to be held.
    pub(crate) fn index(&self, shard: Shard) -> String {
        self.in_shard(shard) + "held"
    }

    /// The channel on which the endings of a shard are told. It is in the same slot, and of the same
    /// database: a server's channels are for all of them.
    pub(crate) fn channel(&self, shard: Shard) -> String {
        format!("{}ended:{}", self.in_shard(shard), self.database)
    }

    fn in_shard(&self, shard: Shard) -> String {
        format!("{}{}:", self.prefix, shard.tag())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draw_above_a_fence_is_above_it_and_the_one_before_is_not() {
        for shard in [0, 7, 255].map(Shard) {
            for fence in [0, 6, 7, 8, 999, 1_000, 5_006, 5_007, 5_255, i64::MAX] {
                let first = i128::from(shard.first_draw_above(Fence::new(fence)));
                let of_draw = |draw| draw * i128::from(PER_DRAW) + i128::from(shard.0);
                assert!(of_draw(first) > i128::from(fence), "{shard:?} {fence}");
                assert!(of_draw(first - 1) <= i128::from(fence), "{shard:?} {fence}");
            }
        }
    }

    #[test]
    fn all_keys_of_a_shard_have_one_hash_tag() {
        let keys = Keys::new("idem:".to_owned(), 0).unwrap();
        let mut digest = [7; 32];
        digest[0] = 0xab;
        let shard = Shard(0xab);
        for key in
            [keys.record(&digest), keys.fences(shard), keys.index(shard), keys.channel(shard)]
        {
            assert!(key.starts_with("idem:{ab}:"), "{key}");
        }
        assert_eq!(keys.record(&digest).len(), "idem:{ab}:".len() + 64);
    }

    #[test]
    fn a_prefix_that_would_move_the_hash_tag_is_refused() {
        for prefix in ["{", "a}", "a b", "ä", "\n", &"x".repeat(101)] {
            assert!(Keys::new(prefix.to_owned(), 0).is_err(), "{prefix}");
        }
        assert!(Keys::new(String::new(), 0).is_ok());
    }
}
