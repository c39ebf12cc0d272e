//! What the service does in its database. The SQL is the same on both.

use demo::{Database, on};

use crate::{
    events::{Account, Event},
    refusal::Refusal,
};

/// What a user can spend who has not spent anything.
const FIRST_CREDIT: i64 = 1_000;

const SELECT_EVENTS: &str =
    "SELECT id, owner, title, participants, price FROM events ORDER BY seq DESC";

const SELECT_EVENT: &str = "SELECT id, owner, title, participants, price FROM events WHERE id = $1";

const INSERT_EVENT: &str = "INSERT INTO events (id, owner, title, participants, price) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";

const SELECT_ACCOUNT: &str =
    "SELECT coalesce((SELECT credit FROM accounts WHERE owner = $1), $2) AS credit";

const OPEN_ACCOUNT: &str =
    "INSERT INTO accounts (owner, credit) VALUES ($1, $2) ON CONFLICT (owner) DO NOTHING";

const DEBIT: &str = "UPDATE accounts SET credit = credit - $2 WHERE owner = $1 AND credit >= $2";

/// Newest first.
pub(crate) async fn events(database: &Database) -> sqlx::Result<Vec<Event>> {
    on!(database, |it| { sqlx::query_as(SELECT_EVENTS).fetch_all(&mut *it.reader().await?).await })
}

pub(crate) async fn event(database: &Database, id: &str) -> sqlx::Result<Option<Event>> {
    on!(database, |it| {
        sqlx::query_as(SELECT_EVENT).bind(id).fetch_optional(&mut *it.reader().await?).await
    })
}

pub(crate) async fn account(database: &Database, owner: &str) -> sqlx::Result<Account> {
    on!(database, |it| {
        let select = sqlx::query_as(SELECT_ACCOUNT).bind(owner).bind(FIRST_CREDIT);
        select.fetch_one(&mut *it.reader().await?).await
    })
}

/// Keeps the event and takes its price, both or neither, unless an event of that id is kept already.
pub(crate) async fn create(database: &Database, event: Event) -> Result<Event, Refusal> {
    on!(database, |it| {
        let mut tx = it.begin().await?;
        let insert = sqlx::query(INSERT_EVENT)
            .bind(&event.id)
            .bind(&event.owner)
            .bind(&event.title)
            .bind(event.participants)
            .bind(event.price);
        if insert.execute(&mut *tx).await?.rows_affected() == 0 {
            let select = sqlx::query_as(SELECT_EVENT).bind(&event.id);
            let made: Event = select.fetch_one(&mut *tx).await?;
            return made.recognised(&event);
        }
        if event.price > 0 {
            let open = sqlx::query(OPEN_ACCOUNT).bind(&event.owner).bind(FIRST_CREDIT);
            open.execute(&mut *tx).await?;
            let debit = sqlx::query(DEBIT).bind(&event.owner).bind(event.price);
            if debit.execute(&mut *tx).await?.rows_affected() == 0 {
                let select = sqlx::query_as(SELECT_ACCOUNT).bind(&event.owner).bind(FIRST_CREDIT);
                let Account { credit } = select.fetch_one(&mut *tx).await?;
                return Err(Refusal::InsufficientCredit { price: event.price, credit });
            }
        }
        tx.commit().await?;
        Ok(event)
    })
}
