//! The simulated payment provider, with test recipients as real ones have them.

use std::time::Duration;

use crate::payments::Order;

#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) delay: Duration,
}

/// Why the provider took no money.
pub(crate) enum Refused {
    Declined,
    Unavailable,
}

impl Provider {
    /// Moves the money, once for each key: a provider recognises a repeated call by it.
    pub(crate) async fn charge(&self, key: &str, order: &Order) -> Result<(), Refused> {
        tracing::debug!(key, amount = order.amount, "the provider is asked");
        tokio::time::sleep(self.delay).await;
        match order.to.as_str() {
            "declined" => Err(Refused::Declined),
            "unavailable" => Err(Refused::Unavailable),
            "panic" => panic!("the recipient that makes the handler panic"),
            _ => Ok(()),
        }
    }
}
