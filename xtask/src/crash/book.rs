//! What a client keeps: its orders, and what it was told of each. A line is small, because there are
//! many.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use fastrand::Rng;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    USERS,
    violations::{Kind, Violations},
};

/// Stands behind the users.
const DECLINED: usize = USERS;

pub(super) fn name(user: usize) -> String {
    if user == DECLINED { "declined".to_owned() } else { format!("user-{user}") }
}

/// What is asked for.
#[derive(Serialize)]
pub(super) struct Order {
    amount: u64,
    currency: &'static str,
    to: String,
}

/// What is said to have been done.
#[derive(Deserialize)]
pub(super) struct Payment {
    pub(super) id: Box<str>,
    pub(super) amount: u64,
    currency: String,
    to: String,
}

/// A response that was read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<Vec<u8>>,
    pub(super) body: Vec<u8>,
    pub(super) replayed: bool,
    /// It says that the same request may be sent again.
    pub(super) transient: bool,
}

impl Answer {
    /// The same for equal answers.
    fn print(&self) -> u64 {
        let content = (self.status.as_u16(), &self.location, &self.body);
        BuildHasherDefault::<DefaultHasher>::default().hash_one(content)
    }
}

/// One key, one order.
pub(super) struct Intent {
    pub(super) amount: u64,
    pub(super) to: usize,
    told: Option<Told>,
}

/// The final answer.
struct Told {
    print: u64,
    payment: Option<Box<str>>,
}

impl Intent {
    pub(super) fn is_answered(&self) -> bool {
        self.told.is_some()
    }

    /// The payment that was acknowledged.
    pub(super) fn payment(&self) -> Option<&str> {
        self.told.as_ref()?.payment.as_deref()
    }

    pub(super) fn is_of(&self, payment: &Payment) -> bool {
        self.amount == payment.amount && name(self.to) == payment.to && payment.currency == "EUR"
    }
}

/// Everything that one user did.
pub(super) struct Book {
    pub(super) user: usize,
    pub(super) intents: Vec<Intent>,
    pub(super) answers: u64,
    pub(super) replays: u64,
    pub(super) violations: Violations,
}

impl Book {
    /// An amount tells its intent: this many for each.
    const AMOUNTS: u64 = 1000;

    pub(super) fn of(user: usize) -> Self {
        let violations = Violations::default();
        Self { user, intents: Vec::new(), answers: 0, replays: 0, violations }
    }

    /// Draws a new order and returns its number.
    pub(super) fn intend(&mut self, rng: &mut Rng) -> usize {
        let number = self.intents.len();
        let amount = number as u64 * Self::AMOUNTS + rng.u64(1..=Self::AMOUNTS);
        let to = if rng.u8(..) < 5 { DECLINED } else { rng.usize(..USERS) };
        self.intents.push(Intent { amount, to, told: None });
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
        let Intent { amount, to, .. } = self.intents[number];
        Order { amount, currency: "EUR", to: name(to) }
    }

    /// Writes down an answer to a request that may not be sent again.
    pub(super) fn note(&mut self, number: usize, answer: &Answer) {
        self.answers += 1;
        self.replays += u64::from(answer.replayed);
        let told = Told { print: answer.print(), payment: self.payment_in(number, answer) };
        match &self.intents[number].told {
            None => self.intents[number].told = Some(told),
            Some(before) if before.print == told.print => {}
            Some(_) => self.violate(Kind::AnswersDiffer, number, &told_as(answer)),
        }
    }

    fn payment_in(&mut self, number: usize, answer: &Answer) -> Option<Box<str>> {
        let intent = &self.intents[number];
        let expected = if intent.to == DECLINED {
            answer.status == StatusCode::PAYMENT_REQUIRED
        } else {
            answer.status == StatusCode::CREATED
        };
        let payment: Option<Payment> = serde_json::from_slice(&answer.body).ok();
        let payment = payment.filter(|it| answer.status.is_success() && intent.is_of(it));
        let location = payment.as_ref().map(|it| format!("/payments/{}", it.id).into_bytes());
        if !expected || location != answer.location || payment.is_some() == (intent.to == DECLINED)
        {
            self.violate(Kind::UnexpectedAnswer, number, &told_as(answer));
        }
        payment.map(|it| it.id)
    }

    pub(super) fn violate(&mut self, kind: Kind, number: usize, what: &str) {
        let (user, key) = (name(self.user), Self::key(number));
        self.violations.add(kind, format_args!("{user}, {key}: {what}"));
    }
}

fn told_as(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    impl Book {
        /// Not drawn.
        pub(in crate::crash) fn intend_to(&mut self, to: usize, amount: u64) -> Value {
            self.intents.push(Intent { amount, to, told: None });
            serde_json::to_value(self.order(self.intents.len() - 1)).expect("an order")
        }

        pub(in crate::crash) fn created(id: &str, order: &Value) -> Answer {
            let mut payment = order.clone();
            payment["id"] = id.into();
            let location = Some(format!("/payments/{id}").into_bytes());
            let body = payment.to_string().into_bytes();
            let status = StatusCode::CREATED;
            Answer { status, location, body, replayed: false, transient: false }
        }

        pub(in crate::crash) fn refused() -> Answer {
            let (status, body) = (StatusCode::PAYMENT_REQUIRED, Vec::new());
            Answer { status, location: None, body, replayed: false, transient: false }
        }
    }

    fn told(to: usize, answers: impl Fn(&Value) -> Vec<Answer>) -> String {
        let mut book = Book::of(0);
        let order = book.intend_to(to, 7);
        for answer in answers(&order) {
            book.note(0, &answer);
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
    fn an_amount_tells_its_intent() {
        let mut book = Book::of(0);
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
