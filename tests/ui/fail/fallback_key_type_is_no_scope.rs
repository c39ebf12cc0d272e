use idem::idempotent;

struct Date;

fn today() -> Date {
    Date
}

#[idempotent(scope = "global", fallback_key = "(body, today())")]
async fn pay(body: String) {}

fn main() {}
