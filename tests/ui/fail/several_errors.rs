use idem::idempotent;

#[idempotent(scop = "user", ttl = "soon", lease = "30s", lease = "1m", recover = "never")]
fn pay<T>(user: &str, value: impl Clone) {}

fn main() {}
