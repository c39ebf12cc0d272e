//! Statements, and the values that are bound to their parameters.

use std::sync::Arc;

use sqlx::{Database, Encode, FromRow, IntoArguments, SqlSafeStr, SqlStr, Type, query::QueryAs};
use uuid::Uuid;

use crate::dialect::trusted;

/// A statement that is ready to run, for rows of type `T`.
pub(crate) type Query<'q, DB, T> = QueryAs<'q, DB, T, <DB as Database>::Arguments>;

/// How a database writes parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parameters {
    /// As `$n`, as often as they are used.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    Numbered,
    /// As `?`, each of which is bound anew.
    #[cfg(feature = "mysql")]
    InOrder,
}

/// The text of a statement, and which value each of its parameters is.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    sql: SqlStr,
    /// Where parameters are not numbered.
    order: Option<Arc<[usize]>>,
}

impl Statement {
    /// Of our own text and checked names, with parameters that are written `$n`.
    pub(crate) fn new(text: impl Into<String>, parameters: Parameters) -> Self {
        let text = text.into();
        match parameters {
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Parameters::Numbered => Self { sql: trusted(text), order: None },
            #[cfg(feature = "mysql")]
            Parameters::InOrder => {
                let (text, order) = in_order(&text);
                Self { sql: trusted(text), order: Some(order.into()) }
            }
        }
    }

    /// With these values of `$1`, `$2` and so on.
    pub(crate) fn query<'q, DB, T>(&self, values: &[Value<'q>]) -> Query<'q, DB, T>
    where
        DB: Binds,
        T: for<'r> FromRow<'r, DB::Row>,
    {
        let query = sqlx::query_as(self.sql.clone());
        match &self.order {
            None => values.iter().fold(query, |query, value| DB::bind(query, *value)),
            Some(order) => order.iter().fold(query, |query, at| DB::bind(query, values[*at])),
        }
    }

    /// The server's plan for it, in JSON.
    #[cfg(all(test, feature = "mysql"))]
    pub(crate) fn explained(&self) -> Self {
        let sql = trusted(format!("EXPLAIN FORMAT = JSON {}", self.sql.as_str()));
        Self { sql, order: self.order.clone() }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn as_str(&self) -> &str {
        self.sql.as_str()
    }
}

impl SqlSafeStr for &Statement {
    fn into_sql_str(self) -> SqlStr {
        self.sql.clone()
    }
}

/// Writes `?` for each `$n`, and says which value each of them is, from 0.
#[cfg(feature = "mysql")]
fn in_order(text: &str) -> (String, Vec<usize>) {
    let mut parts = text.split('$');
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut order = Vec::new();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        match part[..part.len() - rest.len()].parse::<usize>() {
            Ok(number) => {
                order.push(number - 1);
                out.push('?');
            }
            // No parameter, but the root of a path in JSON.
            Err(_) => out.push('$'),
        }
        out.push_str(rest);
    }
    (out, order)
}

/// A value for a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'q> {
    Bytes(&'q [u8]),
    MaybeBytes(Option<&'q [u8]>),
    Text(&'q str),
    Uuid(Uuid),
    Flag(bool),
    Small(i16),
    Number(i32),
    Big(i64),
}

#[cfg(feature = "mysql")]
impl Value<'_> {
    /// Text as its bytes.
    pub(crate) fn in_bytes(self) -> Self {
        match self {
            Self::Text(text) => Self::Bytes(text.as_bytes()),
            other => other,
        }
    }
}

/// A database that our values can be bound for.
pub(crate) trait Binds: Database<Arguments: IntoArguments<Self>> {
    fn bind<'q, T>(query: Query<'q, Self, T>, value: Value<'q>) -> Query<'q, Self, T>;
}

impl<DB> Binds for DB
where
    DB: Database<Arguments: IntoArguments<DB>>,
    for<'q> &'q [u8]: Encode<'q, DB> + Type<DB>,
    for<'q> Option<&'q [u8]>: Encode<'q, DB> + Type<DB>,
    for<'q> &'q str: Encode<'q, DB> + Type<DB>,
    for<'q> Uuid: Encode<'q, DB> + Type<DB>,
    for<'q> bool: Encode<'q, DB> + Type<DB>,
    for<'q> i16: Encode<'q, DB> + Type<DB>,
    for<'q> i32: Encode<'q, DB> + Type<DB>,
    for<'q> i64: Encode<'q, DB> + Type<DB>,
{
    fn bind<'q, T>(query: Query<'q, Self, T>, value: Value<'q>) -> Query<'q, Self, T> {
        match value {
            Value::Bytes(it) => query.bind(it),
            Value::MaybeBytes(it) => query.bind(it),
            Value::Text(it) => query.bind(it),
            Value::Uuid(it) => query.bind(it),
            Value::Flag(it) => query.bind(it),
            Value::Small(it) => query.bind(it),
            Value::Number(it) => query.bind(it),
            Value::Big(it) => query.bind(it),
        }
    }
}

#[cfg(all(test, feature = "mysql"))]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_are_not_numbered_are_bound_where_they_are_used() {
        let (text, order) = in_order("UPDATE t SET a = $12, b = $2 WHERE id = $1 AND b <> $2");
        assert_eq!(text, "UPDATE t SET a = ?, b = ? WHERE id = ? AND b <> ?");
        assert_eq!(order, [11, 1, 0, 1]);
        assert_eq!(in_order("SELECT '$[*]'"), ("SELECT '$[*]'".to_owned(), vec![]));
    }
}
