//! The tables: SQL files that people can read and run, and that we run through sqlx's migrator.

use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::{dialect::trusted, names::Names};

/// One of the files in `migrations/`, written for the default names.
#[derive(Clone, Copy)]
pub(crate) struct File {
    pub(crate) version: i64,
    pub(crate) description: &'static str,
    pub(crate) sql: &'static str,
}

/// A migrator for tables of these names, whose bookkeeping lies in a table beside them and not
/// among the application's own.
pub(crate) fn migrator(files: &[File], names: &Names) -> Migrator {
    let in_schema = match names.schema() {
        Some(schema) => format!("SET LOCAL search_path TO {};\n", names.quote(schema)),
        None => String::new(),
    };
    let migration = |file: &File| {
        let sql = names.renamed(file.sql);
        let in_schema = trusted(format!("{in_schema}{sql}"));
        let description = file.description.into();
        let of_file =
            Migration::new(file.version, description, MigrationType::Simple, trusted(sql), false);
        // With the checksum of the file alone, so that tables may move to another schema.
        Migration { sql: in_schema, ..of_file }
    };
    let mut migrator = Migrator::with_migrations(files.iter().map(migration).collect());
    migrator.dangerous_set_table_name(names.quoted("_migrations"));
    migrator
}
