use idem::idempotent;

struct Body {
    parent: Option<u64>,
}

#[idempotent(scope = "global", key = "(name, body.parent)")]
async fn pay(name: String, body: Body) {}

fn main() {}
