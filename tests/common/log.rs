//! What is logged, as text and as events.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::{self, Debug},
    io,
    sync::Once,
};

use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{MakeWriter, layer},
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

thread_local! {
    /// What was logged on this thread: each test has its own, and so its own runtime.
    static LOG: RefCell<Log> = const { RefCell::new(Log { text: Vec::new(), events: Vec::new() }) };
}

/// The log of the current thread.
pub(crate) struct Log {
    text: Vec<u8>,
    events: Vec<Event>,
}

/// An event about a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Log {
    /// Captures from now on. One subscriber serves all tests, because scoped ones race for the
    /// interest that call sites remember.
    pub(crate) fn capture() {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let text = layer().with_ansi(false).with_writer(Writer);
            let registry = tracing_subscriber::registry().with(LevelFilter::DEBUG);
            registry.with(text).with(Events).init();
        });
    }

    pub(crate) fn text() -> String {
        LOG.with_borrow(|log| String::from_utf8(log.text.clone()).unwrap())
    }

    /// The events about requests since they were taken last.
    pub(crate) fn take_events() -> Vec<Event> {
        LOG.with_borrow_mut(|log| std::mem::take(&mut log.events))
    }
}

impl Event {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Level, message and outcome.
    pub(crate) fn gist(&self) -> (Level, &str, &str) {
        (self.level, &self.message, self.field("outcome").unwrap_or_default())
    }

    /// A time, in seconds.
    pub(crate) fn seconds(&self, name: &str) -> Option<f64> {
        self.field(name).map(|it| it.parse().unwrap())
    }
}

struct Writer;

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.text.extend(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Events;

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "idem" {
            return;
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        let event = Event { level: *event.metadata().level(), message, fields: fields.0 };
        LOG.with_borrow_mut(|log| log.events.push(event));
    }
}

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), fmt::format(format_args!("{value:?}")));
    }
}
