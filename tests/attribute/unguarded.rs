//! Unit tests call the handler as it was written.

use axum::{Json, extract::State, http::StatusCode};
use idem::idempotent;

use crate::support::Mailer;

mod handlers {
    use super::{Json, Mailer, State, StatusCode, idempotent};

    #[idempotent(scope = "to")]
    pub(super) async fn create(
        State(mailer): State<Mailer>,
        Json((to, amount)): Json<(String, u32)>,
    ) -> Result<(StatusCode, String), StatusCode> {
        let amount = amount.checked_sub(1).ok_or(StatusCode::BAD_REQUEST)?;
        Ok((StatusCode::CREATED, format!("{} {to} {amount}", mailer.0)))
    }
}

#[tokio::test]
async fn a_unit_test_calls_the_handler_with_its_arguments() {
    let create = |amount| {
        handlers::create_unguarded(State(Mailer("smtp")), Json(("ann".to_owned(), amount)))
    };
    assert_eq!(create(8).await, Ok((StatusCode::CREATED, "smtp ann 7".to_owned())));
    assert_eq!(create(0).await, Err(StatusCode::BAD_REQUEST));
}
