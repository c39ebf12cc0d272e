use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay(name: std::borrow::Cow<'_, str>) {}

fn main() {}
