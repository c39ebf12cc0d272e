//! Payments: what a client orders, what is kept, what can go wrong.

use std::time::Duration;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// A billion, in cents. Ninety million payments of it fit into a balance.
const MAX_AMOUNT: i64 = 100_000_000_000;

/// What a client asks for. Amounts are cents.
#[derive(Deserialize)]
pub(crate) struct Order {
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) to: String,
}

impl Order {
    pub(crate) fn validated(self) -> Result<Self, PaymentError> {
        if !(1..=MAX_AMOUNT).contains(&self.amount) {
            return Err(PaymentError::Amount);
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|it| it.is_ascii_uppercase()) {
            return Err(PaymentError::Currency);
        }
        Ok(self)
    }

    /// Takes the time that a payment takes, and refuses the test recipients.
    pub(crate) async fn processed(&self, delay: Duration) -> Result<(), PaymentError> {
        tracing::debug!("a payment is processed");
        tokio::time::sleep(delay).await;
        self.accepted()
    }

    /// The recipients that stand for what can go wrong, as real providers have them for tests.
    pub(crate) fn accepted(&self) -> Result<(), PaymentError> {
        match self.to.as_str() {
            "declined" => Err(PaymentError::Declined),
            "unavailable" => Err(PaymentError::Unavailable),
            "panic" => panic!("the recipient that makes the handler panic"),
            _ => Ok(()),
        }
    }
}

/// A payment that was made: from one account to another.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Payment {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    #[sqlx(rename = "payee")]
    pub(crate) to: String,
    #[sqlx(skip)]
    pub(crate) status: Status,
}

impl Payment {
    pub(crate) fn of(id: String, order: Order) -> Self {
        let Order { amount, currency, to } = order;
        Self { id, amount, currency, to, status: Status::Succeeded }
    }
}

/// Only payments that were made are kept.
#[derive(Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Succeeded,
}

/// What the provider paid for the user. It leaves the accounts as they are.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Payout {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    #[sqlx(rename = "payee")]
    pub(crate) to: String,
    pub(crate) provider_ref: String,
}

/// What a user has, and what all users have together: 0, whatever was paid.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Balance {
    pub(crate) balance: i64,
    pub(crate) total: i64,
}

/// Why there is no payment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentError {
    #[error("the amount must be above 0 and at most {MAX_AMOUNT} cents")]
    Amount,
    #[error("the currency must be a code like EUR")]
    Currency,
    #[error("the payment was declined")]
    Declined,
    #[error("the payment provider is unavailable")]
    Unavailable,
    #[error("the provider was given another payment with this key long ago")]
    KeyUsed,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl IntoResponse for PaymentError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Amount | Self::Currency => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Declined => StatusCode::PAYMENT_REQUIRED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::KeyUsed => StatusCode::CONFLICT,
            Self::Database(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "{self}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(serde_json::json!({ "error": self.to_string() }))).into_response()
    }
}
