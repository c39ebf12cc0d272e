use idem::idempotent;

#[idempotent(scope = "global", fingerprint = "bytes")]
async fn pay(bytes: axum::body::Bytes) {}

fn main() {}
