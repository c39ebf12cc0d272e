use idem::idempotent;

struct User {
    id: u64,
}

#[idempotent(scope = "(org, user)")]
async fn pay(org: String, user: User) {}

fn main() {}
