use idem::idempotent;

struct User {
    id: u64,
}

#[idempotent(scope = "global", fallback_key = "(usr.id, &body)")]
async fn pay(user: User, body: String) {}

fn main() {}
