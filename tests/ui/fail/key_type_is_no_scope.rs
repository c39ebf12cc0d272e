use idem::idempotent;

struct Body;

#[idempotent(scope = "global", key = "body")]
async fn pay(body: Body) {}

fn main() {}
