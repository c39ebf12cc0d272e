//! The environment.

use std::{convert::Infallible, env, fmt::Display, net::SocketAddr, time::Duration};

/// What every example reads from its environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ADDR`: where it listens; `127.0.0.1:3000` unless it is set.
    pub addr: SocketAddr,
    /// `DATABASE_URL`: `sqlite:<example>.db`, a file in the working directory, unless it is set.
    pub database_url: String,
    /// How long the work takes, in the variable that the example names; 0 unless it is set.
    pub delay: Duration,
}

impl Settings {
    /// Reads the environment of the example of that name.
    ///
    /// # Errors
    ///
    /// Says which variable makes no sense, and what would.
    pub fn from_env(example: &str, delay: &str) -> Result<Self, String> {
        let millis = |text: &str| text.parse().map(Duration::from_millis);
        let file = format!("sqlite:{example}.db");
        Ok(Self {
            addr: read("ADDR", "127.0.0.1:3000", "an address like 127.0.0.1:3000", str::parse)?,
            database_url: read("DATABASE_URL", &file, "a url", |it| {
                Ok::<_, Infallible>(it.to_owned())
            })?,
            delay: read(delay, "0", "a number of milliseconds", millis)?,
        })
    }
}

/// Reads a variable that has a default.
///
/// # Errors
///
/// Says which variable it is, and what it is not.
pub fn read<T, E: Display>(
    name: &str,
    default: &str,
    meaning: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, String> {
    let text = match env::var(name) {
        Ok(text) => text,
        Err(env::VarError::NotPresent) => default.to_owned(),
        Err(env::VarError::NotUnicode(_)) => return Err(format!("{name} is not valid UTF-8")),
    };
    parse(&text).map_err(|error| format!("{name}={text:?} is not {meaning}: {error}"))
}
