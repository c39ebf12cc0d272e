//! What Postgres says of its connections.

use sqlx::{FromRow, PgConnection, Postgres, postgres::PgRow};

use crate::{connections::Server, row::Hit, statement::Query, tx::is_conflict};

impl Server for Postgres {
    /// Codes: class 08, connection exception, 57P01 to 57P05, the server's reasons to end a session,
    /// and 25P03, that its transaction idled for too long.
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn is_broken(error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Io(_) => true,
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|it| it.starts_with("08") || it.starts_with("57P0") || it == "25P03"),
            _ => false,
        }
    }

    fn is_read_only(error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("25006"))
    }

    async fn only_reads(connection: &mut PgConnection) -> sqlx::Result<bool> {
        let sql = "SELECT current_setting('transaction_read_only')::boolean";
        sqlx::query_scalar(sql).fetch_one(connection).await
    }

    fn is_in_order_after(_: &sqlx::Error) -> bool {
        false
    }

    /// Servers that know no locks, or no `READ COMMITTED`, end a statement that met another one.
    fn may_be_repeated(error: &sqlx::Error) -> bool {
        is_conflict(error)
    }

    async fn fetch<T>(
        connection: &mut PgConnection,
        query: Query<'_, Self, T>,
    ) -> sqlx::Result<Vec<T>>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        query.fetch_all(connection).await
    }

    async fn write(
        connection: &mut PgConnection,
        query: Query<'_, Self, Hit>,
    ) -> sqlx::Result<Vec<Hit>> {
        query.fetch_all(connection).await
    }
}
