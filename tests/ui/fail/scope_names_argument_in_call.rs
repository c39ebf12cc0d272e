use idem::idempotent;

fn tenant_of(user: &str) -> &str {
    user
}

#[idempotent(scope = "tenant_of(&usr)")]
async fn pay(user: String) {}

fn main() {}
