//! Handlers that the user's own macros write.

#![deny(warnings)]

use axum::{Json, Router, extract::Path, routing::post};
use idem::{Idem, Tx, idempotent};

struct Order {
    to: String,
}

impl<S: Sync> axum::extract::FromRequest<S> for Order {
    type Rejection = std::convert::Infallible;

    async fn from_request(
        _: axum::extract::Request,
        _: &S,
    ) -> Result<Self, std::convert::Infallible> {
        Ok(Self { to: String::new() })
    }
}

macro_rules! handler {
    ($(#[$meta:meta])* $vis:vis $name:ident, $arg:ident: $ty:ty, $scope:expr, $ttl:literal) => {
        $(#[$meta])*
        #[idempotent(scope = $scope, ttl = $ttl)]
        $vis async fn $name($arg: $ty) {}
    };
}

handler!(
    /// Documented.
    pub(crate) expression, order: Order, order.to, "1h"
);
handler!(quoted, order: Order, "order.to", "1h");
handler!(tuple, order: Order, (order.to.as_str(), (1, "x")), "1h");
handler!(keyword, _order: Order, global, "1h");
handler!(quoted_keyword, _order: Order, "global", "1h");

macro_rules! whole_options {
    ($name:ident, $($options:tt)*) => {
        #[idempotent($($options)*)]
        async fn $name(Path(id): Path<u64>, Json(body): Json<u64>) {
            let _ = (id, body);
        }
    };
}

whole_options!(tokens, scope = global, max_body = 10);

macro_rules! own_names {
    ($name:ident, $ret:ty, $body:expr, $fingerprint:expr, $query:literal, $max:expr) => {
        #[idempotent(scope = (id, name), fingerprint = $fingerprint, query = $query, max_body = $max)]
        async fn $name(Path((id, name)): Path<(u64, String)>) -> $ret {
            let _ = (id, name);
            $body
        }
    };
}

own_names!(returns, Result<&'static str, String>, Ok("ok"), none, false, 10);

macro_rules! pattern {
    ($name:ident($($pat:pat_param => $ty:ty),*) $scope:expr) => {
        #[idempotent(scope = $scope)]
        async fn $name($($pat: $ty),*) {}
    };
}

pattern!(patterns(Path((id, _)) => Path<(u64, u64)>, _ => String) (id, id));

macro_rules! crud {
    ($($module:ident),*) => {$(
        mod $module {
            use super::*;

            #[idempotent(scope = "id")]
            pub(super) async fn create(Path(id): Path<u64>) {}
        }
    )*};
}

crud!(orders, payments);

macro_rules! on {
    ($module:ident, $database:ident, $connection:ty, $($isolation:literal)?) => {
        mod $module {
            use super::*;

            #[idempotent(scope = "id", retries = 2 $(, isolation = $isolation)?)]
            pub(super) async fn ident(Path(id): Path<u64>, mut tx: Tx<sqlx::$database>) -> String {
                let _: &mut $connection = &mut tx;
                format!("{id}")
            }
        }
    };
}

on!(on_postgres, Postgres, sqlx::PgConnection, "serializable");
on!(on_sqlite, Sqlite, sqlx::SqliteConnection,);

macro_rules! transactional {
    ($name:ident($database:ty) $($option:ident = $value:expr),*) => {
        #[idempotent(scope = "global", $($option = $value),*)]
        async fn $name(tx: Tx<$database>, body: String) -> String {
            drop(tx);
            body
        }
    };
    ($name:ident by $tx:ty) => {
        #[idempotent(scope = "global")]
        async fn $name(_: String, _: $tx) {}
    };
}

transactional!(of_type(sqlx::Postgres) retries = 1, commit_on_error = true, lock_timeout = "1s");
transactional!(of_another_type(sqlx::Sqlite));
transactional!(whole_type by Tx<sqlx::Sqlite>);

fn main() {
    let _: Router<Idem<sqlx::Postgres>> =
        Router::new().route("/1", post(on_postgres::ident)).route("/2", post(of_type));
    let _: Router<Idem<sqlx::Sqlite>> =
        Router::new().route("/1", post(on_sqlite::ident)).route("/2", post(of_another_type));
    let _: Router<Idem> = Router::new()
        .route("/1", post(expression))
        .route("/2", post(quoted))
        .route("/3", post(tuple))
        .route("/4", post(keyword))
        .route("/5", post(quoted_keyword))
        .route("/6", post(tokens))
        .route("/7", post(returns))
        .route("/8", post(patterns))
        .route("/9", post(orders::create))
        .route("/10", post(payments::create));
}
