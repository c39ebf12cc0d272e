use idem::idempotent;

struct Body {
    participants: Vec<String>,
}

fn participants_key(participants: &[String]) -> String {
    participants.concat()
}

#[idempotent(scope = "global", key = "participants_key(&boby.participants)")]
async fn pay(body: Body) {}

fn main() {}
