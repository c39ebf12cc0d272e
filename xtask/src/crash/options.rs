//! The command line.

use lexopt::{Arg, Error, Parser, ValueExt};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

pub(crate) struct Options {
    pub(crate) kills: u32,
    /// How often the server is stopped.
    pub(crate) stops: u32,
    pub(crate) seed: u64,
    pub(crate) database: Database,
    pub(crate) control: bool,
}

impl Default for Options {
    fn default() -> Self {
        let (kills, stops, seed) = (100, 0, fastrand::u64(..));
        Self { kills, stops, seed, database: Database::Sqlite, control: false }
    }
}

impl Options {
    pub(crate) fn parse(args: &[&str]) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("kills") => options.kills = parser.value()?.parse()?,
                Arg::Long("stop-server") => options.stops = parser.value()?.parse()?,
                Arg::Long("seed") => options.seed = parser.value()?.parse()?,
                Arg::Long("control") => options.control = true,
                Arg::Long("database") => {
                    options.database = parser.value()?.parse_with(|name| match name {
                        "sqlite" => Ok(Database::Sqlite),
                        "postgres" => Ok(Database::Postgres),
                        _ => Err("neither sqlite nor postgres"),
                    })?;
                }
                _ => return Err(arg.unexpected()),
            }
        }
        if options.stops > 0 && options.database != Database::Postgres {
            return Err("--stop-server needs --database postgres".into());
        }
        Ok(options)
    }
}
