//! One key, one order.

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::{USERS, answer::Answer};

/// Stands behind the users.
pub(super) const DECLINED: usize = USERS;

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

/// What a client wants, and what it knows of it. Small, because there are many.
pub(super) struct Intent {
    pub(super) amount: u64,
    pub(super) to: usize,
    /// Some request may have had an effect that its answer did not tell of.
    pub(super) unsure: bool,
    pub(super) told: Option<Told>,
}

/// The final answer.
pub(super) struct Told {
    pub(super) print: u64,
    pub(super) payment: Option<Box<str>>,
}

impl Intent {
    pub(super) fn new(amount: u64, to: usize) -> Self {
        Self { amount, to, unsure: false, told: None }
    }

    pub(super) fn order(&self) -> Order {
        Order { amount: self.amount, currency: "EUR", to: name(self.to) }
    }

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

    /// The payment that a final answer acknowledges, and whether all of the answer is as it should
    /// be.
    pub(super) fn payment_in(&self, answer: &Answer) -> (Option<Box<str>>, bool) {
        let is_declined = self.to == DECLINED;
        let expected = if is_declined { StatusCode::PAYMENT_REQUIRED } else { StatusCode::CREATED };
        let payment: Option<Payment> = serde_json::from_slice(&answer.body).ok();
        let payment = payment.filter(|it| answer.status.is_success() && self.is_of(it));
        let location = payment.as_ref().map(|it| format!("/payments/{}", it.id).into_bytes());
        let is_right = answer.status == expected
            && location == answer.location
            && payment.is_some() != is_declined;
        (payment.map(|it| it.id), is_right)
    }
}
