//! The names of our tables, which are the only part of a statement that is not fixed.

use crate::error::SetupError;

/// Postgres cuts names at 63 bytes; the longest suffix that we append has 11.
const MAX_LEN: usize = 48;

/// The records' table, and its schema where databases have schemas.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    schema: Option<String>,
    table: String,
}

impl Names {
    pub(crate) fn new(schema: Option<String>, table: String) -> Result<Self, SetupError> {
        for name in schema.iter().chain([&table]) {
            if !is_plain(name) {
                return Err(SetupError::Name { name: name.clone() });
            }
        }
        Ok(Self { schema, table })
    }

    /// The same table in a schema that the database itself named.
    #[cfg(feature = "postgres")]
    pub(crate) fn found_in(self, schema: String) -> Self {
        Self { schema: Some(schema), ..self }
    }

    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The table's name with a suffix, quoted and qualified.
    pub(crate) fn quoted(&self, suffix: &str) -> String {
        let table = &self.table;
        match &self.schema {
            Some(schema) => format!(r#"{}."{table}{suffix}""#, quoted(schema)),
            None => format!(r#""{table}{suffix}""#),
        }
    }
}

/// A name that the database gave us may hold anything.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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
