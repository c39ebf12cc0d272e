//! Building an engine: everything that is not about one endpoint alone.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};

use crate::{
    endpoint::{Defaults, Keep, LONGEST},
    engine::Engine,
    idem::Idem,
    problem::{ProblemContext, Renderer},
    store::Store,
};

/// Sets what an engine does where an endpoint says nothing. Made by [`Idem::builder`].
///
/// ```
/// use std::time::Duration;
/// # #[cfg(feature = "memory")] {
/// use idem_core::{Idem, MemoryStore};
///
/// let idem = Idem::builder(MemoryStore::new())
///     .ttl(Duration::from_hours(48))
///     .lease(Duration::from_secs(10))
///     .build()
///     .unwrap();
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Builder<D> {
    store: Arc<dyn Store>,
    defaults: Defaults,
    lease: Option<Duration>,
    renderer: Renderer,
    docs_url: Option<String>,
    database: PhantomData<fn() -> D>,
}

impl<D: 'static> Idem<D> {
    /// Starts an engine over a store.
    pub fn builder(store: impl Store<Database = D>) -> Builder<D> {
        Builder {
            store: Arc::new(store),
            defaults: Defaults::default(),
            lease: None,
            renderer: Renderer { docs_url: None, replaced: None },
            docs_url: None,
            database: PhantomData,
        }
    }
}

