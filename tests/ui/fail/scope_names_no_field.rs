use idem::idempotent;

struct User {
    id: u64,
}

#[idempotent(scope = "user.tenant")]
async fn pay(user: User) {}

fn main() {}
