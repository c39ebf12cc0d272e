//! The simulated payment provider: another system, which recognises a repeated call by its key.

use std::time::Duration;

use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

/// Counts every call, and keeps what the first one under its key said.
const UPSERT: &str = "INSERT INTO provider_ledger (key, calls, ref, amount, currency, payee) \
     VALUES ($1, 1, $2, $3, $4, $5) \
     ON CONFLICT (key) DO UPDATE SET calls = provider_ledger.calls + 1 \
     RETURNING calls, ref, amount, currency, payee";

#[derive(sqlx::FromRow)]
struct Entry {
    calls: i64,
    #[sqlx(rename = "ref")]
    reference: String,
    amount: i64,
    currency: String,
    payee: String,
}

/// A connection beside the store's, which waits while somebody else writes.
fn beside_sqlite(database: &demo::Sqlite) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(database.file());
    let options = options.busy_timeout(Duration::from_secs(10));
    SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options)
}

fn beside_postgres(database: &demo::Postgres) -> PgPool {
    let options = PgConnectOptions::clone(&database.pool().connect_options());
    PgPoolOptions::new().acquire_timeout(Duration::from_secs(5)).connect_lazy_with(options)
}

macro_rules! provider {
    ($module:ident: $Database:ident, $beside:ident) => {
        pub(crate) mod $module {
            use std::time::Duration;

            use super::{Entry, UPSERT};
            use crate::payments::{Order, PaymentError};

            /// Has connections of its own: what it did stays done, whatever becomes of its caller.
            #[derive(Clone)]
            pub(crate) struct Provider {
                ledger: sqlx::Pool<sqlx::$Database>,
                pub(crate) delay: Duration,
            }

            impl Provider {
                pub(crate) fn beside(database: &demo::$Database, delay: Duration) -> Self {
                    Self { ledger: super::$beside(database), delay }
                }

                /// Moves the money, once for each key, and returns the provider's reference. The
                /// money moves at once; the answer takes its time.
                pub(crate) async fn pay_out(
                    &self,
                    key: &str,
                    order: &Order,
                ) -> Result<String, PaymentError> {
                    order.accepted()?;
                    let entry: Entry = sqlx::query_as(UPSERT)
                        .bind(key)
                        .bind(format!("po_{}", uuid::Uuid::new_v4().simple()))
                        .bind(order.amount)
                        .bind(&order.currency)
                        .bind(&order.to)
                        .fetch_one(&self.ledger)
                        .await?;
                    tracing::debug!(key, calls = entry.calls, "the provider has the money");
                    tokio::time::sleep(self.delay).await;
                    if (entry.amount, &entry.currency, &entry.payee)
                        == (order.amount, &order.currency, &order.to)
                    {
                        Ok(entry.reference)
                    } else {
                        Err(PaymentError::KeyUsed)
                    }
                }
            }
        }
    };
}

provider!(sqlite: Sqlite, beside_sqlite);
provider!(postgres: Postgres, beside_postgres);
