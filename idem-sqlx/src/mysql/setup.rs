//! Which servers the store works on.

use std::time::Duration;

use sqlx::{Connection, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::time::timeout;

use crate::error::SetupError;

/// The smallest `max_allowed_packet`: an answer that is larger cannot be kept.
const MIN_PACKET: u64 = 1 << 20;

/// What the store needs to know of a server.
pub(super) struct Found {
    pub(super) database: String,
    /// The largest statement that the server takes, with all its values.
    pub(super) max_packet: u64,
}

/// Looks at a server with nothing but what all servers of this protocol understand, and then with
/// what MariaDB does.
pub(super) async fn examine(
    options: &MySqlConnectOptions,
    limit: Duration,
) -> Result<Found, SetupError> {
    let looking = async {
        let mut connection = MySqlConnection::connect_with(options).await?;
        let sql = "SELECT VERSION(), DATABASE(), CAST(@@max_allowed_packet AS unsigned),
            @@log_bin AND @@binlog_format = 'STATEMENT', @@global.read_only";
        let seen: (String, Option<String>, u64, bool, bool) =
            sqlx::query_as(sql).fetch_one(&mut connection).await?;
        // Nothing depends on whether it is told.
        let _ = connection.close().await;
        Ok::<_, sqlx::Error>(seen)
    };
    let timed_out = |_| sqlx::Error::PoolTimedOut;
    let (version, database, max_packet, by_statement, only_reads) =
        timeout(limit, looking).await.map_err(timed_out)??;
    match mariadb(&version) {
        Some(found) if found >= (10, 6) => {}
        Some(_) => return Err(SetupError::TooOld { version }),
        None => return Err(SetupError::NotMariaDb { version }),
    }
    if only_reads {
        return Err(SetupError::ReadOnly);
    }
    if by_statement {
        return Err(SetupError::StatementReplication);
    }
    if max_packet < MIN_PACKET {
        return Err(SetupError::SmallPackets { bytes: max_packet, least: MIN_PACKET });
    }
    Ok(Found { database: database.ok_or(SetupError::NoDatabase)?, max_packet })
}

/// Major and minor version, if it is MariaDB: `10.11.6-MariaDB-0+deb12u1`.
fn mariadb(version: &str) -> Option<(u32, u32)> {
    if !version.to_ascii_lowercase().contains("mariadb") {
        return None;
    }
    let mut numbers = version.split(['.', '-']).map_while(|it| it.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(mariadb("10.11.6-MariaDB-0+deb12u1"), Some((10, 11)));
        assert_eq!(mariadb("11.4.2-MariaDB"), Some((11, 4)));
        assert_eq!(mariadb("8.0.36"), None);
        assert_eq!(mariadb("8.4.0-0ubuntu0"), None);
        assert_eq!(mariadb("MariaDB"), None);
    }
}
