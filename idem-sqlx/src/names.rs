//! The names of our tables, which are the only part of a statement that is not fixed.

use crate::error::SetupError;

/// Postgres cuts names at 63 bytes; the longest suffix that we append has 11.
const MAX_LEN: usize = 48;

/// The records' table, and its schema where databases have schemas.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    schema: Option<String>,
    table: String,
    /// What names are quoted with.
    quote: char,
}

impl Names {
    pub(crate) fn new(schema: Option<String>, table: String) -> Result<Self, SetupError> {
        for name in schema.iter().chain([&table]) {
            if !is_plain(name) {
                return Err(SetupError::Name { name: name.clone() });
            }
        }
        Ok(Self { schema, table, quote: '"' })
    }

    /// As MariaDB quotes them in all its modes.
    #[cfg(feature = "mysql")]
    pub(crate) fn in_backticks(self) -> Self {
        Self { quote: '`', ..self }
    }

    /// The same table in a schema that the database itself named.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn found_in(self, schema: String) -> Self {
        Self { schema: Some(schema), ..self }
    }

    /// The same table wherever a connection looks first.
    #[cfg(feature = "mysql")]
    pub(crate) fn in_default_schema(self) -> Self {
        Self { schema: None, ..self }
    }

    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The table's name with a suffix, quoted and qualified.
    pub(crate) fn quoted(&self, suffix: &str) -> String {
        let table = self.quote(&format!("{}{suffix}", self.table));
        match &self.schema {
            Some(schema) => format!("{}.{table}", self.quote(schema)),
            None => table,
        }
    }

    /// A migration that was written for the default names, with these.
    pub(crate) fn renamed(&self, sql: &str) -> String {
        let (quote, table) = (self.quote, &self.table);
        sql.replace(&format!("{quote}idem"), &format!("{quote}{table}"))
    }

    /// A name that the database gave us may hold anything.
    pub(crate) fn quote(&self, name: &str) -> String {
        let quote = self.quote;
        format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_LEN
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(schema: Option<&str>, table: &str) -> Result<Names, SetupError> {
        Names::new(schema.map(str::to_owned), table.to_owned())
    }

    #[test]
    fn names_are_quoted_and_qualified() {
        assert_eq!(names(None, "idem").unwrap().quoted(""), r#""idem""#);
        assert_eq!(names(Some("App"), "t").unwrap().quoted("_fence"), r#""App"."t_fence""#);
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn backticks_are_quoted_by_themselves() {
        let found = names(None, "t").unwrap().in_backticks().found_in("my `own`".to_owned());
        assert_eq!(found.quoted("_fence"), "`my ``own```.`t_fence`");
        assert_eq!(found.renamed("CREATE SEQUENCE `idem_fence`"), "CREATE SEQUENCE `t_fence`");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_schema_that_the_database_named_may_hold_anything() {
        let found = names(None, "t").unwrap().found_in(r#"my "own""#.to_owned());
        assert_eq!(found.quoted(""), r#""my ""own"""."t""#);
    }

    #[test]
    fn names_that_could_end_a_quotation_are_refused() {
        let long = "a".repeat(MAX_LEN + 1);
        for name in ["", "a\"b", "a b", "a.b", "a;b", "1a", "ä", "a\0", &long] {
            assert!(names(None, name).is_err(), "{name:?} as a table");
            assert!(names(Some(name), "idem").is_err(), "{name:?} as a schema");
        }
        assert!(names(None, &"a".repeat(MAX_LEN)).is_ok());
    }
}
