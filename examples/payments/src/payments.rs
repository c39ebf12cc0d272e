//! Payments: what a client orders, what is kept, what can go wrong.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::provider::Refused;

/// What a client asks for. Amounts are cents.
#[derive(Deserialize)]
pub(crate) struct Order {
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) to: String,
}

impl Order {
    pub(crate) fn validated(self) -> Result<Self, PaymentError> {
        if self.amount <= 0 {
            return Err(PaymentError::Amount);
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|it| it.is_ascii_uppercase()) {
            return Err(PaymentError::Currency);
        }
        Ok(self)
    }
}

/// A payment that was made.
#[derive(PartialEq, Serialize, sqlx::FromRow)]
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
#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Succeeded,
}

/// Why there is no payment.
pub(crate) enum PaymentError {
    Amount,
    Currency,
    Refused(Refused),
    KeyUsed,
    Database(sqlx::Error),
}

impl From<Refused> for PaymentError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<sqlx::Error> for PaymentError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for PaymentError {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Amount => (StatusCode::UNPROCESSABLE_ENTITY, "the amount must be above 0"),
            Self::Currency => {
                (StatusCode::UNPROCESSABLE_ENTITY, "the currency must be a code like EUR")
            }
            Self::Refused(Refused::Declined) => {
                (StatusCode::PAYMENT_REQUIRED, "the payment was declined")
            }
            Self::Refused(Refused::Unavailable) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the payment provider is unavailable")
            }
            Self::KeyUsed => {
                (StatusCode::CONFLICT, "another payment was made with this key long ago")
            }
            Self::Database(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the database failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "the payment could not be kept")
            }
        };
        (status, Json(serde_json::json!({ "error": error }))).into_response()
    }
}
