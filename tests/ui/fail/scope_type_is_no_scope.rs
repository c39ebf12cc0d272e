use idem::idempotent;

struct User {
    id: u64,
}

#[idempotent(scope = "user")]
async fn pay(user: User) {}

fn main() {}