impl<D> Builder<D> {
    /// How long a completed record is replayed; at most 100 years. Default: 24 hours.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.defaults.ttl = ttl;
        self
    }

    /// Completed records are replayed for the 100 years that are the longest ttl.
    pub const fn ttl_forever(self) -> Self {
        self.ttl(LONGEST)
    }

    /// How long a failed attempt is remembered; at most 100 years. Default: 24 hours.
    pub const fn failed_ttl(mut self, ttl: Duration) -> Self {
        self.defaults.failed_ttl = ttl;
        self
    }

    /// How long a claim holds without renewal; it is renewed at a third of that. After a crash, a
    /// retry waits at most that long. Default: 30 seconds. For an endpoint whose ttl is shorter,
    /// its ttl.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long a handler's transaction may be open without a statement, before its database ends
    /// it: so long a worker that was cut off from the database can hold locks. Postgres only.
    /// Default: 60 seconds.
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.defaults.idle_timeout = timeout;
        self
    }

    /// How long a request of an endpoint with `on_conflict = "wait"` waits for the answer of another
    /// one, before it is told that that one runs. Default: 10 seconds.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.defaults.wait = wait;
        self
    }

    /// How often the store is asked whether what requests wait for still runs in another process:
    /// in one query for all of them. A store that [announces](Store::announcements) what ends may be asked
    /// less often. Default: 100 milliseconds.
    pub const fn poll_interval(mut self, interval: Duration) -> Self {
        self.defaults.poll_interval = interval;
        self
    }

    /// Which statuses are recorded and replayed. Default: [`Keep::DEFAULT`].
    pub const fn keep(mut self, keep: Keep) -> Self {
        self.defaults.keep = keep;
        self
    }

    /// The largest request body, in bytes. Default: the router's own `DefaultBodyLimit`.
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.defaults.max_body = Some(bytes);
        self
    }

    /// The largest response body that is kept, in bytes. A larger one reaches the first client
    /// whole and is never executed again; its replays are told that it was not kept. Default: 1 MiB.
    pub const fn max_response(mut self, bytes: usize) -> Self {
        self.defaults.max_response = bytes;
        self
    }

    /// The request header that carries the key. Default: `Idempotency-Key`.
    pub fn key_header(mut self, name: HeaderName) -> Self {
        self.defaults.key_header = name;
        self
    }

    /// The response header that marks a replay, with the value `true`. Default:
    /// `Idempotency-Replayed`.
    pub fn replayed_header(mut self, name: HeaderName) -> Self {
        self.defaults.replayed_header = name;
        self
    }

    /// A response header that marks a first answer that was recorded, with the value `true`.
    /// Default: none.
    pub fn stored_header(mut self, name: HeaderName) -> Self {
        self.defaults.stored_header = Some(name);
        self
    }

    /// Response headers that are not recorded, besides those of the connection. Default: `Date` and
    /// `Set-Cookie`.
    pub fn dropped_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.defaults.dropped_headers = names.into_iter().collect();
        self
    }

    /// How long a client waits for the store before it gets a 503, and the bound of every other
    /// single operation. It must be longer than the store's own server-side timeout. Default: 5
    /// seconds.
    pub const fn store_timeout(mut self, timeout: Duration) -> Self {
        self.defaults.store_timeout = timeout;
        self
    }

    /// How long the engine goes on trying to record an execution while the store is down, or to take
    /// back a claim whose answer never came. Default: 5 minutes.
    pub const fn record_deadline(mut self, deadline: Duration) -> Self {
        self.defaults.record_deadline = deadline;
        self
    }

    /// What `Retry-After` says, rounded down to seconds, at least 1. Default: 1 second.
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.defaults.retry_after = after;
        self
    }

    /// Where the application documents its use of idempotency keys: the default rendering of problems
    /// then carries `Link: <url>; rel="describedby"`. Default: none.
    pub fn docs_url(mut self, url: impl Into<String>) -> Self {
        self.docs_url = Some(url.into());
        self
    }

    /// Replaces the rendering of problems: an envelope of the application's own, in the client's
    /// language. `Retry-After` is added to transient ones unless it is set. Default:
    /// `application/problem+json` (RFC 9457).
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use idem_core::{Idem, MemoryStore};
    /// use http::Response;
    ///
    /// let idem = Idem::builder(MemoryStore::new())
    ///     .render_problems(|context| {
    ///         let text = format!("{{\"error\":\"{}\"}}", context.problem.name());
    ///         let mut response = Response::new(text.into());
    ///         *response.status_mut() = context.problem.status();
    ///         response
    ///     })
    ///     .build()
    ///     .unwrap();
    /// # }
    /// ```
    pub fn render_problems(
        mut self,
        render: impl Fn(&ProblemContext<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.renderer.replaced = Some(Arc::new(render));
        self
    }

    /// Builds the engine.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] for settings that make no sense together.
    pub fn build(mut self) -> Result<Idem<D>, ConfigError> {
        let default = self.defaults.lease.min(self.defaults.ttl);
        self.defaults.lease = self.lease.unwrap_or(default);
        let Defaults {
            ttl,
            failed_ttl,
            lease,
            idle_timeout,
            wait,
            poll_interval,
            store_timeout,
            record_deadline,
            ..
        } = self.defaults;
        for (setting, value) in [
            ("ttl", ttl),
            ("failed_ttl", failed_ttl),
            ("lease", lease),
            ("idle_timeout", idle_timeout),
            ("wait", wait),
            ("poll_interval", poll_interval),
            ("store_timeout", store_timeout),
            ("record_deadline", record_deadline),
        ] {
            if value < Duration::from_millis(1) {
                return Err(ConfigError::TooShort { setting });
            }
        }
        for value in [&mut self.defaults.store_timeout, &mut self.defaults.record_deadline] {
            *value = (*value).min(LONGEST);
        }
        if lease > ttl {
            return Err(ConfigError::LeaseOverTtl { lease, ttl });
        }
        if let Some(server) = self.store.server_timeout().filter(|it| *it >= store_timeout) {
            return Err(ConfigError::TimeoutUnderServer { store_timeout, server });
        }
        if let Some(url) = self.docs_url {
            let link = HeaderValue::try_from(format!("<{url}>; rel=\"describedby\""));
            self.renderer.docs_url = Some(link.map_err(|_| ConfigError::DocsUrl { url })?);
        }
        Ok(Idem::new(Engine::new(self.store, self.defaults, self.renderer)))
    }
}

/// Settings that make no sense together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A duration of zero, or below a millisecond.
    #[error("`{setting}` is shorter than a millisecond; give it a longer duration")]
    TooShort {
        /// The builder's method.
        setting: &'static str,
    },
    /// A claim would outlive the answer that it protects.
    #[error(
        "the lease ({lease:?}) is longer than the ttl ({ttl:?}); shorten it, or keep answers longer"
    )]
    LeaseOverTtl {
        /// The lease.
        lease: Duration,
        /// The ttl.
        ttl: Duration,
    },
    /// The engine would give up while the server is still at work.
    #[error(
        "the store timeout ({store_timeout:?}) is not longer than the store's server-side timeout \
         ({server:?}); raise it, or lower the store's"
    )]
    TimeoutUnderServer {
        /// The engine's timeout.
        store_timeout: Duration,
        /// The store's.
        server: Duration,
    },
    /// The documentation's address cannot be a header value.
    #[error("the documentation url {url:?} cannot be sent in a header; percent-encode it")]
    DocsUrl {
        /// The url.
        url: String,
    },
}
