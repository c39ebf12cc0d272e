use idem::idempotent;

#[idempotent(scope = "body", ttl = "soon")]
async fn pay(body: String) -> String {
    body.to_upper()
}

fn main() {
    // The function is still there, also for its tests.
    drop(pay_unguarded(String::new()));
}
