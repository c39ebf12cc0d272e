use idem::Scope;

#[derive(Scope)]
struct User {
    #[scope(rename = "user")]
    id: u64,
    name: String,
}

fn main() {}
