//! Answers that are not final, by their handler's own word.

use axum_core::response::{IntoResponse, Response};
use idem_core::MarkedNotFinal;

/// An answer that is not final, whatever its status and whatever `keep` says: nothing was done, and the
/// next request with the same key executes.
///
/// It is for questions back: a client that is asked to confirm sends the same request again, with the
/// same key. What tells the two apart must not be part of the fingerprint, which still counts in leased
/// mode; `query = false` leaves the query out.
///
/// In a transaction, everything that the handler wrote is rolled back and nothing is recorded, even
/// below 400 and under `commit_on_error`.
///
/// ```
/// use axum::{
///     extract::Query,
///     http::StatusCode,
///     response::{IntoResponse, Response},
/// };
/// use idem::{NotFinal, idempotent};
///
/// #[derive(serde::Deserialize)]
/// struct Confirmation {
///     #[serde(default)]
///     confirm_credit: bool,
/// }
///
/// #[idempotent(scope = "global", query = false)]
/// async fn create_event(Query(confirmation): Query<Confirmation>) -> Response {
///     if !confirmation.confirm_credit {
///         return NotFinal((StatusCode::PAYMENT_REQUIRED, "this takes a credit")).into_response();
///     }
///     StatusCode::CREATED.into_response()
/// }
/// # let _ = create_event_unguarded;
/// ```
///
/// An error type of yours wraps its response the same way, in its `into_response`.
#[derive(Clone, Copy, Debug)]
pub struct NotFinal<R>(pub R);

impl<R: IntoResponse> IntoResponse for NotFinal<R> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response.extensions_mut().insert(MarkedNotFinal);
        response
    }
}
