use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay()
where
    String: Clone,
{
}

fn main() {}
