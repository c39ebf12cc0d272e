//! The same work without the attribute: what is left is the index.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName},
    response::IntoResponse,
};
use demo::User;
use idem::{IdempotencyKey, KeyFormat, Problem, RecordId, ScopeValue};

use crate::{
    api,
    donations::{self, NewDonation},
    error::ApiError,
    extract::{Body, Donor},
};

/// Makes a donation. Without a key, it is the old API: whoever asks again gives again.
pub(crate) async fn create(
    State(delay): State<Duration>,
    State(database): State<demo::Sqlite>,
    Donor(user): Donor,
    headers: HeaderMap,
    Body(donation): Body<NewDonation>,
) -> Result<impl IntoResponse, ApiError> {
    let key = key_of(&user, &headers)?;
    api::worked(delay).await;
    let mut tx = database.begin().await?;
    let donation = donations::give(&mut tx, key.as_deref(), &donation).await?;
    tx.commit().await?;
    Ok(api::created(donation))
}

/// What `attempt.key()` is on the guarded route, so that both meet in one index.
fn key_of(user: &User, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let header = HeaderName::from_static("idempotency-key");
    match IdempotencyKey::from_headers(headers, &header, KeyFormat::Any) {
        Ok(key) => Ok(key.map(|key| {
            RecordId::sent("donations.create", &ScopeValue::of(user), &key).attempt_key()
        })),
        Err(error) => Err(ApiError::Problem(Problem::KeyInvalid { header, error })),
    }
}
