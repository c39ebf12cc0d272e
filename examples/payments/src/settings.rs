//! The environment.

use std::{env, net::SocketAddr, time::Duration};

pub(crate) struct Settings {
    pub(crate) addr: SocketAddr,
    pub(crate) database_url: String,
    pub(crate) provider_delay: Duration,
    pub(crate) lease: Duration,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, String> {
        let millis = |text: &str| text.parse().map(Duration::from_millis);
        Ok(Self {
            addr: read("ADDR", "127.0.0.1:3000", "an address like 127.0.0.1:3000", str::parse)?,
            database_url: read("DATABASE_URL", "sqlite:payments.db", "a url", |it| {
                Ok::<_, std::convert::Infallible>(it.to_owned())
            })?,
            provider_delay: read("PROVIDER_DELAY_MS", "0", "a number of milliseconds", millis)?,
            lease: read("LEASE", "30s", "a duration like 30s", humantime::parse_duration)?,
        })
    }
}

fn read<T, E: std::fmt::Display>(
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
