//! What a client keeps: its orders, and what it was told of each.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::{
    USERS,
    answer::{Answer, Meaning},
    intent::{DECLINED, Intent, Order, Payment, Told, name},
    violations::{Kind, Violations},
};

/// Everything that one user did.
pub(super) struct Book {
    pub(super) user: usize,
    pub(super) intents: Vec<Intent>,
    pub(super) answers: u64,
    pub(super) replays: u64,
    /// How often each kind of trouble was answered.
    pub(super) troubles: BTreeMap<String, u64>,
    pub(super) violations: Violations,
    server_stops: bool,
}

impl Book {
    /// An amount tells its intent: this many for each.
    const AMOUNTS: u64 = 1000;

    /// A database server that stops excuses some answers.
    pub(super) fn of(user: usize, server_stops: bool) -> Self {
        Self {
            user,
            intents: Vec::new(),
            answers: 0,
            replays: 0,
            troubles: BTreeMap::new(),
            violations: Violations::default(),
            server_stops,
        }
    }

    /// Draws a new order and returns its number.
    pub(super) fn intend(&mut self, rng: &mut Rng) -> usize {
        let number = self.intents.len();
        let amount = number as u64 * Self::AMOUNTS + rng.u64(1..=Self::AMOUNTS);
        let to = if rng.u8(..) < 5 { DECLINED } else { rng.usize(..USERS) };
        self.intents.push(Intent::new(amount, to));
        number
    }

    /// The intent that a payment belongs to.
    pub(super) fn number_of(&self, payment: &Payment) -> Option<usize> {
        let number = usize::try_from(payment.amount.checked_sub(1)? / Self::AMOUNTS).ok()?;
        self.intents.get(number)?.is_of(payment).then_some(number)
    }

    /// Users have the same names for their keys.
    pub(super) fn key(number: usize) -> String {
        format!("order-{number}")
    }

    pub(super) fn order(&self, number: usize) -> Order {
        self.intents[number].order()
    }

    /// Writes down what came of requests that were sent at once: nothing where no whole answer came.
    pub(super) fn note(&mut self, number: usize, answers: &[Option<Answer>]) {
        let mut told = Vec::new();
        for answer in answers {
            let Some(answer) = answer else {
                self.intents[number].unsure = true;
                continue;
            };
            if let Some(trouble) = answer.trouble() {
                *self.troubles.entry(trouble).or_default() += 1;
            }
            match answer.meaning(self.server_stops) {
                Meaning::Final => told.push(answer),
                Meaning::NoEffect => {}
                Meaning::Unknown => self.intents[number].unsure = true,
                Meaning::Unexpected => {
                    self.intents[number].unsure = true;
                    self.violate(Kind::UnexpectedAnswer, number, &answer.shown());
                }
            }
        }
        self.check_claims(number, &told);
        for answer in told {
            self.tell(number, answer);
        }
    }

    /// If each request but for replays is known to have had no effect, nothing is there to replay.
    /// What was declined has no effect, and is replayed nevertheless.
    fn check_claims(&mut self, number: usize, told: &[&Answer]) {
        let intent = &self.intents[number];
        let is_open = intent.unsure || intent.is_answered() || intent.to == DECLINED;
        if let Some(answer) = told.first()
            && !is_open
            && told.iter().all(|it| it.replayed)
        {
            self.violate(Kind::EffectDenied, number, &answer.shown());
        }
    }

    fn tell(&mut self, number: usize, answer: &Answer) {
        self.answers += 1;
        self.replays += u64::from(answer.replayed);
        let (payment, is_right) = self.intents[number].payment_in(answer);
        if !is_right {
            self.violate(Kind::UnexpectedAnswer, number, &answer.shown());
        }
        let told = Told { print: answer.print(), payment };
        match &self.intents[number].told {
            None => self.intents[number].told = Some(told),
            Some(before) if before.print == told.print => {}
            Some(_) => self.violate(Kind::AnswersDiffer, number, &answer.shown()),
        }
    }

    pub(super) fn violate(&mut self, kind: Kind, number: usize, what: &str) {
        let (user, key) = (name(self.user), Self::key(number));
        self.violations.add(kind, format_args!("{user}, {key}: {what}"));
    }

