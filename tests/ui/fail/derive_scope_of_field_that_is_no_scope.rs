use idem::Scope;

struct Name;

#[derive(Scope)]
struct User {
    #[scope]
    id: u64,
    #[scope]
    name: Name,
}

fn main() {}
