use idem::Scope;

#[derive(Scope)]
struct User {
    id: u64,
    name: String,
}

fn main() {}