    /// Writes down that something else than a payment was asked for, and that this failed.
    pub(super) fn note_failure(&mut self, error: &reqwest::Error) {
        let Some(status) = error.status() else { return };
        *self.troubles.entry(status.as_str().to_owned()).or_default() += 1;
        if !self.server_stops {
            self.violations.add(Kind::UnexpectedAnswer, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    impl Book {
        /// Not drawn.
        pub(in crate::crash) fn intend_to(&mut self, to: usize, amount: u64) -> Value {
            self.intents.push(Intent::new(amount, to));
            serde_json::to_value(self.order(self.intents.len() - 1)).expect("an order")
        }

        pub(in crate::crash) fn created(id: &str, order: &Value) -> Answer {
            let mut payment = order.clone();
            payment["id"] = id.into();
            let location = Some(format!("/payments/{id}").into_bytes());
            Answer { location, ..Answer::of(201, payment.to_string()) }
        }

        pub(in crate::crash) fn refused() -> Answer {
            Answer::of(402, "")
        }
    }

    fn told(to: usize, answers: impl Fn(&Value) -> Vec<Answer>) -> String {
        let mut book = Book::of(0, false);
        let order = book.intend_to(to, 7);
        for answer in answers(&order) {
            book.note(0, &[Some(answer)]);
        }
        book.violations.to_string().lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn answers_are_of_the_order_and_equal() {
        let same = |order: &Value| vec![Book::created("a", order), Book::created("a", order)];
        assert_eq!(told(1, same), "none");
        assert_eq!(told(DECLINED, |_| vec![Book::refused(), Book::refused()]), "none");
    }

    #[test]
    fn each_kind_of_broken_promise_is_found() {
        let other_id = |order: &Value| vec![Book::created("a", order), Book::created("b", order)];
        assert_eq!(told(1, other_id), "1 AnswersDiffer");
        assert_eq!(told(1, |_| vec![Book::refused()]), "1 UnexpectedAnswer");
        let of_another = |order: &Value| {
            let mut order = order.clone();
            order["amount"] = 8.into();
            vec![Book::created("a", &order)]
        };
        assert_eq!(told(1, of_another), "1 UnexpectedAnswer");
        let elsewhere = |order: &Value| {
            vec![Answer { location: Some(b"/".to_vec()), ..Book::created("a", order) }]
        };
        assert_eq!(told(1, elsewhere), "1 UnexpectedAnswer");
    }

    #[test]
    fn trouble_is_counted_and_excused_or_not() {
        let mut book = Book::of(0, false);
        let order = book.intend_to(1, 7);
        let in_flight = || Some(Answer::problem(409, "in-flight"));
        book.note(0, &[in_flight(), in_flight(), None, Some(Answer::of(500, ""))]);
        assert!(!book.intents[0].is_answered());
        book.note(0, &[Some(Book::created("a", &order)), Some(Answer::problem(422, "mismatch"))]);
        let troubles = book.troubles.iter().map(|(name, times)| (&**name, *times));
        let troubles: Vec<_> = troubles.collect();
        assert_eq!(troubles, [("500", 1), ("in-flight", 2), ("mismatch", 1)]);
        assert_eq!(book.violations.of(Kind::UnexpectedAnswer), 2);
        assert_eq!(book.intents[0].payment(), Some("a"));
    }

    #[test]
    fn a_replay_contradicts_that_nothing_happened() {
        let denied = |to: usize, rounds: &dyn Fn(Answer) -> Vec<Vec<Option<Answer>>>| {
            let mut book = Book::of(0, true);
            let order = book.intend_to(to, 7);
            let answer = if to == DECLINED { Book::refused() } else { Book::created("a", &order) };
            let replay = Answer { replayed: true, ..answer };
            for round in rounds(replay) {
                book.note(0, &round);
            }
            assert!(book.intents[0].is_answered());
            book.violations.to_string().lines().next().unwrap_or_default().to_owned()
        };
        let unavailable = || Some(Answer::problem(503, "store-unavailable"));
        let unknown = || Some(Answer::problem(503, "commit-unknown"));
        let after = |replay| vec![vec![unavailable()], vec![Some(replay)]];
        assert_eq!(denied(1, &after), "1 EffectDenied");
        let at_once = |replay| vec![vec![Some(replay), unavailable()]];
        assert_eq!(denied(1, &at_once), "1 EffectDenied");

        assert_eq!(denied(DECLINED, &after), "none");
        assert_eq!(denied(1, &|it| vec![vec![unavailable(), None], vec![Some(it)]]), "none");
        assert_eq!(denied(1, &|it| vec![vec![unknown()], vec![unavailable(), Some(it)]]), "none");
        let beside_the_first = |it: Answer| {
            let location = it.location.clone();
            let first = Answer { location, ..Answer::of(201, it.body.clone()) };
            vec![vec![Some(it), Some(first)]]
        };
        assert_eq!(denied(1, &beside_the_first), "none");
    }

    #[test]
    fn an_amount_tells_its_intent() {
        let mut book = Book::of(0, false);
        let mut rng = Rng::with_seed(1);
        for number in 0..1000 {
            assert_eq!(book.intend(&mut rng), number);
            let order = serde_json::to_value(book.order(number)).expect("an order");
            let payment = Book::created("a", &order).body;
            let payment: Payment = serde_json::from_slice(&payment).expect("a payment");
            assert_eq!(book.number_of(&payment), Some(number));
        }
    }
}
