//! Who is killed when.

use fastrand::Rng;

use super::service::SERVICES;

/// What is still to be done, in an order that is drawn.
pub(super) struct Plan {
    pub(super) kills: u32,
    /// Of the database server.
    pub(super) stops: u32,
}

/// What happens at one moment.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Round {
    killed: [bool; SERVICES],
    pub(super) stop: bool,
}

impl Round {
    pub(super) fn victims(self) -> impl Iterator<Item = usize> {
        (0..SERVICES).filter(move |service| self.killed[*service])
    }
}

impl Plan {
    pub(super) fn left(&self) -> u32 {
        self.kills + self.stops
    }

    /// Mostly one service is killed, now and then all of them; every other stop of the server comes
    /// with a kill.
    pub(super) fn draw(&mut self, rng: &mut Rng) -> Option<Round> {
        if self.left() == 0 {
            return None;
        }
        let stop = rng.u32(..self.left()) >= self.kills;
        let mut round = Round { killed: [false; SERVICES], stop };
        if !stop || rng.bool() {
            round.killed[rng.usize(..SERVICES)] = true;
            if rng.u8(..8) == 0 {
                round.killed = [true; SERVICES];
            }
        }
        // As many as are left.
        for killed in &mut round.killed {
            *killed &= self.kills > 0;
            self.kills -= u32::from(*killed);
        }
        self.stops -= u32::from(stop);
        Some(round)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rounds(kills: u32, stops: u32) -> BTreeMap<Round, u32> {
        let mut plan = Plan { kills, stops };
        let mut rng = Rng::with_seed(1);
        let mut rounds = BTreeMap::new();
        while let Some(round) = plan.draw(&mut rng) {
            *rounds.entry(round).or_default() += 1;
        }
        rounds
    }

    #[test]
    fn a_plan_is_kept_to() {
        for (kills, stops) in [(0, 0), (1, 0), (0, 9), (3, 1), (100, 0), (9, 100), (100, 100)] {
            let drawn = rounds(kills, stops);
            let sum = |of: fn(&Round) -> usize| -> usize {
                drawn.iter().map(|(round, times)| of(round) * *times as usize).sum()
            };
            assert_eq!(sum(|it| it.victims().count()), kills as usize);
            assert_eq!(sum(|it| usize::from(it.stop)), stops as usize);
            assert!(drawn.keys().all(|it| it.stop || it.victims().next().is_some()));
        }
    }

    #[test]
    fn everything_coincides_with_everything() {
        let drawn = rounds(1000, 500);
        for (killed, stop) in [
            ([true, false], false),
            ([false, true], false),
            ([true, true], false),
            ([false, false], true),
            ([true, false], true),
            ([false, true], true),
            ([true, true], true),
        ] {
            assert!(drawn.contains_key(&Round { killed, stop }), "{killed:?}, {stop}");
        }
    }
}
