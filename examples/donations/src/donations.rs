//! Donations: what is asked for, what is kept, and what the table refuses.

use serde::{Deserialize, Deserializer, Serialize, de};
use sqlx::{SqliteConnection, error::DatabaseError};

use crate::{amount::Amount, error::ApiError};

const INSERT: &str = "INSERT INTO donations (sender_id, receiver_id, amount_cents, memo, idempotency_key) \
     VALUES ($1, $2, $3, $4, $5) \
     RETURNING CAST(id AS TEXT) AS id, sender_id, receiver_id, amount_cents, memo";

const SELECT: &str = "SELECT CAST(id AS TEXT) AS id, sender_id, receiver_id, amount_cents, memo \
     FROM donations ORDER BY donations.id DESC";

const IS_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM donations WHERE idempotency_key = $1)";

/// So long that it still is a memo: an answer that is too large would not be kept for replays.
const MAX_MEMO: usize = 1000;

/// What a client asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewDonation {
    sender_id: i64,
    receiver_id: i64,
    amount: Amount,
    #[serde(default, deserialize_with = "memo")]
    memo: Option<String>,
}

fn memo<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let memo = Option::<String>::deserialize(deserializer)?;
    if memo.as_ref().is_some_and(|it| it.chars().count() > MAX_MEMO) {
        return Err(de::Error::custom(format!("the memo has at most {MAX_MEMO} characters")));
    }
    Ok(memo)
}

/// A donation that was made.
#[derive(Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Donation {
    id: String,
    sender_id: i64,
    receiver_id: i64,
    #[sqlx(rename = "amount_cents")]
    amount: Amount,
    memo: Option<String>,
}

/// Makes a donation, unless the table has one with this key.
pub(crate) async fn give(
    connection: &mut SqliteConnection,
    key: Option<&str>,
    donation: &NewDonation,
) -> Result<Donation, ApiError> {
    let inserted = sqlx::query_as(INSERT)
        .bind(donation.sender_id)
        .bind(donation.receiver_id)
        .bind(donation.amount)
        .bind(&donation.memo)
        .bind(key)
        .fetch_one(&mut *connection)
        .await;
    match inserted {
        Err(error) if is_unique_violation(&error) => Err(refused(connection, key, error).await?),
        inserted => Ok(inserted?),
    }
}

/// SQLite says by a code that a unique index refused, and only in words which one. So the table is
/// asked whether it has the key: another index's refusal is not mistaken for a duplicate.
async fn refused(
    connection: &mut SqliteConnection,
    key: Option<&str>,
    error: sqlx::Error,
) -> sqlx::Result<ApiError> {
    let is_taken = sqlx::query_scalar(IS_TAKEN).bind(key).fetch_one(connection).await?;
    Ok(if is_taken { ApiError::Duplicate } else { error.into() })
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
}

/// Newest first.
pub(crate) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Donation>> {
    sqlx::query_as(SELECT).fetch_all(connection).await
}
