//! The simulated payment provider: another system, which recognises a repeated call by its key.

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

macro_rules! provider {
    ($module:ident: $Database:ty) => {
        pub(crate) mod $module {
            use std::time::Duration;

            use super::{Entry, UPSERT};
            use crate::payments::{Order, PaymentError};

            /// Has connections of its own: what it did stays done, whatever becomes of its caller.
            #[derive(Clone)]
            pub(crate) struct Provider {
                pub(crate) ledger: sqlx::Pool<$Database>,
                pub(crate) delay: Duration,
            }

            impl Provider {
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

provider!(sqlite: sqlx::Sqlite);
provider!(postgres: sqlx::Postgres);
