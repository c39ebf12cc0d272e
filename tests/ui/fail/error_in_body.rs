use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay(body: String) -> String {
    let length: u32 = body;
    length.to_string()
}

fn main() {}
