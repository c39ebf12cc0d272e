//! What must never happen.

use std::{collections::BTreeMap, fmt};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// Two payments for one key.
    PaidTwice,
    /// A payment that was acknowledged is not there.
    Lost,
    /// The one payment of a key is not the one that was acknowledged.
    Exchanged,
    /// A payment that was refused is there.
    PaidThoughRefused,
    /// A payment that nobody ordered.
    NotOrdered,
    /// Two answers to one key.
    AnswersDiffer,
    /// An answer that is neither of the order nor one to ask again after.
    UnexpectedAnswer,
    /// An answer that said that nothing had happened, though it had.
    EffectDenied,
    /// A key that never got an answer.
    Unanswered,
    /// An account that does not have what the acknowledged payments make.
    WrongBalance,
    /// Accounts that had something together.
    WrongTotal,
}

/// How many of each kind, and a few of them in full.
#[derive(Default)]
pub(super) struct Violations {
    counts: BTreeMap<Kind, u64>,
    examples: Vec<String>,
}

impl Violations {
    const EXAMPLES: usize = 10;

    pub(super) fn add(&mut self, kind: Kind, example: impl fmt::Display) {
        *self.counts.entry(kind).or_default() += 1;
        if self.examples.len() < Self::EXAMPLES {
            self.examples.push(format!("{kind:?}: {example}"));
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(Self::EXAMPLES);
    }

    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let counts = self.counts.iter().map(|(kind, count)| format!("{count} {kind:?}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))?;
        self.examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
    }
}
