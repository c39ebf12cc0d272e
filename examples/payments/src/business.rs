//! What the service does in its database. The SQL is the same on both; the connections' types differ.

const UPSERT_ACCOUNT: &str = "INSERT INTO accounts (owner, balance) VALUES ($1, $2) \
     ON CONFLICT (owner) DO UPDATE SET balance = accounts.balance + excluded.balance";

const INSERT_PAYMENT: &str =
    "INSERT INTO payments (id, payer, amount, currency, payee) VALUES ($1, $2, $3, $4, $5)";

const SELECT_PAYMENTS: &str =
    "SELECT id, amount, currency, payee FROM payments WHERE payer = $1 ORDER BY seq DESC";

const SELECT_BALANCE: &str = "SELECT coalesce((SELECT balance FROM accounts WHERE owner = $1), 0) AS balance, \
     CAST(coalesce(sum(balance), 0) AS bigint) AS total FROM accounts";

const INSERT_PAYOUT: &str = "INSERT INTO payouts (id, payer, amount, currency, payee, provider_ref) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";

const SELECT_PAYOUTS: &str = "SELECT id, amount, currency, payee, provider_ref FROM payouts \
     WHERE payer = $1 ORDER BY seq DESC";

macro_rules! business {
    ($module:ident: $Connection:ty) => {
        pub(crate) mod $module {
            use demo::User;

            use crate::payments::{Balance, Order, Payment, PaymentError, Payout};

            type Connection = $Connection;

            /// Moves money from the user to the recipient. Without a transaction around it, it may
            /// be done by half.
            pub(crate) async fn pay(
                connection: &mut Connection,
                user: &User,
                order: Order,
                id: String,
            ) -> Result<Payment, PaymentError> {
                let mut moved = [(&user.0, -order.amount), (&order.to, order.amount)];
                // Two payments that lock the same accounts in one order cannot deadlock.
                moved.sort_unstable();
                for (owner, amount) in moved {
                    let upsert = sqlx::query(super::UPSERT_ACCOUNT).bind(owner).bind(amount);
                    upsert.execute(&mut *connection).await?;
                    #[cfg(feature = "crash-points")]
                    idem_testkit::crash::point("payments::after-first-write");
                }
                sqlx::query(super::INSERT_PAYMENT)
                    .bind(&id)
                    .bind(&user.0)
                    .bind(order.amount)
                    .bind(&order.currency)
                    .bind(&order.to)
                    .execute(connection)
                    .await?;
                Ok(Payment::of(id, order))
            }

            /// Newest first.
            pub(crate) async fn payments_of(
                connection: &mut Connection,
                user: &User,
            ) -> sqlx::Result<Vec<Payment>> {
                sqlx::query_as(super::SELECT_PAYMENTS).bind(&user.0).fetch_all(connection).await
            }

            pub(crate) async fn balance_of(
                connection: &mut Connection,
                user: &User,
            ) -> sqlx::Result<Balance> {
                sqlx::query_as(super::SELECT_BALANCE).bind(&user.0).fetch_one(connection).await
            }

            /// Keeps a payout, unless it is kept already.
            pub(crate) async fn keep_payout(
                connection: &mut Connection,
                user: &User,
                payout: &Payout,
            ) -> sqlx::Result<()> {
                sqlx::query(super::INSERT_PAYOUT)
                    .bind(&payout.id)
                    .bind(&user.0)
                    .bind(payout.amount)
                    .bind(&payout.currency)
                    .bind(&payout.to)
                    .bind(&payout.provider_ref)
                    .execute(connection)
                    .await?;
                Ok(())
            }

            /// Newest first.
            pub(crate) async fn payouts_of(
                connection: &mut Connection,
                user: &User,
            ) -> sqlx::Result<Vec<Payout>> {
                sqlx::query_as(super::SELECT_PAYOUTS).bind(&user.0).fetch_all(connection).await
            }
        }
    };
}

business!(sqlite: sqlx::SqliteConnection);
business!(postgres: sqlx::PgConnection);
