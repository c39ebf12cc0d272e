//! What MariaDB says of its connections, and what ours start with.

use std::time::Duration;

use sqlx::{
    FromRow, MySql, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions, MySqlRow},
};

use crate::{connections::Server, dialect::trusted, row::Hit, statement::Query};

/// Error numbers. SQLSTATE is too coarse here.
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>
pub(super) mod numbers {
    pub(crate) const RECORD_CHANGED: u16 = 1020;
    pub(crate) const DUPLICATE: u16 = 1062;
    pub(crate) const LOCKED: u16 = 1205;
    pub(crate) const DEADLOCK: u16 = 1213;
    pub(crate) const NO_SUCH_SAVEPOINT: u16 = 1305;
    /// A shutdown, connections that are aborted, errors of the network, and who was killed.
    pub(crate) const BROKEN: [u16; 9] = [1053, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927];
    /// A server or a transaction that only reads.
    pub(crate) const READ_ONLY: [u16; 3] = [1290, 1792, 1836];
}

/// The number of an error that the server sent.
pub(crate) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

/// Whether a statement met another one, by its error number.
pub(crate) const fn is_conflict(number: u16) -> bool {
    matches!(number, numbers::RECORD_CHANGED | numbers::LOCKED | numbers::DEADLOCK)
}

impl Server for MySql {
    fn is_broken(error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::Io(_))
            || number(error).is_some_and(|it| numbers::BROKEN.contains(&it))
    }

    fn is_read_only(error: &sqlx::Error) -> bool {
        number(error).is_some_and(|it| numbers::READ_ONLY.contains(&it))
    }

    async fn only_reads(connection: &mut MySqlConnection) -> sqlx::Result<bool> {
        let sql = "SELECT @@global.read_only OR @@session.tx_read_only";
        sqlx::query_scalar(sql).fetch_one(connection).await
    }

    /// These are usual where requests meet.
    fn is_in_order_after(error: &sqlx::Error) -> bool {
        number(error).is_some_and(|it| it == numbers::DUPLICATE || is_conflict(it))
    }

    fn may_be_repeated(error: &sqlx::Error) -> bool {
        number(error).is_some_and(is_conflict)
    }

    async fn fetch<T>(
        connection: &mut MySqlConnection,
        query: Query<'_, Self, T>,
    ) -> sqlx::Result<Vec<T>>
    where
        T: Send + Unpin + for<'r> FromRow<'r, MySqlRow>,
    {
        query.fetch_all(connection).await
    }

    /// An `UPDATE` has no `RETURNING`. The driver has the server count rows that were found, also when
    /// nothing in them changed.
    async fn write(
        connection: &mut MySqlConnection,
        query: Query<'_, Self, Hit>,
    ) -> sqlx::Result<Vec<Hit>> {
        let hit = sqlx::Executor::execute(connection, query).await?.rows_affected();
        Ok((0..hit).map(|_| (1,)).collect())
    }
}

/// Text and times as we write them, whatever the application wants for itself.
pub(super) fn options(options: MySqlConnectOptions) -> MySqlConnectOptions {
    options.charset("utf8mb4").set_names(true).timezone("+00:00".to_owned())
}

/// A pool whose sessions do not depend on the server's settings. No statement waits for a lock:
/// waiting is ours to do, without a connection.
pub(super) fn pool(timeout: Duration) -> MySqlPoolOptions {
    let seconds = seconds(timeout);
    let settings = format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
        SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1,
            completion_type = 0, innodb_lock_wait_timeout = 0, max_statement_time = {seconds}"
    );
    MySqlPoolOptions::new().after_connect(move |connection, _| {
        let settings = trusted(settings.clone());
        Box::pin(async move {
            sqlx::raw_sql(settings).execute(connection).await?;
            Ok(())
        })
    })
}

/// As the server takes it.
pub(super) fn seconds(time: Duration) -> String {
    let milliseconds = time.as_nanos().div_ceil(1_000_000);
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}
